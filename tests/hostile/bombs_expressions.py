"""Expressions that would take all time or memory: each is a case with a bound. Run by test_hostile_expressions."""

from contextlib import suppress

from hostile_bounds import case
from hostile_values import doubled, nested, scope

from engine.store.codec import dumps
from engine.workflow.expressions import (
    EvaluationError,
    ExpressionError,
    NeedLookup,
    compile_expression,
    compile_text,
)
from engine.workflow.scope import MOST_TEXT


def value(text, **names):
    with suppress(ExpressionError, EvaluationError, NeedLookup):
        found = compile_expression(text).evaluate(scope(**names))
        assert len(dumps(found)) < 2**26, text
        assert not isinstance(found, str) or len(found) <= MOST_TEXT or found in names.values(), text
        compile_expression(text).trace(scope(**names))


def in_text(text):
    with suppress(ExpressionError, EvaluationError):
        compile_text(text).evaluate(scope(a=long))


many, long = list(range(9_999)), "a" * 250_000
longs = [long + str(n) for n in range(200)]
pair = "[1]"
for _ in range(46):
    pair = f"[[x, x] for x in {pair}]"
for tail in (
    "",
    " == 1",
    " | unique",
    ' | group("a")',
    " | length",
    " | join",
    " | sort",
    " | sum",
    " | max",
    " | first",
):
    case(f"a list of lists in lists{tail}", value, f"({pair}){tail}")
case("the same on both sides", value, f"{pair} == {pair}")
for text in (
    "[[[z for x in z] for y in z] for w in z]",
    "[x + y for x in z]",
    "z + z + z + z",
    "[z == z for x in z]",
    "[z in [z, z] for x in z]",
    "[z | sort for x in z]",
    "[z | join for x in z]",
    "[z | unique for x in z]",
    "{x: z for x in z}",
    "[tickets() for x in z]",
    "[tickets() | length for x in z]",
    "[now() for x in z]",
    "[events('a') for x in z]",
    "[{x: x} | length for x in z]",
):
    case(text, value, text, z=many, y=1)
for text in (
    "x + x",
    "[x + x for y in z]",
    "[x.replace('a', x) for y in z]",
    "[x.upper() for y in z]",
    "[x.split('a') for y in z]",
    "[x in (x + 'b') for y in z]",
    "[x[0:] for y in z]",
    "[x | escape for y in z]",
    "[x | markdown for y in z]",
    "x.replace('', x)",
    "[x for y in z] | join(x)",
    "[x.strip(x) for y in z]",
    "[x.startswith(x) for y in z]",
    "[x < x for y in z]",
    "[(x + 'b') < (x + 'c') for y in z]",
):
    case(text, value, text, z=many, x=long)
for text in ("[x in z for x in z]", "z | unique | length", "z | sort", "z | group('a')", "z | join", "z == z"):
    case(f"long texts: {text}", value, text, z=longs)
for shape in (doubled(60), nested(100_000, lambda v: [v]), nested(100_000, lambda v: {"a": v})):
    for text in (
        "z",
        "z == z",
        "[z] | unique",
        "z in [z]",
        "[z, z] | sort",
        "z | escape",
        "{1: z}",
        "[[x] for x in z]",
    ):
        case(f"a shape in {text}", value, text, z=shape)
for text in (
    "[" * 1999 + "]" * 1999,
    "(" * 1999 + "1" + ")" * 1999,
    "-" * 3999 + "1",
    "not " * 990 + "a",
    "1" + "+1" * 1900,
    "a" + ".a" * 1900,
    "a" + "[0]" * 1200,
    "a" + "|first" * 600,
    "1 if a else " * 300 + "1",
    "{1:" * 900 + "1" + "}" * 900,
    "a" + " and a" * 600,
    "a" + " < a" * 900,
    '"' * 4000,
    "'" + "\\\\" * 1999 + "'",
    "\\" * 4000,
    "9" * 3999,
    "1e" + "9" * 3990,
    " " * 5_000_000,
    "${{" * 1300,
    "a" * 1_000_000,
    "[x for x in " * 200 + "a" + "]" * 200,
    "'a' " * 900,
    "0." + "0" * 3900 + "1",
    "a ? " * 900,
    "a=" * 1900,
    "x" + "(" * 1900,
    "f(" * 1000 + ")" * 1000,
):
    case(text[:30], value, text, a=[])
for text in (
    "${{ a }}" * 100_000,
    "${{" * 300_000,
    "$${{" * 300_000,
    "${{ '" * 200_000,
    "{" * 1_000_000,
    "${{ {" * 200_000,
):
    case(f"in a text: {text[:20]}", in_text, text)
