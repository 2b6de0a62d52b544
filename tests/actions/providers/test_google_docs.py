"""Documents in Google Docs, against a Drive of ours and `extradoc`'s Google Docs."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from actions.providers.google_docs import GoogleDocsOptions, GoogleDocsProvider
from engine.capabilities import ACTION_ITEM_COLUMNS
from engine.domain import Person
from engine.plugins import ActionError, ConnectionBroken, EffectClass, RetryLater, effect_class
from tests.fakes import ADA, GRACE, FakeConnection, an_effect
from tests.google_credentials import ROBOT, service_account

pytest.importorskip("extradoc", reason="the package extradoc, which plays Google Docs, is not installed")

from tests.google_drive import Fault, GoogleStandIn

COLUMNS = [ACTION_ITEM_COLUMNS[name] for name in ("what", "owner", "due", "ticket")]
TICKET = ACTION_ITEM_COLUMNS["ticket"]
REPORT = """\
# Report 🔥

| What | Owner | Due | Ticket |
| --- | --- | --- | --- |
| Add an alert | ada | 2026-03-20 |  |
| Test restores | grace |  | HW-1 |

After.
"""


@pytest.fixture
def connection(tmp_path):
    return FakeConnection(tmp_path, "docs")


@pytest.fixture
async def google(connection):
    stand = GoogleStandIn(connection.clock.now)
    runner = await stand.start()
    yield stand
    await runner.cleanup()


@pytest.fixture
async def build(google, connection):
    built = []

    def make(**options):
        credentials = service_account(f"{google.url}/token")
        given = {"credentials": credentials, "api": google.url, **options}
        built.append(GoogleDocsProvider.build(GoogleDocsOptions.model_validate(given), connection))
        return built[-1]

    yield make
    for one in built:
        await one.aclose()


@pytest.fixture
def drafts(google):
    return google.folder("Drafts", google.folder("Postmortems", drive="drive1"), drive="drive1")


@pytest.fixture
def done(google):
    return google.folder("Published", "file001aBc-_", drive="drive1")


@pytest.fixture
def documents(build, drafts, done):
    return build(folder=drafts, published=done)


async def create(documents, title="Checkout is slow", text=REPORT, effect=None, **more):
    given = {"template": None, "incident": None, "share_with": ()} | more
    return await documents.create(title, text, **given, effect=effect or an_effect())


def number_of(document):
    return document.id.partition(":")[2]


def made(google):
    return [file for file in google.files.values() if "hotwash" in file.get("appProperties", {})]


def kinds(changes):
    return [(fact.type, fact.own) for fact in changes.facts]


async def looked(documents, google, *, first=False):
    """Give what the next look tells, with its cursor kept beside the stand-in."""
    google.cursor = None if first else google.cursor
    changes = await documents.changes(google.cursor)
    google.cursor = changes.cursor
    return changes


# --- create ---


async def test_a_document_is_made_in_the_folder_with_what_is_known_of_it(documents, google, drafts):
    effect = an_effect()
    document = await create(documents, template="postmortem", incident="pager:P1", effect=effect)
    file = google.files[number_of(document)]
    assert (file["parents"], file["name"]) == ([drafts], "Checkout is slow")
    assert file["appProperties"] == {
        "hotwash": "document",
        "hotwash_effect": "tok1",
        "hotwash_state": "whole",
        "hotwash_template": "postmortem",
        "hotwash_incident": "pager:P1",
    }
    assert (document.template, document.incident, document.published) == ("postmortem", "pager:P1", False)
    assert (document.path, document.url) == ("Checkout is slow", file["webViewLink"])
    assert await documents.text(document.id) == REPORT
    assert [(fact.type, fact.own, fact.subject) for _, fact in effect.emitted] == [
        ("document.created", True, document.id)
    ]


async def test_a_document_without_text_is_made_too(documents):
    assert await documents.text((await create(documents, text="")).id) == ""


async def test_it_is_shared_with_people_and_who_cannot_get_it_is_said(documents, google, connection):
    google.strangers.add("grace@example.com")
    document = await create(documents, share_with=[ADA, GRACE, Person("x", "Mia Example")])
    assert google.permissions[number_of(document)] == [
        {"type": "user", "role": "writer", "emailAddress": "ada@example.com"}
    ]
    assert connection.said == [
        "'Checkout is slow' is not shared with Grace Example: Google refuses it (invalidSharingRequest)",
        "'Checkout is slow' is not shared with Mia Example: the roster has no e-mail address for them",
    ]
    assert all(query["sendNotificationEmail"] == "false" for _, path, query, _ in google.asked if "permissions" in path)


async def test_people_of_the_roster_are_mentioned(documents):
    document = await create(documents, text="- Ada Example\n- @grace\n- somebody\n")
    assert await documents.text(document.id) == (
        "- [ada@example.com](mailto:ada@example.com)\n- [grace@example.com](mailto:grace@example.com)\n- somebody\n"
    )


async def test_somebody_whom_google_does_not_know_stands_there_as_text(documents, google):
    google.strangers.add("grace@example.com")
    document = await create(documents, text="- Ada Example\n- @grace\n")
    assert await documents.text(document.id) == "- ada@example.com\n- grace@example.com\n"


async def test_a_property_that_is_too_long_for_drive_is_left_out(documents, google):
    await create(documents, incident="pager:" + "ä" * 60)
    assert "hotwash_incident" not in made(google)[0]["appProperties"]


async def test_a_drive_without_room_says_what_to_do(documents, google):
    google.faults.append(Fault("POST", "/files$", 403, "storageQuotaExceeded"))
    with pytest.raises(ActionError, match="let 'folder' be one in a shared drive"):
        await create(documents)


# --- what is private ---


async def test_a_private_incidents_document_lies_in_the_folder_for_those(build, google, drafts, done):
    secret = google.folder("Security")
    documents = build(folder=drafts, published=done, private_folder=secret)
    document = await create(documents, private=True, share_with=[ADA])
    assert google.files[number_of(document)]["parents"] == [secret]
    (asked,) = [query for method, path, query, _ in google.asked if (method, path) == ("POST", "/drive/v3/files")]
    assert asked["ignoreDefaultVisibility"] == "true"
    published = await documents.publish(document.id, effect=an_effect("tok2"))
    assert published.published
    assert google.files[number_of(document)]["parents"] == [secret]


async def test_without_such_a_folder_a_private_incidents_document_is_not_made(documents, google):
    with pytest.raises(ActionError, match="would see its document: set 'private_folder'"):
        await create(documents, private=True)
    assert made(google) == []


async def test_where_only_we_see_what_we_make_it_may_be_private(build, google):
    await create(build(), private=True)
    assert made(google)[0]["parents"] == ["root"]


# --- templates ---


async def test_a_template_is_copied_and_its_placeholders_filled(build, google, drafts):
    template = google.document("Our postmortem")
    google.edit(
        template,
        {
            "insertText": {
                "location": {"index": 1},
                "text": "{{ title }} of {{incident}} 🔥 {{severity}}\n{{summary}}\n{{ Action items }}\n{{ours}}\nBye\n",
            }
        },
        {
            "updateParagraphStyle": {
                "range": {"startIndex": 1, "endIndex": 9},
                "paragraphStyle": {"namedStyleType": "HEADING_1"},
                "fields": "namedStyleType",
            }
        },
    )
    documents = build(folder=drafts, templates={"postmortem": template})
    text = (
        "# P\n\n| | |\n|---|---|\n| Severity | **sev1** |\n\n## Summary\n\nIt was slow.\n\n- a\n- b\n\n"
        "## Action items\n\n| What | Owner |\n|---|---|\n| x | Ada Example |\n"
    )
    document = await create(documents, template="postmortem", incident="pager:P1", text=text)
    assert number_of(document) != template
    assert await documents.text(document.id) == (
        "# Checkout is slow of pager:P1 🔥 sev1\n\nIt was slow.\n\n- a\n- b\n\n"
        "| What | Owner |\n| --- | --- |\n| x | [ada@example.com](mailto:ada@example.com) |\n\n{{ours}}\n\nBye\n"
    )
    assert "{{summary}}" in await documents.text(template)


async def test_a_template_without_placeholders_gets_the_text_at_its_end(build, google, drafts):
    template = google.document("Letterhead")
    google.edit(template, {"insertText": {"location": {"index": 1}, "text": "Example Ltd"}})
    documents = build(folder=drafts, templates={"postmortem": template})
    document = await create(documents, template="postmortem", text="Hello.\n")
    assert await documents.text(document.id) == "Example Ltd\n\nHello.\n"


# --- once ---


async def test_a_private_document_is_found_in_the_drive_of_its_own_folder(build, google, drafts):
    documents = build(folder=drafts, private_folder=google.folder("Security", drive="drive2"))
    document = await create(documents, private=True)
    assert (await documents.find(an_effect())).id == document.id
    searched = [
        query.get("driveId") for _, path, query, _ in google.asked if path == "/drive/v3/files" and "q" in query
    ]
    assert searched == ["drive1", "drive2"] * 2


@pytest.mark.parametrize(
    "lost",
    [
        Fault("POST", r"/files$"),
        Fault("POST", "batchUpdate"),
        Fault("POST", "permissions"),
        Fault("PATCH", "/files/"),
        Fault("POST", "batchUpdate", 503),
        Fault("POST", "permissions", 429, "rateLimitExceeded"),
        Fault("PATCH", "/files/", 500),
    ],
    ids=lambda fault: f"{fault.path} {fault.status or 'answer lost'}",
)
async def test_a_call_that_broke_off_anywhere_ends_with_one_whole_document(documents, google, lost):
    google.faults.append(lost)
    effect = an_effect()
    with pytest.raises(RetryLater):
        await create(documents, share_with=[ADA], effect=effect)
    found = await documents.find(an_effect())
    document = found or await create(documents, share_with=[ADA], effect=effect)
    assert [file["id"] for file in made(google)] == [number_of(document)]
    assert await documents.text(document.id) == REPORT
    assert len(google.permissions[number_of(document)]) == 1
    assert (await documents.find(an_effect())).id == document.id


async def test_what_is_half_written_is_not_found_and_written_to_its_end(documents, google):
    google.faults.append(Fault("POST", "batchUpdate", 503))
    with pytest.raises(RetryLater):
        await create(documents)
    assert await documents.find(an_effect()) is None
    await create(documents)
    assert len(made(google)) == 1


async def test_a_document_that_a_lagging_search_does_not_show_yet_is_found_when_it_is_visible(
    documents, google, connection
):
    google.search_lag = timedelta(minutes=1)
    google.faults.append(Fault("POST", r"/files$"))
    with pytest.raises(RetryLater) as caught:
        await create(documents)
    assert caught.value.maybe_done
    visible = type(documents).create.__effect_options__["visible_after"]
    connection.clock.move(timedelta(seconds=visible))
    await create(documents)
    assert len(made(google)) == 1


async def test_the_search_is_not_trusted_but_the_file(documents, google):
    other = google.document("Somebody's")
    google.files[other]["appProperties"] = {"hotwash_effect": "tok1", "hotwash_state": "whole"}
    google.before = lambda method, path: (
        google.files[other]["appProperties"].pop("hotwash_effect", 0) if path.endswith(other) else None
    )
    assert await documents.find(an_effect()) is None


async def test_a_search_that_did_not_look_everywhere_decides_nothing(documents, google):
    page = google._page
    google._page = lambda found, query, name: {**page(found, query, name), "incompleteSearch": True}
    with pytest.raises(RetryLater, match="did not look everywhere"):
        await documents.find(an_effect())


def test_each_change_says_whether_it_may_be_repeated(documents):
    classes = {name: effect_class(getattr(documents, name)) for name in ("create", "append", "publish", "set_cells")}
    assert classes == {
        "create": EffectClass.FINDABLE,
        "append": EffectClass.FINDABLE,
        "publish": EffectClass.IDEMPOTENT,
        "set_cells": EffectClass.IDEMPOTENT,
    }


# --- append ---


async def test_what_is_appended_twice_stands_there_once_and_is_found(documents, google):
    document = await create(documents, text="# Report\n\n## Decisions\n\nOne.\n\n## Rest\n\nx\n")
    effect = an_effect("tok2", inputs={"document": document})
    assert await documents.find(effect) is None
    for _ in range(2):
        await documents.append(document.id, "**Two.**", heading="decisions", effect=effect)
    assert await documents.text(document.id) == "# Report\n\n## Decisions\n\nOne.\n\n**Two.**\n\n## Rest\n\nx\n"
    assert (await documents.find(effect)).id == document.id
    assert await documents.find(an_effect("tok3", inputs={"document": document.id})) is None


async def test_a_section_that_is_not_there_is_made_at_the_end(documents):
    document = await create(documents, text="Text.\n")
    await documents.append(document.id, "One.", heading=" Decisions ", effect=an_effect("tok2"))
    assert await documents.text(document.id) == "Text.\n\n## Decisions\n\nOne.\n"


async def test_what_somebody_wrote_meanwhile_is_read_again_before_we_write(documents, google):
    document = await create(documents, text="Text.\n")
    typed = {"insertText": {"location": {"index": 1}, "text": "Typed. "}}

    def type_once(method, path):
        if path.endswith(":batchUpdate"):
            google.before = lambda method, path: None
            google.edit(number_of(document), typed)

    google.before = type_once
    await documents.append(document.id, "Ours.", heading=None, effect=an_effect("tok2"))
    assert await documents.text(document.id) == "Typed. Text.\n\nOurs.\n"


async def test_who_never_stops_writing_is_waited_for(documents, google):
    document = await create(documents, text="Text.\n")
    typed = {"insertText": {"location": {"index": 1}, "text": "x"}}
    google.before = lambda method, path: (
        google.edit(number_of(document), typed) if path.endswith(":batchUpdate") else None
    )
    with pytest.raises(RetryLater, match="somebody else is writing"):
        await documents.append(document.id, "Ours.", heading=None, effect=an_effect("tok2"))


async def test_edits_that_google_refuses_are_not_sent_again(documents, google):
    document = await create(documents, text="Text.\n")
    google.faults.append(Fault("POST", "batchUpdate", 400, "invalid"))
    with pytest.raises(ActionError, match="400 invalid"):
        await documents.append(document.id, "Ours.", heading=None, effect=an_effect("tok2"))


async def test_a_document_that_is_not_there_is_said(documents, google):
    document = await create(documents)
    google.trash(number_of(document))
    assert await documents.get(document.id) is None
    for call in (
        documents.append("docs:nope", "x", heading=None, effect=an_effect()),
        documents.publish(document.id, effect=an_effect()),
        documents.table("nope", COLUMNS),
    ):
        with pytest.raises(ActionError, match="there is no document"):
            await call


# --- comments ---


async def test_a_comment_is_made_once_in_plain_text_and_leaves_the_content_alone(documents, google):
    document = await create(documents)
    for _ in range(2):
        text = "**Due** on Friday: see [it](https://x.example).\n\n- a\n- b"
        await documents.comment(document.id, text, effect=an_effect("tok2"))
    (comment,) = google.comments[number_of(document)]
    assert comment["content"] == "Due on Friday: see it (https://x.example).\n\n- a\n- b"
    assert await documents.text(document.id) == REPORT


async def test_the_same_words_of_somebody_else_or_of_last_week_are_no_comment_of_ours(documents, google, connection):
    document = await create(documents)
    await documents.comment(document.id, "Due.", effect=an_effect("tok2"))
    google.comments[number_of(document)][0]["author"] = {"me": False}
    await documents.comment(document.id, "Due.", effect=an_effect("tok3"))
    connection.clock.move(timedelta(days=7))
    effect = an_effect("tok4")
    effect.at = connection.clock.now()
    await documents.comment(document.id, "Due.", effect=effect)
    assert len(google.comments[number_of(document)]) == 3


async def test_an_address_in_a_comment_mentions_nobody(documents, google):
    document = await create(documents)
    await documents.comment(document.id, "Mail from +ada@example.com, @grace", effect=an_effect("tok2"))
    (comment,) = google.comments[number_of(document)]
    assert comment["content"] == "Mail from +\u200bada@example.com, @grace"


# --- the table ---


async def test_the_table_is_found_by_its_header_row(documents):
    document = await create(documents)
    table = await documents.table(document.id, COLUMNS)
    assert table.header == ("What", "Owner", "Due", "Ticket")
    assert table.rows == (("Add an alert", "ada", "2026-03-20", ""), ("Test restores", "grace", "", "HW-1"))
    assert await documents.table(document.id, ["colour"]) is None


async def test_cells_are_written_and_the_rest_stays(documents, google):
    document = await create(documents)
    cells = {0: "[HW-2](https://t.example/HW-2)", 1: "HW-1"}
    for _ in range(2):
        await documents.set_cells(document.id, COLUMNS, TICKET, cells, effect=an_effect("tok2"))
    assert await documents.text(document.id) == REPORT.replace("03-20 |  |", "03-20 | [HW-2](https://t.example/HW-2) |")
    written = [body for _, path, _, body in google.asked if path.endswith(":batchUpdate")]
    assert len(written) == 2  # the second time there was nothing to write


async def test_a_cell_that_said_something_else_says_the_new_and_looks_like_it(documents):
    document = await create(documents, text="| What | Owner |\n|---|---|\n| **Bold** 🔥 old | a |\n")
    columns = COLUMNS[:2]
    await documents.set_cells(document.id, columns, columns[0], {0: "New"}, effect=an_effect("tok2"))
    assert (await documents.table(document.id, columns)).rows == (("New", "a"),)


async def test_a_column_that_is_missing_is_added_with_all_its_cells(documents):
    document = await create(documents, text="| What | Owner |\n|---|---|\n| a | b |\n| c | d |\n| e 🔥 | f |\n\nEnd.\n")
    columns = COLUMNS[:2]
    await documents.set_cells(document.id, columns, TICKET, {0: "HW-1", 2: "**HW-3**"}, effect=an_effect("tok2"))
    assert await documents.text(document.id) == (
        "| What | Owner | Ticket |\n| --- | --- | --- |\n"
        "| a | b | HW-1 |\n| c | d |  |\n| e 🔥 | f | **HW-3** |\n\nEnd.\n"
    )


async def test_a_row_or_a_table_that_is_gone_is_said(documents):
    document = await create(documents)
    with pytest.raises(RetryLater, match="has no row 3"):
        await documents.set_cells(document.id, COLUMNS, TICKET, {2: "x"}, effect=an_effect("tok2"))
    with pytest.raises(ActionError, match="has no table with the columns 'colour'"):
        await documents.set_cells(document.id, ["colour"], TICKET, {0: "x"}, effect=an_effect("tok2"))


# --- published ---


async def test_publishing_moves_it_into_the_folder_of_what_is_published_once(documents, google, done):
    document = await create(documents)
    first, second = an_effect("tok2"), an_effect("tok3")
    published = await documents.publish(document.id, effect=first)
    assert (published.published, published.path) == (True, "Postmortems/Published/Checkout is slow")
    assert google.files[number_of(document)]["parents"] == [done]
    await documents.publish(document.id, effect=second)
    assert [fact.type for _, fact in first.emitted] == ["document.published"]
    assert [fact.id for _, fact in first.emitted] == [fact.id for _, fact in second.emitted]


async def test_without_such_a_folder_a_property_says_so(build, google, drafts):
    documents = build(folder=drafts)
    document = await create(documents)
    assert (await documents.publish(document.id, effect=an_effect("tok2"))).published
    assert google.files[number_of(document)]["parents"] == [drafts]
    other = await create(documents, effect=an_effect("tok4"))
    google.files[number_of(other)]["properties"] = {"hotwash_status": "published"}
    assert (await documents.get(other.id)).published


# --- what changed ---


async def test_the_first_look_tells_of_every_document_and_the_next_of_nothing(documents, google, drafts):
    await create(documents, incident="pager:P1")
    google.document("By hand", drafts)
    google.document("Elsewhere")
    first = await looked(documents, google, first=True)
    assert kinds(first) == [("document.updated", False)] * 2
    assert (first.facts[0].fields["incident"], first.facts[1].fields["title"]) == ("pager:P1", "By hand")
    assert (await looked(documents, google)).facts == []


async def test_a_document_that_a_person_moves_to_the_published_ones_is_published(documents, google, done):
    document = await create(documents)
    await looked(documents, google, first=True)
    google.move(number_of(document), done)
    changes = await looked(documents, google)
    assert kinds(changes) == [("document.published", False)]
    (fact,) = changes.facts
    assert (fact.subject, fact.fields["published"], fact.fields["path"]) == (
        document.id,
        True,
        "Postmortems/Published/Checkout is slow",
    )
    assert (await looked(documents, google)).facts == []


async def test_our_own_publishing_is_told_as_ours(documents, google):
    document = await create(documents)
    await looked(documents, google, first=True)
    effect = an_effect("tok2")
    await documents.publish(document.id, effect=effect)
    changes = await looked(documents, google)
    assert kinds(changes) == [("document.published", True)]
    assert changes.facts[0].id == effect.emitted[0][1].id


async def test_a_published_document_counts_again_with_another_content_and_not_with_tickets(documents, google, done):
    document = await create(documents)
    await looked(documents, google, first=True)
    google.move(number_of(document), done)
    first = await looked(documents, google)
    await documents.set_cells(document.id, COLUMNS, TICKET, {0: "HW-2"}, effect=an_effect("tok2"))
    await documents.append(document.id, "Filed.", heading=None, effect=an_effect("tok3"))
    assert (await looked(documents, google)).facts == []
    google.edit(number_of(document), {"insertText": {"location": {"index": 2}, "text": "new "}})
    again = await looked(documents, google)
    assert kinds(again) == [("document.published", False)]
    assert first.facts[0].id != again.facts[0].id


async def test_a_new_name_is_told_and_an_edit_of_a_draft_is_not(documents, google):
    document = await create(documents)
    await looked(documents, google, first=True)
    google.edit(number_of(document), {"insertText": {"location": {"index": 2}, "text": "new "}})
    assert (await looked(documents, google)).facts == []
    google.files[number_of(document)]["name"] = "Renamed"
    google._changed(number_of(document))
    changes = await looked(documents, google)
    assert [fact.fields["title"] for fact in changes.facts] == ["Renamed"]


async def test_nothing_falls_between_the_pages_or_is_told_twice(documents, google, drafts, done):
    google.page_size = 2
    numbers = [google.document(f"No {number}", drafts) for number in range(5)]
    assert len((await looked(documents, google, first=True)).facts) == 5
    for number in (*numbers, numbers[0], numbers[1]):
        google.move(number, done)
    told = (await looked(documents, google)).facts
    assert sorted(fact.subject for fact in told) == sorted(f"docs:{number}" for number in numbers)
    assert (await looked(documents, google)).facts == []


async def test_what_happens_while_stock_is_taken_is_told_by_the_next_look(documents, google, drafts, done):
    number = google.document("By hand", drafts)
    listed = google._list

    def listing(query, body):
        answer = listed(query, body)
        google.move(number, done)  # after the answer was made
        return answer

    google._list = listing
    await looked(documents, google, first=True)
    assert kinds(await looked(documents, google)) == [("document.published", False)]


async def test_where_drive_has_forgotten_the_token_everything_is_looked_at(documents, google, drafts, done):
    number = google.document("By hand", drafts)
    await looked(documents, google, first=True)
    google.move(number, done)
    google.oldest_change = len(google.changes)
    assert kinds(await looked(documents, google)) == [("document.published", False)]
    assert (await looked(documents, google)).facts == []


async def test_what_was_published_while_it_was_gone_is_told_when_it_is_back(documents, google, drafts, done):
    number = google.document("By hand", drafts)
    await looked(documents, google, first=True)
    google.trash(number)
    assert (await looked(documents, google)).facts == []
    google.files[number]["trashed"] = False
    google.move(number, done)
    assert kinds(await looked(documents, google)) == [("document.published", False)]


async def test_a_half_written_document_is_not_told_of(documents, google):
    google.faults.append(Fault("POST", "batchUpdate", 503))
    with pytest.raises(RetryLater):
        await create(documents)
    assert (await looked(documents, google, first=True)).facts == []
    await create(documents)
    assert kinds(await looked(documents, google)) == [("document.updated", False)]


async def test_a_shared_drive_is_asked_for_its_own_changes(documents, google):
    cursor = json.loads((await documents.changes(None)).cursor)
    assert cursor["drive"] == "drive1"
    asked = [query for _, path, query, _ in google.asked if "changes" in path]
    assert [query["driveId"] for query in asked] == ["drive1"]


# --- doctor ---


async def test_a_connection_that_works_has_no_problem(documents):
    assert await documents.check() is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"folder": "nope"}, f"'folder' is not there for {ROBOT}: share that folder with it"),
        ({"published": "nope"}, "'published' is not there"),
        ({"folder": "file004aBc-_"}, "'folder' must be the id of a folder, and 'A document' is none"),
        ({"folder": "file005aBc-_"}, "may not add to the folder 'Read only' of 'folder'"),
        ({"published": "file006aBc-_"}, "'folder' and 'published' lie in different drives"),
        ({"folder": "file006aBc-_", "published": None}, "a service account has no storage of its own"),
        ({"templates": {"postmortem": "nope"}}, "the document of 'templates.postmortem' is not there"),
        ({"templates": {"postmortem": "file001aBc-_"}}, "'templates.postmortem' must be the id of a Google document"),
    ],
)
async def test_the_doctor_says_what_is_wrong_with_the_folders(build, google, drafts, done, change, said):
    google.document("A document")
    google.folder("Read only", drive="drive1", writable=False)
    google.folder("Somebody's own")
    assert said in await build(**{"folder": drafts, "published": done, **change}).check()


async def test_an_api_that_is_switched_off_breaks_the_connection(documents, google):
    google.faults.append(Fault("GET", "/v1/documents/", 403, "SERVICE_DISABLED"))
    with pytest.raises(ConnectionBroken, match="switches the API on"):
        await documents.check()


def test_no_more_is_asked_for_than_is_needed():
    def scope(**options):
        credentials = service_account("https://x.example/token")
        return GoogleDocsOptions.model_validate({"credentials": credentials, **options}).scopes

    assert scope() == ("https://www.googleapis.com/auth/drive.file",)
    assert scope(folder="abc") == ("https://www.googleapis.com/auth/drive",)
    assert scope(folder="abc", scope="drive.file") == ("https://www.googleapis.com/auth/drive.file",)
