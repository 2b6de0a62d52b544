"""Markdown into a Google document and back, against `extradoc`'s idea of Google Docs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.providers.blocks import Paragraph, Span, blocks
from actions.providers.google_page import read
from actions.providers.google_text import Insertion, inserting, units
from engine.capabilities import ACTION_ITEM_COLUMNS

pytest.importorskip("extradoc", reason="the package extradoc, which plays Google Docs, is not installed")

from tests.google_docs import DocsStandIn

COLUMNS = [ACTION_ITEM_COLUMNS[name] for name in ("what", "owner", "due", "ticket")]
REPORT = """\
# Postmortem: Checkout 🔥 slow

*Intro* with **bold**, `code`, ~~gone~~ and [a link](https://x.example/a?b=c).\\
After a break: a \\*star\\*, 2 \\< 3, snake\\_case.

## Participants

- Ada, 🎉 first
    - nested **deeper**
        - and deeper
    - again
- last

1. one
    1. below
2. two

- [ ] do it
- [x] done it

> quoted

```
x = 1
y = [2]
```

---

## Action items

| What | Owner | Due | Ticket |
| --- | --- | --- | --- |
| Alert on 🔥 it | ada | 2026-03-20 |  |
| Two \\| bars |  |  | [HW-1](https://t.example/HW-1) |

The end.
"""


def ada(name: str) -> str | None:
    return {"Ada Example": "ada@example.com", "@ada": "ada@example.com"}.get(name)


@pytest.fixture
def document():
    return DocsStandIn("d1", "Report")


def write(document, markdown, where=None, **more):
    document.update(inserting(blocks(markdown), where or read(document.get()).at_end(), **more))
    return read(document.get())


def of(requests, kind):
    return [request[kind] for request in requests if kind in request]


# --- writing ---


def test_a_report_comes_back_as_it_was_written(document):
    assert write(document, REPORT).markdown() == REPORT


def test_a_second_text_at_the_end_looks_like_itself_and_not_like_what_is_before_it(document):
    write(document, "# Title\n\n- item with **bold**\n")
    assert write(document, "Plain text.\n\n- other\n").markdown() == (
        "# Title\n\n- item with **bold**\n\nPlain text.\n\n- other\n"
    )


@given(st.lists(st.tuples(st.text(min_size=1), st.booleans(), st.booleans()), min_size=1, max_size=6))
def test_every_style_lies_on_its_own_words_in_utf_16_units(parts):
    spans = tuple(Span(text, bold=True, italic=italic, struck=struck) for text, italic, struck in parts)
    requests = inserting([Paragraph(spans)], Insertion(7))
    sent = of(requests, "insertText")[0]["text"].encode("utf-16-le")
    styled = [one for one in of(requests, "updateTextStyle") if one["textStyle"]]
    slices = [
        sent[2 * (one["range"]["startIndex"] - 7) : 2 * (one["range"]["endIndex"] - 7)].decode("utf-16-le")
        for one in styled
    ]
    assert "".join(slices) + "\n" == sent.decode("utf-16-le")
    assert [one["textStyle"].get("italic", False) for one in styled] == [
        italic for (_, italic, _), text in zip(parts, _kept(parts), strict=True) if text
    ]


def _kept(parts):
    """Give what is left of each part of a paragraph: leading tabs and what Google strips are not sent."""
    kept = []
    for text, _, _ in parts:
        sent = of(inserting([Paragraph((Span("x"), Span(text)))], Insertion(1)), "insertText")[0]["text"][1:-1]
        kept.append(sent if any(kept) else sent.lstrip("\t"))
    return kept


def test_what_google_strips_is_not_sent_since_it_would_move_what_is_behind(document):
    spans = (Span("a\x00\x0c\ue123\ud800b"), Span("bold", bold=True))
    document.update(inserting([Paragraph(spans)], Insertion(1)))
    assert read(document.get()).markdown() == "ab**bold**\n"


def test_people_become_mentions_where_a_whole_item_or_cell_names_them_and_by_address(document):
    text = (
        "By <grace@example.com>, for Ada Example.\n\n- x\n    - Ada Example\n- y\n\n"
        "| Who | What |\n|---|---|\n| @ada | Ada Example ran |\n"
    )
    page = write(document, text, mention=ada)
    assert page.markdown() == (
        "By [grace@example.com](mailto:grace@example.com), for Ada Example.\n\n- x\n"
        "    - [ada@example.com](mailto:ada@example.com)\n- y\n\n"
        "| Who | What |\n| --- | --- |\n| [ada@example.com](mailto:ada@example.com) | Ada Example ran |\n"
    )


def test_a_numbered_list_that_holds_bullets_keeps_its_numbers(document):
    assert write(document, "1. a\n   - x\n2. b\n").markdown() == "1. a\n    1. x\n2. b\n"


def test_bullets_that_hold_numbers_and_boxes_keep_each_its_kind(document):
    text = "- a\n    1. x\n    2. y\n- b\n    - [ ] z\n"
    assert write(document, text).markdown() == text


def test_a_table_whose_header_is_empty_has_only_its_rows(document):
    assert write(document, "| | |\n|---|---|\n| a | b |\n").sheet(["a", "b"]).header == ("a", "b")


def test_text_that_looks_like_markdown_stays_text(document):
    text = "\\# not a heading\n\n1\\. not a list\n\n\\- nor this\n\n\\> nor this\n"
    assert write(document, text).markdown() == text


def test_units_are_those_of_utf_16():
    assert [units(text) for text in ("", "a", "é", "🔥", "👩‍🚒")] == [0, 1, 1, 2, 5]


# --- sections ---


SECTIONS = "## Summary\n\nIt was slow.\n\n### Detail\n\nx\n\n## Items\n\n- **a**\n"


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("summary", SECTIONS.replace("x\n", "x\n\nMore.\n")),
        ("Detail", SECTIONS.replace("x\n", "x\n\nMore.\n")),
        ("ITEMS", SECTIONS + "\nMore.\n"),
    ],
)
def test_what_is_added_to_a_section_stands_at_its_end_and_looks_like_itself(document, heading, expected):
    page = write(document, SECTIONS)
    assert write(document, "More.\n", page.end_of(heading)).markdown() == expected


def test_what_is_added_behind_a_table_and_before_a_heading_is_neither(document):
    before = "## One\n\n| a | b |\n| --- | --- |\n| c | d |\n\n## Two\n\nEnd.\n"
    page = write(document, before)
    after = write(document, "Added **now**.\n", page.end_of("one"))
    assert after.markdown() == before.replace("## Two", "Added **now**.\n\n## Two")


def test_a_heading_that_is_not_there_has_no_end(document):
    assert write(document, "# One\n").end_of("two") is None


# --- reading ---


def text_of(*elements, **paragraph):
    body = [{"startIndex": 1, "endIndex": 9, "paragraph": {"elements": list(elements), **paragraph}}]
    return read({"body": {"content": body}}).markdown()


def run(text, **more):
    return {"textRun": {"content": text, **more}}


def test_what_is_only_suggested_does_not_count():
    assert text_of(run("There"), run(" and more", suggestedInsertionIds=["s1"]), run(".\n")) == "There.\n"


def test_chips_of_days_files_and_choices_are_read_as_what_they_name():
    day = {"timestamp": "2026-03-20T12:00:00Z", "displayText": "Mar 20, 2026"}
    link = {"title": "HW-1", "uri": "https://t.example/HW-1"}
    elements = [{"dateElement": {"dateElementProperties": day}}, run(" "), {"richLink": {"richLinkProperties": link}}]
    assert text_of(*elements, run("\n")) == "2026-03-20 [HW-1](https://t.example/HW-1)\n"


def test_emphasis_keeps_off_the_spaces_around_it():
    assert text_of(run("one"), run(" two ", textStyle={"bold": True}), run("three\n")) == "one **two** three\n"


def test_the_title_of_a_document_is_a_heading():
    assert text_of(run("Report\n"), paragraphStyle={"namedStyleType": "TITLE"}) == "# Report\n"


# --- the content ---


def test_the_ticket_column_does_not_count_as_content(document):
    page = write(document, REPORT)
    sheet = page.sheet(COLUMNS)
    at = sheet.rows[1][3].start
    document.update([{"insertText": {"location": {"index": at}, "text": "HW-2"}}])
    assert read(document.get()).content() == page.content()
    document.update([{"insertText": {"location": {"index": sheet.rows[1][1].start}, "text": "x"}}])
    assert read(document.get()).content() != page.content()


def test_what_we_added_counts_as_content_from_when_somebody_edits_it(document):
    page = write(document, "Text.\n")
    ours = write(document, "## Log\n\n- reviewed 🔥 by\n\n| a | b |\n|---|---|\n| c |  |\n", token="tok2")
    assert ours.holds("tok2")
    assert not ours.holds("tok")
    assert ours.content() == page.content()
    start = ours.parts[1].start
    document.update([{"insertText": {"location": {"index": start + 1}, "text": "x"}}])
    assert read(document.get()).content() != page.content()


def test_what_a_document_was_made_of_is_its_content(document):
    page = write(document, "Text.\n", token="tok1", hashed=False)
    assert page.holds("tok1")
    assert page.content() != read(DocsStandIn("d2", "Empty").get()).content()
