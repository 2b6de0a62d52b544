"""A service that refuses our credentials: its connection is held by a row, looked at now and then, and let go."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from engine import operations, reports
from engine.capabilities import Changes
from engine.domain import Person, Ticket
from engine.plugins import ActionError, ConnectionBroken, Fact, RetryLater
from engine.testing import RecordingChat, RecordingTickets

POST = """
steps:
  - id: post
    uses: chat.post
    with: {text: "${{ incident.title }}"}
"""
LOOK_UP = """
steps:
  - uses: chat.nudge
    with: {to: "${{ on_call('sre') }}", text: hello}
"""
TRACKED = "connections: {tracker: {provider: local, key: TR}}\nuse: {ticket: tracker}\n"


class Guarded(RecordingChat):
    """A chat that looks at our credentials first; `scopes` are what they are good for."""

    def __init__(self):
        super().__init__()
        self.token, self.scopes, self.looks, self.calls = True, True, 0, 0
        self.before = self._refuse

    async def check(self):
        self.looks += 1
        if not self.token:
            raise ConnectionBroken("401: the token was revoked")

    def _refuse(self, message):
        self.calls += 1
        if not self.token:
            raise ConnectionBroken("401: the token was revoked")
        if not self.scopes:
            raise ConnectionBroken("403: chat:write is missing; an owner of the workspace grants it")


@pytest.fixture
def guarded(engine):
    """Give what begins a world whose chat looks at our credentials."""

    @asynccontextmanager
    async def run():
        chat = Guarded()
        async with engine(POST, providers={"console": chat}) as world:
            world.chat = chat
            yield world, chat

    return run


async def declare(world, *names):
    facts = [Fact("incident.declared", world.now, "incident", f"pager:{name}", {"title": name}) for name in names]
    await world.happens("pager", *facts)


def held(world):
    return [one for one in reports.status(world.application.reader, world.now)["connections"] if one["state"] == "held"]


def told(world, event):
    return [sentence for name, sentence in world.told if name == event]


async def test_it_is_looked_at_with_growing_pauses_and_nothing_else_is_tried(guarded):
    async with guarded() as (world, chat):
        chat.token = False
        await declare(world, *"abcdef")
        looks = []
        for minute in range(1, 200):
            await world.move("1m")
            looks += [minute] * (chat.looks - len(looks))
        assert (looks, chat.calls) == ([5, 15, 35, 75, 135, 195], 1)
        assert {run["state"] for run in world.runs()} == {"held"}


async def test_what_is_wrong_is_told_once_with_who_can_mend_it(guarded):
    async with guarded() as (world, chat):
        chat.scopes = False
        await declare(world, *"abc")
        await world.move("1d")
        (sentence,) = told(world, "connection.held")
        assert "chat:write is missing; an owner of the workspace grants it" in sentence
        assert "'hotwash doctor console'" in sentence


async def test_all_go_out_when_the_next_look_finds_it_works(guarded):
    async with guarded() as (world, chat):
        chat.token = False
        await declare(world, *"abc")
        chat.token = True
        await world.move("299s")
        assert world.said == []
        await world.move("1s")
        assert (sorted(world.said), held(world)) == (["a", "b", "c"], [])


async def test_a_check_that_passes_lets_one_effect_try_before_the_others(guarded):
    async with guarded() as (world, chat):
        chat.scopes = False
        await declare(world, *"abcdefgh")
        await world.move("20m")
        assert (chat.looks, chat.calls) == (2, 3)
        chat.scopes = True
        await world.move("1h")
        assert (len(world.said), chat.calls) == (8, 11)


async def test_an_effect_that_the_service_refuses_for_another_reason_lets_the_others_go(guarded):
    async with guarded() as (world, chat):
        chat.token = False
        await declare(world, *"abc")

        def odd(message):
            if message.text == "a":
                raise ActionError("no such channel")

        chat.token, chat.before = True, odd
        await world.move("5m")
        assert (world.said[:2], held(world)) == (["b", "c"], [])


async def test_one_that_gets_no_answer_is_tried_again_by_the_next(guarded):
    async with guarded() as (world, chat):
        chat.token = False
        await declare(world, *"abc")

        def busy(message):
            if message.text == "a":
                raise RetryLater("busy", after=86400)

        chat.token, chat.before = True, busy
        await world.move("7m")
        assert world.said == ["b", "c"]


# --- restarts ---


@pytest.mark.parametrize("how", ["restart", "crash"])
async def test_a_restart_knows_that_it_is_held_and_looks_at_once(guarded, how):
    async with guarded() as (world, chat):
        chat.token = False
        await declare(world, "a")
        if how == "crash":
            await world.crash()
        await world.restart()
        await declare(world, "b")
        assert (chat.calls, chat.looks, held(world)[0]["effects"]) == (1, 1, 2)
        assert len(told(world, "connection.held")) == 1


async def test_new_credentials_and_a_restart_let_everything_go_at_once(guarded):
    async with guarded() as (world, chat):
        chat.token = False
        await declare(world, *"ab")
        await world.move("3h")
        chat.token = True
        await world.restart()
        assert sorted(world.said) == ["a", "b"]


async def test_a_look_at_a_start_does_not_make_the_pause_longer(guarded):
    async with guarded() as (world, chat):
        chat.token = False
        await declare(world, "a")
        until = held(world)[0]["until"]
        for _ in range(3):
            await world.restart()
        assert held(world)[0]["until"] == until


# --- doctor ---


async def test_doctor_lets_go_what_works_again(guarded):
    async with guarded() as (world, chat):
        chat.token = False
        await declare(world, *"ab")
        await world.move("3h")
        chat.token = True
        await operations.perform(world.application, "check_connections", {"connection": "console"}, "ada")
        await world.settle()
        assert (sorted(world.said), held(world)) == (["a", "b"], [])


async def test_doctor_holds_what_refuses_it(guarded):
    async with guarded() as (world, chat):
        chat.token = False
        await operations.perform(world.application, "check_connections", {"connection": "console"}, "ada")
        await declare(world, "a")
        assert (chat.calls, world.state) == (0, "held")


# --- what only reads ---


class Refusing(RecordingTickets):
    """A tracker that refuses to be asked anything while `broken`."""

    broken, asked = True, 0

    async def get(self, ticket):
        self._ask()
        return self._find(ticket)

    async def search(self, where, query):
        self._ask()
        return await super().search(where, query)

    async def check(self):
        if self.broken:
            raise ConnectionBroken("401")

    def _ask(self):
        self.asked += 1
        if self.broken:
            raise ConnectionBroken("401")


class Changing(Refusing):
    """The same, which can say what changed."""

    async def changes(self, cursor):
        self._ask()
        return Changes((), str(self.asked))


async def test_a_subject_that_cannot_be_read_holds_its_connection_and_then_goes_on(engine):
    text = "on: ticket.created\nsteps:\n  - wait: 1d\n  - {uses: chat.nudge, with: {to: ada, text: hello}}\n"
    tracker = Refusing(Ticket("tracker:T1", "T1", "t"))
    async with engine(text, project=TRACKED, providers={"tracker": tracker}) as world:
        await world.ticket("T1", "created")
        await world.move("1d")
        await world.move("3m")
        assert (tracker.asked, held(world)[0]["connection"]) == (1, "tracker")
        tracker.broken = False
        await world.move("4m")
        assert world.said == ["hello"]


async def test_a_look_for_what_changed_holds_its_connection_and_goes_on_when_it_works(engine):
    tracker = Changing()
    async with engine(POST, project=TRACKED, providers={"tracker": tracker}) as world:
        await world.move("4m")
        assert (tracker.asked, [one["connection"] for one in held(world)]) == (1, ["tracker"])
        tracker.broken = False
        await world.move("3m")
        assert (tracker.asked, held(world)) == (2, [])


async def test_a_check_for_stale_tickets_holds_its_connection_and_asks_no_more(engine):
    text = """
on: {ticket.stale: {for: 7d, poll: {every: 1m}}}
steps:
  - {uses: chat.post, with: {text: "${{ ticket.key }}"}}
"""
    tracker = Refusing()
    async with engine(text, project=TRACKED, providers={"tracker": tracker}) as world:
        await world.move("30m")
        assert (tracker.asked, len(told(world, "connection.held"))) == (1, 1)


class Roster:
    """Who is on call, at a service that refuses our credentials, or has trouble."""

    def __init__(self, fault):
        self.fault, self.asked = fault, 0

    async def on_call(self, target, at):
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return Person("ada", "Ada")

    async def check(self):
        if isinstance(self.fault, ConnectionBroken):
            raise self.fault


@pytest.mark.parametrize("fault", [ConnectionBroken("401"), RetryLater("502"), RetryLater("429", after=90.0)])
async def test_a_look_up_that_gets_no_answer_now_is_made_again_and_fails_no_step(engine, fault):
    project = "connections: {pager: {provider: pagerduty, token: x, webhook_secret: y}}\nuse: {on_call: pager}\n"
    pager = Roster(fault)
    async with engine(LOOK_UP, project=project, providers={"pager": pager}) as world:
        await world.declared()
        assert (world.state, pager.asked) == ("held", 1)
        pager.fault = None
        await world.restart()
        await world.move("8m")
        assert (world.said, world.state) == (["hello"], "finished")
