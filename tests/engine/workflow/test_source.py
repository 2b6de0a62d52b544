import itertools
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from engine.problems import render
from engine.workflow import source, yaml_syntax
from engine.workflow.source import Mapping, Scalar, Sequence, plain, read_source


def read(text):
    file, problems = read_source("w.yaml", text.encode())
    assert problems == [], [render(p) for p in problems]
    return file.root


def codes(text):
    return [problem.code for problem in read_source("w.yaml", text.encode())[1]]


def only_problem(text):
    _, problems = read_source("w.yaml", text.encode())
    assert len(problems) == 1, [render(p) for p in problems]
    return problems[0]


def marked(text, span):
    """Give what a span covers, on one line."""
    line = text.splitlines()[span.line - 1]
    assert span.end_line == span.line
    return line[span.column - 1 : span.end_column - 1]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("on", "on"), ("no", "no"), ("yes", "yes"), ("off", "off"), ("y", "y"), ("2026-01-05", "2026-01-05"),
        ("18:30", "18:30"), ("1_000", "1_000"), ("null", None), ("~", None), ("", None), ("Null", None),
        ("nULL", "nULL"),
        ("true", True), ("FALSE", False), ("tRue", "tRue"), ("12", 12), ("-7", -7), ("0777", 777), ("0o17", 15),
        ("0x1f", 31), ("0b1", "0b1"), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("-.inf", float("-inf")),
        ("'12'", "12"), ('"true"', "true"), ("1.2.3", "1.2.3"), (".", "."), ("+", "+"),
        ("9" * 5000, "9" * 5000),
        ("!!str 12", "12"), ("!!int 12", 12), ("!!float 12", 12.0), ("! 12", "12"),
    ],
)  # fmt: skip
def test_scalars_are_read_by_the_core_schema_of_yaml_1_2(written, value):
    got = plain(read(f"key: {written}\n"))["key"]
    assert got == value
    assert type(got) is type(value)


def test_every_key_and_value_knows_its_place():
    text = "name: Héllo 𝄞 w\nsteps:\n  - uses: chat.post\n    with: {text: 'a b', list: [1, 22]}\n"
    root = read(text)
    step = root.get("steps").items[0]
    inputs = step.get("with")
    assert marked(text, root.get("name").span) == "Héllo 𝄞 w"
    assert marked(text, root.key("steps").span) == "steps"
    assert marked(text, inputs.span) == "{text: 'a b', list: [1, 22]}"
    assert marked(text, inputs.get("text").span) == "'a b'"
    assert [marked(text, item.span) for item in inputs.get("list").items] == ["1", "22"]
    assert (step.span.line, step.span.column, step.span.end_line, step.span.end_column) == (3, 5, 4, 39)


def test_a_block_ends_where_its_last_value_ends_and_not_where_the_next_key_begins():
    root = read("a:\n  - one\n  - two\n\n# comment\nb: |\n  text\n\n\nc: 1\n")
    assert (root.get("a").span.end_line, root.get("a").span.end_column) == (3, 8)
    assert (root.get("b").span.end_line, root.get("b").span.end_column) == (7, 7)


def test_an_anchor_and_a_tag_are_no_part_of_the_value_they_stand_before():
    text = "a: &x !!str 12\nb: &y\n  c: 1\nd: !!str &z 'q'\n"
    root = read(text)
    assert marked(text, root.get("a").span) == "12"
    assert root.get("b").span.line == 3
    assert marked(text, root.get("d").span) == "'q'"


def test_a_place_counts_characters_behind_a_byte_order_mark_and_in_every_kind_of_line_break():
    file, problems = read_source("w.yaml", b"\xef\xbb\xbfa: 1\r\nb: 2\rc: 3\n")
    assert problems == []
    assert [(e.key.span.line, e.key.span.column) for e in file.root.entries] == [(1, 1), (2, 1), (3, 1)]


@pytest.mark.parametrize(
    "text",
    [
        "k: some words here\n",
        "k: 'some words here'\n",
        'k: "some words here"\n',
        "k: 'it''s some words here'\n",
        'k: "tab\\t and \\u00e9 \\" some words here"\n',
        "k: |\n  first\n    deeper\n\n  some words here\n",
        "k: |2\n    first\n  some words here\n",
        "k: >-\n  first\n  second\n\n  some words here\n",
        "k: first\n  second\n\n  some words here\n",
        "k: 'first\n\n  second some words here'\n",
        'k: "first \\\n   second some words here"\n',
    ],
)
def test_an_offset_in_a_resolved_text_is_mapped_to_what_is_written(text):
    node = read(text).get("k")
    assert isinstance(node, Scalar)
    span = node.span_at(node.text.index("words"), len("words"))
    assert marked(text, span) == "words"


def test_an_offset_at_the_end_lies_behind_the_last_character_and_one_beyond_gives_the_whole_value():
    text = "k: 'ab'\n"
    node = read(text).get("k")
    assert (node.span_at(2, 1).column, node.span_at(2, 1).end_column) == (7, 8)
    assert node.span_at(9, 1) == node.span


@given(
    st.text(
        st.characters(
            codec="utf-8", exclude_characters="\x85\u2028\u2029\ufeff", exclude_categories=["Cs", "Cc", "Cn"]
        ),
        max_size=30,
    )
)
def test_each_character_of_a_double_quoted_text_is_found_where_it_is_written(value):
    text = "k: " + yaml.dump(value, default_style='"', allow_unicode=True, width=10**6).strip() + "\n"
    file, problems = read_source("w.yaml", text.encode())
    node = file.root.get("k")
    assert problems == []
    assert node.text == value
    for index, char in enumerate(value):
        assert yaml.safe_load(f'"{marked(text, node.span_at(index, 1))}"') == char


def test_aliases_stand_for_what_they_name():
    root = read("a: &x {n: [1, 2]}\nb: *x\n")
    assert plain(root) == {"a": {"n": [1, 2]}, "b": {"n": [1, 2]}}
    assert root.get("b").span.line == 1


def test_a_mapping_gives_values_and_keys_by_name():
    root = read("a: 1\nb:\n")
    assert isinstance(root, Mapping)
    assert root.keys() == ("a", "b")
    assert root.get("c") is None
    assert root.key("c") is None
    assert root.get("b").value is None


def test_a_duplicate_key_shows_both_places_and_the_first_is_kept():
    file, problems = read_source("w.yaml", b"a: 1\nb: 2\na: 3\n")
    assert [str(p.span) for p in problems] == ["w.yaml:3:1"]
    assert "line 1, column 1" in problems[0].message
    assert plain(file.root) == {"a": 1, "b": 2}


def test_several_mistakes_are_told_at_once():
    assert codes("a: 1\na: 2\n7: x\nb: !y z\n<<: {c: 1}\n") == [
        source.DUPLICATE, source.KEY, source.TAG, source.MERGE,
    ]  # fmt: skip


def test_what_was_reported_is_marked_so_that_nobody_reports_it_again():
    file, _ = read_source("w.yaml", b"a: !x y\nb: {1: x}\nc: {d: 1}\n")
    assert not file.root.get("a").sound
    assert not file.root.get("b").sound
    assert file.root.get("c").sound


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('if: "a" == b\n', "== b"),
        ('on: {x: {if: "a" == b}}\n', "== b}}"),
        ("with: {to: ${{ vars.owner }}}\n", "${{"),
        ('until: {x: a in ["b", "c"]}\n', "["),
        ('until: {x: a ? {"b": 1} : c}\n', "{"),
        ("until: {x: is_open(a, b)}\n", ","),
        ('until: {x: a == "b, c"}\n', ","),
        ('to: ${{ {"a": 1}["a"] }}\n', ":"),
    ],
)
def test_an_expression_that_yaml_cuts_up_gets_the_hint_to_quote_it(text, word):
    problem = only_problem(text)
    assert problem.code == yaml_syntax.QUOTE
    assert problem.hint == "quote the expression, or write it in block form"
    assert marked(text, problem.span) == word


def test_a_negation_with_an_exclamation_mark_is_named_a_tag():
    problem = only_problem("if: !incident.open\n")
    assert problem.code == source.TAG
    assert problem.hint.startswith("quote the expression, or write it in block form")


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ('if: title == "a #1"\n', "warning"),
        ("if: title == 'a #1'\n", "warning"),
        ("to: ${{ a or b #c }}\n", "error"),
        ("channel: #sre\n", "warning"),
        ("list:\n  - #sre\n", "warning"),
        ("name: Ada's workflow # mine\n", None),
        ("name: plain # comment\n", None),
        ("name:   # a comment\n  x\n", None),
        ("name: x#y\n", None),
        ('name: "a #1" # fine\n', None),
        ("to: ${{ a }} # fine\n", None),
    ],
)
def test_a_value_cut_by_a_comment_is_told_where_something_is_left_open(text, severity):
    _, found = read_source("w.yaml", text.encode())
    assert [p.severity for p in found] == ([severity] if severity else [])
    assert all(p.code == yaml_syntax.CUT for p in found)


@pytest.mark.parametrize(
    ("data", "code", "place"),
    [
        (b"", source.EMPTY, "1:1"),
        (b"# nothing\n", source.EMPTY, "1:1"),
        (b"---\n", source.EMPTY, "1:1"),
        (b"a: 1\nb: \xff\n", source.NOT_UTF8, "2:4"),
        ("a: 1".encode("utf-16"), source.NOT_UTF8, "1:1"),
        (b"x" * (source.MAX_BYTES + 1), source.TOO_LARGE, "1:1"),
        (b"a: 1\nb: x\x07y\n", source.CONTROL, "2:5"),
        ("a: x\u2028y\n".encode(), source.CONTROL, "1:5"),
        (b"a: 1\n---\nb: 2\n", source.SEVERAL, "2:1"),
        (b"[" * 100_000, source.TOO_DEEP, "1:101"),
        (b"a: " + b"{a: " * 100_000, source.TOO_DEEP, None),
        (b"- " * 100_000, source.TOO_DEEP, None),
        (b"a: &x [*x]\n", source.ALIAS_LOOP, "1:8"),
        (b"a: *x\n", source.UNKNOWN_ALIAS, "1:4"),
        (b"a:\n\tb: 1\n", yaml_syntax.TAB, "2:1"),
        (b"a:\n  b: 1\n \tc: 1\n", yaml_syntax.TAB, "3:2"),
        (b"? [a]\n: b\n", source.KEY, "1:3"),
        (b"true: x\n", source.KEY, "1:1"),
        (b"a: {{ b }}\n", source.KEY, "1:5"),
        (b"a: !!binary aGk=\n", source.TAG, "1:4"),
        (b"a: !!int x\n", source.TAG, "1:4"),
    ],
)
def test_what_cannot_be_read_gets_one_problem_with_its_place(data, code, place):
    _, problems = read_source("w.yaml", data)
    assert [p.code for p in problems] == [code]
    if place:
        assert str(problems[0].span) == f"w.yaml:{place}"


def test_aliases_that_multiply_are_stopped():
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert codes("\n".join(levels) + "\n") == [source.ALIAS_BOMB]


def test_aliases_cannot_make_a_file_deeper_than_its_bound():
    half = "[" * 60 + "x" + "]" * 60
    assert codes(f"a: &a {half}\nb: {'[' * 60}*a{']' * 60}\n") == [source.TOO_DEEP]


def test_a_file_at_the_depth_bound_is_read():
    text = "[" * 100 + "]" * 100
    assert isinstance(read(text), Sequence)
    assert codes("[" * 101 + "]" * 101) == [source.TOO_DEEP]


SYNTAX_ERRORS = [
    ("steps:\n  - uses: x\n   with: y\n", "3:4", "does not begin with '-'"),
    ("a:\n  b: 1\n c: 2\n", "3:2", "'c' is not indented"),
    ("name: a\nfoo\non: b\n", "2:1", "no ':' follows 'foo'"),
    ('name: "abc\non: x\n', "1:7", "never closed"),
    ("on: {a: {for: 15m}\nif: x\n", "1:5", "'{' that opens here is not closed"),
    ("a: [b, c\nd: e\n", "1:4", "'[' that opens here is not closed"),
    ("a: @foo\n", "1:4", "cannot begin with '@'"),
    ('a: "\\q"\n', "1:5", "'\\q' is no escape"),
    ("a: *\n", "1:4", "followed by no name"),
    ("a: - b\n", "1:4", "a list cannot begin here"),
    ("a: ? b\n", "1:4", "'?' cannot stand here"),
    ("a: |x\n  b\n", None, "begins a block of text"),
    ("a: ]\n", "1:4", "a value must stand here"),
    ("%YAML 3.0\n---\na: b\n", "1:1", "'%' line"),
    ("a: !b!c d\n", "1:4", "read by YAML as a tag"),
]


@pytest.mark.parametrize(("text", "place", "words"), SYNTAX_ERRORS)
@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_a_syntax_error_is_told_in_plain_words_by_either_parser(text, place, words, loader, monkeypatch):
    monkeypatch.setattr(yaml_syntax, "LOADER", getattr(yaml, loader))
    problem = only_problem(text)
    assert words in problem.message
    if place:
        assert str(problem.span) == f"w.yaml:{place}"


@given(st.text("ab: -[]{},'\"#&*!|>%@`?\n\t \\$~<", max_size=40))
def test_no_text_makes_the_reader_raise_and_each_gives_a_root_or_a_problem(text):
    file, problems = read_source("w.yaml", text.encode())
    assert file.root is not None or problems
    for problem in problems:
        render(problem)
    if file.root is not None:
        plain(file.root)


@given(st.text("ab: -[]{},'\"#|>\n \\~1.", max_size=40))
def test_a_text_is_read_as_pyyaml_composes_it(text):
    file, problems = read_source("w.yaml", text.encode())
    if file.root is None or problems:
        return
    theirs = yaml.compose(text, Loader=yaml.CSafeLoader)

    def shape(node):
        if isinstance(node, yaml.MappingNode):
            return {key.value: shape(value) for key, value in node.value}
        return [shape(n) for n in node.value] if isinstance(node, yaml.SequenceNode) else node.value

    def ours(node):
        match node:
            case Mapping():
                return {entry.key.text: ours(entry.value) for entry in node.entries}
            case Sequence():
                return [ours(item) for item in node.items]
            case Scalar():
                return node.text

    assert ours(file.root) == shape(theirs)


SECRETS = """\
workflows: w
connections:
  pager: {provider: pagerduty, webhook_secret: "hush-1", timeout: hush-2}  # hush-3
  tracker:
    # hush-4
    token: hush-5 # hush-6
    key: |
      hush-7
      hush-8
    list: [hush-9]
  again: *nobody
use: {chat: shown}
"""


def test_no_excerpt_shows_a_value_or_a_comment_under_connections():
    file, problems = read_source("hotwash.yaml", SECRETS.encode())
    assert [p.code for p in problems] == [source.UNKNOWN_ALIAS]
    shown = [file.excerpt(file.root.span.__class__("hotwash.yaml", n, 60, n, 61)) for n in range(1, 14)]
    assert not [line for line in shown if "hush" in line]
    assert "webhook_secret" in shown[2]
    assert "shown" in shown[11]


@pytest.mark.parametrize("mistake", ["\tx: 1", "  y: 'a' b", "  k: [", '  z: "\\q"', "  - a"])
def test_no_excerpt_of_a_file_that_cannot_be_parsed_shows_a_value_under_connections(mistake):
    lines = SECRETS.splitlines()
    for at in range(3, len(lines)):
        text = "\n".join([*lines[:at], mistake, *lines[at:]])
        file, problems = read_source("hotwash.yaml", text.encode())
        shown = [file.excerpt(problem.span) for problem in problems]
        shown += [file.excerpt(problems[0].span.__class__("", n, 60, n, 61)) for n in range(1, 16)]
        assert not [line for line in shown if "hush" in line], text


def test_the_value_of_a_duplicate_key_under_connections_is_hidden_too():
    _, problems = read_source("hotwash.yaml", b"connections:\n  a: {t: hush, t: hush}\n  a: hush\n")
    assert len(problems) == 2
    assert not [p for p in problems if "hush" in render(p)]


def test_the_caret_keeps_its_place_behind_a_hidden_value():
    _, problems = read_source("hotwash.yaml", b"connections:\n  a: {t: hush, 7: x}\n")
    assert problems[0].excerpt.index("7") == problems[0].span.column - 1


def test_a_large_file_is_read_in_reasonable_time():
    text = "".join(itertools.islice((f"k{n}: [a, b, c, 'd', {{e: f}}]\n" for n in itertools.count()), 30_000))
    started = time.perf_counter()
    file, problems = read_source("w.yaml", text.encode())
    assert problems == []
    assert len(file.root.entries) == 30_000
    assert time.perf_counter() - started < 20
