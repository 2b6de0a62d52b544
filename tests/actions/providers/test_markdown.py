import asyncio
import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from actions.providers.markdown import Markdown, MarkdownOptions, content_hash
from engine.capabilities import ACTION_ITEM_COLUMNS, Changes
from engine.plugins import ActionError, EffectClass, RetryLater, effect_class
from tests.fakes import ADA, FakeConnection, an_effect

COLUMNS = [ACTION_ITEM_COLUMNS[name] for name in ("what", "owner", "due", "ticket")]
TICKET = ACTION_ITEM_COLUMNS["ticket"]
TABLE = """\
# Report

| What          | Owner | Due        | Ticket |
|---------------|:-----:|------------|--------|
| Add an alert  | ada   | 2026-03-20 |        |
| Test restores | grace |            | HW-1   |

After.
"""


@pytest.fixture
def connection(tmp_path):
    return FakeConnection(tmp_path)


@pytest.fixture
def documents(connection):
    return Markdown.build(MarkdownOptions(), connection)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "documents"
    path.mkdir()
    return path


async def create(documents, title="Checkout is slow", text="Hello.\n", token="tok1", **more):
    given = {"template": None, "incident": None, "share_with": ()} | more
    return await documents.create(title, text, **given, effect=an_effect(token))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def the_file(folder: Path) -> Path:
    (path,) = files(folder)
    return path


def front_matter(path: Path):
    return yaml.load(path.read_text().split("---\n")[1], Loader=yaml.BaseLoader)


def kinds(changes: Changes) -> list[tuple[str, bool]]:
    return [(fact.type, fact.own) for fact in changes.facts]


# --- create ----------------------------------------------------------------------------------------------------------


async def test_a_document_is_a_file_with_front_matter_in_a_stable_order(documents, folder):
    made = await create(documents, template="postmortem", incident="pager:P1", share_with=[ADA])
    assert the_file(folder).read_bytes().decode() == (
        f"---\nid: {made.id.partition(':')[2]}\ntitle: Checkout is slow\nstatus: draft\ntemplate: postmortem\n"
        "incident: pager:P1\ncreated: '2026-03-02T09:00:00Z'\neffect: tok1\nshared_with:\n- ada\n---\n\nHello.\n"
    )


async def test_what_was_made_can_be_got_again_by_its_id(documents, folder):
    made = await create(documents, template="postmortem", incident="pager:P1")
    assert made.id.startswith("markdown:")
    assert made.path == the_file(folder).name
    assert made.path.startswith("checkout-is-slow-")
    assert await documents.get(made.id) == made
    assert (made.template, made.incident, made.published) == ("postmortem", "pager:P1", False)


async def test_an_unknown_document_is_none(documents, folder):
    assert await documents.get("markdown:nothing") is None


async def test_the_same_effect_makes_one_file(documents, folder):
    made = await create(documents)
    the_file(folder).rename(folder / "renamed by hand.md")
    again = await create(documents, title="Another title")
    assert again.id == made.id
    assert the_file(folder).name == "renamed by hand.md"


async def test_two_effects_make_two_files_of_the_same_title(documents, folder):
    await create(documents)
    await create(documents, token="tok2")
    assert len(files(folder)) == 2


async def test_an_effect_finds_what_it_made_and_what_it_appended_to(documents, folder):
    made = await create(documents)
    await documents.append(made.id, "More.", heading=None, effect=an_effect("tok2"))
    assert (await documents.find(an_effect("tok1"))).id == made.id
    assert (await documents.find(an_effect("tok2"))).id == made.id
    assert await documents.find(an_effect("tok3")) is None


async def test_creating_says_so_as_our_own_doing(documents, folder):
    effect = an_effect()
    made = await documents.create("A title", "", template=None, incident=None, share_with=(), effect=effect)
    ((connection, fact),) = effect.emitted
    assert (connection, fact.type, fact.subject, fact.own) == ("markdown", "document.created", made.id, True)
    assert fact.fields["title"] == "A title"
    assert "content" not in fact.fields


@pytest.mark.parametrize(
    "title", ["x\nstatus: published", "x\n---\nstatus: published", 'x": 1\nstatus: published', "'"]
)
async def test_a_title_cannot_break_out_of_the_front_matter(documents, folder, title):
    made = await create(documents, title=title)
    assert front_matter(the_file(folder))["status"] == "draft"
    assert made.title == " ".join(title.split())
    assert not made.published


@pytest.mark.parametrize("title", ["../../etc/passwd", "/abs", "..", "a\x00b", ".hidden", "障害報告", "x" * 5000])
async def test_whatever_the_title_the_file_stays_in_the_folder(documents, folder, tmp_path, title):
    made = await create(documents, title=title)
    assert files(tmp_path) == [folder / made.path]
    assert (await documents.get(made.id)) == made


async def test_a_file_that_is_in_the_way_is_left_alone(documents, folder):
    made = await create(documents)
    path = the_file(folder)
    path.write_text("---\nstatus: [\n---\nmine\n")
    with pytest.raises(ActionError, match="is there already"):
        await create(documents)
    assert path.read_text().endswith("mine\n")
    assert made.path == path.name


async def test_a_link_in_the_way_is_not_written_through(documents, folder, tmp_path):
    made = await create(documents)
    outside = tmp_path / "outside.md"
    outside.write_text("secret\n")
    (folder / made.path).unlink()
    (folder / made.path).symlink_to(outside)
    with pytest.raises(ActionError):
        await create(documents)
    assert outside.read_text() == "secret\n"


async def test_links_are_not_read(documents, folder, tmp_path, connection):
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "a.md").write_text("---\nid: a\nstatus: published\n---\n")
    (folder / "a.md").symlink_to(outside / "a.md")
    (folder / "sub").symlink_to(outside)
    assert (await documents.changes(None)).facts == []
    assert await documents.get("a") is None
    assert connection.said == ["documents/a.md is passed over: it is a symbolic link"]


async def test_nothing_but_the_document_is_left_in_the_folder(documents, folder):
    made = await create(documents)
    await documents.publish(made.id, effect=an_effect("tok2"))
    assert [path.name for path in files(folder)] == [made.path]


async def test_the_url_is_below_the_configured_one(connection, folder):
    documents = Markdown.build(MarkdownOptions(url="https://docs.example/team/"), connection)
    made = await create(documents)
    assert made.url == f"https://docs.example/team/{made.path}"


async def test_without_a_url_links_lead_to_the_file(documents, folder):
    made = await create(documents)
    assert made.url == the_file(folder).as_uri()


# --- edits leave the rest as it is -----------------------------------------------------------------------------------


async def test_publishing_changes_the_status_and_nothing_else_of_what_people_wrote(documents, folder):
    path = folder / "mine.md"
    head = "---\r\n# a comment\r\nstatus:   draft # for now\r\ntags: [a,   b]\r\nid: mine\r\n"
    body = "---\r\ntext  \r\n\r\n\r\nno end"
    path.write_bytes((head + body).encode())
    await documents.publish("mine", effect=an_effect())
    ours = f"published_by_hotwash: {content_hash(body.partition('---')[2])}\r\n"
    assert path.read_bytes().decode() == head.replace("draft #", "published #") + ours + body


async def test_publishing_twice_writes_once(documents, folder):
    made = await create(documents)
    assert (await documents.publish(made.id, effect=an_effect("tok2"))).published
    first = the_file(folder).stat()
    assert (await documents.publish(made.id, effect=an_effect("tok2"))).published
    assert the_file(folder).stat().st_ino == first.st_ino


@pytest.mark.parametrize(
    "head", ["status:\n", "", "{status: draft}\n", "status: draft\nstatus: draft\n", "status: |\n  draft\n"]
)
async def test_any_readable_front_matter_can_be_published(documents, folder, head):
    path = folder / "odd.md"
    path.write_text(f"---\n{head}---\nbody\n")
    assert (await documents.publish("odd", effect=an_effect())).published
    assert path.read_text().endswith("---\nbody\n")


async def test_a_file_without_front_matter_gets_one_when_it_is_published(documents, folder):
    path = folder / "notes.md"
    path.write_text("# My notes\n")
    made = await documents.publish("notes", effect=an_effect())
    assert (made.id, made.title, made.published) == ("markdown:notes", "My notes", True)
    assert path.read_text().endswith("---\n\n# My notes\n")


async def test_an_edit_keeps_the_mode_of_the_file(documents, folder):
    made = await create(documents)
    the_file(folder).chmod(0o640)
    await documents.publish(made.id, effect=an_effect("tok2"))
    assert the_file(folder).stat().st_mode & 0o777 == 0o640


async def test_publishing_a_document_that_is_not_there_fails(documents, folder):
    with pytest.raises(ActionError, match="there is no document 'markdown:nothing' in 'documents'"):
        await documents.publish("markdown:nothing", effect=an_effect())


async def test_a_document_that_is_being_edited_is_tried_again_later(documents, folder):
    (folder / "mine.md").write_text("---\nstatus: [\n---\n")
    with pytest.raises(RetryLater, match="cannot be read"):
        await documents.publish("mine", effect=an_effect())


# --- append ----------------------------------------------------------------------------------------------------------


async def test_appending_adds_at_the_end_and_keeps_every_byte_before(documents, folder):
    made = await create(documents, text="One.")
    before = the_file(folder).read_text()
    await documents.append(made.id, "Two.\n", heading=None, effect=an_effect("tok2"))
    after = the_file(folder).read_text()
    assert after.startswith(before + "\n<!-- hotwash:tok2 -->\nTwo.\n<!-- /hotwash:tok2 ")
    assert after.endswith(" -->\n")


async def test_appending_to_a_file_without_a_last_line_break_gives_it_one(documents, folder):
    (folder / "notes.md").write_text("One.")
    await documents.append("notes", "Two.", heading=None, effect=an_effect())
    text = (folder / "notes.md").read_text()
    assert text.startswith("One.\n\n<!-- hotwash:tok1 -->\nTwo.\n")
    assert text.endswith(" -->\n")


async def test_appending_twice_by_the_same_effect_adds_once(documents, folder):
    made = await create(documents)
    await documents.append(made.id, "Two.", heading=None, effect=an_effect("tok2"))
    await documents.append(made.id, "Two.", heading=None, effect=an_effect("tok2"))
    await documents.append(made.id, "Two.", heading=None, effect=an_effect("tok3"))
    assert the_file(folder).read_text().count("Two.") == 2


async def test_appending_under_a_heading_adds_at_the_end_of_its_section(documents, folder):
    text = "# T\n\n## Updates\n\nfirst\n\n### Detail\n\nfine\n\n```\n## Not a heading\n```\n\n## Next\n\nlast\n"
    made = await create(documents, text=text)
    await documents.append(made.id, "new", heading="updates", effect=an_effect("tok2"))
    body = the_file(folder).read_text()
    assert body.index("```\n\n<!--") < body.index("new") < body.index("## Next")


async def test_a_section_ends_at_a_heading_above_its_own(documents, folder):
    made = await create(documents, text="# T\n\n## Updates\n\nfirst\n\n# Appendix\n")
    await documents.append(made.id, "new", heading="Updates", effect=an_effect("tok2"))
    body = the_file(folder).read_text()
    assert body.index("new") < body.index("# Appendix")


async def test_a_heading_that_is_missing_is_made_at_the_end(documents, folder):
    made = await create(documents)
    await documents.append(made.id, "new", heading="Updates", effect=an_effect("tok2"))
    await documents.append(made.id, "newer", heading="Updates", effect=an_effect("tok3"))
    body = the_file(folder).read_text()
    assert body.count("## Updates") == 1
    assert body.index("## Updates") < body.index("new\n") < body.index("newer\n")


# --- tables ----------------------------------------------------------------------------------------------------------


async def test_a_table_is_given_with_its_cells_and_its_line(documents, folder):
    made = await create(documents, text=TABLE)
    table = await documents.table(made.id, COLUMNS)
    assert table.header == ("What", "Owner", "Due", "Ticket")
    assert table.rows == (("Add an alert", "ada", "2026-03-20", ""), ("Test restores", "grace", "", "HW-1"))
    assert the_file(folder).read_text().split("\n")[table.line - 1].startswith("| What")


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        (r"| a \| b | ada | x | y |", ("a | b", "ada", "x", "y")),
        (r"| run `a \| b` | ada | x | y |", ("run `a | b`", "ada", "x", "y")),
        ("| run `a | b` | ada | x | y |", ("run `a | b`", "ada", "x", "y")),
        ("a | ada | x | y", ("a", "ada", "x", "y")),
        ("| a | ada", ("a", "ada", "", "")),
        ("| a | ada | x | y | z |", ("a", "ada", "x", "y")),
        ("|a||x||", ("a", "", "x", "")),
        ("| a <!-- really --> | ada | x | y |", ("a", "ada", "x", "y")),
        ("| a ` b | ada | x | y |", ("a ` b", "ada", "x", "y")),
    ],
)
async def test_rows_are_read_as_people_write_them(documents, folder, row, cells):
    made = await create(documents, text=f"What | Owner | Due | Ticket\n:-- | :-: | --: | ---\n{row}\n")
    assert (await documents.table(made.id, COLUMNS)).rows == (cells,)


@pytest.mark.parametrize(
    "hidden",
    [
        f"```\n{TABLE}```\n",
        f"~~~~ md\n~~~\n{TABLE}~~~~\n",
        f"<!--\n{TABLE}-->\n",
        TABLE.replace("|--------|\n", "|\n"),
        TABLE.replace("\n|", "\n    |"),
        TABLE.replace("| What", "    | What"),
        f"```\n{TABLE}",
    ],
)
async def test_what_is_no_table_is_not_read(documents, folder, hidden):
    made = await create(documents, text=hidden)
    assert await documents.table(made.id, COLUMNS) is None


async def test_the_first_table_with_all_columns_counts(documents, folder):
    made = await create(documents, text=f"| What | Who |\n|---|---|\n| x | y |\n\n{TABLE}\n{TABLE.replace('ada', 'z')}")
    assert (await documents.table(made.id, COLUMNS)).rows[0][1] == "ada"


async def test_a_table_ends_where_another_block_begins(documents, folder):
    made = await create(documents, text="|what|owner|\n|-|-|\n|a|b|\n# Heading | x\n")
    assert len((await documents.table(made.id, COLUMNS[:2])).rows) == 1


async def test_setting_a_cell_changes_that_cell_alone(documents, folder):
    made = await create(documents, text=TABLE)
    before = the_file(folder).read_text()
    await documents.set_cells(made.id, COLUMNS, TICKET, {0: "HW-7"}, effect=an_effect("tok2"))
    old, new = "| Add an alert  | ada   | 2026-03-20 |        |", "| Add an alert  | ada   | 2026-03-20 | HW-7   |"
    assert the_file(folder).read_text() == before.replace(old, new)


async def test_setting_the_same_cells_again_writes_nothing(documents, folder):
    made = await create(documents, text=TABLE)
    cells = {0: "[HW-7](https://tracker.example/HW-7)"}
    await documents.set_cells(made.id, COLUMNS, TICKET, cells, effect=an_effect("tok2"))
    first = the_file(folder).stat().st_ino
    await documents.set_cells(made.id, COLUMNS, TICKET, cells, effect=an_effect("tok2"))
    assert the_file(folder).stat().st_ino == first


@pytest.mark.parametrize(
    ("row", "after"),
    [
        ("| a | ada |", "| a | ada |  | K |"),
        ("a | ada", "a | ada |  | K |"),
        ("| a | ada | x | |", "| a | ada | x | K |"),
        ("| a | ada | x || ", "| a | ada | x | K | "),
        ("a | ada | x | y", "a | ada | x | K"),
        ("|a|ada|x|K|", "|a|ada|x|K|"),
        (r"| `a|b` | ada | x | y |", "| `a|b` | ada | x | K |"),
    ],
)
async def test_cells_are_set_in_uneven_rows(documents, folder, row, after):
    made = await create(documents, text=f"| what | owner | due | ticket |\n|-|-|-|-|\n{row}\n\nend")
    await documents.set_cells(made.id, COLUMNS, TICKET, {0: "K"}, effect=an_effect("tok2"))
    assert f"\n{after}\n" in the_file(folder).read_text()


async def test_a_value_cannot_break_out_of_its_cell(documents, folder):
    made = await create(documents, text=TABLE)
    await documents.set_cells(made.id, COLUMNS, TICKET, {0: "a\n| pay me | ceo |"}, effect=an_effect("tok2"))
    table = await documents.table(made.id, COLUMNS)
    assert len(table.rows) == 2
    assert table.rows[0][3] == "a | pay me | ceo |"


async def test_a_column_that_is_missing_is_added(documents, folder):
    made = await create(documents, text="| What | Owner |\n|---|---|\n| a | ada |\n| b | grace |\n")
    await documents.set_cells(made.id, COLUMNS[:2], TICKET, {1: "HW-7"}, effect=an_effect("tok2"))
    assert (
        the_file(folder)
        .read_text()
        .endswith("| What | Owner | Ticket |\n|---|---| --- |\n| a | ada |  |\n| b | grace | HW-7 |\n")
    )


async def test_cells_of_a_table_that_is_not_there_are_refused(documents, folder):
    made = await create(documents)
    with pytest.raises(ActionError, match="no table with the columns 'what', 'owner'"):
        await documents.set_cells(made.id, COLUMNS[:2], TICKET, {0: "x"}, effect=an_effect("tok2"))


async def test_a_row_that_is_gone_is_looked_for_again_later(documents, folder):
    made = await create(documents, text=TABLE)
    with pytest.raises(RetryLater, match="no row 3"):
        await documents.set_cells(made.id, COLUMNS, TICKET, {2: "x"}, effect=an_effect("tok2"))


# --- changes ---------------------------------------------------------------------------------------------------------


def write(folder, name="a.md", status="draft", body=TABLE, **more):
    keys = {"id": "a", "title": "Report", "status": status} | more
    lines = "".join(f"{key}: {value}\n" for key, value in keys.items())
    (folder / name).write_text(f"---\n{lines}---\n\n{body}")


async def test_the_first_look_tells_of_every_document_and_of_no_publishing(documents, folder):
    write(folder, status="published")
    write(folder, "b.md", id="b")
    first = await documents.changes(None)
    assert [(fact.type, fact.subject, fact.fields["published"]) for fact in first.facts] == [
        ("document.updated", "markdown:a", True),
        ("document.updated", "markdown:b", False),
    ]
    assert (await documents.changes(first.cursor)).facts == []


async def test_what_was_published_while_nobody_looked_is_found(documents, folder, connection):
    write(folder)
    cursor = (await documents.changes(None)).cursor
    write(folder, status="published", template="postmortem", incident="pager:P1")
    connection.clock.move(timedelta(days=1))
    again = Markdown.build(MarkdownOptions(), connection)  # another process
    (fact,) = (await again.changes(cursor)).facts
    assert (fact.type, fact.subject_type, fact.subject, fact.own) == (
        "document.published",
        "document",
        "markdown:a",
        False,
    )
    assert fact.time == connection.clock.now()
    assert fact.fields == {
        "title": "Report",
        "url": (folder / "a.md").as_uri(),
        "published": True,
        "template": "postmortem",
        "incident": "pager:P1",
        "path": "a.md",
        "content": content_hash(TABLE),
    }


async def test_a_new_file_that_is_published_is_a_publishing(documents, folder):
    cursor = (await documents.changes(None)).cursor
    (folder / "2026").mkdir()
    write(folder, "2026/a.md", status="published")
    changes = await documents.changes(cursor)
    assert kinds(changes) == [("document.published", False)]
    assert changes.facts[0].fields["path"] == "2026/a.md"


async def test_the_same_publishing_has_the_same_delivery_id(documents, folder):
    write(folder)
    cursor = (await documents.changes(None)).cursor
    write(folder, status="published")
    ids = [(await documents.changes(cursor)).facts[0].id for _ in range(2)]
    assert ids == [f"a@{content_hash(TABLE)}"] * 2


async def test_published_again_with_another_content_counts_each_time(documents, folder):
    write(folder)
    cursor, ids = (await documents.changes(None)).cursor, []
    for body in (TABLE, TABLE + "More.\n", TABLE):
        write(folder, status="published", body=body)
        changes = await documents.changes(cursor)
        assert kinds(changes) == [("document.published", False)]
        cursor, ids = changes.cursor, [*ids, changes.facts[0].id]
    assert len(set(ids)) == 3


async def test_published_again_with_the_same_content_does_not_count(documents, folder):
    write(folder, status="published")
    first = await documents.changes(None)
    write(folder)
    second = await documents.changes(first.cursor)
    write(folder, status="published")
    third = await documents.changes(second.cursor)
    assert kinds(second) == kinds(third) == [("document.updated", False)]
    assert len({fact.id for look in (first, second, third) for fact in look.facts}) == 3


async def test_linking_tickets_is_not_publishing_again(documents, folder):
    write(folder, status="published")
    cursor = (await documents.changes(None)).cursor
    await documents.set_cells("a", COLUMNS, TICKET, {0: "HW-7"}, effect=an_effect())
    assert (await documents.changes(cursor)).facts == []


async def test_adding_the_ticket_column_is_not_publishing_again(documents, folder):
    write(folder, status="published", body="| What | Owner |\n|---|---|\n| a | ada |\n")
    cursor = (await documents.changes(None)).cursor
    await documents.set_cells("a", COLUMNS[:2], TICKET, {0: "HW-7"}, effect=an_effect())
    assert (await documents.changes(cursor)).facts == []


async def test_a_new_row_is_publishing_again(documents, folder):
    write(folder, status="published")
    cursor = (await documents.changes(None)).cursor
    write(folder, status="published", body=TABLE.replace("\n\nAfter", "\n| Third | ada | | |\n\nAfter"))
    assert kinds(await documents.changes(cursor)) == [("document.published", False)]


@pytest.mark.parametrize("heading", [None, "Report", "Updates"])
async def test_appending_to_a_published_document_is_not_publishing_again(documents, folder, heading):
    write(folder, status="published")
    cursor = (await documents.changes(None)).cursor
    await documents.append("a", "More.", heading=heading, effect=an_effect())
    assert "More." in (folder / "a.md").read_text()
    assert (await documents.changes(cursor)).facts == []


async def test_editing_what_was_appended_is_publishing_again(documents, folder):
    write(folder, status="published")
    cursor = (await documents.changes(None)).cursor
    await documents.append("a", "More.", heading=None, effect=an_effect())
    path = folder / "a.md"
    path.write_text(path.read_text().replace("More.", "Much more."))
    assert kinds(await documents.changes(cursor)) == [("document.published", False)]


async def test_our_own_publishing_is_marked_as_ours_wherever_it_is_seen_first(documents, folder):
    write(folder)
    cursor = (await documents.changes(None)).cursor
    effect = an_effect()
    await documents.publish("a", effect=effect)
    ((_, told),) = effect.emitted
    changes = await documents.changes(cursor)
    assert kinds(changes) == [("document.published", True)]
    assert (told.type, told.own, told.id) == ("document.published", True, changes.facts[0].id)
    assert told.fields == changes.facts[0].fields


async def test_what_people_published_is_not_told_as_ours(documents, folder):
    write(folder)
    cursor = (await documents.changes(None)).cursor
    write(folder, status="published")
    effect = an_effect()
    await documents.publish("a", effect=effect)
    assert effect.emitted == []
    assert kinds(await documents.changes(cursor)) == [("document.published", False)]


async def test_people_publish_again_what_we_published_first(documents, folder):
    write(folder)
    await documents.publish("a", effect=an_effect())
    cursor = (await documents.changes(None)).cursor
    path = folder / "a.md"
    path.write_text(path.read_text() + "More.\n")
    assert kinds(await documents.changes(cursor)) == [("document.published", False)]


async def test_another_title_is_an_update(documents, folder):
    write(folder)
    cursor = (await documents.changes(None)).cursor
    write(folder, title="Another")
    (fact,) = (await documents.changes(cursor)).facts
    assert (fact.type, fact.fields["title"]) == ("document.updated", "Another")


async def test_typing_in_a_draft_is_no_news(documents, folder):
    write(folder)
    cursor = (await documents.changes(None)).cursor
    write(folder, body="Something else.\n")
    assert (await documents.changes(cursor)).facts == []


async def test_spaces_and_the_width_of_columns_are_no_content():
    wide = TABLE.replace("| ada   |", "| ada          |").replace("After.", "\nAfter.  ").replace("\n", "\r\n")
    assert content_hash(wide) == content_hash(TABLE)


@pytest.mark.parametrize("broken", ["status: [", "- a list", "a: &x [*x, *x", "[" * 5000, "k: \x07"])
async def test_broken_front_matter_is_said_once_and_seen_when_it_is_mended(documents, folder, connection, broken):
    write(folder)
    cursor = (await documents.changes(None)).cursor
    (folder / "a.md").write_text(f"---\n{broken}\n---\n")
    for _ in range(2):
        changes = await documents.changes(cursor)
        assert changes.facts == []
    (line,) = connection.said
    assert line.startswith("documents/a.md is passed over: its front matter ")
    write(folder, status="published")
    assert kinds(await documents.changes(changes.cursor)) == [("document.published", False)]


async def test_a_file_that_is_not_utf_8_is_passed_over(documents, folder, connection):
    (folder / "a.md").write_bytes(b"---\nid: \xff\n---\n")
    assert (await documents.changes(None)).facts == []
    assert connection.said == ["documents/a.md is passed over: it is not UTF-8"]


async def test_files_without_front_matter_are_no_news(documents, folder):
    (folder / "README.md").write_text("# About this folder\n")
    (folder / "notes.txt").write_text("---\nid: x\n---\n")
    (folder / ".git").mkdir()
    (folder / ".git" / "x.md").write_text("---\nid: x\n---\n")
    assert (await documents.changes(None)).facts == []


async def test_a_file_without_an_id_is_known_by_its_path(documents, folder):
    (folder / "2026").mkdir()
    (folder / "2026" / "outage.md").write_text("---\nstatus: published\n---\n# Outage\n")
    (fact,) = (await documents.changes(None)).facts
    assert (fact.subject, fact.fields["title"]) == ("markdown:2026/outage", "Outage")
    assert (await documents.get("markdown:2026/outage")).published


async def test_a_copy_with_the_same_id_is_said_once_and_passed_over(documents, folder, connection):
    write(folder, "report-a.md")
    write(folder, "copy.md", status="published")
    for _ in range(2):
        changes = await documents.changes(None)
    assert [fact.fields["path"] for fact in changes.facts] == ["report-a.md"]
    assert (await documents.get("a")).path == "report-a.md"
    assert connection.said == ["documents/copy.md is passed over: its id 'a' is that of documents/report-a.md too"]


async def test_a_document_that_comes_back_unchanged_is_no_news(documents, folder):
    write(folder, status="published")
    cursor = (await documents.changes(None)).cursor
    (folder / "a.md").unlink()
    gone = await documents.changes(cursor)
    write(folder, status="published")
    assert gone.facts == (await documents.changes(gone.cursor)).facts == []


async def test_the_cursor_is_json_and_the_same_when_nothing_changed(documents, folder):
    write(folder)
    cursor = (await documents.changes(None)).cursor
    assert json.loads(cursor)["documents"]["a"]["published"] is False
    assert (await documents.changes(cursor)).cursor == cursor


# --- the rest --------------------------------------------------------------------------------------------------------


async def test_watching_wakes_when_a_file_changes_and_ends_when_it_is_closed(documents, folder):
    watch = documents.watch()
    woken = asyncio.ensure_future(anext(watch))
    for count in range(200):
        write(folder, title=str(count))
        await asyncio.wait({woken}, timeout=0.05)
        if woken.done():
            break
    assert woken.done()
    ended = asyncio.ensure_future(anext(watch, "ended"))
    await documents.aclose()
    while await asyncio.wait_for(ended, 20) is None:  # a change that was still on its way
        ended = asyncio.ensure_future(anext(watch, "ended"))
    assert ended.result() == "ended"


@pytest.mark.parametrize(
    ("method", "kind"),
    [("create", "findable"), ("append", "findable"), ("publish", "idempotent"), ("set_cells", "idempotent")],
)
def test_each_method_says_whether_it_may_be_repeated(method, kind):
    assert effect_class(getattr(Markdown.cls, method)) is EffectClass(kind)


async def test_the_check_names_a_folder_that_is_none(connection, documents, tmp_path):
    assert await documents.check() is None
    (tmp_path / "documents").write_text("")
    assert await documents.check() == "'documents' must be a folder"


async def test_edits_of_one_document_at_the_same_time_are_all_kept(documents, folder):
    write(folder)
    tokens = [f"t{number}" for number in range(8)]
    await asyncio.gather(
        *(documents.append("a", f"by {token}", heading=None, effect=an_effect(token)) for token in tokens)
    )
    text = (folder / "a.md").read_text()
    assert all(text.count(f"by {token}\n") == 1 for token in tokens)
    assert os.listdir(folder) == ["a.md"]


def test_an_edit_starts_again_from_what_somebody_saved_meanwhile(documents, folder):
    write(folder, body="one\n")
    saved = iter(["two\n"])

    def change(page):
        for body in saved:
            write(folder, body=body)
        return page.text + "ours\n"

    documents._edit("a", change)
    assert (folder / "a.md").read_text().endswith("two\nours\n")
    assert os.listdir(folder) == ["a.md"]


def test_a_file_that_is_saved_again_and_again_is_tried_later(documents, folder):
    write(folder)
    counter = iter(range(100))

    def change(page):
        write(folder, body=f"{next(counter)}\n")
        return page.text + "ours\n"

    with pytest.raises(RetryLater, match="written by somebody else"):
        documents._edit("a", change)
