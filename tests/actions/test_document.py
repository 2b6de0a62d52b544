from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from actions.document import (
    ALL,
    AppendToDocument,
    CommentOnDocument,
    CreateDocument,
    LinkTickets,
    PublishDocument,
    ReadActionItems,
    action_items,
    append,
    comment,
    create,
    link_tickets,
    publish,
)
from actions.providers.markdown import Markdown, MarkdownOptions
from engine.domain import ActionItem, Incident, Ticket
from engine.plugins import ActionError, EffectClass, RenderedTemplate
from tests.fakes import ADA, GRACE, FakeConnection, FakeContext, an_effect

INCIDENT = Incident("pager:P1", "P1", "Checkout is slow")
HEAD = "| What | Owner | Due | Ticket |\n|---|---|---|---|\n"


@pytest.fixture
def ctx(tmp_path):
    return FakeContext(documents=Markdown.build(MarkdownOptions(), FakeConnection(tmp_path)))


async def a_document(ctx, text):
    return await create.function(CreateDocument(title="Report", text=text), ctx)


async def items_of(ctx, text):
    document = await a_document(ctx, text)
    return (await action_items.function(ReadActionItems(document=document), ctx)).items


def text_of(ctx, tmp_path):
    (path,) = (tmp_path / "documents").iterdir()
    return path.read_text().split("---\n", 2)[2].lstrip("\n")


# --- create, append, publish -----------------------------------------------------------------------------------------


async def test_a_document_is_made_of_the_rendered_template_and_the_runs_incident(ctx, tmp_path):
    ctx.incident = INCIDENT
    params = CreateDocument(title="T", template=RenderedTemplate("postmortem", "# Rendered"), share_with=[ADA])
    made = await create.function(params, ctx)
    assert (made.title, made.template, made.incident) == ("T", "postmortem", "pager:P1")
    assert text_of(ctx, tmp_path) == "# Rendered\n"


@pytest.mark.parametrize("incident", [Incident("pager:P2", "P2", "Other"), "pager:P2"])
async def test_another_incident_can_be_named(ctx, incident):
    ctx.incident = INCIDENT
    made = await create.function(CreateDocument(title="T", text="x", incident=incident), ctx)
    assert made.incident == "pager:P2"


class Told:
    """Documents that keep whether what they made was private."""

    async def create(self, title, text, *, private, **more):
        self.private = private


@pytest.mark.parametrize(
    ("private", "named", "expected"), [(True, None, True), (False, None, False), (True, "pager:P2", False)]
)
async def test_a_document_is_as_private_as_its_incident(ctx, private, named, expected):
    ctx.documents = Told()
    ctx.incident = replace(INCIDENT, private=private)
    await create.function(CreateDocument(title="T", text="x", incident=named), ctx)
    assert ctx.documents.private is expected


async def test_a_comment_stands_beside_the_content_once(ctx, tmp_path):
    made = await a_document(ctx, "One.")
    ctx.effect = an_effect("tok2")
    for _ in range(2):
        await comment.function(CommentOnDocument(document=made, text="Due **soon**.\n\nHurry."), ctx)
    assert text_of(ctx, tmp_path).count("## Comments") == 1
    assert "\n> Due **soon**.\n>\n> Hurry.\n" in text_of(ctx, tmp_path)


@pytest.mark.parametrize(
    ("given", "found"), [({}, "neither"), ({"text": "x", "template": RenderedTemplate("a", "b")}, "both")]
)
def test_either_a_template_or_a_text_is_needed(given, found):
    with pytest.raises(ValidationError, match=f"either 'template' or 'text' must be given, not {found}"):
        CreateDocument(title="T", **given)


async def test_a_document_is_named_by_its_record_or_its_id(ctx, tmp_path):
    made = await a_document(ctx, "One.")
    ctx.effect = an_effect("tok2")
    await append.function(AppendToDocument(document=made, text="Two."), ctx)
    published = await publish.function(PublishDocument(document=made.id), ctx)
    assert published.published
    assert "Two." in text_of(ctx, tmp_path)


# --- action items ----------------------------------------------------------------------------------------------------


async def test_the_rows_of_the_table_are_the_items(ctx):
    text = f"{HEAD}| Add an alert | ada | 2026-03-20 | |\n| Test restores | | | [HW-1](https://t.example/HW-1) |\n"
    first, second = await items_of(ctx, text)
    assert (first.what, first.owner, first.owner_text, first.ticket) == ("Add an alert", ADA, "ada", None)
    assert first.due == datetime(2026, 3, 20, 23, 59, 59, tzinfo=UTC)
    assert (second.owner, second.owner_text, second.due, second.ticket) == (None, None, None, "HW-1")


async def test_a_due_day_ends_in_the_projects_zone(ctx):
    ctx.zone = "Europe/Prague"
    (item,) = await items_of(ctx, f"{HEAD}| a | | 2026-03-20 | |\n")
    assert item.due == datetime(2026, 3, 20, 22, 59, 59, tzinfo=UTC)


async def test_a_document_without_the_table_has_no_items(ctx):
    assert await items_of(ctx, "| When | What | Who |\n|---|---|---|\n| 09:00 | it broke | ada |\n") == []


@pytest.mark.parametrize(
    "head", ["Action item|Assignee|Due date|Issue", "*ACTION*|`Owners`|Deadline:|ticket", "To-do|owner"]
)
async def test_the_columns_may_be_called_as_people_call_them(ctx, head):
    (item,) = await items_of(ctx, f"{head}\n{'-|' * (head.count('|') + 1)}\nAdd an alert|grace\n")
    assert (item.what, item.owner) == ("Add an alert", GRACE)


async def test_the_table_with_all_columns_is_preferred(ctx):
    (item,) = await items_of(ctx, f"|what|owner|\n|-|-|\n|not this|ada|\n\n{HEAD}|this|ada|||\n")
    assert item.what == "this"


@pytest.mark.parametrize(
    "written",
    [
        "add  an ALERT",
        "**Add** an _alert_",
        "[Add an alert](https://x.example/a_(b))",
        "`Add an alert`",
        "Add an<br>alert",
        "[ ] ~~Add~~ ***an*** alert",
    ],
)
async def test_a_row_keeps_its_id_however_it_is_set(ctx, written):
    (plain,) = await items_of(ctx, f"{HEAD}| Add an alert | | | |\n")
    ctx.effect = an_effect("tok2")
    (item,) = await items_of(ctx, f"{HEAD}| {written} | ada | 2026-03-20 | HW-1 |\n")
    assert item.id == plain.id


@pytest.mark.parametrize(
    ("written", "what"),
    [
        (r"page on `a \| b`", "page on a | b"),
        (r"raise the limit to 2 \* 3", "raise the limit to 2 * 3"),
        ("rename max_open_files in `__init__`", "rename max_open_files in __init__"),
        ("see <https://x.example/a>", "see https://x.example/a"),
        ("check a < b", "check a < b"),
        (r"\[not a link\](x)", "[not a link](x)"),
    ],
)
async def test_the_text_of_an_item_is_plain(ctx, written, what):
    (item,) = await items_of(ctx, f"{HEAD}| {written} | | | |\n")
    assert item.what == what


async def test_other_words_make_another_item(ctx):
    first, second = await items_of(ctx, f"{HEAD}| Add an alert | | | |\n| Add two alerts | | | |\n")
    assert first.id != second.id


@pytest.mark.parametrize(
    "cell", ["ada", "@ada", "Ada", "ada@example.com", "[A. E.](mailto:ada@example.com)", "Ada Example", "**@ada**"]
)
async def test_an_owner_is_found_by_key_address_or_name(ctx, cell):
    (item,) = await items_of(ctx, f"{HEAD}| a | {cell} | | |\n")
    assert item.owner == ADA


async def test_an_unknown_owner_is_kept_by_name(ctx):
    (item,) = await items_of(ctx, f"{HEAD}| a | @somebody | | |\n")
    assert (item.owner, item.owner_text) == (None, "@somebody")


@pytest.mark.parametrize("nothing", ["", "-", "—", "TBD", "?", "_tbd_"])
async def test_a_cell_that_says_nothing_is_empty(ctx, nothing):
    (item,) = await items_of(ctx, f"{HEAD}| a | {nothing} | {nothing} | {nothing} |\n")
    assert (item.owner_text, item.due, item.ticket) == (None, None, None)


async def test_rows_without_a_text_are_passed_over(ctx):
    assert await items_of(ctx, f"{HEAD}| | ada | soon | |\n| - | | | |\n") == []


@pytest.mark.parametrize("due", ["next week", "2026-02-30", "20.3.2026", "2026-03-20T10:00:00", "20260320"])
async def test_a_due_date_that_cannot_be_read_names_its_row(ctx, due):
    with pytest.raises(ActionError) as caught:
        await items_of(ctx, f"{HEAD}| fine | | | |\n| Add an alert | | {due} | |\n")
    assert str(caught.value) == (
        "the action item table cannot be used: row 2 ('Add an alert'): "
        f"the due date must be a day such as 2026-03-02, not '{due}'"
    )


async def test_two_equal_rows_are_named_with_every_other_problem(ctx):
    with pytest.raises(ActionError) as caught:
        await items_of(ctx, f"{HEAD}| a | | soon | |\n| *A* | | | |\n| b | | later | |\n")
    assert "row 1 ('a'): the due date" in str(caught.value)
    assert "rows 1 and 2 say the same ('A'): reword or drop one" in str(caught.value)
    assert "row 3 ('b')" in str(caught.value)


async def test_reading_a_document_that_is_not_there_fails(ctx):
    with pytest.raises(ActionError, match="no document 'markdown:nothing'"):
        await action_items.function(ReadActionItems(document="markdown:nothing"), ctx)


# --- link tickets ----------------------------------------------------------------------------------------------------

ROWS = f"{HEAD}| Add an alert | ada | | |\n| Test restores | | | HW-1 |\n| Third | | | |\n"


async def linked(ctx, tmp_path, entries, text=ROWS):
    document = await a_document(ctx, text)
    items = (await action_items.function(ReadActionItems(document=document), ctx)).items
    ctx.effect = an_effect("tok2")
    await link_tickets.function(LinkTickets(document=document, tickets=entries(items)), ctx)
    return text_of(ctx, tmp_path)


def results(items, **outputs):
    """Give what a loop over `items` with `ticket.create` leaves in `steps.ID.results`."""
    return [{"item": item, "key": item.id, "failed": False, "error": None, "outputs": outputs} for item in items]


async def test_the_results_of_a_loop_are_linked(ctx, tmp_path):
    def entries(items):
        return results(items[:1], id="local:HW-7", key="HW-7", url="https://t.example/HW-7")

    text = await linked(ctx, tmp_path, entries)
    assert text == ROWS.replace("ada | | |", "ada | | [HW-7](https://t.example/HW-7) |")


async def test_the_results_of_a_group_are_linked(ctx, tmp_path):
    def entries(items):
        told, filed = {"url": "https://chat.example"}, {"key": "HW-7", "url": None, "failed": False}
        return [{"told": told, "filed": filed, "item": items[0], "key": items[0].id, "failed": False, "error": None}]

    assert await linked(ctx, tmp_path, entries) == ROWS.replace("ada | | |", "ada | | HW-7 |")


@pytest.mark.parametrize(
    "ticket",
    [
        "HW-7",
        Ticket("local:HW-7", "HW-7", "t", url="https://t.example/7"),
        {"key": "HW-7", "url": "https://t.example/7"},
    ],
)
async def test_a_list_of_ones_own_is_linked(ctx, tmp_path, ticket):
    def entries(items):
        return [{"item": items[0].id, "ticket": ticket, "url": "https://t.example/7"}]

    assert "ada | | [HW-7](https://t.example/7) |" in await linked(ctx, tmp_path, entries)


async def test_failed_and_empty_entries_are_passed_over(ctx, tmp_path):
    def entries(items):
        failed = [{**entry, "failed": True} for entry in results(items, key="HW-7", url=None)]
        return failed + results(items) + [{"item": items[2], "key": items[2].id, "failed": False, "outputs": None}]

    assert await linked(ctx, tmp_path, entries) == ROWS


async def test_a_row_that_has_a_ticket_keeps_it(ctx, tmp_path):
    assert await linked(ctx, tmp_path, lambda items: results(items[1:2], key="HW-7", url=None)) == ROWS


async def test_a_row_that_is_gone_is_passed_over(ctx, tmp_path):
    gone = ActionItem("0123456789ab", "reworded meanwhile")
    assert await linked(ctx, tmp_path, lambda items: results([gone], key="HW-7", url=None)) == ROWS


async def test_linking_twice_changes_nothing_more(ctx, tmp_path):
    document = await a_document(ctx, ROWS)
    items = (await action_items.function(ReadActionItems(document=document), ctx)).items
    for token in ("tok2", "tok3"):
        ctx.effect = an_effect(token)
        entries = results(items, key="HW-7", url="https://t.example/7")
        await link_tickets.function(LinkTickets(document=document, tickets=entries), ctx)
    assert text_of(ctx, tmp_path).count("HW-7") == 2


async def test_an_item_that_was_linked_reads_back_with_its_ticket(ctx, tmp_path):
    document = await a_document(ctx, ROWS)
    items = (await action_items.function(ReadActionItems(document=document), ctx)).items
    entries = results(items[:1], key="H_W|7", url="https://t.example/a (b)|c")
    await link_tickets.function(LinkTickets(document=document, tickets=entries), ctx)
    again = (await action_items.function(ReadActionItems(document=document), ctx)).items
    assert [(item.id, item.ticket) for item in again] == list(
        zip((item.id for item in items), ("H_W|7", "HW-1", None), strict=True)
    )


async def test_a_link_leads_to_no_script(ctx, tmp_path):
    text = await linked(ctx, tmp_path, lambda items: results(items[:1], key="HW-7", url="javascript:alert(1)"))
    assert "javascript" not in text
    assert "| HW-7 |" in text


async def test_nothing_to_link_needs_no_table(ctx, tmp_path):
    assert await linked(ctx, tmp_path, lambda items: [], "No table.\n") == "No table.\n"


async def test_an_entry_without_an_item_is_refused(ctx, tmp_path):
    with pytest.raises(ActionError, match="each of 'tickets' must have an 'item'"):
        await linked(ctx, tmp_path, lambda items: [{"key": "HW-7"}])


async def test_tickets_for_a_document_without_the_table_are_refused(ctx, tmp_path):
    with pytest.raises(ActionError, match="no action item table"):
        await linked(ctx, tmp_path, lambda items: [{"item": "x", "ticket": "HW-7"}], "No table.\n")


# --- declarations ----------------------------------------------------------------------------------------------------


def test_each_action_names_what_it_performs():
    assert [(one.name, one.capability, one.method) for one in ALL] == [
        ("document.create", "document", "create"),
        ("document.append", "document", "append"),
        ("document.comment", "document", "comment"),
        ("document.publish", "document", "publish"),
        ("document.action_items", "document", "table"),
        ("document.link_tickets", "document", "set_cells"),
    ]


def test_reading_action_items_changes_nothing_and_gives_items():
    assert action_items.class_of(None) is EffectClass.READ
    assert action_items.outputs["items"].kind == "list[action_item]"
