"""Templates: ordinary Jinja2 in the scope of expressions, escaped for Markdown, counted, and closed to the outside."""

import pytest
from expression_world import ADA, FakeWorld, scope
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.workflow.expressions import Markup, NeedLookup
from engine.workflow.templates import TemplateProblem, compile_template


def render(source, data=None, world=None, **others):
    return compile_template("main", {"main": source, **others}).render(scope(world), data)


def problem(source, data=None, world=None, **others):
    with pytest.raises(TemplateProblem) as caught:
        render(source, data, world, **others)
    return caught.value


# --- the scope -------------------------------------------------------------------------------------------------------


def test_a_template_reads_the_scope_and_its_data():
    assert render("{{ incident.key }} {{ n }} {{ data.n }}", {"n": 3}) == "INC-1 3 3"
    assert render("{{ incident.key }}", {"incident": {"key": "own"}}) == "own"


def test_null_and_times_are_rendered_as_in_texts():
    assert render("[{{ null }}{{ incident.url }}{{ incident.roles.scribe.name }}]") == "[]"
    assert render("{{ incident.resolved_at }} {{ incident.resolved_at | local }}") == (
        "2026-03-02T10:00:00+01:00 Mon 2 Mar 2026 10:00 CET"
    )
    assert render("{{ true }} {{ ticket.assignee }} {{ ticket.idle }}") == "true Ada 8d"


def test_operators_follow_the_rules_of_expressions():
    assert render("{{ ticket.idle > '7d' }} {{ null < 3 }} {{ 'a' in null }} {{ null + 1 }}") == "true false false "
    assert render("{{ 1 < 2 < 3 }} {{ incident.resolved_at + '5bd' | markdown }}").startswith("true 2026-03-09")
    assert render("{% if incident.team or ticket.done %}x{% else %}y{% endif %}") == "y"
    assert render("{{ [1, 2, 3][1:] | join }} {{ 7 // 2 }} {{ 2 ** 3 }} {{ -3 }}") == "2, 3 3 8 -3"


def test_filters_are_ours_in_place_of_those_of_jinja():
    assert render("{{ nothing | default('x') }} {{ null | default('y') }} {{ [] | first }}") == "x y "
    assert render("{{ incident.participants | join(', ') }} {{ [3, 1] | sort | join }}") == "Ada, Grace 1, 3"
    assert render("{{ tickets() | map(attribute='key') | join('; ') }}") == "HW-1; HW-2; HW-3"
    assert (
        render("{% for g in tickets() | group('team') %}{{ g.key }}:{{ g.list | length }} {% endfor %}")
        == "sre:2 web:1 "
    )
    assert render("{{ tickets() | sort(attribute='title') | map(attribute='key') | first }}") == "HW-2"
    assert render("{{ tickets() | selectattr('done') | list | length }}") == "1"


def test_functions_and_look_ups_are_there():
    world = FakeWorld()
    assert render("{{ team('sre').lead.name }} {{ now() | ago }} {{ tickets(team='sre') | length }}", world=world) == (
        "Ada just now 123456"
    )
    assert world.asked == [("count", "ticket", {"team": "sre"})]


def test_a_vendor_look_up_is_asked_for_and_answered():
    with pytest.raises(NeedLookup):
        render("{{ on_call('checkout').name }}")
    assert render("{{ on_call('checkout').name }}", world=FakeWorld(answers={("checkout", None): ADA})) == "Ada"


def test_ordinary_jinja_works():
    assert render("{% for x in [1, 2] %}{{ loop.index }}{{ ',' if not loop.last }}{% else %}none{% endfor %}") == "1,2"
    assert render("{% for x in null %}a{% else %}none{% endfor %}") == "none"
    assert render("{% set a = 'x' %}{% set b %}*{{ a }}*{% endset %}{{ b }}{# no #}") == "*x*"
    assert render("{% for k, v in m.items() %}{{ k }}={{ v }};{% endfor %}", {"m": {"a": 1}}) == "a=1;"
    assert render("{{ 'abc'.upper() }} {{ 'a b' | title }} {{ '%s-%03d' | format('x', 7) }}") == "ABC A B x-007"
    assert render("{% block a %}x{% endblock %}{{ self.a() }}") == "xx"
    assert (
        render("{% set ns = namespace(n=0) %}{% for x in [1, 2] %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}")
        == "3"
    )


def test_templates_include_import_and_extend_one_another():
    assert render("{% include 'b' %}", b="B {{ incident.key }}") == "B INC-1"
    assert (
        render("{% import 'b' as b %}{{ b.m(1) }}", b="{% macro m(x) %}{{ x }} {{ incident.key }}{% endmacro %}")
        == "1 INC-1"
    )
    assert render("{% from 'b' import m %}{{ m() }}", b="{% macro m() %}m{% endmacro %}") == "m"
    base = "<{% block a %}base{% endblock %}>"
    assert render("{% extends 'base' %}{% block a %}{{ super() }}!{% endblock %}", base=base) == "<base!>"


def test_a_template_says_what_it_includes_and_reads():
    found = compile_template(
        "main",
        {"main": "{% include 'b' %}{{ incident.key }}{{ data.x }}{{ now() }}", "b": "{{ n }}", "other": "{{ z }}"},
    )
    assert found.names == {"main", "b"}
    assert found.undeclared == {"incident", "n"}


def test_nothing_is_kept_from_one_rendering_to_the_next():
    template = compile_template("main", {"main": "{% import 'b' as b %}{{ b.x }}", "b": "{% set x = incident.key %}"})
    assert template.render(scope()) == "INC-1"
    assert template.render(scope(incident={"key": "INC-2"})) == "INC-2"


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("{{ ticket.assignee | upper }} {{ incident | lower }}", "ADA checkout \\| down"),
        ("{{ null | upper }}{{ null | trim }}{{ null | wordcount }}", ""),
        ("{{ 'one two three four' | truncate(9, leeway=0) }}", "one..."),
        ("{{ 'abc' | truncate(1, leeway=0) }}", "..."),
        ("{{ 'a b' | wordcount }} {{ 'x' | center(3) }}|{{ 3.7 | round | int }}", "2  x |4"),
        ("{{ 'a\nb' | markdown | indent(2) }}", "a\n  b"),
        ("{{ {'b': 1, 'a': 2} | dictsort | first | first }} {{ [1, 2] | reverse | join }}", "a 2, 1"),
    ],
)
def test_filters_of_jinja_take_values_as_they_are_rendered(source, result):
    assert render(source) == result


# --- Markdown --------------------------------------------------------------------------------------------------------


def test_values_are_escaped_and_the_template_is_not():
    found = render("# {{ incident.title }}\n| {{ x }} |", {"x": "a\n| pay me | ceo |"})
    assert found == "# checkout \\| down\n| a \\| pay me \\| ceo \\| |"
    assert isinstance(found, Markup)


def test_markdown_goes_through_where_it_was_asked_for():
    assert render("{{ incident.title | markdown }}") == "checkout | down"


def test_what_macros_and_blocks_put_out_is_not_escaped_twice():
    assert (
        render("{% macro row(x) %}| {{ x }} |{% endmacro %}{{ row('a|b') }} {{ row('c') | trim }}") == "| a\\|b | | c |"
    )
    assert render("{% macro b() %}[{{ caller() }}]{% endmacro %}{% call b() %}`x`{% endcall %}") == "[`x`]"
    assert render("{% set x %}`{{ incident.key }}`{% endset %}{{ x }}{{ x ~ '|' }}") == "`INC-1``INC-1`\\|"


def test_a_separator_written_in_the_template_is_kept():
    assert render("- {{ x | join('\n- ') }}", {"x": ["a|b", "c"]}) == "- a\\|b\n- c"


def test_a_title_that_looks_like_a_template_or_a_list_stays_text():
    assert render("{{ x }}", {"x": "{{ 1 + 1 }}"}) == "{{ 1 + 1 }}"
    assert render("{{ x }}", {"x": "['a']"}) == "\\['a'\\]"


# --- problems --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ nobody }}", "nothing is called 'nobody' here"),
        ("{{ nobody.x }}", "nothing is called 'nobody' here"),
        ("{% if nobody == 3 %}{% endif %}", "nothing is called 'nobody' here"),
        ("{{ nobody | upper }}", "nothing is called 'nobody' here"),
        ("{{ incident.nope }}", "an incident has no field 'nope'"),
        ("{{ incident.services }}", "a list cannot stand in a text: use '| join'"),
        ("{{ tickets(colour=1) }}", "'tickets' cannot be narrowed by 'colour'"),
        ("{{ 'a' * 3 }}", "not a text and a number"),
        ("{{ 1 / 0 }}", "divided by 0"),
        ("{{ incident.key() }}", "a text cannot be called"),
        ("{{ [1, 'a'] | sort }}", "'sort' takes values of one kind"),
        ("{{ 'x' | first(1) }}", "'first' takes no arguments, not 1"),
        ("{{ range }}", "cannot stand in a text"),
        ("{% for x in 'abc' %}{% endfor %}", "must be a list, not a text"),
    ],
)
def test_a_problem_at_rendering_names_template_and_line(source, message):
    found = problem(f"one\n\n{source}")
    assert message in found.message
    assert (found.name, found.line) == ("main", 3)


def test_a_problem_in_an_included_template_names_that_one():
    found = problem("\n\n{% include 'b' %}", b="x\n{{ incident.nope }}")
    assert (found.name, found.line) == ("b", 2)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% if %}", "expected an expression"),
        ("{% nope %}", "unknown tag 'nope'"),
        ("{{ x | nope }}", "no filter is called 'nope'"),
        ("{{ x | lenght }}", "did you mean 'length'?"),
        ("{{ x | attr('y') }}", "no filter is called 'attr'"),
        ("{% for x in y recursive %}{% endfor %}", "a 'for' must not be recursive"),
        ("{% autoescape true %}{% endautoescape %}", "'autoescape' has no meaning here"),
        ("{% include x %}", "a template is named by one literal text"),
        ("{% include ['a', 'b'] %}", "a template is named by one literal text"),
        ("{% include 'c' %}", "no template is called 'c'"),
        ("{% extends 'c' %}", "no template is called 'c'"),
        ("{% include 'main' %}", "a template must not include itself: main → main"),
        ("{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}", "too deep"),
    ],
)
def test_a_problem_in_the_text_is_found_when_compiling(source, message):
    with pytest.raises(TemplateProblem) as caught:
        compile_template("main", {"main": f"one\n{source}"})
    assert message in caught.value.message
    assert caught.value.name == "main"


def test_templates_that_include_one_another_in_a_circle_are_refused():
    found = problem("{% include 'b' %}", b="{% include 'c' %}", c="{% include 'b' %}")
    assert found.message == "a template must not include itself: main → b → c → b"


# --- bounds and the sandbox ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}", "too many steps"),
        ("{% for i in range(9999) %}" + "x" * 100 + "{% endfor %}", "256 KiB"),
        ("{% set a %}{% for i in range(9999) %}" + "x" * 9000 + "{% endfor %}{% endset %}", "too many steps"),
        ("{{ 'x' * 1000000000 }}", "not a text and a number"),
        ("{{ 9 ** 9 ** 9 }}", "between -2^63 and 2^63"),
        ("{{ 9 ** 99 }}", "at most 64"),
        ("{{ '%1000000d' | format(1) }}", "a width in 'format'"),
        ("{{ '%*d' | format(9999999, 1) }}", "a width in 'format'"),
        ("{{ 'a' | center(100000) }}", "from 0 to 1000"),
        ("{{ 'a' | indent(100000) }}", "from 0 to 100"),
        ("{{ 1 | round(100000) }}", "from 0 to 15"),
        ("{{ range(1000000) | list | length }}", "10,000 items"),
        ("{{ range(0, 9, 0) | list }}", "must not be 0"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "the macro 'm' must not call itself"),
        (
            "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
            "must not call itself",
        ),
        ("{% block a %}{{ self.a() }}{% endblock %}", "too deep"),
        ("{% set n = namespace(x='ab') %}{% for i in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}", "256 KiB"),
        ("{% set n = namespace(x='ab') %}{% for i in range(40) %}{% set n.x = n.x + n.x %}{% endfor %}", "256 KiB"),
        (
            "{% set n = namespace(x='ab') %}"
            "{% for i in range(40) %}{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}{% endfor %}",
            "256 KiB",
        ),
        ("{% set n = namespace(x=[1]) %}{% for i in range(40) %}{% set n.x = n.x + n.x %}{% endfor %}", "10,000 items"),
    ],
)
def test_what_would_grow_without_bounds_is_an_error(source, message):
    assert message in problem(source).message


def test_macros_that_call_each_other_many_times_run_out_of_steps():
    levels = "".join(
        f"{{% macro m{level}() %}}" + f"{{{{ m{level - 1}() }}}}" * 10 + "{% endmacro %}" for level in range(1, 9)
    )
    assert "too many steps" in problem("{% macro m0() %}{% endmacro %}" + levels + "{{ m8() }}").message


def test_what_a_macro_puts_out_is_counted_although_nothing_shows_it():
    body = "{% macro m() %}" + "x" * 9000 + "{% endmacro %}"
    assert "too many steps" in problem(body + "{% for i in range(9999) %}{% set a = m() %}{% endfor %}").message


@pytest.mark.parametrize(
    "source",
    [
        "{{ incident.__class__ }}",
        "{{ incident['__class__'] }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ 'a'.format }}",
        "{{ '{0.__class__}'.format(incident) }}",
        "{{ now.__globals__ }}",
        "{{ now.func }}",
        "{{ self.__init__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ cycler.__init__ }}",
        "{{ namespace.mro() }}",
        "{{ loop }}",
        "{{ [].append(1) }}",
        "{{ data.update({}) }}",
        "{{ data.clear() }}",
        "{{ incident | map(attribute='__class__') | list }}",
        "{{ [incident] | map(attribute='__class__') | list }}",
        "{{ [incident] | map(' look up') | list }}",
        "{{ lipsum(5) }}",
        "{{ ticket.active_at }}",
        "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
        "{% macro m() %}{% endmacro %}{{ m._func }}",
        "{% for x in [1] %}{{ loop._iterator }}{% endfor %}",
        "{{ joiner().used }}",
    ],
)
def test_nothing_but_fields_can_be_reached(source):
    assert problem(source).message


_PIECES = (
    "{{ ; }};{% ; %};{% if x %};{% else %};{% endif %};{% for x in incident.services %};{% endfor %};{% set x = 1 %};"
    "{% macro m() %};{% endmacro %};{{ m() }};x;incident;.title; | join; | first; ~ ; + ; * ;(;);[;];1;'a';null;"
    "{{ x }};{{ incident.title }};{{ ticket.idle | duration }};\n;#"
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(_PIECES.split(";")), max_size=12))
def test_any_template_gives_markdown_or_a_problem(pieces):
    try:
        found = render("".join(pieces))
    except (TemplateProblem, NeedLookup) as error:
        found = error
    assert isinstance(found, Markup | TemplateProblem | NeedLookup)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_gives_markdown_or_a_problem(text):
    try:
        found = render(text)
    except TemplateProblem as error:
        found = error
    assert isinstance(found, Markup | TemplateProblem)


# --- what a template may take ---


def test_a_round_of_a_loop_counts_for_all_that_is_in_it_and_in_what_it_includes():
    once = "{% set x = a ** 3 // 2 % 5 %}"
    body = once * 50
    loop = "{% for a in range(5000) %}BODY{% endfor %}"
    assert render(loop.replace("BODY", once)) == ""
    with pytest.raises(TemplateProblem, match="too many steps"):
        render(loop.replace("BODY", body))
    with pytest.raises(TemplateProblem, match="too many steps"):
        render(loop.replace("BODY", "{% include 'other' %}"), other=body)


def test_a_macro_counts_for_all_that_is_in_it_each_time():
    macro = "{% macro m(a) %}" + "{% set x = a ** 3 %}" * 100 + "{% endmacro %}"
    with pytest.raises(TemplateProblem, match="too many steps"):
        render(macro + "{% for a in range(5000) %}{{ m(a) }}{% endfor %}")


def test_a_report_of_a_thousand_records_with_a_dozen_columns_for_each_of_twenty_teams_is_no_trouble():
    row = "{% if i % 20 == t %}" + "| {{ i }} " * 12 + "\n{% endif %}"
    text = "{% for t in range(20) %}{% for i in range(1000) %}" + row + "{% endfor %}{% endfor %}"
    assert render(text).count("\n") == 1000
