"""Triggers that say themselves when they are looked at next: `incident.quiet` and `on_call.changed`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from engine.capabilities import Shift
from engine.domain import Entry, Person
from engine.plugins import Fact

QUIET = """
on:
  incident.quiet: {for: 45m}
steps:
  - uses: chat.post
    with: {text: "${{ incident.key }} is quiet since ${{ event.data.idle_since }}, ${{ incident.idle | duration }}"}
"""
ROTATION = """
rotations:
  default: {members: [ada, grace], every: 7d, from: "2026-03-02T09:00", timezone: Europe/Prague}
"""
CHANGED = """
on: on_call.changed
steps:
  - uses: chat.post
    with: {text: "${{ event.data.before.name }} → ${{ event.data.after.name }} at ${{ event.time }}"}
"""
ADA = Person("ada", "Ada")


async def note(world, text="Drained.", by=ADA, ref="pager:P1", at=None):
    at = at or world.now
    entry = Entry(at, text, by=by)
    fact = Fact("incident.updated", at, "incident", ref, engine=True, actor=by, own=by is None, note=entry)
    await world.happens("hotwash", fact)


def quiet_at(world):
    return [event.time.strftime("%H:%M") for event in world.events("incident.quiet")]


# --- incident.quiet ---


WAITS = """
on: {incident.quiet: {for: 45m}, incident.declared: }
steps:
  - id: nap
    wait: {for: 2h, until: incident.quiet}
  - uses: chat.post
    with: {text: "${{ steps.nap.timed_out }} ${{ now() }}"}
"""


async def test_a_wait_hears_of_quiet_as_its_own_workflow_asks_for_it(engine):
    other = QUIET.replace("45m", "10m").replace("chat.post", "document.create").replace("text:", "title: a, text:")
    async with engine(flow=WAITS, other=other) as world:
        await world.declared(key="P1")
        await world.move("40m")
        assert (len(world.runs("other")), world.said) == (1, [])
        await world.move("5m")
        assert world.said == ["false 2026-03-02T09:45:00+00:00"]


async def test_an_open_incident_starts_a_run_when_nobody_did_anything_for_so_long_and_once(engine):
    async with engine(QUIET) as world:
        await world.declared(key="P1")
        await world.move("44m")
        assert world.runs() == []
        await world.move("1m")
        assert world.said == ["P1 is quiet since 2026-03-02T09:00:00+00:00, 45 min"]
        await world.move("3d")
        assert [run["key"] for run in world.runs()] == ["pager:P1/2026-03-02T09:00:00+00:00"]


async def test_what_a_person_does_begins_the_time_anew_and_what_we_do_does_not(engine):
    async with engine(QUIET) as world:
        await world.declared()
        await world.move("30m")
        await note(world)
        await world.move("10m")
        await note(world, by=None)
        await world.move("34m")
        assert quiet_at(world) == []
        await world.move("1m")
        assert quiet_at(world) == ["10:15"]


async def test_each_quiet_stretch_is_told_once(engine):
    async with engine(QUIET) as world:
        await world.declared()
        await world.move("50m")
        await note(world)
        await world.move("50m")
        assert quiet_at(world) == ["09:45", "10:35"]


async def test_an_incident_that_is_no_longer_open_is_not_quiet_until_it_is_opened_again(engine):
    async with engine(QUIET) as world:
        await world.declared()
        await world.move("40m")
        await world.incident("resolved")
        await world.move("5h")
        assert quiet_at(world) == []
        await world.incident("reopened")
        await world.move("44m")
        assert quiet_at(world) == []
        await world.move("1m")
        assert quiet_at(world) == ["15:25"]


async def test_what_fell_due_while_the_engine_was_down_is_found_at_the_start(engine):
    async with engine(QUIET) as world:
        await world.declared()
        await world.crash()
        world.clock.move_to(world.now + timedelta(hours=2))
        await world.restart()
        assert quiet_at(world) == ["09:45"]
        await world.restart()
        await world.move("1d")
        assert quiet_at(world) == ["09:45"]


async def test_a_restart_in_the_middle_of_the_time_does_not_begin_it_anew(engine):
    async with engine(QUIET) as world:
        await world.declared()
        await world.move("30m")
        await world.restart()
        await world.move("15m")
        assert quiet_at(world) == ["09:45"]


async def test_two_open_incidents_go_quiet_each_at_its_own_time(engine):
    async with engine(QUIET) as world:
        await world.declared(ref="pager:P1")
        await world.move("20m")
        await world.declared(ref="pager:P2")
        await world.move("2h")
        assert quiet_at(world) == ["09:45", "10:05"]


async def test_a_persons_entry_that_arrives_late_counts_with_its_own_time(engine):
    async with engine(QUIET) as world:
        await world.declared()
        await world.move("20m")
        await world.incident("updated", severity="sev1")
        fact = Fact("incident.updated", world.now - timedelta(minutes=5), "incident", "pager:P1", actor=ADA)
        await world.happens("pager", fact)
        await world.move("2h")
        assert quiet_at(world) == ["10:00"]


async def test_the_person_who_is_seen_first_counts_as_the_last_to_do_something(engine):
    async with engine(QUIET) as world:
        fields = {"status": "acknowledged", "declared_at": world.now - timedelta(minutes=30)}
        await world.happens(
            "pager", Fact("incident.acknowledged", world.now, "incident", "pager:P1", fields, actor=ADA)
        )
        await world.move("44m")
        assert quiet_at(world) == []
        await world.move("1m")
        assert quiet_at(world) == ["09:45"]


async def test_a_private_incident_starts_nothing_unasked(engine):
    async with engine(QUIET) as world:
        await world.declared(private=True)
        await world.move("2h")
        assert world.runs() == quiet_at(world) == []


async def test_a_workflow_that_is_off_is_not_looked_at(engine):
    async with engine("mode: 'off'\n" + QUIET) as world:
        await world.declared()
        await world.move("2h")
        assert quiet_at(world) == []


async def test_of_many_quiet_ones_some_are_held_for_the_next_minute(engine):
    async with engine(QUIET) as world:
        await world.crash()
        facts = [
            Fact("incident.declared", world.now, "incident", f"pager:P{n}", {"status": "declared"}) for n in range(30)
        ]
        await world.arrives_unseen("pager", *facts)
        world.clock.move_to(world.now + timedelta(hours=1))
        await world.restart()
        assert len(world.runs()) == 25
        assert ("poll.limited", "flow: 25 started, 5 held for later checks (runs_per_check)") in world.told
        await world.move("1m")
        assert len(world.runs()) == 30


async def test_nothing_is_looked_at_while_no_incident_is_open(engine):
    async with engine(QUIET) as world:
        assert world.application.polls._polls["flow/incident.quiet"].look is None


# --- on_call.changed ---


async def test_a_wait_hears_of_a_change_of_shift_though_no_workflow_listens(engine):
    async with engine(
        """
steps:
  - wait: {for: 14d, until: {on_call.changed: event.data.rotation == "default"}}
  - uses: chat.post
    with: {text: "${{ now() }}"}
""",
        people=ROTATION,
    ) as world:
        await world.declared()
        await world.move("14d")
        assert world.said == ["2026-03-09T08:00:00+00:00"]


async def test_a_change_of_shift_starts_a_run_at_its_instant_over_a_change_of_the_clocks(engine):
    async with engine(CHANGED, people=ROTATION) as world:
        await world.move_to(datetime(2026, 4, 1, tzinfo=UTC))
        assert world.said == [
            "Ada → Grace at 2026-03-09T08:00:00+00:00",
            "Grace → Ada at 2026-03-16T08:00:00+00:00",
            "Ada → Grace at 2026-03-23T08:00:00+00:00",
            "Grace → Ada at 2026-03-30T07:00:00+00:00",
        ]


async def test_of_the_changes_while_the_engine_was_down_the_newest_is_told_at_the_start_and_once(engine):
    async with engine(CHANGED, people=ROTATION) as world:
        await world.crash()
        world.clock.move_to(datetime(2026, 3, 18, tzinfo=UTC))
        await world.restart()
        assert world.said == ["Grace → Ada at 2026-03-16T08:00:00+00:00"]
        await world.restart()
        assert len(world.said) == 1


async def test_a_change_starts_every_workflow_that_listens_and_is_one_event(engine):
    async with engine(one=CHANGED, two=CHANGED, people=ROTATION) as world:
        await world.move("7d")
        assert len(world.events("on_call.changed")) == 1
        assert sorted(run["workflow"] for run in world.runs()) == ["one", "two"]


async def test_a_look_that_another_process_had_before_is_one_event(engine):
    async with engine(CHANGED, people=ROTATION) as world:
        row = world.application.reader.execute("SELECT cursor FROM schedules WHERE id = 'on_call.changed'").fetchone()
        await world.move("7d")
        await world.application.journal.transact(
            lambda cursor: cursor.execute("UPDATE schedules SET cursor = ?", (row["cursor"],)) and None
        )
        await world.restart()
        assert len(world.runs()) == len(world.events("on_call.changed")) == 1


async def test_it_is_known_how_often_somebody_went_on_call(engine):
    text = """
on: on_call.changed
if: events("on_call.changed", after=event.data.after) | length == 1
steps:
  - uses: chat.post
    with: {text: "first time for ${{ event.data.after.name }}"}
"""
    async with engine(text, people=ROTATION) as world:
        await world.move("60d")
        assert world.said == ["first time for Grace", "first time for Ada"]


async def test_changes_are_looked_up_by_team_and_service(engine):
    text = """
on: incident.declared
steps:
  - uses: chat.post
    with:
      text: >-
        ${{ events("on_call.changed", team="sre") | length }} ${{ events("on_call.changed", service="api") | length }}
        ${{ events("on_call.changed", team="web") | length }}
"""
    async with engine(text, people=ROTATION + "services: {api: {team: sre}}\n") as world:
        await world.move("8d")
        await world.declared()
        assert world.said == ["1 1 0"]


class Vendor:
    """An on-call service whose plan somebody changes at any time."""

    def __init__(self):
        self.person, self.failing = ADA, None

    async def on_call(self, target, at):
        return self.person

    async def shifts(self, at):
        if self.failing is not None:
            raise ConnectionError(self.failing)
        return [Shift("primary", self.person)]


@pytest.fixture
def served_by(engine):
    """Give an engine whose on-call plan is somebody else's."""

    def run(vendor):
        project = "connections: {vendor: {provider: roster}}\nuse: {on_call: vendor}\n"
        return engine(CHANGED, project=project, providers={"vendor": vendor})

    return run


async def test_a_change_of_a_vendors_plan_is_seen_within_minutes(served_by):
    vendor = Vendor()
    async with served_by(vendor) as world:
        vendor.person = Person("pagerduty:P9", "Mary")
        await world.move("5m")
        assert world.said == ["Ada → Mary at 2026-03-02T09:05:00+00:00"]


async def test_a_vendor_that_fails_is_asked_again_and_the_change_is_not_lost(served_by):
    vendor = Vendor()
    async with served_by(vendor) as world:
        vendor.person, vendor.failing = Person("pagerduty:P9", "Mary"), "down"
        await world.move("5m")
        assert ("poll.failed", "on_call.changed: ConnectionError: down") in world.told
        vendor.failing = None
        await world.move("1m")
        assert world.said == ["Ada → Mary at 2026-03-02T09:06:00+00:00"]
