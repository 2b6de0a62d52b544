import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.problems import CODES, Problem, Span, declare, did_you_mean, nearest, render, render_all, sort, width


def problem(excerpt, column, end_column, *, line=3, end_line=None, **more):
    span = Span("w.yaml", line, column, end_line or line, end_column)
    return Problem("some-code", "something is wrong", span, excerpt=excerpt, **more)


def test_a_problem_is_printed_in_the_one_form():
    shown = render(problem("    uses: document.creat", 11, 25, line=15, hint="did you mean 'document.create'?"))
    assert shown.splitlines() == [
        "w.yaml:15:11: something is wrong [some-code]",
        "   |",
        "15 |     uses: document.creat",
        "   |           ^^^^^^^^^^^^^^",
        "   = did you mean 'document.create'?",
    ]


def test_a_problem_without_a_place_is_a_sentence_and_a_code():
    assert render(Problem("x", "no file is called 'a'", hint="make it")) == "no file is called 'a' [x]\n = make it"


def test_a_warning_says_that_it_is_one():
    assert ": warning: something is wrong" in render(problem("a", 1, 2, severity="warning"))


def carets(shown):
    """Give the terminal columns that the carets mark, and the text above them."""
    line, marks = shown.splitlines()[2:4]
    start = marks.index("^")
    cells = "".join(
        ch * (0 if unicodedata.combining(ch) else 2 if unicodedata.east_asian_width(ch) in "WF" else 1) for ch in line
    )
    return cells[start : start + marks.count("^")]


@pytest.mark.parametrize(
    ("line", "word", "above"),
    [
        ("a: word", "word", "word"),
        ("\ta:\tword", "word", "word"),
        ("日本: word", "word", "word"),
        ("a: 日本 b", "日本", "日日本本"),
        ("e\u0301e\u0301: word", "word", "word"),
        ("x" * 5000 + " word " + "y" * 5000, "word", "word"),
        ("日" * 500 + " word " + "日" * 500, "word", "word"),
    ],
)
def test_carets_stand_under_what_they_mark(line, word, above):
    column = line.index(word) + 1
    shown = render(problem(line, column, column + len(word)))
    assert carets(shown) == above
    assert all(width(row) <= 170 for row in shown.splitlines())


def test_a_very_long_mark_is_cut_with_the_line():
    shown = render(problem("a: " + "x" * 1000, 4, 1004)).splitlines()
    assert width(shown[2]) <= 170
    assert shown[2].endswith("…")
    assert width(shown[3]) <= width(shown[2])


def test_a_span_over_several_lines_is_marked_to_the_end_of_its_first():
    assert carets(render(problem("a: {b: c,", 4, 3, end_line=7))) == "{b: c,"


def test_an_empty_place_at_the_end_of_a_line_gets_one_caret_behind_it():
    assert render(problem("steps:", 7, 7)).splitlines()[3] == "  |       ^"


@given(st.text(st.characters(), max_size=60), st.integers(1, 80), st.integers(0, 40))
def test_nothing_that_a_terminal_obeys_is_printed(text, column, length):
    shown = render(
        Problem("x", text, Span(text, 1, column, 1, column + length), hint=text, excerpt=text.split("\n")[0])
    )
    assert not [ch for ch in shown if ch != "\n" and unicodedata.category(ch) in ("Cc", "Cs", "Zl", "Zp")]
    assert len(shown.split("\n")) == (5 if text else 4)


def test_problems_come_in_the_order_of_their_places_and_once_each():
    later, sooner = problem("", 5, 6), problem("", 2, 3)
    nowhere = Problem("x", "no place")
    assert sort([later, sooner, later, nowhere]) == [nowhere, sooner, later]


def test_an_error_stands_for_a_warning_of_the_same_code_and_place():
    error, soft = problem("", 2, 3), problem("", 2, 3, severity="warning")
    assert sort(iter([soft, error])) == [error]


def test_several_problems_are_printed_with_a_line_between():
    assert render_all([problem(None, 5, 6), problem(None, 2, 3)]).splitlines() == [
        "w.yaml:3:2: something is wrong [some-code]", "", "w.yaml:3:5: something is wrong [some-code]",
    ]  # fmt: skip


def test_a_record_holds_the_place_and_no_excerpt():
    record = problem("token: hush", 2, 3, hint="h").as_record()
    assert record == {
        "file": "w.yaml", "line": 3, "column": 2, "end_line": 3, "end_column": 3,
        "code": "some-code", "severity": "error", "message": "something is wrong", "hint": "h",
    }  # fmt: skip


def test_a_code_is_declared_once():
    assert declare("test-only-code", "m", "r") == "test-only-code"
    try:
        with pytest.raises(ValueError, match="declared twice"):
            declare("test-only-code", "m", "r")
    finally:
        del CODES["test-only-code"]


def test_an_unknown_word_gets_the_nearest_known_one_or_the_list():
    assert nearest("document.creat", ["document.create", "chat.post"]) == "document.create"
    assert did_you_mean("wiht", ["with", "uses"]) == "did you mean 'with'?"
    assert did_you_mean("zzz", ["with", "uses"], "steps take") == "steps take: uses, with"
    assert did_you_mean("zzz", []) == "there is none to choose from"


def test_swapped_letters_are_the_nearest_word():
    assert nearest("wiat", ["with", "wait", "uses"]) == "wait"
