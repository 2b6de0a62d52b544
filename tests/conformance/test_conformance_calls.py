"""Runs that people start and runs that runs call, whatever happens to the engine in between (LANGUAGE 6 and 7)."""

from __future__ import annotations

import asyncio

import pytest
from conformance_sites import GRACE, Chat

from engine.operations import perform
from engine.plugins import ActionError, idempotent

#: What calls `child`, and says what came of it.
PARENT = """
on: [incident.declared, incident.reopened]
once_per: incident.id
stop_when: incident.severity == "sev3"
steps:
  - id: call
    uses: workflow.child
    with: {word: "${{ incident.title }}"}
  - uses: chat.post
    with: {text: "after ${{ steps.call.word }}"}
  - wait: 1h
  - uses: chat.post
    with: {text: end}
"""
CHILD = """
inputs: {word: {type: text, required: true}}
on: manual
steps:
  - uses: chat.post
    with: {text: "begun ${{ inputs.word }}"}
  - wait: 1h
  - uses: chat.post
    with: {text: done}
outputs: {word: "${{ inputs.word }}"}
"""
BY_HAND = """
on: manual
inputs: {word: {type: text, default: hello}, who: {type: person, default: ada}}
steps:
  - uses: chat.post
    with: {text: "${{ inputs.word }} ${{ inputs.who.name }}"}
"""


class IdempotentChat(Chat):
    @idempotent
    async def post(self, channel, text, *, thread, effect):
        return await super().post(channel, text, thread=thread, effect=effect)


def by_workflow(world):
    return {run["workflow"]: (run["state"], run["round"]) for run in world.runs()}


def refuse(text):
    def before(message):
        if message.text == text:
            raise ActionError("no")

    return before


async def retry(world, workflow="flow"):
    await world.does("retry_run", run=world.runs(workflow)[0]["uid"])


async def start(world, **given):
    done = await perform(world.application, "start_workflow", {"workflow": "flow", **given}, GRACE)
    await world.settle()
    return done.data


# --- by hand ---


async def test_what_a_person_starts_runs_with_what_they_gave(site):
    async with site(BY_HAND) as world:
        await start(world, inputs={"word": "well", "who": "mary"})
        await start(world)
        assert world.said == ["well Mary", "hello Ada"]


async def test_what_a_person_started_before_a_crash_runs_after_it(site):
    async with site(BY_HAND, chat=IdempotentChat) as world:
        await perform(world.application, "start_workflow", {"workflow": "flow"}, GRACE)
        await world.is_down_for("1h")
        assert (world.said, world.states) == (["hello Ada"], ["finished"])


async def test_people_who_start_the_same_at_once_start_it_once(site):
    async with site("once_per: inputs.word\n" + BY_HAND) as world:
        found = await asyncio.gather(*(start(world) for _ in range(5)))
        assert sorted(one["started"] for one in found) == [False] * 4 + [True]
        assert len({one["run"] for one in found}) == 1
        assert world.said == ["hello Ada"]


# --- called ---


async def test_a_call_is_ended_by_the_end_of_the_run_that_it_began(site):
    async with site(PARENT, child=CHILD) as world:
        await world.declared()
        assert by_workflow(world) == {"flow": ("waiting", 1), "child": ("waiting", 1)}
        await world.move("61m")
        assert world.said == ["begun P1", "done", "after P1"]


async def test_a_crash_between_a_call_and_its_end_begins_no_second_run(site):
    async with site(PARENT, child=CHILD) as world:
        await world.declared()
        await world.is_down_for("30m")
        await world.is_down_for("10m")
        assert by_workflow(world) == {"flow": ("waiting", 1), "child": ("waiting", 1)}
        await world.is_down_for("1d")
        await world.move("61m")
        assert world.said == ["begun P1", "done", "after P1", "end"]
        assert by_workflow(world) == {"flow": ("finished", 1), "child": ("finished", 1)}


async def test_a_crash_anywhere_on_the_way_makes_each_call_once(site):
    child = CHILD.replace("  - wait: 1h\n", "")
    async with site(PARENT, child=child, chat=IdempotentChat) as world:
        for number in range(16):
            await world.application.accept("pager", [world.fact("declared", f"P{number}")])
            for _ in range(number * 2):
                await asyncio.sleep(0)
            await world.crash()
            await world.restart()
        await world.move("2h")
        assert {run["state"] for run in world.runs()} == {"finished"}
        assert (len(world.runs("flow")), len(world.runs("child"))) == (16, 16)
        assert len(set(world.said)) == 16 * 2 + 2


async def test_a_crash_while_what_was_called_sends_something_takes_it_up_where_it_was(site):
    async with site(PARENT, child=CHILD, chat=IdempotentChat) as world:
        world.chat.slow = {"begun P1"}
        await world.begins(world.fact("declared"))
        await world.crash()
        world.chat.slow = set()
        await world.restart()
        await world.move("61m")
        assert world.chat.calls == ["begun P1", "begun P1", "done", "after P1"]


async def test_a_retry_of_the_run_that_called_retries_what_it_called_at_its_failed_step(site):
    async with site(PARENT, child=CHILD) as world:
        world.chat.before = refuse("done")
        await world.declared()
        await world.move("61m")
        assert by_workflow(world) == {"flow": ("failed", 1), "child": ("failed", 1)}
        await world.is_down_for("1h")
        world.chat.before = lambda message: None
        await retry(world)
        assert world.chat.calls == ["begun P1", "done", "done", "after P1"]


async def test_a_retry_that_is_cut_off_by_a_crash_goes_on_after_it(site):
    async with site(PARENT, child=CHILD, chat=IdempotentChat) as world:
        world.chat.before = refuse("done")
        await world.declared()
        await world.move("61m")
        world.chat.before = lambda message: None
        await perform(world.application, "retry_run", {"run": world.runs("flow")[0]["uid"]}, GRACE)
        await world.crash()
        await world.restart()
        assert by_workflow(world) == {"flow": ("waiting", 1), "child": ("finished", 1)}


# --- stopped, taken up ---


async def test_a_stopped_run_stops_what_it_called_and_takes_it_up_with_itself(site):
    async with site(PARENT, child=CHILD) as world:
        await world.declared()
        await world.incident("updated", severity="sev3", title="again")
        assert by_workflow(world) == {"flow": ("stopped", 1), "child": ("stopped", 1)}
        await world.move("2h")
        assert world.said == ["begun P1"]
        await world.incident("resolved", severity="sev1")
        await world.incident("reopened")
        assert by_workflow(world) == {"flow": ("waiting", 2), "child": ("waiting", 2)}
        await world.move("61m")
        assert world.said == ["begun P1", "begun again", "done", "after again"]


async def test_what_came_to_be_stopped_while_the_engine_was_down_is_stopped_on_both_sides(site):
    async with site(PARENT, child=CHILD) as world:
        await world.declared()
        await world.is_down_for("30m", world.fact("updated", severity="sev3"))
        await world.move("2h")
        assert by_workflow(world) == {"flow": ("stopped", 1), "child": ("stopped", 1)}
        assert world.said == ["begun P1"]


async def test_what_was_called_and_has_finished_is_kept_in_a_later_round(site):
    async with site(PARENT, child=CHILD) as world:
        await world.declared()
        await world.move("61m")
        await world.incident("updated", severity="sev3")
        await world.incident("resolved", severity="sev1")
        await world.incident("reopened")
        await world.is_down_for("2h")
        assert world.said == ["begun P1", "done", "after P1", "after P1", "end"]
        assert by_workflow(world) == {"flow": ("finished", 2), "child": ("finished", 1)}


@pytest.mark.parametrize("down", [False, True])
async def test_a_cancelled_run_cancels_what_it_called(site, down):
    async with site(PARENT, child=CHILD) as world:
        await world.declared()
        uid = world.runs("flow")[0]["uid"]
        await perform(world.application, "cancel_run", {"run": uid}, GRACE)
        if down:
            await world.is_down_for("1m")
        await world.settle()
        await world.move("2h")
        assert by_workflow(world) == {"flow": ("cancelled", 1), "child": ("cancelled", 1)}
        assert world.said == ["begun P1"]


async def test_the_timeout_of_a_call_ends_what_it_called_after_a_restart_too(site):
    parent = PARENT.replace("uses: workflow.child", "uses: workflow.child\n    timeout: 30m")
    async with site(parent, child=CHILD) as world:
        await world.declared()
        await world.is_down_for("10m")
        await world.move("21m")
        assert by_workflow(world) == {"flow": ("failed", 1), "child": ("stopped", 1)}
        assert "done" not in world.said
