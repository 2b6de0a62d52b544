"""Templates that would take all time or memory: each is a case with a bound. Run by test_hostile_templates."""

from contextlib import suppress

from hostile_bounds import ASKED, case, largest
from hostile_values import doubled, nested, scope

from engine.workflow.expressions import NeedLookup
from engine.workflow.templates import TemplateProblem, compile_template


def render(text, **names):
    with suppress(TemplateProblem, NeedLookup):
        found = compile_template("t", {"t": text}).render(scope(**names))
        assert len(found) <= 256 * 1024
    assert largest() < 500, "more than 500 MiB"


#: Large sources are an eighth as large in `make test`.
PART = 1 if ASKED else 8
LOOP = "{% for i in range(10000) %}"
END = "{% endfor %}"
NEST = "{% set n = namespace(x=START) %}{% for i in range(9000) %}{% set n.x = STEP %}{% endfor %}{{ n.x USE }}"


def grown(start, step, use):
    return NEST.replace("START", start).replace("STEP", step).replace("USE", use)


for text in (
    LOOP * 3 + END * 3,
    LOOP * 3 + "{% set x = i %}" + END * 3,
    LOOP * 2 + "x" * 900 + END * 2,
    LOOP * 2 + "{{ tickets() | length }}" + END * 2,
    LOOP + "{{ tickets() | sort(by='title') | length }}" + END,
    LOOP + "{{ 'x' | center(1000) }}" + END,
    "{% set x %}" + LOOP + "x" * 100_000 + END + "{% endset %}",
    LOOP + "{% set x = 'x' | center(1000) %}" + END,
    "{% macro m() %}" + "x" * 9000 + "{% endmacro %}" + LOOP + "{% set x = m() %}" + END,
    "{% macro m() %}" + LOOP + END + "{% endmacro %}" + LOOP + "{{ m() }}" + END,
    "{% set x %}" + "x" * 200_000 + "{% endset %}" + LOOP + "{% set y = x ~ x %}" + END,
    "{% set x %}" + "x" * 120_000 + "{% endset %}" + LOOP + "{% set y = x | upper | lower | title %}" + END,
    "{% set x %}" + "a " * 100_000 + "{% endset %}" + LOOP + "{{ x | wordcount }}{{ x | int }}" + END,
    "{% set x %}" + "1" * 200_000 + "{% endset %}{{ x | int }}{{ x | float }}",
    "{{ " + "'x' ~ " * 20_000 + "'x' }}",
    "{{ range(10 ** 9) }}{{ range(-(10 ** 18), 10 ** 18) }}",
    "{{ range(10 ** 18) | length }}",
    "{{ 'a' * 10 ** 9 }}",
    "{{ 2 ** 10 ** 9 }}{{ 9 ** 9 ** 9 }}",
    "{{ 'a' | center(10 ** 9) }}",
    "{{ '%1000000000d' | format(1) }}",
    "{{ '%.1000000000f' | format(1.0) }}",
    "{{ '%*d' | format(10 ** 9, 1) }}",
    "{{ '%(a)1000000000d' | format(a=1) }}",
    "{{ '%999d' * 1 | format(1) }}",
    "{{ ('%999d' | center(1000) | replace(' ', '%999d')) | format(1) }}",
    "{{ 'a' | indent(10 ** 9) }}",
    "{{ 'a' | truncate(10 ** 18) }}",
    "{{ 1 | round(10 ** 9) }}",
    "{{ ['a'] | map('center', 10 ** 9) | list }}",
    "{{ [10 ** 9] | map('range') | list }}",
    "{{ [[1, 2]] | map(' each', -10 ** 12) | list }}" + LOOP * 4 + END * 4,
    "{{ 'a' | replace('', 'a' | center(1000)) | replace('', 'a' | center(1000)) }}",
):
    case(text[:90], render, text)
for start, step, use in (
    ("'a'", "n.x ~ n.x", "| length"),
    ("[1]", "n.x + n.x", "| length"),
    ("[1]", "[n.x, n.x]", "| unique"),
    ("[1]", "[n.x, n.x]", "== n.x"),
    ("[1]", "[n.x, n.x]", "| string"),
    ("[1]", "[n.x, n.x]", "| join"),
    ("[1]", "[n.x, n.x]", "| sort"),
    ("[1]", "[n.x, n.x]", "| group('a')"),
    ("[1]", "[n.x]", "== n.x"),
    ("[1]", "[n.x]", "| unique"),
    ("{'a': 1}", "{'a': n.x, 'b': n.x}", "| dictsort(by='value') | length"),
    ("'|'", "n.x | e | string", "| length"),
    ("'|'", "n.x | replace('|', '||')", "| length"),
    ("2", "n.x * n.x", ""),
    ("2", "n.x ** 2", ""),
):
    case(f"{start} {step} {use}", render, grown(start, step, use))
for text in (
    "{{ " + "(" * (3000 // PART) + ")" * (3000 // PART) + " }}",
    "{{ " + "[" * (3000 // PART) + "]" * (3000 // PART) + " }}",
    "{{ " + "-" * (50_000 // PART) + "1 }}",
    "{{ " + "not " * (20_000 // PART) + "1 }}",
    "{{ a" + ".a" * (20_000 // PART) + " }}",
    "{{ 1" + " + 1" * (20_000 // PART) + " }}",
    "{{ a" + " | e" * (20_000 // PART) + " }}",
    "{{ 1" + " if 1 else 1" * (5000 // PART) + " }}",
    "{{ a" + "[0]" * (20_000 // PART) + " }}",
    "{% if 1 %}" * (2000 // PART) + "{% endif %}" * (2000 // PART),
    "{% if 1 %}x" + "{% elif 1 %}x" * (5000 // PART) + "{% endif %}",
    "{% for a in [1] %}" * 100 + "{% endfor %}" * 100,
    "{% set x %}" * (2000 // PART) + "{% endset %}" * (2000 // PART),
    "{% filter upper %}" * (2000 // PART) + "{% endfilter %}" * (2000 // PART),
    "{% macro a() %}" * (1000 // PART) + "{% endmacro %}" * (1000 // PART),
    "{% call x() %}" * (1000 // PART) + "{% endcall %}" * (1000 // PART),
    "{{ a }}" * (30_000 // PART),
    "{% set a = 1 %}" * (15_000 // PART),
    "{#" * (100_000 // PART),
    "{%" * (100_000 // PART),
    "{{" * (100_000 // PART),
    "{{ '" + "a" * (200_000 // PART),
    "\n" * (200_000 // PART) + "{{ x }}",
    "x" * (262_145 // PART),
    "{{ " + "a" * (200_000 // PART) + " }}",
    "{% raw %}" * (20_000 // PART),
):
    case(f"source: {text[:60]!r}", render, text, a=[])
for shape in (doubled(60), nested(50_000, lambda value: [value])):
    for use in (
        "a",
        "a | unique",
        "a == a",
        "a | string",
        "'%s' | format(a)",
        "{'k': a} | items",
        "a | map('length') | list",
        "a | list",
    ):
        case(f"a shape: {use}", render, "{{ " + use + " }}", a=shape)
