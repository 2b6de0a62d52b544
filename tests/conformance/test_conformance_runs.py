"""Runs are begun once, advanced by one at a time, side by side, stopped and taken up, cancelled (PROMISES 1.1, 1.2)."""

from __future__ import annotations

import asyncio

import pytest

from engine.plugins import ActionError
from engine.store.journal import StorageUnavailable

ONE = "steps: [{uses: chat.post, with: {text: a}}]"
TWO = "steps: [{uses: chat.post, with: {text: a}}, {uses: chat.post, with: {text: b}}]"
WAIT = """
on: [incident.declared, incident.reopened]
once_per: incident.id
stop_when: incident.severity == "sev4"
steps:
  - uses: document.create
    with: {title: "${{ incident.title }}", text: a}
  - uses: chat.post
    with: {text: begun}
  - wait: 1h
  - uses: chat.post
    with: {text: done}
"""


# --- begun once ---


async def test_what_was_accepted_before_a_crash_starts_its_run_after_it(site):
    async with site(ONE) as world:
        await world.is_down_for("1h", world.fact("declared"))
        assert (world.said, world.states) == (["a"], ["finished"])


async def test_two_events_of_one_key_start_one_run(site):
    async with site("once_per: incident.severity\n" + ONE) as world:
        facts = [world.fact("declared", name, severity="sev1") for name in "abcdef"]
        await asyncio.gather(*(world.application.accept("pager", [fact]) for fact in facts))
        await world.settle()
        assert (world.said, world.states) == (["a"], ["finished"])


async def test_what_is_delivered_again_changes_nothing_after_a_restart_too(site):
    async with site("once_per: event.id\n" + ONE) as world:
        fact = world.fact("declared", id="delivery 1")
        await world.happens("pager", fact)
        await world.happens("pager", fact)
        await world.is_down_for("1m", fact)
        assert (world.said, len(world.events("incident.declared"))) == (["a"], 1)


async def test_a_finished_run_has_spent_its_key(site):
    async with site("once_per: incident.id\non: [incident.declared, incident.reopened]\n" + ONE) as world:
        await world.declared()
        await world.incident("resolved")
        await world.incident("reopened")
        assert world.said == ["a"]


# --- one at a time, and side by side ---


async def test_a_run_is_advanced_by_one_at_a_time_however_often_it_is_woken(site):
    async with site(TWO) as world:
        world.chat.slow = {"a"}
        await world.begins(world.fact("declared"))
        for number in range(20):
            await world.application.accept("pager", [world.fact("updated", severity=f"sev{number % 3 + 1}")])
        await world.goes_on()
        assert world.chat.calls == ["a", "b"]


async def test_a_call_that_takes_long_holds_up_no_other_run(site):
    async with site("steps: [{uses: chat.post, with: {text: '${{ incident.title }}'}}]") as world:
        world.chat.slow = {"slow"}
        await world.begins(world.fact("declared", "slow"))
        quick = asyncio.Event()
        world.chat.before = lambda message: quick.set()
        await world.application.accept("pager", [world.fact("declared", "quick")])
        await asyncio.wait_for(quick.wait(), 20)
        assert world.said in ([], ["quick"])
        await world.goes_on()
        assert world.said == ["quick", "slow"]


async def test_more_runs_than_are_advanced_at_once_all_end(site):
    async with site(ONE) as world:
        await world.happens("pager", *(world.fact("declared", str(number)) for number in range(600)))
        assert len(world.said) == 600
        assert set(world.states) == {"finished"}


async def test_steps_are_performed_in_their_order_each_after_the_result_of_the_one_before(site):
    async with site("""
steps:
  - id: one
    uses: chat.post
    with: {text: a}
  - uses: chat.post
    with: {text: "after ${{ steps.one.id }}"}
""") as world:
        await world.declared()
        assert world.said == ["a", "after 1"]


# --- loops ---


async def test_an_item_that_waits_holds_up_no_other(site):
    async with site("""
steps:
  - for_each: '["1h", "0s", "2h"]'
    steps:
      - wait: {for: "${{ item }}"}
      - uses: chat.post
        with: {text: "${{ item }}"}
  - uses: chat.post
    with: {text: all}
""") as world:
        await world.declared()
        assert world.said == ["0s"]
        await world.move("61m")
        assert world.said == ["0s", "1h"]
        await world.is_down_for("2h")
        assert world.said == ["0s", "1h", "2h", "all"]


async def test_a_thousand_items_are_done_once_each_and_the_step_ends_after_the_last(site):
    items = ", ".join(f'"{number}"' for number in range(1000))
    async with site(f"""
vars: {{items: [{items}]}}
steps:
  - for_each: vars.items
    uses: chat.post
    with: {{text: "${{{{ item }}}}"}}
  - uses: chat.post
    with: {{text: all}}
""") as world:
        await world.declared()
        assert sorted(world.said[:-1]) == sorted(str(number) for number in range(1000))
        assert (world.said[-1], world.state) == ("all", "finished")


async def test_a_retry_begins_the_items_that_failed_and_no_others(site):
    async with site("""
steps:
  - for_each: '["a", "b", "c"]'
    uses: chat.post
    with: {text: "${{ item }}"}
""") as world:

        def refuse(message):
            if message.text == "b":
                raise ActionError("no")

        world.chat.before = refuse
        await world.declared()
        assert world.state == "failed"
        assert world.said[:2] == ["a", "c"]
        world.chat.before = lambda message: None
        await world.does("retry_run")
        assert (world.said[-1], world.state) == ("b", "finished")
        assert world.chat.calls == ["a", "b", "c", "b"]


async def test_a_repeat_goes_on_where_it_was_after_a_restart(site):
    async with site("""
steps:
  - uses: chat.post
    with: {text: "${{ iteration }}"}
    repeat: {every: 1h, max: 4, until: incident.severity == "sev4"}
""") as world:
        await world.declared()
        await world.move("61m")
        await world.is_down_for("1d")
        assert world.said == ["1", "2", "3"]
        await world.incident("updated", severity="sev4")
        assert (world.said, world.state) == (["1", "2", "3"], "finished")


# --- stopped, and taken up ---


async def test_a_waiting_run_is_stopped_by_the_event_that_makes_it_pointless(site):
    async with site(WAIT) as world:
        await world.declared()
        await world.incident("updated", severity="sev4")
        assert (world.state, world.said) == ("stopped", ["begun"])
        await world.move("2h")
        assert world.said == ["begun"]


async def test_a_run_that_was_to_stop_while_the_engine_was_down_sends_nothing(site):
    async with site(WAIT) as world:
        await world.declared()
        await world.is_down_for("2h", world.fact("updated", severity="sev4"))
        assert (world.state, world.said) == ("stopped", ["begun"])


async def test_a_stopped_run_is_taken_up_in_a_new_round_that_keeps_what_lasts(site):
    async with site(WAIT) as world:
        await world.declared()
        await world.incident("updated", severity="sev4")
        await world.incident("resolved", severity="sev1")
        await world.incident("reopened")
        assert [(run["state"], run["round"]) for run in world.runs()] == [("waiting", 2)]
        await world.move("61m")
        assert world.said == ["begun", "begun", "done"]
        assert len(world.effects("document.create")) == 1


async def test_a_round_is_taken_up_once_when_its_event_arrives_before_a_crash(site):
    async with site(WAIT) as world:
        await world.declared()
        await world.incident("updated", severity="sev4")
        await world.incident("resolved", severity="sev1")
        await world.is_down_for("1m", world.fact("reopened"))
        await world.is_down_for("1m")
        assert [(run["state"], run["round"]) for run in world.runs()] == [("waiting", 2)]
        assert world.said == ["begun", "begun"]


# --- ended and retried by hand ---


async def test_a_cancelled_run_does_nothing_when_its_wait_falls_due(site):
    async with site(WAIT) as world:
        await world.declared()
        await world.does("cancel_run")
        await world.move("2h")
        await world.is_down_for("1h")
        assert (world.state, world.said) == ("cancelled", ["begun"])


async def test_a_call_under_way_in_a_run_that_is_cancelled_ends_and_nothing_follows(site):
    async with site(TWO) as world:
        world.chat.slow = {"a"}
        await world.begins(world.fact("declared"))
        cancelling = asyncio.ensure_future(world.does("cancel_run"))
        await asyncio.sleep(0)
        await world.goes_on()
        await cancelling
        assert (world.state, world.said) == ("cancelled", ["a"])
        assert world.effects()[0]["state"] in ("done", "unknown")


async def test_every_run_of_a_workflow_is_cancelled_at_once(site):
    async with site(WAIT) as world:
        for name in "abc":
            await world.declared(name)
        await world.does("cancel_run", workflow="flow")
        assert world.states == ["cancelled"] * 3


async def test_a_failed_run_goes_on_at_the_step_that_failed(site):
    async with site(TWO) as world:

        def refuse(message):
            if message.text == "b":
                raise ActionError("no")

        world.chat.before = refuse
        await world.declared()
        await world.is_down_for("1d")
        world.chat.before = lambda message: None
        await world.does("retry_run")
        assert world.chat.calls == ["a", "b", "b"]
        assert world.state == "finished"


# --- the end of the engine ---


async def test_a_call_under_way_ends_before_the_engine_stops_and_its_result_is_kept(site):
    async with site(TWO) as world:
        world.chat.slow = {"a"}
        await world.begins(world.fact("declared"))
        stopping = asyncio.ensure_future(world.stop(patience=5.0))
        ended, _ = await asyncio.wait({stopping}, timeout=0.05)
        assert not ended
        world.chat.go_on.set()
        await stopping
        assert world.said == ["a"]
        await world.restart()
        assert world.chat.calls == ["a", "b"]


async def test_a_call_that_does_not_end_in_time_is_left_as_an_intent(site):
    async with site(TWO) as world:
        world.chat.slow = {"a"}
        await world.begins(world.fact("declared"))
        await world.stop(patience=0.0)
        await world.restart()
        assert (world.state, world.said) == ("needs_decision", [])


async def test_what_comes_after_the_end_is_refused_and_not_lost_in_silence(site):
    async with site(ONE) as world:
        application = world.application
        await world.stop(patience=0.0)
        with pytest.raises(StorageUnavailable):
            await application.accept("pager", [world.fact("declared")])


async def test_nothing_can_happen_any_more_when_the_engine_has_settled(site):
    async with site("""
steps:
  - for_each: "[1, 2, 3, 4, 5]"
    uses: chat.post
    with: {text: "${{ item }}"}
    repeat: {every: 10m, max: 3}
""") as world:
        await world.declared()
        for _ in range(2):
            await world.set_clock("11m")
            due = world.application.next_due()
            assert due is None or due > world.now
        assert (len(world.said), world.state) == (15, "finished")
