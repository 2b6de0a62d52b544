"""`connection:` as an expression, and what it is made of: `vars` of the project and of teams, and inputs."""

from __future__ import annotations

import asyncio

import pytest

from engine import operations
from engine.capabilities import Message
from engine.operations import BadInput
from engine.plugins import Fact, RetryLater, findable
from engine.testing import RecordingChat

PROJECT = """\
connections: {east: {provider: console}, west: {provider: console}, docs: {provider: markdown}}
use: {chat: console}
vars: {where: east, by_severity: {sev1: east, sev2: west}, limit: 3}
"""
PEOPLE = "  web: {lead: ada, members: [ada], vars: {where: west}}\nservices: {checkout: {team: web}}\n"
POST = "steps:\n  - {id: say, uses: chat.post, connection: '${{ %s }}', with: {text: hello}}\n"
ASKED = "on: manual\ninputs: {chat: {type: connection}}\n" + POST % "inputs.chat"


class Found(RecordingChat):
    """A chat that shows what it was sent."""

    def __init__(self):
        super().__init__()
        self.hangs, self.began = False, asyncio.Event()

    @findable(visible_after="0s")
    async def post(self, channel, text, *, thread, effect):
        self.began.set()
        if self.hangs:
            await asyncio.Event().wait()
        return await RecordingChat.post(self, channel, text, thread=thread, effect=effect)

    async def find(self, effect):
        return Message("found") if any(message.effect == effect.id for message in self.sent) else None


@pytest.fixture
def world(engine):
    """Give a world by its workflow, with the chats `east` and `west`."""

    def make(text, project=PROJECT, **chats):
        chats = {"east": RecordingChat(), "west": RecordingChat(), **chats}
        world = engine(text, project=project, people=PEOPLE, providers=chats)
        return world, chats["east"], chats["west"]

    return make


# --- vars ---


async def test_vars_of_the_project_are_in_every_workflow_and_a_teams_override_them(engine):
    text = "steps:\n  - {uses: chat.post, with: {text: \"${{ vars.where }} ${{ team('web').vars.where }}\"}}\n"
    text += "  - {uses: chat.post, with: {text: \"${{ team('web').vars.limit }} ${{ team('sre').vars.where }}\"}}\n"
    async with engine(text, project=PROJECT, people=PEOPLE) as world:
        await world.declared()
        assert world.said == ["east west", "3 east"]


# --- the connection of a step ---


@pytest.mark.parametrize(
    ("expression", "severity", "west"),
    [
        ("vars.where", "sev1", False),
        ('team("web").vars.where', "sev1", True),
        ('"west" if incident.severity == "sev1" else "east"', "sev1", True),
        ("vars.by_severity[incident.severity]", "sev2", True),
        ('vars.by_severity[incident.severity] | default("west")', "sev9", True),
    ],
)
async def test_a_step_goes_to_the_connection_that_an_expression_gives(world, expression, severity, west):
    running, east_chat, west_chat = world(POST % expression)
    async with running as engine:
        await engine.declared(severity=severity)
        assert [len(chat.sent) for chat in (east_chat, west_chat)] == ([0, 1] if west else [1, 0])
        row = engine.application.reader.execute("SELECT connection FROM effects").fetchone()
        assert row["connection"] == ("west" if west else "east")


async def test_a_connection_that_is_null_fails_the_step_and_names_the_empty_part(world):
    running, *_ = world(POST % "vars.by_severity[incident.severity]")
    async with running as engine:
        await engine.declared(severity="sev9")
        assert (engine.state, engine.runs()[0]["error"]["code"]) == ("failed", "null-input")
        assert engine.error.startswith("'connection' is null: vars.by_severity[incident.severity]")


async def test_a_connection_that_somebody_gives_and_that_cannot_do_it_fails_the_step(world):
    running, *_ = world(ASKED)
    async with running as engine:
        await operations.perform(
            engine.application, "start_workflow", {"workflow": "flow", "inputs": {"chat": "docs"}}, "ada"
        )
        await engine.settle()
        assert (engine.state, engine.error) == ("failed", "connection 'docs' does not serve 'chat'")
        assert engine.effects("chat.post") == []


async def test_a_connection_that_there_is_not_cannot_be_given(world):
    running, *_ = world(ASKED)
    async with running as engine:
        with pytest.raises(BadInput, match="no connection is called 'north'"):
            await operations.perform(
                engine.application, "start_workflow", {"workflow": "flow", "inputs": {"chat": "north"}}, "ada"
            )


async def test_a_connection_that_somebody_gives_is_used(world):
    running, _, west = world(ASKED)
    async with running as engine:
        await operations.perform(
            engine.application, "start_workflow", {"workflow": "flow", "inputs": {"chat": "west"}}, "ada"
        )
        await engine.settle()
        assert [message.text for message in west.sent] == ["hello"]


# --- what is under way stays where it is ---


async def change_vars(engine):
    await engine.crash()
    path = engine.folder / "hotwash.yaml"
    path.write_text(path.read_text().replace("where: east", "where: west"))
    await engine.restart()


async def test_a_further_attempt_goes_to_the_connection_of_the_first_although_vars_have_changed(world):
    def later(message):
        east.before = lambda _: None
        raise RetryLater("not now", after=60.0)

    running, east, west = world(POST % "vars.where")
    east.before = later
    async with running as engine:
        await engine.declared()
        await change_vars(engine)
        await engine.move("1h")
        assert (len(east.sent), len(west.sent), engine.state) == (1, 0, "finished")


async def test_what_was_cut_off_is_taken_up_where_it_was_sent_although_vars_have_changed(world):
    running, east, west = world(POST % "vars.where", east=Found(), west=Found())
    async with running as engine:
        east.hangs = True
        await engine.application.accept("pager", [Fact("incident.declared", engine.now, "incident", "pager:P1", {})])
        await asyncio.wait_for(east.began.wait(), 20)
        east.hangs = False
        await change_vars(engine)
        assert (len(east.sent), len(west.sent), engine.state) == (1, 0, "finished")


async def test_what_is_held_goes_to_the_connection_that_is_named_when_it_goes_out(world):
    project = PROJECT + 'calendars: {office: {hours: {mon-fri: "10:00-17:00"}}}\n'
    running, east, west = world("during: office\n" + POST % "vars.where", project=project)
    async with running as engine:
        await engine.declared()
        await change_vars(engine)
        await engine.move("2h")
        assert (len(east.sent), len(west.sent), engine.state) == (0, 1, "finished")
