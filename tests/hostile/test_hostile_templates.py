"""Templates reach nothing but what they are given, and end: with Markdown or with an error that has a line."""

import pytest
from hostile_bounds import hostile, in_child
from hostile_values import scope, values
from hypothesis import given
from hypothesis import strategies as st

from engine.workflow import functions
from engine.workflow.expressions import NeedLookup
from engine.workflow.rendering import Markup
from engine.workflow.sandbox import Sandbox
from engine.workflow.scope import MOST_TEXT
from engine.workflow.templates import TemplateProblem, compile_template


def rendered(text, **names):
    """Give the Markdown, or None where the template is refused with its line."""
    try:
        found = compile_template("t", {"t": text, "u": "{% macro m(x) %}{{ x }}{% endmacro %}u"}).render(scope(**names))
    except TemplateProblem as problem:
        if not problem.message or not 1 <= problem.line <= text.count("\n") + 1:
            pytest.fail(f"{problem.message} at {problem.line} is not in {text!r}")
        return None
    except NeedLookup:
        return None
    assert isinstance(found, Markup)
    assert len(found) <= MOST_TEXT
    return found


#: The tricks that have led out of Jinja's sandbox, or out of what templates are meant to reach.
ESCAPES = [
    "''.__class__",
    "''['__class__']",
    "''|attr('__class__')",
    "[].__class__.__mro__",
    "().__class__.__base__.__subclasses__()",
    "{}.__class__.__init__.__globals__",
    "self.__init__.__globals__",
    "self._TemplateReference__context",
    "self['__class__']",
    "cycler.__init__.__globals__.os.popen('id').read()",
    "joiner.__init__.__globals__",
    "namespace.__init__.__globals__",
    "lipsum.__globals__['os']",
    "url_for.__globals__",
    "range.__self__",
    "dict.__mro__",
    "dict(a=1).__class__",
    "now.__globals__",
    "now.func",
    "person.args",
    "tickets.keywords",
    "'{0.__class__}'.format(1)",
    "'{}'.format_map({})",
    "''.format.__self__",
    "'%s'.__mod__(1)",
    "''.join.__self__",
    "incident.__dict__",
    "incident._x",
    "incident['__class__']",
    "incident|attr('title')",
    "[incident]|map(attribute='__class__')|list",
    "[incident]|map(attribute='title.__class__')|list",
    "[incident]|map('attr','title')|list",
    "[incident]|groupby('__class__')",
    "[incident]|selectattr('__class__')|list",
    "[incident]|sum(by='__class__')",
    "[incident]|sort(attribute='__class__')",
    "[incident]|rejectattr('roles.__class__')|list",
    "[incident]|unique('_x')",
    "[[1]]|map(attribute='append')|list",
    "incident.labels.append(1)",
    "data.update({'a': 1})",
    "data.clear()",
    "vars.pop('x')",
    "[].append(1)",
    "loop.__class__",
    "caller.__globals__",
    "super.__globals__",
    "config",
    "request",
    "environment",
    "__builtins__",
    "__import__('os')",
    "open('/etc/passwd')",
    "eval('1')",
    "namespace(a=1).__class__",
    "namespace(a=1)._a",
    "''.__getattribute__('x')",
    "1 .__class__",
    "true.__class__",
    "null.__class__",
    "incident.title.__class__",
    "now().__class__",
    "now().tzinfo",
    "now().strftime('%Y')",
    "now().replace(year=1)",
    "(1.5).as_integer_ratio()",
    "'a'.encode()",
    "ticket.__init__",
    "[[1,2]]|map(' each', -1000000000000)|list",
    "[1]|map(' markup')|list",
    "[1]|map(' look up', 'find', [])|list",
    "'x'| each(1)",
    "[1]|map(' concat')|list",
    "cycler(1).__init__",
    "cycler(1).items",
    "joiner().used",
    "range(3).count",
    "cycler()",
    "[1]|random",
    "'x'|pprint",
    "incident|tojson",
    "incident|pprint",
    "[1]|xmlattr",
    "'a'|urlize",
    "'a'|wordwrap",
    "lipsum()",
    "dict|map('x')|list",
]


@pytest.mark.parametrize("trick", ESCAPES)
def test_no_trick_leads_out_of_the_sandbox(trick):
    found = rendered("{{ " + trick + " }}", x=1)
    assert found is None, found


@pytest.mark.parametrize(
    "text",
    [
        "{% import 'os' as os %}",
        "{% include '/etc/passwd' %}",
        "{% include '../t' %}",
        "{% extends 't' %}",
        "{% include 't' %}",
        "{% include 'a' ~ 'b' %}",
        "{% include ['t', 'u'] %}",
        "{% from 'u' import _x %}",
        "{% import vars.x as x %}",
        "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro a(b) %}{{ b(a, b) }}{% endmacro %}{% macro c(d, e) %}{{ d(c) }}{% endmacro %}{{ a(c) }}",
        "{% block a %}{{ self.a() }}{% endblock %}",
        "{% autoescape false %}x{% endautoescape %}",
        "{% do x %}",
        "{% debug %}",
        "{% set x = namespace(a=1) %}{{ x.__class__ }}",
        "{% call(c) incident.__class__() %}{% endcall %}",
    ],
)
def test_no_statement_leads_out_of_the_sandbox_or_to_itself(text):
    assert rendered(text) is None


def test_nothing_is_there_but_what_was_looked_at():
    """Whoever adds a name here has made sure that it neither reaches into objects nor grows without bounds."""
    sandbox = Sandbox({})
    shown = {name for name in sandbox.filters if not name.startswith(" ")}
    ours = {*functions.FUNCTIONS, *functions.LOOKUPS, "null", "range", "cycler", "namespace", "joiner", "dict"}
    assert (shown - set(functions.FILTERS), set(sandbox.globals)) == (set(FILTERS.split()), ours)


FILTERS = (
    "abs capitalize center count d dictsort e float format indent int items list lower map reject rejectattr replace "
    "reverse round select selectattr string title trim truncate upper wordcount"
)
SIGNS = [
    "{{ ",
    " }}",
    "{% ",
    " %}",
    "{# ",
    " #}",
    "{%- ",
    " -%}",
    "a",
    "b",
    "incident",
    "incident.title",
    "ticket.assignee",
    "event.data",
    "x",
    " | ",
    "upper",
    "join",
    "first",
    "e",
    "markdown",
    "map('upper')",
    "list",
    "sort",
    "length",
    "default(1)",
    "group('id')",
    "center(9)",
    "indent",
    "round",
    "int",
    "float",
    "format(a)",
    "replace('a', 'b')",
    "dictsort",
    "items",
    "selectattr('id')",
    "sum",
    "unique",
    "min",
    "for i in a",
    "for i in range(9)",
    "for i, j in b",
    "endfor",
    "if a",
    "elif b",
    "else",
    "endif",
    "set x = a",
    "set x",
    "endset",
    "macro m(x)",
    "endmacro",
    "m(a)",
    "call m(1)",
    "endcall",
    "caller()",
    "block y",
    "endblock",
    "self.y()",
    "include 'u'",
    "import 'u' as u",
    "u.m(1)",
    "from 'u' import m",
    "extends 'u'",
    "with a = 1",
    "endwith",
    "filter upper",
    "endfilter",
    "raw",
    "endraw",
    "loop.index",
    "loop",
    "namespace(a=1)",
    "cycler(a, b).next()",
    "range(a)",
    "1",
    "0",
    "-1",
    "1.5",
    "'s'",
    '"',
    "'",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    ",",
    ":",
    ".",
    " + ",
    " - ",
    " * ",
    " / ",
    " // ",
    " % ",
    " ** ",
    " ~ ",
    " == ",
    " < ",
    " in ",
    " not ",
    " and ",
    " is ",
    "defined",
    "odd",
    "\n",
    "# h\n",
]
soup = st.lists(st.sampled_from(SIGNS), max_size=25).map("".join)
filters = sorted(name for name in Sandbox({}).filters if not name.startswith(" "))
outputs = st.builds(
    lambda value, names: "{{ " + " | ".join([value, *names]) + " }}",
    st.sampled_from(
        [
            "a",
            "b",
            "[a, b]",
            "{'k': a}",
            "a ~ b",
            "a[b]",
            "range(5)",
            "incident",
            "[incident, ticket]",
            "a + b",
            "a ** b",
            "a // b",
        ]
    ),
    st.lists(
        st.builds(
            lambda name, given: name + given,
            st.sampled_from(filters),
            st.sampled_from(
                [
                    "",
                    "",
                    "()",
                    "(a)",
                    "(b, a)",
                    "(attribute='id')",
                    "(by='id')",
                    "('upper')",
                    "(10)",
                    "(x=1)",
                    "(1, 2, 3)",
                ]
            ),
        ),
        max_size=3,
    ),
)


@hostile(400)
@given(soup, values, values)
def test_any_template_is_rendered_or_refused_with_its_line(text, a, b):
    rendered(text, a=a, b=b)


@hostile(500)
@given(outputs, values, values)
def test_any_filters_over_any_values_give_markdown_or_an_error_with_its_line(text, a, b):
    rendered(f"x\n{text}\n", a=a, b=b)


@pytest.mark.parametrize(
    "output",
    [
        "'a' | center(1001)",
        "'a' | indent(101)",
        "'a' | truncate(-1)",
        "1.5 | round(16)",
        "'%1000d' | format(1)",
        "'%*d' | format(9, 1)",
        "'%d' | format(a)",
        "'%c' | format(10 ** 18)",
        "range(10001)",
        "2 ** 65",
        "cycler()",
        "1 / 0",
    ],
)
def test_what_would_grow_or_has_no_value_is_refused(output):
    assert rendered("{{ " + output + " }}", a=float("inf")) is None


def test_no_template_takes_more_time_or_memory_than_a_bound():
    in_child("bombs_templates.py", seconds=8, memory=700)
