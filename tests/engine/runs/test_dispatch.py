"""A wait is a row; what is due is done, oldest first; trouble with a run or the file ends nothing (PROMISES 1.3)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from engine.plugins import Fact, RetryLater
from engine.store.codec import micros
from engine.store.journal import StorageUnavailable, connect
from engine.testing import RecordingChat

WAIT = """
steps:
  - wait: {until: {document.published: event.document.id == "docs:a"}, for: 1h}
  - uses: chat.post
    with: {text: "${{ incident.title }}"}
"""


def waits(world):
    rows = world.application.reader.execute("SELECT kind, due FROM waits ORDER BY id").fetchall()
    return [(row["kind"], row["due"]) for row in rows]


class Locked:
    """Another program that holds the database file."""

    def __init__(self, world):
        self.world = world

    def __enter__(self):
        journal = self.world.application.journal
        journal._connection.execute("PRAGMA busy_timeout = 0")
        self.other = connect(journal.path)
        self.other.execute("BEGIN IMMEDIATE")

    def __exit__(self, *_):
        self.other.execute("ROLLBACK")
        self.other.close()


# --- a wait is a row ---


async def test_a_waiting_run_is_rows_and_nothing_else(engine):
    async with engine(WAIT) as world:
        before = len(asyncio.all_tasks())
        for number in range(20):
            await world.incident("declared", f"pager:{number}")
        application = world.application
        assert (application.executor.active, application.dispatcher._tasks, application.dispatcher._queue) == (
            {},
            {},
            {},
        )
        assert len(asyncio.all_tasks()) == before
        assert waits(world)[:2] == [("timer", micros(world.now + timedelta(hours=1))), ("event", None)]
        assert {run["state"] for run in world.runs()} == {"waiting"}


async def test_the_rows_of_a_wait_go_with_it(engine):
    async with engine(WAIT) as world:
        await world.declared()
        await world.document("a")
        assert (world.state, waits(world)) == ("finished", [])


async def test_no_wait_ends_before_its_instant(engine):
    async with engine(WAIT) as world:
        await world.declared()
        await world.move("3599s")
        assert world.said == []
        await world.move("1s")
        assert world.said == ["Checkout is slow"]


async def test_what_fell_due_while_the_engine_was_down_is_done_at_once_oldest_first(engine):
    async with engine(WAIT) as world:
        for name in "abc":
            await world.incident("declared", f"pager:{name}", title=name)
            await world.move("1m")
        await world.application.journal.transact(
            lambda cursor: cursor.execute("UPDATE waits SET due = due - 3600000000 WHERE run = 3") and None
        )
        await world.application.journal.transact(
            lambda cursor: (
                cursor.execute(
                    "UPDATE steps SET data = replace(data, '10:02:00', '09:02:00') WHERE run = 3 AND kind = 'wait'"
                )
                and None
            )
        )
        await world.crash()
        world.clock.move_to(world.now + timedelta(days=1))
        await world.restart()
        assert world.said == ["c", "a", "b"]


async def test_a_run_that_was_woken_and_not_looked_at_before_a_crash_is_looked_at_after_it(engine):
    async with engine(WAIT) as world:
        await world.declared()
        await world.crash()
        fact = Fact("document.published", world.now, "document", "docs:a", {"published": True, "content": "1"})
        await world.restart_with(fact)
        assert world.said == ["Checkout is slow"]


async def test_a_clock_set_back_delays_a_wait_and_repeats_nothing(engine):
    async with engine(WAIT) as world:
        await world.declared()
        await world.move("30m")
        world.clock.move_to(world.now - timedelta(hours=2))
        await world.settle()
        await world.move("2h")
        assert world.said == []
        await world.move("30m")
        assert world.said == ["Checkout is slow"]
        world.clock.move_to(world.now - timedelta(hours=2))
        await world.move("3h")
        assert world.said == ["Checkout is slow"]


async def test_a_clock_set_back_between_the_alarm_and_the_look_loses_no_wait(engine):
    async with engine(WAIT) as world:
        await world.declared()
        await world.crash()
        journal = connect(world.folder / ".hotwash" / "hotwash.db")  # it was woken, and the machine went down
        journal.execute("DELETE FROM waits WHERE kind = 'timer'")
        journal.execute("UPDATE runs SET wake = 1")
        journal.close()
        world.clock.move_to(world.now - timedelta(hours=2))
        await world.restart()
        assert ("timer", micros(world.now + timedelta(hours=3))) in waits(world)
        await world.move("3h")
        assert world.said == ["Checkout is slow"]


async def test_more_runs_than_are_advanced_at_once_all_end(engine):
    async with engine("steps: [{uses: chat.post, with: {text: a}}]") as world:
        facts = [Fact("incident.declared", world.now, "incident", f"pager:{number}", {}) for number in range(600)]
        await world.happens("pager", *facts)
        assert len(world.said) == 600
        assert {run["state"] for run in world.runs()} == {"finished"}


# --- trouble with one run ---


async def test_a_run_that_cannot_be_brought_forward_is_held_and_the_others_go_on(engine):
    async with engine(WAIT) as world:
        for name in "ab":
            await world.incident("declared", f"pager:{name}", title=name)
        await world.application.journal.transact(
            lambda cursor: cursor.execute("UPDATE steps SET kind = 'no such' WHERE run = 1") and None
        )
        await world.move("1h")
        assert [run["state"] for run in world.runs()] == ["held", "finished"]
        assert "KeyError" in world.runs()[0]["reason"]
        assert any(name == "run.crashed" for name, _ in world.told)
        assert not world.application.executor.active


async def test_a_fault_beside_the_actor_is_not_waited_for_in_vain(engine):
    async with engine("steps: [{uses: chat.post, with: {text: a}}]") as world:

        async def broken(active, command):
            raise RuntimeError("a bug of ours")

        world.application.executor._attempt_of = broken
        await world.declared()
        assert (world.state, world.runs()[0]["reason"]) == ("held", "RuntimeError: a bug of ours")


async def test_a_run_whose_version_no_longer_compiles_is_held_and_goes_on_when_it_does_again(engine):
    async with engine("""
steps:
  - wait: 1h
  - uses: chat.nudge
    with: {to: mary, text: hello}
""") as world:
        await world.declared()
        await world.crash()
        (world.folder / "workflows" / "flow.yaml").unlink()
        people = world.folder / "people.yaml"
        known = people.read_text()
        people.write_text("\n".join(line for line in known.splitlines() if "mary" not in line))
        await world.restart()
        await world.move("1h")
        assert (world.state, world.said) == ("held", [])
        people.write_text(known)
        await world.restart()
        assert (world.state, world.said) == ("finished", ["hello"])


# --- trouble with the file ---


async def test_a_result_that_cannot_be_written_is_kept_and_written_later(engine):
    chat = RecordingChat()
    async with engine(
        "steps: [{uses: chat.post, with: {text: a}}, {uses: chat.post, with: {text: b}}]", providers={"console": chat}
    ) as world:
        locked = Locked(world)
        chat.before = lambda message: locked.__enter__()
        await world.declared()
        chat.before = lambda message: None
        assert [message.text for message in chat.sent] == ["a"]
        locked.__exit__()
        await world.move("5s")
        assert [message.text for message in chat.sent] == ["a", "b"]
        assert world.state == "finished"


async def test_what_is_due_while_the_file_is_locked_is_done_when_it_is_free_and_nobody_spins(engine):
    async with engine(WAIT) as world:
        await world.declared()
        tries = len(world.told)
        with Locked(world):
            await world.move("1h")
            await world.settle()
            refused = [name for name, _ in world.told[tries:]].count("storage.unavailable")
            assert 1 <= refused <= 3
            assert world.application.next_due() > world.now
        await world.move("5s")
        assert world.said == ["Checkout is slow"]


async def test_an_effect_is_not_tried_while_its_intent_cannot_be_written(engine):
    async with engine(WAIT) as world:
        await world.declared()
        await world.application.journal.transact(
            lambda cursor: cursor.execute("UPDATE runs SET wake = 1") and cursor.execute("DELETE FROM waits") and None
        )
        world.clock.move_to(world.now + timedelta(hours=1))
        with Locked(world):
            world.application.dispatcher.notify([1])
            await world.settle()
            assert (world.said, world.effects()) == ([], [])
        await world.move("5s")
        assert world.said == ["Checkout is slow"]


# --- stopping ---


class SlowChat(RecordingChat):
    """A chat whose messages go out when `go_on` is set."""

    def __init__(self):
        super().__init__()
        self.began, self.go_on = asyncio.Event(), asyncio.Event()

    async def post(self, channel, text, *, thread, effect):
        self.began.set()
        await self.go_on.wait()
        return await super().post(channel, text, thread=thread, effect=effect)


TWO = "steps: [{uses: chat.post, with: {text: a}}, {uses: chat.post, with: {text: b}}]"


async def test_a_call_under_way_ends_before_the_engine_stops_and_its_result_is_kept(engine):
    chat = SlowChat()
    async with engine(TWO, providers={"console": chat}) as world:
        application = world.application
        await application.accept("pager", [Fact("incident.declared", world.now, "incident", "pager:P1", {})])
        await chat.began.wait()
        stopping = asyncio.ensure_future(application.stop(patience=5.0))
        await asyncio.sleep(0.01)
        chat.go_on.set()
        await stopping
        world._application = None
        assert [message.text for message in chat.sent] == ["a"]
        await world.restart()
        assert [message.text for message in chat.sent] == ["a", "b"]


async def test_a_call_that_does_not_end_in_time_is_left_as_an_intent(engine):
    chat = SlowChat()
    async with engine(TWO, providers={"console": chat}) as world:
        await world.application.accept("pager", [Fact("incident.declared", world.now, "incident", "pager:P1", {})])
        await chat.began.wait()
        await world.application.stop(patience=0.0)
        world._application = None
        await world.restart()
        assert (world.state, chat.to("#default")) == ("needs_decision", [])


async def test_what_comes_after_the_end_is_refused_and_not_lost_in_silence(engine):
    async with engine(WAIT) as world:
        application = world.application
        await application.stop()
        world._application = None
        with pytest.raises(StorageUnavailable):
            await application.accept("pager", [Fact("incident.declared", world.now)])


# --- settled ---


async def test_nothing_can_happen_any_more_when_the_world_has_settled(engine):
    async with engine("""
steps:
  - for_each: "[1, 2, 3, 4, 5]"
    uses: chat.post
    with: {text: "${{ item }}"}
    repeat: {every: 10m, max: 3}
""") as world:
        await world.declared()
        for _ in range(2):
            world.clock.move_to(world.now + timedelta(minutes=10))
            await world.application.settled()
            assert world.application.next_due() is None or world.application.next_due() > world.now
            assert not world.application.executor.active
        assert (len(world.said), world.state) == (15, "finished")


async def test_a_run_that_was_to_try_again_does_after_a_restart(engine):
    async with engine("steps: [{uses: chat.post, with: {text: a}}]") as world:

        def busy(message):
            raise RetryLater("busy", after=3600)

        world.chat.before = busy
        await world.declared()
        assert (world.state, [kind for kind, _ in waits(world)]) == ("waiting", ["timer"])
        await world.crash()
        world.clock.move_to(world.now + timedelta(days=1))
        world.chat.before = lambda message: None
        await world.restart()
        assert world.said == ["a"]
