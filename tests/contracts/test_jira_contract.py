"""Jira Cloud's REST API by its own specification: what the provider sends, and how it reads the examples there."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from actions.providers.jira import JiraProvider
from engine.capabilities import TicketDraft, Where
from engine.domain import Document, Person
from engine.plugins import ActionError, ConnectionBroken
from tests.fakes import an_effect

MIA = Person("mia", "Mia", email="mia@example.com", ids={"jira": "5b10a2844c20165700ede21g"})


@pytest.fixture
async def jira(prism, connection):
    options = JiraProvider.options(
        server=prism("jira-v3"),
        user="hotwash@example.com",
        token="t",
        deployment="cloud",
        project="EX",
        issue_type="Bug",
    )
    provider = JiraProvider.build(options, connection)
    yield provider
    await provider.aclose()


async def test_an_issue_is_read_with_what_jira_knows_of_it(jira):
    ticket = await jira.get("EX-1")
    assert (ticket.id, ticket.key, ticket.project) == ("vendor:10002", "ED-1", "EX")
    assert ticket.description == "Main order flow broken"
    assert ticket.provider == "jira"


async def test_issues_are_searched_by_jql_page_by_page(jira):
    where = Where(labels=("postmortem",), done=False, project="EX", idle_since=datetime(2026, 3, 2, 9, 0, tzinfo=UTC))
    assert [ticket.key for ticket in await jira.search(where, 'priority = "High"')] == ["ED-1"]


async def test_a_comment_is_written_in_atlassians_document_format(jira):
    effect = an_effect()
    ticket = await jira.comment("ED-1", "**Ada** is on it: see [the page](https://x.example).", effect=effect)
    assert ticket.key == "ED-1"
    assert [fact.type for _, fact in effect.emitted] == ["ticket.commented"]


async def test_fields_are_changed(jira):
    changes = {
        "title": "Alert on it",
        "description": "# Why\n\n- [ ] do it\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
        "labels": ("postmortem",),
        "assignee": MIA,
        "due": datetime(2026, 3, 20, 22, 59, tzinfo=UTC),
    }
    assert (await jira.update("vendor:10002", changes, effect=an_effect())).key == "ED-1"


async def test_somebody_whom_jira_does_not_show_by_address_is_told(jira):
    with pytest.raises(ActionError, match="Jira knows nobody with the e-mail address of Ada: add 'ids"):
        await jira._user(Person("ada", "Ada", email="ada@example.com"))


async def test_it_is_moved_by_a_transition_that_is_named(jira):
    listed = (await jira._call("GET", "/issue/ED-1/transitions"))["transitions"]
    await jira._move("ED-1", listed[0]["name"])
    await jira._move("ED-1", listed[0]["to"]["name"])


async def test_a_transition_that_is_not_there_is_told_with_those_that_are(jira):
    with pytest.raises(ActionError, match=r"no transition leads ED-1 to 'Parked'; there are 'Close Issue' \(to '"):
        await jira._move("ED-1", "Parked")


async def test_two_issues_are_linked_by_what_the_link_says(jira):
    assert (await jira.link("ED-1", "ED-2", "blocks", effect=an_effect())).key == "ED-1"
    with pytest.raises(ActionError, match="Jira has no link 'eats'; there are 'Duplicates', 'Duplicated by', 'Blocks'"):
        await jira.link("ED-1", "ED-2", "eats", effect=an_effect())


async def test_an_issue_links_to_the_document_it_comes_of(jira):
    await jira._link_to("ED-1", "document", Document("docs:1", "Postmortem", "https://docs.example/1"))


async def test_a_screen_that_wants_a_field_we_do_not_give_is_told_with_its_name(jira):
    jira._options = jira._options.model_copy(update={"issue_type": "Bug"})
    screen = await jira._screen("EX")
    assert [(field.id, field.name, field.required) for field in screen] == [("assignee", "Assignee", True)]
    with pytest.raises(ActionError, match="has no field 'Team'"):
        await jira.create(TicketDraft("Alert on it", fields={"Team": "SRE"}), effect=an_effect())


async def test_an_issue_is_filed_with_the_identity_as_a_label(jira):
    effect = an_effect()
    draft = TicketDraft("Alert on it", "Why: **slow**", labels=("postmortem",), assignee=MIA, incident="pager:P1")
    ticket = await jira.create(draft, effect=effect)
    assert (ticket.key, ticket.incident) == ("ED-1", "pager:P1")
    assert effect.emitted[0][1].fields["incident"] == "pager:P1"


async def test_an_issue_without_the_label_is_not_the_one_that_was_looked_for(jira):
    assert await jira.find(an_effect()) is None


async def test_what_changed_is_asked_for_to_the_minute_and_told_with_an_id(jira):
    first = await jira.changes(None)
    assert first.facts == ()
    later = await jira.changes("1970-01-01T00:00:00+00:00")
    assert all(fact.type == "ticket.updated" and fact.id.startswith("10002/") for fact in later.facts)


async def test_without_credentials_the_connection_is_broken(prism, connection):
    options = JiraProvider.options(server=prism("jira-v3"), token="t", deployment="cloud")
    provider = JiraProvider.build(options, connection)
    provider._rest._headers.pop("Authorization")
    with pytest.raises(ConnectionBroken, match="Jira answered GET /rest/api/3/myself with 401"):
        await provider.check()
    await provider.aclose()


HEADERS = {"Authorization": "Basic aG90d2FzaEBleGFtcGxlLmNvbTp0"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/search/jql?maxResults=many", None),
        ("GET", "/user/search?maxResults=many", None),
        ("GET", "/issue/ED-1/comment?maxResults=many", None),
        ("GET", "/issue/ED-1?updateHistory=perhaps", None),
        ("GET", "/issue/ED-1/changelog?startAt=many", None),
        ("POST", "/issue/ED-1/remotelink", {"globalId": "hotwash/docs:1"}),
        ("POST", "/issueLink", {"inwardIssue": {"key": "ED-1"}, "type": {"name": "Blocks"}}),
        ("GET", "/issue/ED-1/transitions?skipRemoteOnlyCondition=perhaps", None),
        ("GET", "/issue/createmeta/EX/issuetypes?maxResults=many", None),
        ("GET", "/issue/createmeta/EX/issuetypes/1?maxResults=many", None),
        ("POST", "/issue", {"fields": "none"}),
        ("PUT", "/issue/ED-1", {"fields": ["none"]}),
        ("POST", "/issue/ED-1/transitions", {"transition": {"id": 5}}),
        ("POST", "/issue/ED-1/comment", {"body": {}, "visibility": {"type": "everybody"}}),
    ],
)
async def test_the_specification_refuses_what_breaks_it(prism, by_hand, method, path, body):
    answer = await by_hand(method, f"{prism('jira-v3')}/rest/api/3{path}", headers=HEADERS, body=body)
    assert answer.refused
