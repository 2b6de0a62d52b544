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
from engine.capabilities import TicketDraft, Where
from engine.domain import Person
from engine.plugins import ActionError
from tests.fakes import an_effect

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


async def test_the_same_comment_is_made_once_however_often_it_is_tried(jira, server):
    made = await jira.create(TicketDraft("Alert on it"), effect=an_effect("comment"))
    effect = an_effect("said")
    effect.at = datetime(2020, 1, 1, tzinfo=UTC)  # the stand-in's own clock stands still in 2026
    for _ in range(3):
        await jira.comment(made.key, "Ada is on *it*.", effect=effect)
    comments = (await raw(server, f"/issue/{made.key}/comment"))["comments"]
    assert [one["body"] for one in comments] == ["Ada is on _it_."]


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
