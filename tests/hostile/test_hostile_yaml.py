"""The YAML reader takes any bytes: it gives a file or problems with their places, in bounded time and memory."""

import re
from pathlib import Path

import pytest
from hostile_bounds import ASKED, MIB, ROOT, hostile, in_child
from hypothesis import assume, example, given
from hypothesis import strategies as st

from engine.problems import render_all
from engine.workflow.source import MAX_FINDINGS, Mapping, Scalar, Sequence, children, plain, read_source, scalars

FILES = sorted(
    [
        *(ROOT / "workflows").glob("*.yaml"),
        *(ROOT / "examples").rglob("*.yaml"),
        *(ROOT / "tests" / "engine" / "workflow" / "bad").glob("*.yaml"),
        *(ROOT / "tests" / "engine" / "bad_config").rglob("*.yaml"),
    ]
)
TEXTS = [path.read_bytes() for path in FILES]
#: What YAML, and our reader's help with its traps, look at.
SIGNS = [
    b"\n",
    b"\n  ",
    b"\n    ",
    b" ",
    b"  ",
    b"\t",
    b"\r\n",
    b"\r",
    b"- ",
    b"? ",
    b": ",
    b":",
    b"a",
    b"b: ",
    b"a: ",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"#",
    b" # ",
    b"#c",
    b"'",
    b'"',
    b"\\",
    b"\\x",
    b"\\u00",
    b"\\ud800",
    b"\\0",
    b"&a ",
    b"*a",
    b"*a ",
    b"&",
    b"*",
    b"!",
    b"!!",
    b"!!str ",
    b"!!int ",
    b"!!binary ",
    b"!!python/object:os.system ",
    b"!<x> ",
    b"!x ",
    b"<<: ",
    b"|",
    b"|2-",
    b">",
    b">+",
    b"|9",
    b"%",
    b"%YAML 1.1\n",
    b"%TAG ! x\n",
    b"---",
    b"...",
    b"@",
    b"`",
    b"${{",
    b"}}",
    b"${{ a }}",
    b"$${{",
    b"{{",
    b"(",
    b")",
    b"~",
    b"null",
    b"true",
    b"0x1",
    b"0o7",
    b"1e9",
    b".nan",
    b"-.inf",
    b"1" * 30,
    b"9" * 401,
    b"\0",
    b"\x07",
    b"\x7f",
    b"\x85",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xfe",
    b"\xed\xa0\x80",
    b"\xf0\x9d\x84\x9e",
    b"\xf4\x90\x80\x80",
    b"\xcc\x81",
    b"\xe2\x80\xae",
    b"connections:",
    b"connections: ",
    b"on: ",
    b"steps:",
    b"with: ",
]

soup = st.lists(st.sampled_from(SIGNS), max_size=40).map(b"".join)


@st.composite
def damaged(draw, texts=TEXTS):
    """Give a file of ours with pieces cut out, doubled, or put in."""
    data = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 30)))
        put = draw(st.one_of(st.just(b""), st.just(data[start:end] * 2), st.sampled_from(SIGNS), soup))
        data = data[:start] + put + data[end:]
    return data


def check_reading(data):
    """Read, and hold what comes against what is promised of it."""
    file, problems = read_source("w.yaml", data)
    errors = [problem for problem in problems if problem.severity == "error"]
    assert file.sound == (not errors)
    assert file.root is not None or errors
    for problem in problems:
        assert 1 <= problem.span.line <= len(file.lines)
        assert 1 <= problem.span.column <= len(file.line(problem.span.line)) + 2
    render_all(problems).encode()
    if file.root is not None:
        plain(file.root)
        check_places(file)
    return file, problems


def check_places(file):
    todo = [file.root]
    while todo:
        node = todo.pop()
        assert (1, 1) <= (node.span.line, node.span.column) <= (node.span.end_line, node.span.end_column)
        assert node.span.end_line <= len(file.lines) + 1
        if isinstance(node, Scalar):
            span = node.span_at(len(node.text) // 2, 1)
            assert span.line >= node.span.line
        todo += children(node)


@hostile(300)
@given(st.binary(max_size=200))
@example(b"\xff\xfea\0")
@example(b"\xef\xbb\xbf\xef\xbb\xbfa: 1")
def test_any_bytes_are_read_or_refused_with_a_place(data):
    check_reading(data)


@hostile(600)
@given(soup)
def test_what_looks_like_yaml_is_read_or_refused_with_a_place(data):
    check_reading(data)


@hostile(300)
@given(damaged())
def test_a_damaged_file_is_read_or_refused_with_a_place(data):
    check_reading(data)


@hostile(200)
@given(st.text(max_size=100))
def test_any_text_in_double_quotes_comes_out_as_it_went_in_or_is_refused(text):
    written = "".join(f"\\U{ord(sign):08x}" for sign in text)
    file, problems = check_reading(f'a: "{written}"\n'.encode())
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        assert problems
    else:
        assert plain(file.root) == {"a": text}


SECRET = "hunter2"
#: YAML takes it for a key, or a person would.
A_KEY = re.compile(rb"hunter2[\s'\"]*:|[{,?]\s*[&!*'\"]*\S*hunter2|hunter2[\s'\"]*[},]")
CONNECTIONS = [
    f"  pager: {{provider: pagerduty, webhook_secret: {SECRET}}}\n".encode(),
    f"  a:\n    secret: {SECRET} # {SECRET}\n    list:\n      - {SECRET}\n      # {SECRET}\n".encode(),
    f"{{a: [{SECRET}, '{SECRET}'], b: \"{SECRET}\"}} # {SECRET}\n".encode(),
    f"  a:\n    key: |\n      {SECRET}\n      # {SECRET}\n\n      {SECRET}\n    other: >-\n     {SECRET}\n".encode(),
    f"  a: {{s: &y {SECRET}, t: *y, u: *z}}\n  a: {{s: {SECRET}}}\n".encode(),
]


@hostile(600)
@given(st.sampled_from([b"connections:\n", b"connections: ", b"a: &x 1\nconnections:\n"]), damaged(CONNECTIONS))
def test_no_problem_shows_a_value_that_stands_under_connections(head, under):
    assume(stays_a_value(under))
    data = head + under + b"\nb: 1\n"
    file, problems = read_source("hotwash.yaml", data)
    every = [file.problem("x", "y", node) for node in scalars(file.root)] if file.root else []
    assert SECRET not in render_all([*problems, *every])


def stays_a_value(text):
    """Whether the damage has left everything inside the mapping, and has made no key of the secret."""
    lines = re.split(rb"[\r\n]+", text)
    return all(line.startswith((b" ", b"{")) or not line for line in lines) and not A_KEY.search(text)


def test_files_of_the_largest_size_are_read_in_bounded_time_and_memory():
    in_child("bombs_yaml.py", seconds=10 if ASKED else 3, memory=700)


def test_a_file_of_ten_mebibytes_is_refused_before_it_is_read():
    file, (problem,) = read_source("w.yaml", b"[" * 10 * MIB)
    assert (file.root, file.text, problem.code) == (None, "", "file-too-large")


def test_a_file_with_thousands_of_mistakes_says_the_first_of_them():
    _, problems = read_source("w.yaml", b"- !a b\n" * 5_000)
    assert len(problems) == MAX_FINDINGS + 1
    assert (problems[-1].code, problems[-1].span.line) == ("too-many-problems", MAX_FINDINGS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_files_to_be_damaged_are_read_to_begin_with(path: Path):
    file, _ = check_reading(path.read_bytes())
    assert isinstance(file.root, Mapping | Sequence | Scalar | None)
