"""Slack on the engine: what it does is done once, wherever the engine is killed between a call and its result."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from engine import wiring
from engine.domain import Person
from engine.plugins import Fact
from engine.testing import World
from tests.slack_story import CALLS, EVERYTHING, PEOPLE, PROJECT, declared, killed_at
from tests.slack_workspace import Workspace, error, serving, user

LIBRARY = Path(__file__).parents[3] / "workflows"
MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture
def engine(tmp_path):
    """Give an engine on a workspace: `async with engine(flow=…) as (world, workspace)`."""

    @asynccontextmanager
    async def run(token="xoxb-of-some-length", **workflows):
        async with serving(Workspace()) as workspace:
            (tmp_path / "hotwash.yaml").write_text(PROJECT.format(api=workspace.api))
            (tmp_path / "people.yaml").write_text(PEOPLE)
            (tmp_path / "workflows").mkdir()
            shutil.copytree(LIBRARY / "templates", tmp_path / "templates")
            for name, text in workflows.items():
                (tmp_path / "workflows" / f"{name}.yaml").write_text(text)
            build = partial(wiring.open_application, incomplete=token is None)
            world = World(tmp_path, MONDAY, build, environ={"SLACK": token} if token else {})
            workspace.now = world.clock.now
            async with world:
                yield world, workspace

    return run


def seen(workspace):
    """Give what people see in the workspace, in short."""
    channels = [
        (one["name"], sorted(one["members"]), one["topic"]["value"], one["is_archived"])
        for one in workspace.channels.values()
    ]
    messages = {room: [one["text"] for one in kept] for room, kept in workspace.messages.items()}
    links = [(one["title"], one["link"]) for kept in workspace.bookmarks.values() for one in kept]
    return channels, messages, links, len(workspace.pins)


OVER = "Nobody waits for an answer any more."
EXPECTED = (
    [("incidents", ["UADA"], "", False), ("slow-fast", ["UADA", "UBOT", "UGRACE"], "a topic", True)],
    {
        "C2": ["two", "under it"],
        "D-UADA": ["to you: Slow"],
        "D-UADA,UGRACE": [f"Slow?\n{OVER}"],
    },
    [("Page", "https://x.example")],
    1,
)


async def test_everything_is_done_once_where_nothing_goes_wrong(engine):
    async with engine(flow=EVERYTHING) as (world, workspace):
        await world.happens("pager", declared(world))
        await world.move("2h")
        assert world.runs()[0]["state"] == "finished"
        assert seen(workspace) == EXPECTED
        assert world.subjects("incident")[0].channel == "C2"


@pytest.mark.parametrize(("method", "number"), CALLS, ids=lambda value: str(value))
async def test_everything_is_done_once_where_the_engine_is_killed_before_an_answer_comes(engine, method, number):
    async with engine(flow=EVERYTHING) as (world, workspace):
        await killed_at(world, workspace, method, number)
        await world.move("3h")
        assert world.runs()[0]["state"] == "finished"
        assert seen(workspace) == EXPECTED
        assert world.subjects("incident")[0].channel == "C2"


async def test_what_only_one_person_saw_is_asked_about_after_a_crash(engine):
    text = "on: incident.declared\nsteps: [{uses: chat.ephemeral, with: {channel: C1, to: ada, text: psst}}]\n"
    async with engine(flow=text) as (world, workspace):
        await killed_at(world, workspace, "chat.postEphemeral", 0)
        assert (world.runs()[0]["state"], len(workspace.shown)) == ("needs_decision", 1)


async def test_two_incidents_of_one_title_that_crash_together_have_two_channels(engine):
    text = "on: incident.declared\nsteps: [{uses: chat.create_channel, with: {name: '${{ incident.title }}'}}]\n"
    async with engine(flow=text) as (world, workspace):
        workspace.hangs["conversations.create"] = 1
        facts = [Fact("incident.declared", world.now, "incident", f"pager:P{n}", {"title": "Slow"}) for n in (1, 2)]
        await world.application.accept("pager", facts)
        await asyncio.wait_for(workspace.hung.wait(), 20)
        await world.crash()
        await world.restart()
        await world.move("5m")
        assert {one.channel for one in world.subjects("incident")} == {"C2", "C3"}
        assert len(workspace.channels) == 3


async def test_the_shipped_workflow_runs_on_slack_and_says_who_is_unknown_there(engine):
    text = (LIBRARY / "incident-response.yaml").read_text("utf-8").replace("owner: sre", "owner: grace")
    async with engine(response=text) as (world, workspace):
        await world.happens("pager", declared(world))
        await world.move("1m")
        room = workspace.channels["C2"]
        assert (room["name"], room["topic"]["value"]) == ("p1-slow", "sev1, declared, commander: nobody")
        summary, unknown = workspace.messages["C2"]
        assert "Severity: sev1" in summary["text"]
        assert unknown["text"] == "Not here, because the chat does not know them: Linus"
        assert workspace.pins == [("C2", summary["ts"])]
        workspace.users.append(user("ULINUS", "Linus", "linus@example.com"))
        await world.incident("updated", roles={"commander": world.application.hub.directory.people.person("linus")})
        await world.incident("resolved")
        await world.move("1m")
        assert "Status: resolved" in workspace.messages["C2"][0]["text"]
        await world.move("8d")
        assert room["is_archived"]


async def test_nobody_is_paged_by_a_title(engine):
    text = (LIBRARY / "incident-response.yaml").read_text("utf-8").replace("owner: sre", "owner: grace")
    async with engine(response=text) as (world, workspace):
        await world.happens("pager", declared(world, title="<!channel> <@UADA> is slow"))
        await world.move("1m")
        summary = workspace.messages["C2"][0]
        shown = summary["text"] + str(summary["blocks"]) + workspace.channels["C2"]["topic"]["value"]
        assert "&lt;!channel&gt;" in shown
        assert "<!" not in shown
        assert "<@" not in shown


async def test_a_summary_that_somebody_deleted_and_an_invitation_that_is_refused_do_not_end_the_rest(engine):
    text = (LIBRARY / "incident-response.yaml").read_text("utf-8").replace("owner: sre", "owner: grace")
    async with engine(response=text) as (world, workspace):
        workspace.bad["conversations.invite"] = [error("restricted_action")]
        await world.happens("pager", declared(world))
        await world.move("1m")
        workspace.messages["C2"].clear()
        await world.incident("acknowledged")
        await world.move("1m")
        assert workspace.channels["C2"]["topic"]["value"] == "sev1, acknowledged, commander: nobody"
        assert world.runs()[0]["state"] == "waiting"


async def test_who_somebody_is_in_slack_is_known_to_workflows(engine):
    text = "on: incident.declared\nsteps: [{uses: chat.post, with: {text: \"${{ person('ada').timezone }}\"}}]\n"
    async with engine(flow=text) as (world, workspace):
        workspace.users[0]["tz"] = "Europe/Prague"
        await world.restart()
        await world.application.providers["chat"]._reading
        await world.happens("pager", declared(world))
        assert [one["text"] for one in workspace.messages["C1"]] == ["Europe/Prague"]


async def test_a_new_token_lets_everybody_ask_the_new_client_who_somebody_is(engine):
    async with engine() as (world, _):
        before = world.application.providers["chat"]
        world._environ["SLACK"] = "xoxb-another-one"
        assert await world.application.renew() == ["chat"]
        assert world.application.providers["chat"] is not before
        mary = Person("slack:UMARY", "Mary", email="mary@example.com")
        world.application.providers["chat"]._directory.by_id["UMARY"] = mary
        assert world.application.hub.directory.people.person("slack:UMARY") == mary


async def test_without_slacks_token_the_people_file_still_says_who_somebody_is(engine):
    async with engine(token=None) as (world, _):
        assert world.application.hub.directory.people.person("ada").email == "ada@example.com"
        assert "chat" in world.application.disabled
