"""Texts with `${{ }}` in them, how values are rendered, and how they are escaped for Markdown."""

from datetime import UTC, datetime

import pytest
from expression_world import ADA, INCIDENT, RESOLVED, TICKETS, scope
from hypothesis import given
from hypothesis import strategies as st

from engine.calendars import Duration
from engine.domain import Service
from engine.workflow.expressions import (
    EvaluationError,
    ExpressionError,
    Markup,
    compile_text,
    escape_markdown,
    render_markdown,
    render_value,
)


def text(source, markdown=False, **names):
    return compile_text(source).evaluate(scope(**names), markdown=markdown)


def test_a_whole_placeholder_keeps_its_type():
    assert text("${{ incident.participants }}") == INCIDENT.participants
    assert text("${{ 3 }}") == 3
    assert text("${{ null }}") is None
    assert text(" ${{ [1] }}\n") == [1]


def test_beside_other_text_values_are_rendered():
    assert text("A ${{ incident.key }}, ${{ null }}, ${{ true }}, ${{ ticket.assignee }}") == "A INC-1, , true, Ada"


def test_two_placeholders_are_a_text():
    assert text("${{ 1 }}${{ 2 }}") == "12"


def test_a_doubled_sign_is_a_literal_placeholder():
    assert text("write $${{ x }} and ${{ 1 }}") == "write ${{ x }} and 1"
    assert text("$${{ x }}") == "${{ x }}"
    assert compile_text("$${{ x }}").constant


def test_a_placeholder_is_not_closed_inside_quotes_or_by_a_mapping():
    assert text("${{ '}}' }}!") == "}}!"
    assert text('${{ "a\\"}}" }}!') == 'a"}}!'
    assert text("${{ {'a': {'b': 1}}.a.b }}!") == "1!"
    assert text("${{ {'a': {'b': 1}} }}") == {"a": {"b": 1}}


@pytest.mark.parametrize("source", ["a ${{ b", "${{ 'a }}", "${{ {'a': 1 }}"])
def test_a_placeholder_that_is_not_closed_is_an_error(source):
    with pytest.raises(ExpressionError, match="is not closed") as caught:
        compile_text(source)
    assert source[caught.value.offset :].startswith("${{")


def test_errors_have_their_place_in_the_whole_text():
    source = "Hello ${{ incident.key }} and ${{ incident.nope }}"
    with pytest.raises(EvaluationError) as caught:
        text(source)
    assert source[caught.value.offset : caught.value.offset + caught.value.length] == "incident.nope"
    with pytest.raises(ExpressionError) as refused:
        compile_text("Hello ${{ a && b }}")
    assert refused.value.offset == len("Hello ${{ a ")


def test_a_text_says_what_it_is_made_of():
    found = compile_text("a ${{ incident.key }} b ${{ ticket.key }}")
    assert [(offset, expression.reads) for offset, expression in found.expressions] == [
        (2, {"incident.key"}),
        (24, {"ticket.key"}),
    ]
    assert not found.constant
    assert found.whole is None


@pytest.mark.parametrize("source", ["x ${{ [1] }}", "x ${{ vars }}", "x ${{ incident.services }}"])
def test_a_list_or_mapping_cannot_stand_in_a_text(source):
    with pytest.raises(EvaluationError, match="cannot stand in a text") as caught:
        text(source)
    assert source[caught.value.offset :].startswith("${{")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (3, "3"),
        (3.0, "3"),
        (3.5, "3.5"),
        (RESOLVED, "2026-03-02T10:00:00+01:00"),
        (datetime(2026, 7, 1, tzinfo=UTC), "2026-07-01T02:00:00+02:00"),
        (Duration(90 * 60), "1h30m"),
        (ADA, "Ada"),
        (INCIDENT, "checkout | down"),
        (TICKETS[0], "fix the pool"),
        (Service("checkout", "Checkout"), "Checkout"),
        ("a\nb", "a\nb"),
    ],
)
def test_how_values_are_rendered(value, shown):
    assert render_value(value, "Europe/Prague") == shown


def test_a_text_has_a_largest_size():
    with pytest.raises(EvaluationError, match="256 KiB"):
        text("${{ a }}${{ a }}", a="x" * 200_000)


# --- Markdown --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "escaped"),
    [
        ("a | b", r"a \| b"),
        ("<script>", r"\<script>"),
        ("[x](http://evil)", r"\[x\](http://evil)"),
        ("`rm`", r"\`rm\`"),
        ("back\\slash", r"back\\slash"),
        ("# heading", r"\# heading"),
        ("- item", r"\- item"),
        ("> quote", r"\> quote"),
        ("* item", r"\* item"),
        ("+ item", r"\+ item"),
        ("~~~", r"\~~~"),
        ("===", r"\==="),
        ("1. item", r"1\. item"),
        ("  # heading", r" \# heading"),
        ("1.5 hours", "1.5 hours"),
        ("a - b # c", "a - b # c"),
        ("a\n| pay me | ceo |", r"a \| pay me \| ceo \|"),
        ("x\r\nstatus: published\u2028y", "x status: published y"),
        ("\n\n# x", r"\# x"),
        ("", ""),
    ],
)
def test_markdown_shows_a_value_as_it_is_on_one_line(given, escaped):
    assert escape_markdown(given) == escaped


@given(st.text())
def test_escaped_text_is_one_line_without_bare_signs(given):
    escaped = escape_markdown(given)
    assert len(escaped.splitlines()) <= 1
    bare = escaped.replace("\\\\", "")
    assert not any(sign in bare.replace(f"\\{sign}", "") for sign in "|<[]`")
    assert not escaped.lstrip().startswith(("#", "-", ">"))


def test_in_markdown_the_text_itself_stays_and_values_are_escaped():
    found = text("**${{ incident.title }}** since ${{ incident.resolved_at }}, ${{ -5 }}", markdown=True)
    assert found == r"**checkout \| down** since 2026-03-02T10:00:00+01:00, -5"
    assert isinstance(found, Markup)


def test_markdown_goes_through_as_it_is_where_it_was_asked_for():
    assert text("${{ incident.title | markdown }}!", markdown=True) == "checkout | down!"
    assert text("${{ incident.title | escape }}!", markdown=True) == r"checkout \| down!"
    assert text("${{ a }}!", markdown=True, a=Markup("| x |")) == "| x |!"


def test_what_is_done_to_markdown_makes_it_a_value_again():
    assert text("${{ (a | markdown).upper() }}!", markdown=True, a="|x") == r"\|X!"
    assert text("${{ (a | markdown) + b }}!", markdown=True, a="|x", b="|y") == r"|x\|y!"


def test_a_whole_value_in_markdown_is_escaped_and_null_stays_null():
    assert text("${{ incident.title }}", markdown=True) == r"checkout \| down"
    assert text("${{ null }}", markdown=True) is None
    assert text("${{ ticket.assignee }}", markdown=True) == "Ada"


def test_a_joined_list_keeps_the_separator_of_its_author_and_escapes_its_items():
    source = '- ${{ a | join("\\n- ") }}'
    assert text(source, markdown=True, a=["x | y", "z\n# w"]) == "- x \\| y\n- z # w"
    assert text(source, a=["x | y", "z"]) == "- x | y\n- z"


def test_a_separator_that_came_from_outside_is_escaped():
    assert text("${{ a | join(b) }}!", markdown=True, a=["x", "y"], b="\n# ") == r"x\# y!"


def test_a_record_is_rendered_by_its_escaped_name():
    assert render_markdown(INCIDENT, "UTC") == r"checkout \| down"
