"""Expressions take any text and any values, and give a value or one of their own errors, in bounded time and memory."""

import json
import math

import pytest
from hostile_bounds import hostile, in_child
from hostile_values import scope, values
from hypothesis import example, given
from hypothesis import strategies as st

from engine.problems import Problem, Span, render
from engine.store.codec import dumps
from engine.workflow import functions
from engine.workflow.expressions import (
    EvaluationError,
    ExpressionError,
    NeedLookup,
    compile_expression,
    compile_text,
    render_markdown,
    render_value,
)
from engine.workflow.scope import MOST_TEXT

NAMES = ["a", "b", "c", "incident", "ticket", "event", "vars", "steps", "unknown"]
FIELDS = ["title", "idle", "data", "deep", "a", "id", "services", "assignee", "nothing", "due"]
CONSTANTS = [
    "null",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "1.5",
    "9223372036854775808",
    '""',
    '"a"',
    "'7d'",
    '"3bd"',
    '"a.b"',
    '"0001-01-01T00:00:00-23:59"',
    '"9999-12-31T23:59:59+00:00"',
    '"\\u20ac"',
    "[]",
    "{}",
]
BINARY = [*"+-*/%|<>", "==", "!=", "<=", ">=", "in", "not in", "and", "or"]


@st.composite
def expressions(draw, depth=5):
    """Give an expression of the grammar, mostly well formed."""

    def make(left):
        if left <= 0:
            return draw(st.sampled_from([*NAMES, *CONSTANTS]))
        inner = lambda: make(left - draw(st.integers(1, 3)))  # noqa: E731
        forms = {
            "operator": lambda: f"{inner()} {draw(st.sampled_from(BINARY))} {inner()}",
            "parentheses": lambda: f"({inner()})",
            "field": lambda: f"{draw(st.sampled_from(NAMES))}.{draw(st.sampled_from(FIELDS))}",
            "item": lambda: f"({inner()})[{inner()}]",
            "slice": lambda: f"({inner()})[{inner()}:{inner()}:{inner()}]",
            "list": lambda: f"[{inner()}, {inner()}]",
            "mapping": lambda: f"{{{inner()}: {inner()}}}",
            "not": lambda: f"not ({inner()})",
            "minus": lambda: f"-({inner()})",
            "choice": lambda: f"({inner()} if {inner()} else {inner()})",
            "comprehension": lambda: f"[{inner()} for c in {inner()} if {inner()}]",
            "pairs": lambda: f"{{{inner()}: {inner()} for c in {inner()}}}",
            "filter": lambda: f"(({inner()}) | {draw(st.sampled_from(sorted(functions.FILTERS)))})",
            "filter of": lambda: f"(({inner()}) | {draw(st.sampled_from(sorted(functions.FILTERS)))}({inner()}))",
            "call": lambda: f"{draw(st.sampled_from([*functions.FUNCTIONS, *functions.LOOKUPS]))}({inner()})",
            "method": lambda: f"({inner()}).{draw(st.sampled_from(sorted(functions.METHODS)))}({inner()})",
        }
        return forms[draw(st.sampled_from(sorted(forms)))]()

    return make(depth)


SIGNS = [
    *BINARY,
    *NAMES,
    *CONSTANTS,
    *"()[]{}.,:='\"\\#$;`@!?~^&é\u200b\x00\ud800\n\t ",
    "${{",
    "}}",
    "**",
    "//",
    "<<",
    ":=",
    "lambda x: x",
    "f'a'",
    "b'a'",
    "*a",
    "**a",
    "__class__",
    "_x",
    "is",
    "None",
    "True",
    "yield",
    "await",
    "for",
    "if",
    "else",
    "class",
    "1j",
    "0x1",
    "1_0",
    "1e999",
    "7d",
    "\\ud800",
    "'\\U0000d800'",
    "'\\N{DASH}'",
    "...",
    ".format(a)",
]


@st.composite
def mutated(draw):
    text = draw(expressions())
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        text = text[:start] + draw(st.sampled_from(SIGNS)) + text[start + draw(st.integers(0, 4)) :]
    return text


soup = st.lists(st.sampled_from(SIGNS), max_size=25).map(" ".join)


def compiled(text, compile=compile_expression):
    """Compile, or give None where the text is refused with its place."""
    try:
        return compile(text)
    except ExpressionError as error:
        inside = 0 <= error.offset <= len(text) and error.offset + error.length <= len(text) + 1
        span = Span("w.yaml", 1, error.offset + 1, 1, error.offset + error.length + 1)
        render(Problem(error.code, error.message, span, error.hint, text)).encode()
        if not inside:
            pytest.fail(f"{error.offset} and {error.length} are not in {text!r}")
        return None


def check_evaluation(text, names):
    expression = compiled(text)
    if expression is None:
        return
    for evaluate in (expression.evaluate, expression.trace, expression.test):
        try:
            found = evaluate(scope(**names))
        except EvaluationError as error:
            if not error.message or not 0 <= error.offset <= len(text):
                pytest.fail(f"{error.message} at {error.offset} is not in {text!r}")
        except NeedLookup:
            pass
        else:
            check_result(found if evaluate == expression.evaluate else found.values)


def check_result(value):
    """Whatever comes of an expression can be kept as JSON, and shown or refused."""
    json.loads(dumps(value) if is_finite(value) else "0")
    for show in (render_value, render_markdown):
        try:
            shown = show(value, "America/New_York")
        except EvaluationError:
            continue
        assert isinstance(shown, str)
        assert isinstance(value, str) or len(shown) <= MOST_TEXT


def is_finite(value):
    """JSON has no NaN, and neither has data from outside; they are among the hostile values all the same."""
    if isinstance(value, float):
        return math.isfinite(value)
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return all(map(is_finite, inside))


@hostile(400)
@given(st.one_of(soup, st.text(max_size=60)))
def test_any_text_is_an_expression_or_is_refused_with_a_place(text):
    compiled(text)
    compiled(text, compile_text)


@hostile(400)
@given(mutated(), st.fixed_dictionaries({"a": values, "b": values}))
def test_a_damaged_expression_is_refused_or_evaluated(text, names):
    check_evaluation(text, names)


@hostile(500)
@given(expressions(), st.fixed_dictionaries({"a": values, "b": values}))
@example("instant(a)", {"a": "9999-12-31T23:59:59-05:00"})
@example("[[a, a], [a, a]]", {"a": [[1]]})
def test_an_expression_gives_a_value_or_its_own_error_whatever_it_reads(text, names):
    check_evaluation(text, names)


@hostile(200)
@given(expressions(depth=2), expressions(depth=2), st.fixed_dictionaries({"a": values, "b": values}))
def test_a_text_with_expressions_gives_a_text_or_its_own_error(first, second, names):
    text = compiled(f"x ${{{{ {first} }}}} y ${{{{ {second} }}}}", compile_text)
    if text is None:
        return
    for markdown in (False, True):
        try:
            assert isinstance(text.evaluate(scope(**names), markdown=markdown), str)
        except (EvaluationError, NeedLookup):
            continue


@pytest.mark.parametrize(
    "text",
    [
        'instant("9999-12-31T23:59:59-05:00")',
        'instant("0001-01-01T00:00:00+14:00")',
        'duration("99999999999d")',
        "x + x",
    ],
)
def test_what_nothing_can_keep_is_refused(text):
    with pytest.raises(EvaluationError, match="must"):
        compile_expression(text).evaluate(scope(x="a" * 200_000))


@pytest.mark.parametrize("escape", ["\\U0000d800", "\\u\\ud800", "\\uDFFF", "\\U0000DCBA", "\\ud83d\\ude00"])
def test_half_a_character_cannot_be_written(escape):
    with pytest.raises(ExpressionError, match="stands for nothing"):
        compile_expression(f'"{escape}"')


def test_a_value_that_stands_for_more_than_can_be_written_down_is_refused():
    text = "[1]"
    for _ in range(40):
        text = f"[[x, x] for x in {text}]"
    with pytest.raises(EvaluationError, match="must not hold more than"):
        compile_expression(text).evaluate(scope())
    trace = compile_expression(f"({text}) | length").trace(scope())
    assert max(len(str(value)) for value in trace.values.values()) < 100


def test_a_value_that_is_nested_too_deeply_to_be_written_down_is_refused():
    deep = [[[[]]]]
    for _ in range(100):
        deep = [[deep]]
    with pytest.raises(EvaluationError, match="nested more than 200 deep"):
        compile_expression("a").evaluate(scope(a=deep))


def test_an_instant_of_the_last_year_is_shown_in_every_zone():
    last = compile_expression('instant("9999-12-31T23:59:59+00:00")').evaluate(scope())
    assert render_value(last, "Asia/Tokyo") == "9999-12-31T23:59:59+00:00"


def test_no_expression_takes_more_time_or_memory_than_a_bound():
    in_child("bombs_expressions.py", seconds=6, memory=700)
