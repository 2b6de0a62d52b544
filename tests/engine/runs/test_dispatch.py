"""A wait is a row; what is due is done, oldest first; trouble with a run or the file ends nothing (PROMISES 1.3)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from engine.store.codec import micros
from engine.store.journal import connect
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
        journal.patience = 0
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
