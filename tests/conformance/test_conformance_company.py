"""Runs that may not go on side by side take turns, are skipped, or replaced (LANGUAGE 7); dry runs send nothing."""

from __future__ import annotations

import asyncio

import pytest

from engine.plugins import ActionError

TURNS = """
concurrency: {on_conflict: queue}
steps:
  - uses: chat.post
    with: {text: "${{ incident.title }} begins"}
  - wait: 1h
  - uses: chat.post
    with: {text: "${{ incident.title }} ends"}
"""
SKIP, REPLACE = TURNS.replace("queue", "skip"), TURNS.replace("queue", "replace")


def one_by_one(names):
    return [f"{name} {word}" for name in names for word in ("begins", "ends")]


# --- the queue ---


async def test_turns_come_in_the_order_of_events(site):
    async with site(TURNS) as world:
        for name in "abc":
            await world.declared(name)
        assert world.said == ["a begins"]
        await world.move("4h")
        assert (world.said, world.states) == (one_by_one("abc"), ["finished"] * 3)


async def test_of_events_at_one_instant_one_passes_at_a_time(site):
    async with site(TURNS) as world:
        facts = [world.fact("declared", name) for name in "abcdef"]
        await asyncio.gather(*(world.application.accept("pager", [fact]) for fact in facts))
        await world.settle()
        assert len(world.said) == 1
        await world.move("7h")
        assert [text.split()[1] for text in world.said] == ["begins", "ends"] * 6


async def test_events_of_one_delivery_pass_one_at_a_time(site):
    async with site(TURNS) as world:
        await world.happens("pager", *(world.fact("declared", name) for name in "abc"))
        assert world.said == ["a begins"]


async def test_a_queue_outlives_crashes_and_keeps_its_order(site):
    async with site(TURNS) as world:
        for name in "abc":
            await world.declared(name)
        await world.is_down_for("10m", world.fact("declared", "d"))
        assert world.said == ["a begins"]
        await world.move("1h")
        for _ in range(2):
            await world.is_down_for("10m")
        await world.move("5h")
        assert world.said == one_by_one("abcd")


async def test_what_fell_due_while_the_engine_was_down_lets_the_next_one_begin(site):
    async with site(TURNS) as world:
        await world.declared("a")
        await world.declared("b")
        await world.is_down_for("2h")
        assert world.said == ["a begins", "a ends", "b begins"]


async def test_a_call_that_takes_long_keeps_its_place(site):
    async with site(TURNS) as world:
        world.chat.slow = {"a begins"}
        await world.begins(world.fact("declared", "a"))
        await world.application.accept("pager", [world.fact("declared", "b")])
        await world.goes_on()
        await world.move("3h")
        assert world.said == one_by_one("ab")


async def test_a_limit_of_two_lets_two_go_on(site):
    async with site(TURNS.replace("{", "{limit: 2, ", 1)) as world:
        for name in "abc":
            await world.declared(name)
        assert world.said == ["a begins", "b begins"]
        await world.move("61m")
        assert "c begins" in world.said


async def test_a_run_that_ends_however_it_does_makes_room(site):
    async with site(TURNS) as world:

        def refuse(message):
            if message.text == "a begins":
                raise ActionError("no")

        world.chat.before = refuse
        for name in "abc":
            await world.declared(name)
        assert world.said[-1] == "b begins"
        await world.does("cancel_run", run=world.runs()[1]["uid"])
        assert (world.said[-1], world.states) == ("c begins", ["failed", "cancelled", "waiting"])


async def test_the_condition_is_decided_at_the_turn(site):
    async with site("if: incident.severity == 'sev2'\n" + TURNS) as world:
        await world.declared("a")
        await world.declared("b", severity="sev4")
        await world.declared("c", severity="sev4")
        await world.incident("updated", "pager:b", severity="sev2")
        await world.move("3h")
        assert (world.said, world.states) == (one_by_one("ab"), ["finished", "finished", "stopped"])


# --- skip ---


async def test_what_finds_no_room_is_skipped_and_may_come_again(site):
    async with site("on: [incident.declared, incident.updated]\nonce_per: incident.id\n" + SKIP) as world:
        await world.declared("a")
        await world.declared("b")
        await world.is_down_for("2h")
        await world.incident("updated", "pager:b", title="b2")
        assert world.said == ["a begins", "a ends", "b2 begins"]


# --- replace ---


async def test_the_newest_replaces_those_before_it(site):
    async with site(REPLACE) as world:
        for name in "abc":
            await world.declared(name)
        await world.move("2h")
        assert world.said == ["a begins", "b begins", "c begins", "c ends"]
        assert world.states == ["cancelled", "cancelled", "finished"]


async def test_of_events_at_one_instant_one_is_left(site):
    async with site(REPLACE) as world:
        facts = [world.fact("declared", name) for name in "abcd"]
        await asyncio.gather(*(world.application.accept("pager", [fact]) for fact in facts))
        await world.move("2h")
        assert sorted(world.states) == ["cancelled"] * 3 + ["finished"]
        assert sum(text.endswith("ends") for text in world.said) == 1


async def test_a_call_of_a_replaced_run_ends_before_what_takes_its_place_begins(site):
    async with site(REPLACE) as world:
        world.chat.slow = {"a begins"}
        await world.begins(world.fact("declared", "a"))
        settled = asyncio.ensure_future(world.happens("pager", world.fact("declared", "b")))
        await asyncio.wait({settled}, timeout=0.05)
        assert (world.chat.calls, world.said) == (["a begins"], [])
        await world.goes_on()
        await settled
        assert (world.said, world.states) == (["a begins", "b begins"], ["cancelled", "waiting"])


async def test_who_was_to_be_replaced_when_the_engine_died_is(site):
    async with site(REPLACE) as world:
        await world.declared("a")
        await world.is_down_for("1m", world.fact("declared", "b"))
        await world.is_down_for("2h")
        assert (world.said, world.states) == (["a begins", "b begins", "b ends"], ["cancelled", "finished"])


# --- dry runs ---


@pytest.mark.parametrize("mode", ["dry_run", "live"])
async def test_a_dry_run_decides_and_waits_as_a_live_one_does_and_sends_nothing(site, mode):
    async with site(f"mode: {mode}\n" + TURNS) as world:
        await world.declared("a")
        await world.is_down_for("30m")
        assert world.state == "waiting"
        await world.move("31m")
        assert world.state == "finished"
        assert [effect["inputs"]["text"] for effect in world.effects()] == ["a begins", "a ends"]
        assert world.said == ([] if mode == "dry_run" else ["a begins", "a ends"])


async def test_a_crash_in_a_dry_run_leaves_no_doubt(site):
    async with site("mode: dry_run\nsteps: [{wait: 1h}, {uses: chat.post, with: {text: a}}]") as world:
        await world.declared("a")
        for _ in range(3):
            await world.is_down_for("1h")
        assert (world.state, [effect["state"] for effect in world.effects()]) == ("finished", ["dry_run"])


async def test_a_live_run_begins_for_what_a_dry_one_was_about(site):
    once = "once_per: incident.id\non: [incident.declared, incident.updated]\n"
    async with site(f"mode: dry_run\n{once}{TURNS}") as world:
        await world.declared("a")
        (world.folder / "workflows" / "flow.yaml").write_text(once + TURNS)
        await world.restart()
        await world.incident("updated", "pager:a", title="a2")
        assert world.said == ["a2 begins"]
