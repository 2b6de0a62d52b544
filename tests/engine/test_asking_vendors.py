"""What people ask of vendors through us: written down before it is tried, and neither lost nor doubled."""

from __future__ import annotations

import asyncio

import pytest

from engine import operations, reports, wiring
from engine.capabilities import TicketDraft
from engine.domain import Ticket
from engine.operations import NotYet, Refused
from engine.plugins import ActionError, ConnectionBroken, Fact, RetryLater, at_most_once, findable
from engine.testing import RecordingTickets

PROJECT = "connections: {tracker: {provider: local, key: TR}}\nuse: {ticket: tracker}\n"
RATED = "connections: {tracker: {provider: local, key: TR, rate: 1/h, burst: 1}}\nuse: {ticket: tracker}\n"


class Tracker(RecordingTickets):
    """A tracker that may hang after it has made a ticket, or refuse; it cannot be asked what it has made."""

    def __init__(self, *tickets):
        super().__init__(*tickets)
        self.began, self.hangs, self.fault, self.effects = asyncio.Event(), False, None, []
        self.at_call = lambda: None

    @at_most_once
    async def create(self, draft: TicketDraft, *, effect):
        return await self._make(draft, effect)

    async def _make(self, draft, effect):
        self.effects.append(effect)
        self.at_call()
        if self.fault is not None:
            raise self.fault
        key = f"T-{len(self.tickets) + 1}"
        ticket = self.tickets[f"tracker:{key}"] = Ticket(f"tracker:{key}", key, draft.title)
        fact = Fact("ticket.created", effect.at, "ticket", ticket.id, {"key": key, "title": draft.title})
        effect.emit("tracker", fact)
        if self.hangs:
            self.began.set()
            await asyncio.Event().wait()
        return ticket


class Searchable(Tracker):
    """The same, which can be asked."""

    @findable(visible_after="0s")
    async def create(self, draft: TicketDraft, *, effect):
        return await self._make(draft, effect)

    async def find(self, effect):
        ticket = next(iter(self.tickets.values()), None)
        if ticket is not None:
            effect.emit("tracker", Fact("ticket.created", effect.at, "ticket", ticket.id, {"key": ticket.key}))
        return ticket


async def ask(world, name="create_ticket", actor="ada", **inputs):
    given = {"title": "Alert earlier"} | inputs if name == "create_ticket" else inputs
    done = await operations.perform(world.application, name, given, actor)
    await world.settle()
    return done


def effects(world):
    return [(one["action"], one["state"]) for one in world.effects()]


async def killed_between_call_and_result(world, tracker):
    tracker.hangs = True
    asking = asyncio.create_task(ask(world))
    await tracker.began.wait()
    await world.crash()
    await asyncio.gather(asking, return_exceptions=True)
    tracker.hangs = False
    await world.restart()


async def test_it_is_written_down_before_the_vendor_is_called(engine):
    tracker, found = Tracker(), []
    async with engine("", project=PROJECT, providers={"tracker": tracker}) as world:
        tracker.at_call = lambda: found.extend(effects(world))
        done = await ask(world)
        assert (found, effects(world)) == ([("ticket.create", "intent")], [("ticket.create", "done")])
        assert done.message == "T-1 is filed: Alert earlier"


async def test_the_vendor_and_the_events_hear_who_asked(engine):
    tracker = Tracker()
    async with engine("", project=PROJECT, providers={"tracker": tracker}) as world:
        await ask(world)
        assert [one.actor.id for one in tracker.effects] == ["ada"]
        assert [event.actor.id for event in world.events("operation.asked")] == ["ada"]


async def test_a_crash_between_the_call_and_its_result_makes_no_second_and_loses_none(engine):
    tracker = Searchable()
    async with engine("", project=PROJECT, providers={"tracker": tracker}) as world:
        await killed_between_call_and_result(world, tracker)
        await world.move("5m")
        assert (len(tracker.effects), effects(world), world.state) == (1, [("ticket.create", "done")], "finished")
        assert [ticket.key for ticket in world.subjects("ticket")] == ["T-1"]


async def test_what_may_not_be_repeated_is_decided_by_who_asked_for_it(engine):
    tracker = Tracker()
    async with engine("", project=PROJECT, providers={"tracker": tracker}) as world:
        await killed_between_call_and_result(world, tracker)
        run = world.runs()[-1]
        assert (len(tracker.effects), run["state"], world.chat.sent[-1].to) == (1, "needs_decision", "ada")
        assert f"hotwash runs decide {run['uid']} done" in world.said[-1]
        await operations.perform(world.application, "decide_run", {"run": run["uid"], "decision": "done"}, "ada")
        await world.settle()
        assert (len(tracker.effects), world.state) == (1, "finished")


async def test_a_crash_before_the_call_does_it_after_the_restart(engine):
    tracker = Searchable()
    async with engine("", project=PROJECT, providers={"tracker": tracker}) as world:
        world.application.rest()
        world.application.executor.stopping = True
        with pytest.raises(NotYet):
            await operations.perform(world.application, "create_ticket", {"title": "Alert earlier"}, "ada")
        assert tracker.effects == []
        await world.crash()
        await world.restart()
        assert (len(tracker.effects), world.state) == (1, "finished")


async def test_what_the_vendor_refuses_is_said_to_who_asked_and_to_nobody_else(engine):
    tracker = Tracker()
    tracker.fault = ActionError("the project OPS is not there")
    async with engine("", project=PROJECT, providers={"tracker": tracker}) as world:
        with pytest.raises(Refused, match="the project OPS is not there"):
            await ask(world)
        assert (world.said, world.events("workflow.failed")) == ([], [])


async def test_what_was_refused_at_once_is_not_among_what_failed(engine):
    tracker = Tracker()
    tracker.fault = ActionError("the project OPS is not there")
    async with engine("", project=PROJECT, providers={"tracker": tracker}) as world:
        with pytest.raises(Refused):
            await ask(world)
        found = reports.status(world.application.reader, world.now)
        assert (world.state, found["failed"], found["failed_count"]) == ("failed", [], 0)


async def test_what_was_refused_when_nobody_waited_any_more_is_among_what_failed(engine):
    tracker = Tracker()
    tracker.fault = RetryLater("the tracker has trouble", after=120)
    async with engine("", project=PROJECT, providers={"tracker": tracker}) as world:
        with pytest.raises(NotYet):
            await ask(world)
        tracker.fault = ActionError("the project OPS is not there")
        await world.move("5m")
        found = reports.status(world.application.reader, world.now)
        assert ([one["run"] for one in found["failed"]], found["failed_count"]) == ([world.runs()[-1]["uid"]], 1)


async def test_a_vendor_in_trouble_is_asked_again_by_a_due_row(engine):
    tracker = Tracker()
    tracker.fault = RetryLater("the tracker has trouble", after=120)
    async with engine("", project=PROJECT, providers={"tracker": tracker}) as world:
        with pytest.raises(NotYet, match="not done yet: the tracker has trouble; it is written down"):
            await ask(world)
        tracker.fault = None
        await world.crash()
        await world.restart()
        await world.move("119s")
        assert len(tracker.tickets) == 0
        await world.move("2s")
        assert (len(tracker.tickets), world.state) == (1, "finished")


async def test_a_connection_that_refuses_our_credentials_holds_it(engine):
    tracker = Tracker()
    tracker.fault = ConnectionBroken("401: the token was revoked")
    async with engine("", project=PROJECT, providers={"tracker": tracker}) as world:
        with pytest.raises(NotYet, match="401: the token was revoked"):
            await ask(world)
        (held,) = reports.status(world.application.reader, world.now)["connections"]
        assert (held["connection"], held["effects"]) == ("tracker", 1)
        tracker.fault = None
        await world.move("5m")
        assert (len(tracker.tickets), world.state) == (1, "finished")


async def test_it_takes_its_turn_at_the_rate_of_the_connection(engine):
    tracker = Tracker()
    async with engine("", project=RATED, providers={"tracker": tracker}) as world:
        await ask(world)
        with pytest.raises(NotYet, match="is called at most 1/h times"):
            await ask(world, title="another")
        await world.move("59m")
        assert len(tracker.effects) == 1
        await world.move("2m")
        assert len(tracker.effects) == 2


async def test_asked_for_again_under_the_same_name_it_is_done_once(engine):
    tracker = Tracker()
    async with engine("", project=PROJECT, providers={"tracker": tracker}) as world:
        both = [await ask(world, once="V123") for _ in range(2)]
        assert [one.message for one in both] == ["T-1 is filed: Alert earlier", "T-1 is filed already: Alert earlier"]
        assert len(tracker.effects) == 1


async def test_a_vendor_that_hangs_keeps_nobody_else_from_what_they_do(engine):
    tracker = Tracker()
    async with engine("", project=PROJECT, providers={"tracker": tracker}) as world:
        tracker.hangs = True
        asking = asyncio.create_task(ask(world))
        await tracker.began.wait()
        done = await operations.perform(world.application, "declare_incident", {"title": "Slow"}, "grace")
        assert done.message == "INC-1 is declared: Slow"
        asking.cancel()


async def test_every_change_of_a_ticket_goes_through_the_journal(engine):
    tracker = Tracker(Ticket("tracker:T1", "T1", "t"))
    async with engine("", project=PROJECT, providers={"tracker": tracker}) as world:
        await world.ticket("T1", "created")
        await ask(world, "comment_ticket", ticket="T1", text="seen")
        await ask(world, "assign_ticket", ticket="T1", to="grace")
        await ask(world, "close_ticket", ticket="T1")
        await ask(world, "reopen_ticket", ticket="T1")
        assert [name for name, _ in tracker.calls] == ["comment", "update", "close", "reopen"]
        assert [state for _, state in effects(world)] == ["done"] * 4


async def test_without_an_engine_it_is_done_all_the_same_and_nothing_else_begins(engine):
    tracker = Tracker()
    text = "on: ticket.created\nsteps:\n  - {uses: chat.post, with: {text: hello}}\n"
    async with engine(text, project=PROJECT, providers={"tracker": tracker}) as world:
        await world.application.stop()
        alone = wiring.open_application(world.folder, clock=world.clock, providers={"tracker": tracker}, environ={})
        alone.rest()
        done = await operations.perform(alone, "create_ticket", {"title": "Alert earlier"}, "ada")
        await alone.stop()
        assert (done.message, world.said) == ("T-1 is filed: Alert earlier", [])
        world._application = None
        await world.restart()
        assert world.said == ["hello"]


async def test_a_dry_engine_asks_no_vendor(engine):
    tracker = Tracker()
    async with engine("", project=PROJECT, providers={"tracker": tracker}) as world:
        world.application.hub.dry_run = True
        await ask(world)
        assert (tracker.effects, effects(world)) == ([], [("ticket.create", "dry_run")])


async def test_what_is_asked_about_something_private_is_shown_to_nobody_unasked(engine):
    tracker = Tracker()
    project = "connections: {pager: {provider: local, key: PA}}\nuse: {incident: pager}\n"

    class Pager:
        @at_most_once
        async def declare(self, title, **more):
            raise RetryLater("no answer", maybe_done=True)

    async with engine("", project=project, providers={"pager": Pager(), "console": tracker}) as world:
        with pytest.raises(NotYet, match="it is not known whether it happened"):
            await ask(world, "declare_incident", title="Payroll leaked", private=True)
        found = reports.status(world.application.reader, world.now)
        assert "Payroll" not in str(found)
        assert found["needs_decision"][0]["private"]
