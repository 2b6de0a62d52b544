"""What Markdown means, for services that want something else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.providers.blocks import (
    Code,
    Grid,
    Heading,
    Item,
    Listing,
    Paragraph,
    Quote,
    Rule,
    Span,
    blocks,
    plain,
)
from engine.workflow.rendering import escape_markdown


def text(words):
    return (Span(words),)


def test_headings_paragraphs_quotes_rules_and_code():
    found = blocks("## What *happened*\n\nThe queue\nfilled up.\n\n> slow\n\n---\n\n```sql\nSELECT 1\n```\n")
    assert found == (
        Heading(2, (Span("What "), Span("happened", italic=True))),
        Paragraph(text("The queue filled up.")),
        Quote((Paragraph(text("slow")),)),
        Rule(),
        Code("SELECT 1", "sql"),
    )


def test_looks_are_spans():
    (found,) = blocks("**a** `b` ~~c~~ [d](https://x.example) <https://y.example>  \ne")
    assert found.spans == (
        Span("a", bold=True),
        Span(" "),
        Span("b", code=True),
        Span(" "),
        Span("c", struck=True),
        Span(" "),
        Span("d", link="https://x.example"),
        Span(" "),
        Span("https://y.example", link="https://y.example"),
        Span("\ne"),
    )


def test_lists_keep_their_boxes_numbers_and_what_is_below():
    (found,) = blocks("3. [x] done\n4. [ ] **open**\n   - inner\n")
    assert found == Listing(
        (
            Item((Paragraph(text("done")),), checked=True),
            Item(
                (Paragraph((Span("open", bold=True),)), Listing((Item((Paragraph(text("inner")),)),))),
                checked=False,
            ),
        ),
        ordered=True,
        start=3,
    )


def test_a_table_has_a_header_and_rows_of_as_many_cells():
    (found,) = blocks("| What | Owner |\n|---|---|\n| Alert on it | **Ada** |\n| x |\n")
    assert found == Grid(
        (text("What"), text("Owner")),
        ((text("Alert on it"), (Span("Ada", bold=True),)), (text("x"), ())),
    )


@pytest.mark.parametrize("link", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "/relative"])
def test_a_link_to_anything_but_the_web_is_text(link):
    (found,) = blocks(f"[click]({link})")
    assert all(span.link is None for span in found.spans)


def test_html_is_text():
    (found,) = blocks("a <b>b</b> <!channel>")
    assert found.spans == text("a <b>b</b> <!channel>")


def test_plain_text_names_where_a_link_leads():
    (found,) = blocks("see [the page](https://x.example) or <https://y.example>")
    assert plain(found.spans) == "see the page (https://x.example) or https://y.example"


@given(st.text(max_size=80))
def test_an_escaped_value_is_one_paragraph_that_says_the_value(value):
    found = blocks(f"x {escape_markdown(value)} y")
    assert len(found) <= 1
    assert all(isinstance(one, Paragraph) and not any(s.link or s.bold or s.code for s in one.spans) for one in found)
