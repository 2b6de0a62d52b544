"""A run goes on with the current file, and an event is looked at again (PROMISES 1.5, 1.11)."""

from __future__ import annotations

import asyncio

import pytest

from engine.operations import Refused
from engine.plugins import ActionError

FAILS = """
steps:
  - {id: first, uses: chat.post, with: {text: a}}
  - {id: nap, wait: 1h}
  - {id: last, uses: chat.post, on_unknown: repeat, with: {text: b}}
"""
SAY = "on: incident.declared\nsteps: [{uses: chat.post, on_unknown: repeat, with: {text: '${{ workflow.id }}'}}]"


def refuse_b(message):
    if message.text == "b":
        raise ActionError("no")


def write(world, text, name="flow"):
    head = "" if "on:" in text else "on: incident.declared\n"
    (world.folder / "workflows" / f"{name}.yaml").write_text(head + text)


async def fail(world):
    world.chat.before = refuse_b
    await world.declared()
    await world.move("2h")
    assert world.state == "failed"


async def test_a_retry_with_the_current_file_goes_on_there_and_does_nothing_twice(site):
    async with site(FAILS) as world:
        await fail(world)
        write(world, FAILS.replace("text: b", "text: c"))
        await world.does("retry_run", latest=True)
        assert (world.state, world.chat.to("#default")) == ("finished", ["a", "c"])


async def test_a_retry_with_the_current_file_survives_a_crash_that_follows_it_at_once(site):
    async with site(FAILS) as world:
        await fail(world)
        write(world, FAILS.replace("text: b", "text: c"))
        world.chat.slow = {"c"}
        task = asyncio.create_task(world.does("retry_run", latest=True))
        await asyncio.wait_for(world.chat.began.wait(), 20)
        task.cancel()
        await world.crash()
        world.chat.slow.clear()
        write(world, FAILS)
        await world.restart()
        assert (world.state, world.chat.to("#default")) == ("finished", ["a", "c"])


async def test_a_retry_with_a_file_that_has_a_finished_step_no_more_changes_nothing(site):
    async with site(FAILS) as world:
        await fail(world)
        write(world, FAILS.replace("id: first", "id: other"))
        with pytest.raises(Refused, match=r"'first' \(chat.post\) is not there"):
            await world.does("retry_run", latest=True)
        assert world.state == "failed"
        world.chat.before = lambda message: None
        await world.does("retry_run")
        assert (world.state, world.chat.to("#default")) == ("finished", ["a", "b"])


async def test_a_replayed_event_starts_what_was_added_since_once(site):
    async with site(SAY) as world:
        await world.declared()
        write(world, SAY, "late")
        for _ in range(2):
            await world.does("replay_event", event="1", workflow="late")
        assert (world.said, world.states) == (["flow", "late"], ["finished", "finished"])


async def test_a_replay_survives_a_crash_that_follows_it_at_once(site):
    async with site(SAY) as world:
        await world.declared()
        write(world, SAY, "late")
        world.chat.slow = {"late"}
        task = asyncio.create_task(world.does("replay_event", event="1", workflow="late"))
        await asyncio.wait_for(world.chat.began.wait(), 20)
        task.cancel()
        await world.crash()
        world.chat.slow.clear()
        await world.restart()
        assert (world.said, world.states) == (["flow", "late"], ["finished", "finished"])
