"""Schedules and staleness: what the clock starts (PROMISES 1.9, 1.10)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from engine.capabilities import Changes, Where
from engine.domain import Ticket
from engine.operations import perform
from engine.plugins import Fact
from engine.store.codec import micros, plain_json, record
from engine.store.journal import connect
from engine.testing import RecordingTickets

POST = """
steps:
  - uses: chat.post
    with: {text: "${{ event.time | local }}"}
"""
HOURLY = 'on: {schedule: {cron: "0 * * * *"%s}}' + POST


def ticks(world):
    return [event.time.strftime("%d %H:%M") for event in world.events("schedule")]


# --- schedules ---


async def test_a_schedule_fires_at_its_instants_and_not_at_the_first_load(engine):
    async with engine(HOURLY % "") as world:
        assert world.runs() == []
        await world.move("150m")
        assert ticks(world) == ["02 10:00", "02 11:00"]
        assert [run["key"] for run in world.runs()] == ["2026-03-02T10:00:00+00:00", "2026-03-02T11:00:00+00:00"]


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        ("", ["02 12:00"]),
        (", missed: once", ["02 12:00"]),
        (", missed: skip", []),
        (", missed: all", ["02 10:00", "02 11:00", "02 12:00"]),
    ],
)
async def test_what_was_missed_while_the_engine_was_down_is_made_up_for_as_told(engine, missed, expected):
    async with engine(HOURLY % missed) as world:
        await world.crash()
        world.clock.move_to(world.now + timedelta(hours=3, minutes=30))
        await world.restart()
        assert ticks(world) == expected
        await world.move("30m")
        assert ticks(world) == [*expected, "02 13:00"]


async def test_a_schedule_follows_the_clocks_of_its_zone(engine):
    text = 'on: {schedule: {cron: "30 2 * * *", timezone: Europe/Prague}}' + POST
    async with engine(text) as world:
        await world.move_to(datetime(2026, 3, 28, 12, tzinfo=UTC))
        before = len(world.events())
        await world.move_to(datetime(2026, 3, 30, 12, tzinfo=UTC))
        assert ticks(world)[before:] == ["29 01:00", "30 00:30"]  # 02:30 does not exist on the 29th


async def test_the_time_that_a_workflow_is_off_is_not_made_up_for(engine, tmp_path):
    file = tmp_path / "workflows" / "flow.yaml"
    async with engine(HOURLY % ", missed: all") as world:
        file.write_text("mode: off\n" + HOURLY % ", missed: all")
        await world.application.reload()
        await world.move("3h")
        file.write_text(HOURLY % ", missed: all")
        await world.application.reload()
        await world.move("1h")
        assert ticks(world) == ["02 13:00"]


async def test_a_schedule_written_otherwise_counts_from_now(engine, tmp_path):
    async with engine(HOURLY % ", missed: all") as world:
        await world.crash()
        world.clock.move_to(world.now + timedelta(hours=3, minutes=10))
        (tmp_path / "workflows" / "flow.yaml").write_text((HOURLY % ", missed: all").replace("0 *", "30 *"))
        await world.restart()
        await world.move("30m")
        assert ticks(world) == ["02 12:30"]


async def test_the_next_instant_is_kept_with_the_tick(engine):
    async with engine(HOURLY % "") as world:
        await world.move("1h")
        due = world.application.reader.execute("SELECT due FROM schedules WHERE id = 'flow/schedule'").fetchone()["due"]
        assert due == micros(world.now + timedelta(hours=1))


async def test_every_counts_from_the_first_load_across_restarts(engine):
    async with engine("on: {schedule: {every: 2h}}" + POST) as world:
        await world.move("90m")
        await world.restart()
        await world.move("30m")
        assert ticks(world) == ["02 11:00"]


async def test_other_triggers_written_before_it_leave_a_schedule_where_it_was(engine, tmp_path):
    file = tmp_path / "workflows" / "flow.yaml"
    async with engine("on: {schedule: {every: 2h}}" + POST) as world:
        await world.move("90m")
        file.write_text("on: {webhook: {name: x}, schedule: {every: 2h}}" + POST)
        await world.application.reload()
        await world.move("30m")
        assert ticks(world) == ["02 11:00"]


async def test_a_look_while_a_pause_is_ending_makes_up_for_nothing_of_it(engine):
    async with engine(HOURLY % "") as world:
        await perform(world.application, "pause", {}, "grace")
        await world.move("3d")
        resuming = asyncio.create_task(perform(world.application, "resume", {}, "grace"))
        while world.application.hub.pauses.current:
            await asyncio.sleep(0)
        world.application.polls.look_now("markdown")  # wakes the polls while the end of the pause is written
        await resuming
        await world.settle()
        assert world.said == []


async def test_a_tick_that_another_process_wrote_before_a_crash_is_one_tick(engine):
    async with engine(HOURLY % "") as world:
        due = world.application.reader.execute("SELECT due FROM schedules WHERE id = 'flow/schedule'").fetchone()[0]
        await world.move("1h")
        await world.application.journal.transact(
            lambda cursor: cursor.execute("UPDATE schedules SET due = ? WHERE id = 'flow/schedule'", (due,)) and None
        )
        await world.restart()
        assert len(world.runs()) == len(world.events("schedule")) == 1


async def test_a_tick_that_could_not_be_written_is_written_with_its_own_instant_later(engine):
    async with engine(HOURLY % ", missed: skip") as world:
        world.application.journal.patience = 0
        other = connect(world.application.journal.path)
        other.execute("BEGIN IMMEDIATE")
        world.clock.move_to(world.now + timedelta(hours=1))
        await world.settle()
        assert world.events("schedule") == []
        other.execute("ROLLBACK")
        other.close()
        await world.move("1m")
        assert ticks(world) == ["02 10:00"]


async def test_a_clock_set_back_delays_the_next_tick_and_repeats_none(engine):
    async with engine(HOURLY % "") as world:
        await world.move("1h")
        world.clock.move_to(world.now - timedelta(minutes=30))
        await world.settle()
        await world.move("45m")
        assert ticks(world) == ["02 10:00"]
        await world.move("45m")
        assert ticks(world) == ["02 10:00", "02 11:00"]


# --- staleness ---

STALE = """
on:
  ticket.stale: {for: 7d, again: 14d, poll: {cron: "0 * * * *"}%s}
steps:
  - uses: chat.post
    with: {text: "${{ ticket.key }}"}
%s
"""
TRACKED = "connections: {tracker: {provider: local, key: TR}}\nuse: {ticket: tracker}\n"


def idle(key, now, days, **more):
    return Ticket(f"tracker:{key}", key, key, created_at=now - timedelta(days=days), **more)


@pytest.fixture
def tracked(engine):
    """Give an engine whose tracker is somebody else's: `tracker` is its fake."""

    def run(text, tracker):
        return engine(text, project=TRACKED, providers={"tracker": tracker})

    return run


async def test_the_own_store_gives_the_idle_and_open_ones_of_many_tickets_in_portions(engine):
    async with engine(HOURLY % "") as world:
        kept = [Ticket(f"local:T-{i}", f"T-{i}", "t", created_at=world.now - timedelta(days=9)) for i in range(2_500)]
        stale = [kept[3], kept[1_200], kept[2_499]]
        rows = [one if one in stale else replace(one, active_at=world.now) for one in kept]
        rows[7] = replace(kept[7], done=True)
        await world.application.journal.transact(lambda cursor: keep_tickets(cursor, rows))
        others_had_their_turn = asyncio.ensure_future(asyncio.sleep(0))
        where = Where(done=False, idle_since=world.now - timedelta(days=7))
        found = await world.application.providers["local"].search(where, None)
        assert {one.id for one in found} == {one.id for one in stale}
        assert others_had_their_turn.done()


def keep_tickets(cursor, tickets):
    sql = "INSERT INTO subjects (type, id, key, connection, state, first_seen, refreshed) VALUES (?, ?, ?, ?, ?, 0, 0)"
    for one in tickets:
        cursor.execute(sql, ("ticket", one.id, one.key, "local", plain_json(record(one))))


async def test_a_ticket_fires_on_the_seventh_day_and_not_before(tracked):
    tracker = RecordingTickets()
    async with tracked(STALE % ("", ""), tracker) as world:
        tracker.tickets["tracker:T1"] = idle("T1", world.now, 0)
        await world.move("167h")
        assert world.runs() == []
        await world.move("1h")
        assert world.said == ["T1"]


async def test_a_ticket_that_stays_idle_fires_again_after_each_further_time_and_once(tracked):
    tracker = RecordingTickets()
    async with tracked(STALE % ("", ""), tracker) as world:
        tracker.tickets["tracker:T1"] = idle("T1", world.now, 7)
        await world.move("1h")
        await world.move("13d")
        assert world.said == ["T1"]
        await world.move("1d")
        assert world.said == ["T1", "T1"]


async def test_a_change_by_a_person_begins_the_count_anew(tracked):
    tracker = RecordingTickets()
    async with tracked(STALE % ("", ""), tracker) as world:
        tracker.tickets["tracker:T1"] = idle("T1", world.now, 7, active_at=world.now - timedelta(days=1))
        await world.move("143h")
        assert world.runs() == []
        await world.move("1h")
        assert world.said == ["T1"]


async def test_what_our_own_accounts_do_to_a_ticket_is_no_activity(engine):
    async with engine(STALE % ("", "")) as world:
        state = {"key": "HW-1", "title": "a", "created_at": world.now}
        await world.happens("local", Fact("ticket.created", world.now, "ticket", "local:HW-1", state))
        await world.move("6d")
        touched = Fact("ticket.updated", world.now, "ticket", "local:HW-1", {"title": "b"}, own=True)
        await world.happens("local", touched)
        await world.move("1d")
        assert world.said == ["HW-1"]


async def test_a_ticket_whose_run_still_goes_on_is_folded_into_it(tracked):
    tracker = RecordingTickets()
    async with tracked(STALE % ("", "  - wait: 60d"), tracker) as world:
        tracker.tickets["tracker:T1"] = idle("T1", world.now, 7)
        await world.move("15d")
        assert len(world.runs()) == 1
        assert world.verdicts("flow") == ["start", "folded"]


async def test_a_check_starts_the_longest_idle_first_and_says_how_many_it_holds(tracked):
    tracker = RecordingTickets()
    async with tracked(STALE % (", runs_per_check: 2", ""), tracker) as world:
        for days in (8, 12, 9, 11, 10):
            ticket = idle(f"T{days}", world.now, days)
            tracker.tickets[ticket.id] = ticket
        await world.move("1h")
        assert world.said == ["T12", "T11"]
        assert ("poll.limited", "flow: 2 started, 3 held for later checks (runs_per_check)") in world.told
        await world.move("2h")
        assert world.said == ["T12", "T11", "T10", "T9", "T8"]


async def test_an_occasion_found_for_one_workflow_starts_no_other(engine):
    quick, slow = STALE % ("", ""), (STALE % ("", "")).replace("for: 7d", "for: 30d")
    async with engine(quick=quick, slow=slow) as world:
        state = {"key": "HW-1", "title": "a", "created_at": world.now - timedelta(days=8)}
        await world.happens("local", Fact("ticket.created", world.now, "ticket", "local:HW-1", state))
        await world.move("1h")
        assert [run["workflow"] for run in world.runs()] == ["quick"]


async def test_a_tracker_that_fails_is_asked_again_after_a_minute(tracked):
    tracker = RecordingTickets()
    search = tracker.search

    async def failing(where, query):
        tracker.search = search
        raise ConnectionError("down")

    tracker.search = failing
    async with tracked(STALE % ("", ""), tracker) as world:
        tracker.tickets["tracker:T1"] = idle("T1", world.now, 8)
        await world.move("1h")
        assert world.said == []
        assert ("poll.failed", "flow/ticket.stale: ConnectionError: down") in world.told
        await world.move("1m")
        assert world.said == ["T1"]


async def test_a_tracker_that_hangs_does_not_hold_up_schedules(engine):
    tracker = RecordingTickets()
    hanging = asyncio.Event()

    async def hang(where, query):
        await hanging.wait()
        return []

    tracker.search = hang
    given = {"providers": {"tracker": tracker}, "project": TRACKED}
    async with engine(stale=STALE % ("", ""), hourly=HOURLY % "", **given) as world:
        world.clock.move_to(world.now + timedelta(hours=1))
        while not world.events("schedule"):
            await asyncio.sleep(0.001)
        assert not world.application.idle
        hanging.set()
        await world.settle()


# --- connections that say what changed ---


class Shelf:
    """Documents that say what changed since a number."""

    def __init__(self):
        self.facts, self.cursors, self.failing = [], [], None

    async def changes(self, cursor):
        self.cursors.append(cursor)
        if self.failing:
            raise ConnectionError(self.failing)
        return Changes(self.facts[int(cursor or 0) :], str(len(self.facts)))


async def test_a_connection_is_asked_from_where_it_was_left_and_after_a_restart_too(engine):
    shelf = Shelf()
    async with engine("on: document.published\nsteps: [{uses: chat.post, with: {text: '${{ document.title }}'}}]",
                      providers={"markdown": shelf}) as world:  # fmt: skip
        fields = {"title": "A", "published": True, "content": "1"}
        shelf.facts.append(Fact("document.published", world.now, "document", "markdown:a", fields))
        await world.move("5m")
        assert world.said == ["A"]
        await world.restart()
        assert shelf.cursors == [None, "0", "1"]


async def test_a_connection_that_fails_is_asked_again_and_told(engine):
    shelf = Shelf()
    async with engine("on: document.published\nsteps: [{finish: done}]", providers={"markdown": shelf}) as world:
        shelf.failing = "down"
        await world.move("5m")
        shelf.failing = None
        await world.move("1m")
        assert shelf.cursors == [None, "0", "0"]
        assert ("poll.failed", "connection/markdown: ConnectionError: down") in world.told
