"""Effects: written down before they are tried, and what becomes of those that are cut off (PROMISES 1.4, 1.5)."""

from __future__ import annotations

import asyncio

import pytest
from conformance_sites import Chat

from engine.capabilities import Message
from engine.plugins import ConnectionBroken, findable, idempotent, native
from engine.testing import RecordingChat

TWO = "steps: [{id: one, uses: chat.post, with: {text: a}}, {uses: chat.post, with: {text: b}}]"


class NativeChat(Chat):
    @native
    async def post(self, channel, text, *, thread, effect):
        return await super().post(channel, text, thread=thread, effect=effect)


class IdempotentChat(Chat):
    @idempotent
    async def post(self, channel, text, *, thread, effect):
        return await super().post(channel, text, thread=thread, effect=effect)


class FindableChat(Chat):
    """A chat that sends before it stands still, and shows what it has sent half a minute later."""

    looks = 0
    sends = True

    @findable(visible_after="30s")
    async def post(self, channel, text, *, thread, effect):
        if text in self.slow and self.sends:
            await RecordingChat.post(self, channel, text, thread=thread, effect=effect)
        return await super().post(channel, text, thread=thread, effect=effect)

    async def find(self, effect):
        self.looks += 1
        return next((Message("found") for message in self.sent if message.effect == effect.id), None)


async def cut_off(world):
    """Kill the engine while the first message is under way, and start it again."""
    world.chat.slow = {"a"}
    await world.begins(world.fact("declared"))
    await world.crash()
    world.chat.slow = set()
    await world.restart()


# --- intent, call, result ---


async def test_what_has_a_result_is_not_called_again_after_a_crash_in_the_next_call(site):
    async with site(TWO, chat=IdempotentChat) as world:
        world.chat.slow = {"b"}
        await world.begins(world.fact("declared"))
        await world.crash()
        world.chat.slow = set()
        await world.restart()
        assert world.chat.calls == ["a", "b", "b"]


async def test_an_effect_is_known_before_its_call_is_made(site):
    async with site(TWO) as world:
        seen = []
        world.chat.before = lambda message: seen.append([effect["state"] for effect in world.effects()])
        await world.declared()
        assert seen == [["intent"], ["done", "intent"]]


async def test_a_crash_anywhere_on_the_way_makes_no_call_that_was_not_written_down(site):
    async with site(TWO, chat=NativeChat) as world:
        for number in range(12):
            await world.application.accept("pager", [world.fact("declared", str(number))])
            for _ in range(number):
                await asyncio.sleep(0)
            await world.crash()
            await world.restart()
        assert world.states == ["finished"] * 12
        identities = {effect["identity"] for effect in world.effects()}
        assert {message.effect for message in world.chat.sent} == identities
        assert len(identities) == 24


# --- cut off ---


async def test_what_must_not_be_sent_twice_is_parked_and_stays_so(site):
    async with site(TWO) as world:
        await cut_off(world)
        assert (world.state, world.said) == ("needs_decision", [])
        await world.move("2d")
        await world.is_down_for("1h")
        assert (world.state, world.said, world.chat.calls) == ("needs_decision", [], ["a"])
        assert "effect.unknown" in [name for name, _ in world.told]


@pytest.mark.parametrize(("decision", "said"), [("repeat", ["a", "b"]), ("skip", ["b"]), ("done", ["b"])])
async def test_what_was_parked_goes_on_as_a_person_decides_after_a_restart_too(site, decision, said):
    async with site(TWO) as world:
        await cut_off(world)
        await world.is_down_for("1h")
        await world.does("decide_run", decision=decision)
        assert (world.said, world.state) == (said, "finished")


@pytest.mark.parametrize("chat", [NativeChat, IdempotentChat])
async def test_what_may_be_sent_again_is_sent_again_under_the_same_identity(site, chat):
    async with site(TWO, chat=chat) as world:
        await cut_off(world)
        assert (world.state, world.chat.calls) == ("finished", ["a", "a", "b"])
        assert len({effect["identity"] for effect in world.effects()}) == 2


async def test_what_can_be_found_is_looked_for_when_it_can_be_seen_and_not_made_again(site):
    async with site(TWO, chat=FindableChat) as world:
        await cut_off(world)
        await world.move("80s")
        assert world.chat.looks == 0  # a request may take a minute, and be seen half a minute later
        await world.move("11s")
        assert (world.state, world.said) == ("finished", ["a", "b"])
        assert world.outputs()["one"]["id"] == "found"


async def test_what_was_looked_for_and_is_not_there_is_made(site):
    async with site(TWO, chat=FindableChat) as world:
        world.chat.sends = False
        await cut_off(world)
        await world.move("91s")
        assert (world.state, world.said, world.chat.looks) == ("finished", ["a", "b"], 1)


async def test_what_is_made_again_after_a_look_and_cut_off_again_is_looked_for_as_late_again(site):
    async with site(TWO, chat=FindableChat) as world:
        world.chat.sends = False
        await cut_off(world)
        world.chat.sends, world.chat.slow = True, {"a"}
        world.chat.began.clear()
        await world.elapses_until_a_call_hangs("91s")
        await world.crash()
        world.chat.slow = set()
        await world.restart()
        assert world.chat.looks == 1
        await world.move("91s")
        assert (world.state, world.said) == ("finished", ["a", "b"])


async def test_a_parked_item_holds_up_no_other(site):
    async with site("""
steps:
  - for_each: '["a", "b"]'
    uses: chat.post
    with: {text: "${{ item }}"}
  - uses: chat.post
    with: {text: all}
""") as world:
        world.chat.slow = {"a"}
        await world.begins(world.fact("declared"))
        while [effect["state"] for effect in world.effects()] != ["intent", "done"]:
            await asyncio.sleep(0.001)
        await world.crash()
        await world.restart()
        assert (world.state, world.said) == ("needs_decision", ["b"])
        world.chat.slow = set()
        await world.does("decide_run", decision="repeat")
        assert (world.said, world.state) == (["b", "a", "all"], "finished")


# --- a connection that is held ---


def refuse(message):
    raise ConnectionBroken("401")


async def test_a_connection_that_refuses_us_is_tried_by_one_call_and_all_go_on_when_it_works(site):
    async with site("steps: [{uses: chat.post, with: {text: '${{ incident.title }}'}}]") as world:
        world.chat.before = refuse
        await world.declared("a")
        for name in "bcd":
            await world.declared(name)
        assert (set(world.states), world.chat.calls) == ({"held"}, ["a"])
        await world.move("5m")
        await world.move("1m")
        assert len(world.chat.calls) == 2
        world.chat.before = lambda message: None
        await world.move("10m")
        assert sorted(world.said) == list("abcd")


async def test_what_is_held_goes_out_after_a_restart_as_things_are_then(site):
    async with site("steps: [{uses: chat.post, with: {text: '${{ incident.severity }}'}}]") as world:
        world.chat.before = refuse
        await world.declared(severity="sev2")
        await world.is_down_for("1m", world.fact("updated", severity="sev1"))
        world.chat.before = lambda message: None
        await world.move("15m")
        assert (world.said, world.state) == (["sev1"], "finished")


# --- two runs, one effect ---

SHARED = """
once_per: event.id
steps:
  - id: one
    uses: chat.post
    once_per: incident.severity
    with: {text: one}
  - uses: chat.post
    with: {text: "${{ steps.one.id }} for ${{ incident.title }}"}
"""


async def test_an_effect_that_runs_share_is_performed_once_and_the_others_wait_for_its_result(site):
    async with site(SHARED) as world:
        world.chat.slow = {"one"}
        await world.begins(*(world.fact("declared", name, severity="sev1") for name in "abcd"))
        await world.goes_on()
        assert world.chat.calls.count("one") == 1
        assert sorted(world.said[1:]) == [f"1 for {name}" for name in "abcd"]


async def test_a_run_that_waits_for_the_effect_of_another_goes_on_after_a_restart(site):
    async with site(SHARED, chat=IdempotentChat) as world:
        world.chat.slow = {"one"}
        await world.begins(*(world.fact("declared", name, severity="sev1") for name in "ab"))
        await world.crash()
        world.chat.slow = set()
        await world.restart()
        assert world.states == ["finished", "finished"]
        assert world.said.count("one") == 1
