"""Jira Data Center, as the stateful stand-in of the package `jira820` plays it.

It knows issues by their key only, where Jira takes the number too, and finds users by their name only.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from actions.providers.jira import OURS, JiraProvider
from engine import wiring
from engine.capabilities import TicketDraft, Where
from engine.domain import Document, Person
from engine.plugins import ActionError, Fact
from engine.testing import MovableClock, RecordingChat, World
from tests.fakes import an_effect
from tests.standins.before import Before

ADMIN = Person("ada", "Ada", email="admin@example.com", ids={"jira": "admin"})


@pytest.fixture(scope="module")
def server():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("jira820"))]
    environment = {**os.environ, "JIRA820_HOST": "127.0.0.1", "JIRA820_PORT": str(port)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = []
    for line in process.stdout:
        said.append(line)
        if "Uvicorn running on" in line:
            break
    else:
        raise AssertionError("".join(said))
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.communicate()


@pytest.fixture
async def jira(server, connection):
    options = JiraProvider.options(server=server, token="t", project="JIRA820", issue_type="Task")
    provider = JiraProvider.build(options, connection)
    yield provider
    await provider.aclose()


@pytest.fixture
def official(server):
    """Give Jira's client for Python, which reads what we wrote and knows nothing of us."""
    import jira

    client = jira.JIRA(server=server, token_auth="t", max_retries=0)
    yield client
    client.close()


async def raw(server, path):
    async with aiohttp.ClientSession() as session, session.get(f"{server}/rest/api/2{path}") as answer:
        return await answer.json()


async def test_what_was_filed_is_found_by_its_identity_and_by_no_other(jira):
    effect = an_effect("first")
    made = await jira.create(TicketDraft("Alert on it", labels=("postmortem",)), effect=effect)
    assert await jira.find(an_effect("first")) == made
    assert await jira.find(an_effect("second")) is None


async def test_the_life_of_a_ticket(jira, server):
    draft = TicketDraft("Alert on it", "Why: *slow* {code}", labels=("postmortem",), assignee=ADMIN)
    made = await jira.create(draft, effect=an_effect("life"))
    assert (made.done, made.labels, made.assignee.email) == (False, ("postmortem",), "admin@example.com")
    assert (await jira.update(made.key, {"title": "Alert earlier"}, effect=an_effect())).title == "Alert earlier"
    assert (await jira.close(made.key, comment="done", effect=an_effect())).done
    assert (await jira.close(made.key, comment=None, effect=an_effect())).done
    assert not (await jira.reopen(made.key, comment=None, effect=an_effect())).done
    issue = await raw(server, f"/issue/{made.key}")
    assert issue["fields"]["summary"] == "Alert earlier"


async def test_new_labels_leave_the_identity(jira, server):
    made = await jira.create(TicketDraft("Alert on it"), effect=an_effect("labels"))
    assert (await jira.update(made.key, {"labels": ("split",)}, effect=an_effect())).labels == ("split",)
    assert sorted((await raw(server, f"/issue/{made.key}"))["fields"]["labels"]) == [f"{OURS}labels", "split"]


def said_of(key, text):
    effect = an_effect("said", inputs={"ticket": key, "text": text})
    effect.at = datetime(2020, 1, 1, tzinfo=UTC)  # the stand-in's own clock stands still in 2026
    return effect


async def test_a_comment_that_was_made_is_found_and_no_other(jira, official):
    made = await jira.create(TicketDraft("Alert on it"), effect=an_effect("comment"))
    said = said_of(made.key, "Ada is on *it*.")
    assert await jira.find(said) is None
    await jira.comment(made.key, "Ada is on *it*.", effect=said)
    assert (await jira.find(said)).key == made.key
    assert await jira.find(said_of(made.key, "Grace is on *it*.")) is None
    assert [one.body for one in official.comments(made.key)] == ["Ada is on _it_."]


async def test_the_official_client_reads_what_was_filed_linked_and_closed(jira, official, connection):
    report = Document("docs:1", "Postmortem", "https://docs.example/1")
    connection.storage.records["document"] = [report]
    made = await jira.create(
        TicketDraft("Alert on it", "Why: *slow*", labels=("postmortem",), document="docs:1"),
        effect=an_effect("official"),
    )
    other = await jira.create(TicketDraft("Drain it"), effect=an_effect("other"))
    for _ in range(2):
        await jira.link(made.key, other.key, "blocks", effect=an_effect())
    await jira.close(made.key, comment="Quiet since.", effect=an_effect())
    issue = official.issue(made.key)
    assert (issue.fields.summary, issue.fields.description) == ("Alert on it", "Why: _slow_")
    assert sorted(issue.fields.labels) == [f"{OURS}official", "postmortem"]
    assert issue.fields.status.statusCategory.key == "done"
    assert [one.body for one in official.comments(made.key)] == ["Quiet since."]
    (link,) = issue.fields.issuelinks
    assert (link.type.outward, link.outwardIssue.key) == ("blocks", other.key)
    (remote,) = official.remote_links(made.key)
    assert (remote.globalId, remote.object.url) == ("hotwash/docs:1", "https://docs.example/1")


async def test_what_is_found_after_a_crash_links_to_its_document_once(jira, official, connection):
    report = Document("docs:2", "Postmortem", "https://docs.example/2")
    await jira._call("POST", "/issue", {"fields": filed_alone("cut-off")})
    effect = an_effect("cut-off", inputs={"document": report, "team": "sre"}, incident="pager:P1")
    for _ in range(2):
        found = await jira.find(effect)
    assert (found.document, found.incident, found.team) == ("docs:2", "pager:P1", "sre")
    assert [one.globalId for one in official.remote_links(found.key)] == ["hotwash/docs:2"]


def filed_alone(token):
    """Give an issue as it stands where the engine was killed before it did the rest."""
    return {
        "project": {"key": "JIRA820"},
        "issuetype": {"name": "Task"},
        "summary": "Alert",
        "labels": [f"{OURS}{token}"],
    }


async def test_open_tickets_with_a_label_are_found(jira):
    for number in range(3):
        await jira.create(TicketDraft(f"Item {number}", labels=("only-here",)), effect=an_effect(f"many{number}"))
    closed = await jira.create(TicketDraft("Done", labels=("only-here",)), effect=an_effect("closed"))
    await jira.close(closed.key, comment=None, effect=an_effect())
    found = await jira.search(Where(labels=("only-here",), done=False), None)
    assert sorted(ticket.title for ticket in found) == ["Item 0", "Item 1", "Item 2"]


async def test_a_ticket_that_is_not_there_is_nothing(jira):
    assert await jira.get("JIRA820-9999") is None


async def test_what_another_connection_keeps_is_refused(jira):
    with pytest.raises(ActionError, match="kept by connection 'local'"):
        await jira.comment("local:HW-1", "hello", effect=an_effect())


async def test_the_connection_says_that_it_works(jira):
    assert await jira.check() is None


# --- on the engine ---------------------------------------------------------------------------------------------------

PROJECT = """\
timezone: UTC
owner: ada
people: people.yaml
connections:
  tracker: {{provider: jira, server: "{address}", token: "${{TOKEN}}", project: JIRA820}}
use: {{ticket: tracker}}
"""
FLOW = """\
on: incident.declared
steps:
  - id: file
    uses: ticket.create
    with: {title: Alert on it, labels: [only-from-the-engine]}
  - uses: ticket.comment
    with: {ticket: "${{ steps.file.key }}", text: Look at it.}
  - uses: ticket.close
    with: {ticket: "${{ steps.file.key }}"}
"""
MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize("asked", ["/rest/api/2/issue", r"/rest/api/2/issue/[^/]+/comment", r"/rest/.*/transitions"])
async def test_what_was_done_before_a_crash_is_not_done_again(server, official, tmp_path, asked):
    before = {issue.key for issue in official.search_issues("labels = only-from-the-engine")}
    clock = MovableClock(MONDAY)
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "flow.yaml").write_text(FLOW)
    (tmp_path / "people.yaml").write_text("people: {ada: {name: Ada}}\n")
    async with Before(server, clock.now) as jira:
        (tmp_path / "hotwash.yaml").write_text(PROJECT.format(address=jira.url))
        more = {"environ": {"TOKEN": "of-some-length"}, "clock": clock, "providers": {"console": RecordingChat()}}
        async with World(tmp_path, MONDAY, wiring.open_application, **more) as world:
            jira.hangs_after("POST", asked)
            declared = Fact("incident.declared", MONDAY, "incident", "pager:P1", {"title": "Slow"})
            await world.application.accept("pager", [declared])
            await jira.began.wait()
            await world.crash()
            await world.restart()
            await world.move("15m")
            assert world.runs()[-1]["state"] == "finished"
    (issue,) = (one for one in official.search_issues("labels = only-from-the-engine") if one.key not in before)
    assert issue.fields.status.statusCategory.key == "done"
    assert [comment.body for comment in official.comments(issue.key)] == ["Look at it."]
