"""Jira Cloud on good days and bad ones, against our small stand-in for it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from actions.providers.jira import OURS, JiraProvider
from engine.capabilities import TicketDraft, Where
from engine.domain import Document
from engine.plugins import ActionError, ConnectionBroken, RetryLater
from tests.fakes import MONDAY, FakeClock, FakeConnection, an_effect
from tests.standins.jira_cloud import ADA, API, BOT, JiraCloud

SEVERITY = {
    "fieldId": "customfield_1",
    "name": "Severity",
    "required": True,
    "schema": {"type": "option"},
    "allowedValues": [{"value": "High"}, {"value": "Low"}],
}
IMPACT = {
    "fieldId": "customfield_2",
    "name": "Impact",
    "required": True,
    "schema": {"type": "string", "custom": "com.atlassian.jira.plugin.system.customfieldtypes:textarea"},
}
LEAD = {"fieldId": "customfield_3", "name": "Lead", "schema": {"type": "user"}}
DUE = {"fieldId": "duedate", "name": "Due date", "required": True, "schema": {"type": "date", "system": "duedate"}}
TOKEN = "Basic aG90d2FzaEBleGFtcGxlLmNvbTp0"


@pytest.fixture
def clock():
    return FakeClock(MONDAY)


@pytest.fixture
async def site(clock):
    async with JiraCloud(clock.now) as site:
        yield site


@pytest.fixture
def connection(clock):
    return FakeConnection(Path(), "tracker", clock)


@pytest.fixture
async def build(site, connection):
    made = []

    def build(**more):
        options = JiraProvider.options(
            **{"server": site.url, "user": "hotwash@example.com", "token": "t", "deployment": "cloud", **more}
        )
        made.append(JiraProvider.build(options, connection))
        return made[-1]

    yield build
    for one in made:
        await one.aclose()


@pytest.fixture
def jira(build):
    return build(project="OPS")


# --- what a project wants --------------------------------------------------------------------------------------------


async def test_a_required_field_that_is_missing_is_told_with_what_it_may_be_before_anything_is_made(jira, site):
    site.screen += [SEVERITY, DUE]
    with pytest.raises(ActionError) as raised:
        await jira.create(TicketDraft("Alert on it"), effect=an_effect())
    assert str(raised.value) == (
        "OPS wants for a Task 'Severity', one of High, Low: set it under 'fields' of the step or of connection "
        "'tracker'; 'Due date': give 'due'"
    )
    assert site.issues == {}


async def test_fields_of_the_connection_and_of_the_ticket_go_out_in_the_form_that_each_has(build, site):
    site.screen += [SEVERITY, IMPACT, LEAD]
    draft = TicketDraft("Alert on it", fields={"severity": "Low", "customfield_2": "It is **slow**.", "Lead": "ada"})
    await build(project="OPS", fields={"Severity": "High"}).create(draft, effect=an_effect())
    (issue,) = site.issues.values()
    assert issue.fields["customfield_1"] == {"value": "Low"}
    assert issue.fields["customfield_2"]["type"] == "doc"
    assert issue.fields["customfield_3"] == {"accountId": "ada"}


async def test_a_field_that_there_is_not_is_told_with_those_there_are(jira, site):
    site.screen += [SEVERITY]
    with pytest.raises(ActionError, match="Task of OPS has no field 'Squad'; there are 'Labels', 'Description', 'Sev"):
        await jira.create(TicketDraft("Alert on it", fields={"Squad": "SRE"}), effect=an_effect())


async def test_the_check_tells_what_a_project_wants_of_every_ticket(jira, build, site):
    assert await jira.check() is None
    site.screen += [SEVERITY]
    assert "OPS wants for a Task 'Severity', one of High, Low" in await build(project="OPS").check()
    site.screen += [DUE]  # a step gives that, or it does not
    assert await build(project="OPS", fields={"Severity": "High"}).check() is None


async def test_the_check_tells_which_permissions_are_missing_and_who_can_grant_them(jira, site):
    site.forbidden = {"LINK_ISSUES"}
    assert await jira.check() == (
        "its account may not 'Link Issues' in OPS: an administrator of the project can grant that"
    )


# --- what it may be moved to -----------------------------------------------------------------------------------------


async def test_a_ticket_is_moved_by_the_name_of_a_status_or_of_a_transition(jira, site):
    issue = site.add("Item")
    await jira.update("OPS-1", {"status": "in progress"}, effect=an_effect())
    assert issue.fields["status"]["name"] == "In Progress"
    assert (await jira.update("OPS-1", {"status": "Finish"}, effect=an_effect())).done


async def test_a_status_that_nothing_leads_to_is_told_with_those_there_are(jira, site):
    site.add("Item")
    with pytest.raises(ActionError) as raised:
        await jira.update("OPS-1", {"status": "Parked"}, effect=an_effect())
    assert str(raised.value) == (
        "no transition leads OPS-1 to 'Parked'; there are 'Back to the pile' (to 'To Do'), "
        "'Start' (to 'In Progress'), 'Finish' (to 'Done')"
    )


# --- bad days --------------------------------------------------------------------------------------------------------


async def test_what_was_made_and_cannot_be_read_is_looked_for_and_not_made_again(jira, site):
    for status in (429, 403, 404, 503):
        site.refuses_next("GET", f"{API}/issue/OPS-\\d+", status, Retry_After="7")
        with pytest.raises(RetryLater) as raised:
            await jira.create(TicketDraft("Alert on it"), effect=an_effect(f"t{status}"))
        assert raised.value.maybe_done


async def test_a_link_that_is_refused_leaves_the_ticket_filed_and_is_said(jira, site, connection):
    connection.storage.records["document"] = [Document("docs:1", "Postmortem", "https://docs.example/1")]
    site.refuses_next("POST", f"{API}/issue/OPS-1/remotelink", 403)
    assert (await jira.create(TicketDraft("Alert on it", document="docs:1"), effect=an_effect())).key == "OPS-1"
    assert connection.said[0].startswith("OPS-1 is filed, and does not link to the document: Jira answered")


async def test_a_token_that_expired_breaks_the_connection_until_there_is_another(jira, site):
    site.refuses = {TOKEN}
    with pytest.raises(ConnectionBroken, match="with 401: the token has expired"):
        await jira.get("OPS-1")
    site.refuses = set()
    assert await jira.get("OPS-1") is None


async def test_a_search_does_not_go_on_for_ever(jira, site):
    site.page = 1
    for number in range(101):
        site.add(f"Item {number}")
    with pytest.raises(ActionError, match="Jira lists more than 10,000 issues: say more narrowly what is meant"):
        await jira.search(Where(project="OPS"), None)
    assert site.count(f"GET {API}/search/jql") == 100


async def test_a_query_may_say_its_own_order(jira, site):
    for title in ("First", "Second"):
        site.add(title)
    oldest_first = await jira.search(Where(), "project = OPS ORDER BY created ASC")
    newest_first = await jira.search(Where(project="OPS"), None)
    assert [one.title for one in oldest_first] == ["First", "Second"]
    assert [one.title for one in newest_first] == ["Second", "First"]


# --- who did something last ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 39, 40, 150])
async def test_the_last_act_of_a_human_is_found_behind_however_many_of_ours(jira, site, clock, after):
    issue = site.add("Item", by=BOT)
    clock.move(timedelta(days=1))
    site.change(issue, by=ADA, labels=["by ada"])
    last = clock.now()
    for _ in range(after):
        clock.move(timedelta(seconds=1))
        site.change(issue, by=BOT, labels=["by us"])
        site.comment(issue, "by us", by=BOT)
    (found,) = await jira.search(Where(project="OPS"), None)
    assert found.active_at == last == (await jira.get("OPS-1")).active_at


async def test_the_last_comment_of_a_human_is_found_behind_many_of_ours(jira, site, clock):
    issue = site.add("Item", by=BOT)
    for number in range(120):
        clock.move(timedelta(hours=1))
        site.comment(issue, "words", by=ADA if number in (3, 70) else BOT)
    assert (await jira.get("OPS-1")).active_at == MONDAY + timedelta(hours=71)


async def test_an_issue_whose_label_is_gone_is_not_taken_for_what_was_filed(jira, site):
    site.shows_index = True
    issue = site.add("Item", labels=[f"{OURS}tok1"])
    site.lag = lambda: timedelta(minutes=1)
    site.change(issue, labels=[])
    assert await jira.find(an_effect("tok1")) is None
