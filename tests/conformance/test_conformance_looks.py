"""What the clock finds by itself starts a run at its instant and once: quiet incidents, changes of shift."""

from __future__ import annotations

from datetime import timedelta

from conformance_sites import MONDAY

QUIET = """
on:
  incident.quiet: {for: 45m}
stop_when: not incident.open
steps:
  - uses: chat.post
    with: {text: "${{ incident.title }}"}
"""
ROTATION = """
rotations:
  default: {members: [ada, grace], every: 1d, from: "2026-03-02T08:00", timezone: UTC}
"""
SHIFT = """
on: on_call.changed
steps:
  - uses: chat.post
    with: {text: "${{ event.data.before.name }} → ${{ event.data.after.name }}"}
"""


async def test_an_open_incident_goes_quiet_at_its_instant_and_not_before(site):
    async with site(QUIET) as world:
        declared = world.now
        await world.declared()
        await world.move("44m")
        assert world.said == []
        await world.move("2m")
        assert world.said == ["P1"]
        assert world.chat.at["P1"] >= declared + timedelta(minutes=45)
        await world.move("1d")
        assert world.said == ["P1"]


async def test_what_somebody_does_begins_the_quiet_time_anew_and_each_is_told_once(site):
    async with site(QUIET) as world:
        await world.declared()
        await world.move("30m")
        await world.noted()
        await world.move("30m")
        assert world.said == []
        await world.move("16m")
        await world.noted()
        await world.move("46m")
        assert world.said == ["P1", "P1"]


async def test_an_incident_that_is_over_does_not_go_quiet(site):
    async with site(QUIET) as world:
        await world.declared()
        await world.incident("resolved", "pager:P1")
        await world.move("2h")
        assert world.runs() == []


async def test_a_quiet_time_that_ended_while_nothing_ran_starts_one_run(site):
    async with site(QUIET) as world:
        await world.declared()
        await world.is_down_for("2h")
        await world.is_down_for("2h")
        assert world.said == ["P1"]


async def test_a_quiet_time_goes_on_over_a_kill(site):
    async with site(QUIET) as world:
        await world.declared()
        await world.is_down_for("30m", world.fact("updated", severity="sev1"))
        assert world.said == []
        await world.move("16m")
        assert world.said == ["P1"]


async def test_a_change_of_shift_starts_a_run_at_its_instant_and_once(site):
    async with site(SHIFT, people=ROTATION) as world:
        await world.move("22h")
        assert world.said == []
        await world.move("61m")
        assert world.said == ["Ada → Grace"]
        assert world.chat.at["Ada → Grace"] >= MONDAY + timedelta(hours=23)


async def test_of_several_changes_of_shift_while_nothing_ran_the_newest_is_told(site):
    async with site(SHIFT, people=ROTATION) as world:
        await world.is_down_for("2d")
        await world.is_down_for("1h")
        assert world.said == ["Grace → Ada"]


async def test_a_clock_set_back_repeats_no_change_of_shift(site):
    async with site(SHIFT, people=ROTATION) as world:
        await world.move("24h")
        await world.set_clock("3h", back=True)
        await world.move("4h")
        assert world.said == ["Ada → Grace"]
