"""Effects that are held until a calendar opens, or a person lets them go (LANGUAGE 5, PROMISES 1.3, 1.8)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from conformance_sites import MONDAY

from engine.plugins import RetryLater

HOUR = timedelta(hours=1)
#: The office opens at eleven in Prague, which is ten o'clock UTC; each test begins at nine, on a Monday.
SAYS = "during: office\nsteps: [{uses: chat.post, with: {text: '${{ incident.title }} ${{ incident.severity }}'}}]"


async def test_an_effect_outside_its_calendar_goes_out_when_that_opens_and_not_before(site):
    async with site(SAYS) as world:
        await world.declared()
        await world.move("59m")
        assert (world.said, world.state) == ([], "held")
        await world.move("2m")
        assert (world.said, world.state) == (["P1 sev2"], "finished")
        assert timedelta() <= world.chat.at["P1 sev2"] - (MONDAY + HOUR) < timedelta(minutes=1)


async def test_an_effect_inside_its_calendar_goes_out_at_once(site):
    async with site(SAYS) as world:
        await world.move("90m")
        await world.declared()
        assert world.said == ["P1 sev2"]


async def test_what_a_held_effect_says_is_evaluated_when_it_goes_out(site):
    async with site(SAYS) as world:
        await world.declared(severity="sev2")
        await world.incident("updated", severity="sev1")
        await world.move("61m")
        assert world.said == ["P1 sev1"]


async def test_a_run_whose_effect_is_held_is_stopped_as_soon_as_its_condition_says(site):
    async with site(f"stop_when: not incident.open\n{SAYS}") as world:
        await world.declared()
        await world.incident("resolved")
        assert world.state == "stopped"
        await world.move("1d")
        assert world.said == []


async def test_the_if_of_a_step_is_not_decided_again_when_it_goes_out(site):
    async with site("""
during: office
steps:
  - if: incident.severity == "sev2"
    uses: chat.post
    with: {text: "${{ incident.severity }}"}
""") as world:
        await world.declared(severity="sev2")
        await world.incident("updated", severity="sev1")
        await world.move("61m")
        assert world.said == ["sev1"]


async def test_a_held_effect_goes_out_when_its_calendar_opens_after_a_restart(site):
    async with site(SAYS) as world:
        await world.declared()
        await world.is_down_for("30m")
        assert world.said == []
        await world.move("31m")
        assert (world.said, world.state) == (["P1 sev2"], "finished")


async def test_a_calendar_that_opened_and_closed_while_the_engine_was_down_holds_until_it_opens_again(site):
    async with site(SAYS) as world:
        await world.declared()
        await world.is_down_for("12h")
        assert (world.said, world.state) == ([], "held")
        await world.move("12h59m")
        assert world.said == []
        await world.move("2m")
        assert world.said == ["P1 sev2"]


async def test_a_clock_set_back_delays_a_held_effect_and_repeats_none(site):
    async with site(SAYS) as world:
        await world.declared()
        await world.move("50m")
        await world.set_clock("30m", back=True)
        await world.move("39m")
        assert world.said == []
        await world.move("2m")
        assert world.said == ["P1 sev2"]
        await world.set_clock("2h", back=True)
        await world.move("3h")
        assert world.said == ["P1 sev2"]


async def test_a_clock_put_forward_past_the_opening_sends_what_was_held_once(site):
    async with site(SAYS) as world:
        await world.declared()
        await world.set_clock("2h")
        await world.move("1m")
        assert world.said == ["P1 sev2"]


async def test_each_item_of_a_loop_is_held_for_itself(site):
    async with site("""
during: recipient
steps:
  - for_each: '["ada", "kate"]'
    uses: chat.nudge
    with: {to: "${{ item }}", text: "for ${{ item }}"}
  - uses: chat.post
    with: {text: all}
""") as world:
        await world.declared()  # at nine UTC, at night in New York
        assert (world.said, world.state) == (["for ada"], "held")
        await world.move("4h59m")
        assert world.said == ["for ada"]
        await world.move("2m")
        assert world.said == ["for ada", "for kate", "all"]


async def test_a_question_is_held_until_all_who_are_asked_work(site):
    async with site("""
during: recipient
steps:
  - id: ok
    uses: chat.ask
    timeout: 1h
    with: {to: [ada, kate], text: ok?, choices: {yes: "Yes"}}
  - uses: chat.post
    with: {text: "${{ steps.ok.answer or steps.ok.timed_out }}"}
""") as world:
        await world.declared()
        await world.move("4h59m")
        assert world.said == []
        await world.move("2m")
        await world.answer("yes", "kate")
        assert world.said == ["ok?", "yes"]


async def test_what_goes_to_nobody_in_person_goes_by_the_default_calendar(site):
    async with site("during: recipient\nsteps: [{uses: chat.post, with: {text: a}}]") as world:
        await world.declared("a")
        assert world.said == ["a"]
        await world.move("9h")
        await world.declared("b")
        assert world.states == ["finished", "held"]
        await world.move("15h")
        assert world.said == ["a", "a"]


async def test_what_is_only_rows_of_ours_is_held_as_what_goes_out_is(site):
    async with site("""
during: office
steps:
  - uses: incident.assign
    with: {role: commander, to: ada}
""") as world:
        await world.declared()
        assert (world.state, world.effects()) == ("held", [])
        await world.move("61m")
        assert world.state == "finished"


def refuse(message):
    raise RetryLater("503")


async def test_a_further_attempt_is_held_until_the_calendar_opens_again(site):
    async with site("""
during: office
steps: [{uses: chat.post, retry: {max: 3, every: 2h, at_most: 2h}, with: {text: a}}]
""") as world:
        await world.move("6h30m")  # half an hour before the office closes
        world.chat.before = refuse
        await world.declared()
        world.chat.before = lambda message: None
        await world.move("3h")
        assert (world.said, world.state) == ([], "held")
        await world.move("16h")
        assert (world.said, world.state) == (["a"], "finished")


NIGHT = "during: night\nsteps: [{uses: chat.post, with: {text: a}}]"


async def test_a_calendar_that_opens_in_the_hour_that_is_skipped_opens_at_its_end(site):
    async with site(NIGHT) as world:
        await world.set_clock("21d")
        await world.declared()
        await world.move("5d15h59m")  # one o'clock UTC on 29 March, when two in Prague is three
        assert world.said == []
        await world.move("2m")
        assert world.said == ["a"]


async def test_a_calendar_that_opens_in_the_hour_that_is_repeated_opens_at_the_first_of_them(site):
    async with site(NIGHT) as world:
        await world.set_clock("231d")
        await world.declared()
        await world.move("5d14h59m")  # midnight UTC on 25 October, when it is two in Prague for the first time
        assert world.said == []
        await world.move("2m")
        assert world.said == ["a"]


async def test_business_days_of_a_workflow_count_in_its_own_calendar(site):
    async with site("""
during: night
steps:
  - wait: 1bd
  - uses: chat.post
    with: {text: a}
""") as world:
        await world.move("5d17h")  # three in the night of Sunday, in Prague
        await world.declared()
        await world.move("6d23h")
        assert world.said == []
        await world.move("61m")
        assert world.said == ["a"]


async def test_a_timeout_around_a_held_effect_ends_it(site):
    async with site("""
during: office
steps:
  - timeout: 30m
    continue_on_error: true
    steps: [{uses: chat.post, with: {text: late}}]
  - uses: chat.post
    with: {text: on}
""") as world:
        await world.declared()
        await world.move("2h")
        assert world.said == ["on"]


#: A repeat, and what its run waits for after it; the office opens in an hour.
REPEATED = """
during: office
steps:
  - id: remind
    uses: chat.post
    with: {text: "${{ iteration }}"}
    repeat:
      every: 10h
      max: 3
      until: {document.published: event.document.id == "docs:report"}
  - wait: 30d
"""


async def test_an_event_ends_a_repeat_at_once_while_its_first_iteration_is_held(site):
    async with site(REPEATED) as world:
        await world.declared()
        assert world.state == "held"
        await world.published("other")
        assert world.state == "held"
        await world.published("report")
        assert world.state == "waiting"
        await world.move("2d")
        assert world.said == []


async def test_an_event_ends_a_repeat_at_once_while_a_later_iteration_is_held(site):
    async with site(REPEATED) as world:
        await world.declared()
        await world.move("13h")
        assert (world.said, world.state) == (["1"], "held")
        await world.published("report")
        assert world.state == "waiting"
        await world.move("2d")
        assert world.said == ["1"]


async def test_an_event_that_came_while_the_engine_was_down_ends_a_repeat_that_is_held(site):
    async with site(REPEATED) as world:
        await world.declared()
        await world.is_down_for("10m", world.published_fact("report"))
        assert (world.said, world.state) == ([], "waiting")


async def test_a_condition_that_comes_true_while_a_later_iteration_is_held_ends_the_repeat(site):
    until = 'until: {document.published: event.document.id == "docs:report"}'
    async with site(REPEATED.replace(until, "until: incident.severity == 'sev4'")) as world:
        await world.declared()
        await world.move("13h")
        assert (world.said, world.state) == (["1"], "held")
        await world.incident("updated", severity="sev4")
        assert world.state == "waiting"
        await world.move("2d")
        assert world.said == ["1"]


async def test_a_run_whose_held_effect_timed_out_is_held_no_more(site):
    async with site("""
during: office
steps:
  - timeout: 30m
    continue_on_error: true
    steps: [{uses: chat.post, with: {text: late}}]
  - wait: 30d
""") as world:
        await world.declared()
        await world.move("31m")
        assert world.state == "waiting"


# --- pause and resume ---

PAUSED = "steps: [{uses: chat.post, with: {text: '${{ incident.title }} ${{ incident.severity }}'}}]"


async def test_while_everything_is_paused_events_start_runs_and_nothing_goes_out(site):
    async with site(PAUSED) as world:
        await world.does("pause")
        await world.declared("a")
        await world.declared("b")
        await world.move("2d")
        assert (world.said, world.states) == ([], ["held", "held"])
        await world.does("resume")
        assert sorted(world.said) == ["a sev2", "b sev2"]


async def test_a_pause_of_one_workflow_holds_no_other(site):
    async with site(PAUSED, other="steps: [{uses: chat.post, with: {text: other}}]") as world:
        await world.does("pause", workflow="flow")
        await world.declared()
        assert world.said == ["other"]
        await world.does("resume", workflow="flow")
        assert world.said == ["other", "P1 sev2"]


async def test_a_pause_lasts_over_restarts(site):
    async with site(PAUSED) as world:
        await world.declared("a")
        await world.does("pause")
        await world.declared("b")
        await world.is_down_for("1d", world.fact("declared", "c", severity="sev2"))
        assert world.said == ["a sev2"]
        await world.does("resume")
        assert sorted(world.said) == ["a sev2", "b sev2", "c sev2"]


async def test_what_a_pause_held_goes_out_as_things_are_when_it_ends(site):
    async with site(f"stop_when: not incident.open\n{PAUSED}") as world:
        await world.does("pause")
        await world.declared("a")
        await world.declared("b")
        await world.incident("resolved", "pager:a")
        await world.incident("updated", "pager:b", severity="sev1")
        await world.does("resume")
        assert (world.said, world.states) == (["b sev1"], ["stopped", "finished"])


async def test_a_further_attempt_waits_for_the_end_of_a_pause(site):
    async with site("steps: [{uses: chat.post, with: {text: a}}]") as world:
        world.chat.before = refuse
        await world.declared()
        world.chat.before = lambda message: None
        await world.does("pause")
        await world.move("1d")
        assert (world.said, world.state) == ([], "held")
        await world.is_down_for("1h")
        await world.does("resume")
        assert (world.said, world.state) == (["a"], "finished")


async def test_a_call_under_way_ends_when_a_pause_begins_and_the_next_is_held(site):
    async with site("steps: [{uses: chat.post, with: {text: a}}, {uses: chat.post, with: {text: b}}]") as world:
        world.chat.slow = {"a"}
        await world.begins(world.fact("declared"))
        await world.pauses()
        await world.goes_on()
        assert (world.said, world.state) == (["a"], "held")
        await world.does("resume")
        assert world.said == ["a", "b"]


async def test_a_pause_that_ends_while_the_calendar_is_closed_leaves_an_effect_held(site):
    async with site(SAYS) as world:
        await world.move("90m")
        await world.does("pause")
        await world.declared()
        await world.move("8h")
        await world.does("resume")
        assert (world.said, world.state) == ([], "held")
        await world.move("16h")
        assert world.said == ["P1 sev2"]


async def test_a_pause_after_a_pause_holds_again_and_its_end_lets_go(site):
    async with site(PAUSED) as world:
        await world.does("pause", workflow="flow")
        await world.declared()
        await world.does("pause")
        await world.does("resume")
        assert (world.said, world.state) == ([], "held")
        await world.does("resume", workflow="flow")
        assert world.said == ["P1 sev2"]


async def test_waits_go_on_in_a_pause(site):
    async with site("steps: [{wait: 1h}, {uses: chat.post, with: {text: a}}]") as world:
        await world.declared()
        await world.does("pause")
        await world.move("2h")
        assert (world.said, world.state) == ([], "held")
        await world.does("resume")
        assert world.said == ["a"]


# --- schedules ---

DAILY = "on: {schedule: {cron: '0 12 * * *', missed: %s}}\nsteps: [{uses: chat.post, with: {text: tick}}]"


@pytest.mark.parametrize("missed", ["once", "all", "skip"])
async def test_a_schedule_makes_up_for_nothing_of_a_pause(site, missed):
    async with site(DAILY % missed) as world:
        await world.does("pause")
        await world.move("3d")
        await world.does("resume")
        assert (world.said, world.states) == ([], [])
        await world.move("1d")
        assert world.said == ["tick"]


async def test_a_schedule_makes_up_for_nothing_of_a_pause_that_ended_before_a_restart(site):
    async with site(DAILY % "all") as world:
        await world.does("pause", workflow="flow")
        await world.is_down_for("3d")
        await world.does("resume", workflow="flow")
        await world.is_down_for("1h")
        assert world.said == []
        await world.is_down_for("1d")
        assert world.said == ["tick"]


async def test_what_a_schedule_missed_before_a_pause_is_made_up_for_and_held(site):
    async with site(DAILY % "once") as world:
        await world.crash()
        world.elapse("6h")
        await world.is_paused_without_an_engine()
        await world.is_down_for("3d")
        assert (world.said, world.states) == ([], ["held"])
        await world.does("resume")
        assert world.said == ["tick"]


async def test_an_incident_that_goes_quiet_in_a_pause_starts_a_run_after_it_if_it_is_still_quiet(site):
    async with site("on: {incident.quiet: {for: 1h}}\nsteps: [{uses: chat.post, with: {text: quiet}}]") as world:
        await world.declared()
        await world.does("pause", workflow="flow")
        await world.move("1d")
        assert (world.said, world.states) == ([], [])
        await world.does("resume", workflow="flow")
        assert world.said == ["quiet"]
