"""Digests, people's daily limits and mutes, over restarts and crashes too (PROMISES 1.3, LANGUAGE 5)."""

from __future__ import annotations

import asyncio

import pytest
from conformance_sites import Chat

from engine.plugins import RetryLater, idempotent, native

FOLD = """
once_per: event.id
on: [incident.declared, incident.updated]
stop_when: incident.severity == "sev4"
steps:
  - uses: chat.nudge
    with: {to: ada, text: "${{ incident.title }}", digest: {window: 4h}}
"""
NUDGE = FOLD.replace(", digest: {window: 4h}", "")
ASK = """
once_per: event.id
steps: [{uses: chat.ask, with: {to: ada, text: "${{ incident.title }}?", choices: {go: Go}}}]
"""
BOTH = """\
**2 messages for you**

**a**
- a

**b**
- b

_Enough of one for a while:_ `hotwash mute a --until 7d`"""


class NativeChat(Chat):
    @native
    async def direct(self, person, text, *, effect):
        return await super().direct(person, text, effect=effect)


class IdempotentChat(Chat):
    @idempotent
    async def direct(self, person, text, *, effect):
        return await super().direct(person, text, effect=effect)


def said(world, to="ada"):
    return [message.text for message in world.chat.sent if message.to == to]


async def at_once(world, *names):
    """Let incidents be declared all at once."""
    facts = [world.fact("declared", str(name), severity="sev2") for name in names]
    await asyncio.gather(*(world.application.accept("pager", [fact]) for fact in facts))
    await world.settle()


# --- digests ---


async def test_messages_within_a_window_go_out_as_one_when_it_ends_and_not_before(site):
    async with site(FOLD) as world:
        await world.declared("a")
        await world.move("2h")
        await world.declared("b")
        await world.move("119m")
        assert (world.said, world.states) == ([], ["finished", "finished"])
        await world.move("2m")
        assert world.said == [BOTH]
        await world.move("2d")
        assert world.said == [BOTH]


async def test_a_digest_that_fell_due_while_nothing_ran_goes_out_once(site):
    async with site(FOLD) as world:
        await at_once(world, "a", "b")
        await world.is_down_for("9h")
        await world.is_down_for("1h")
        assert world.said == [BOTH]


@pytest.mark.parametrize("chat", [NativeChat, IdempotentChat])
async def test_a_digest_that_is_cut_off_is_sent_again_under_the_same_identity_where_it_may_be(site, chat):
    async with site(FOLD, chat=chat) as world:
        await world.declared("a")
        world.chat.slow = {"a"}
        await world.elapses_until_a_call_hangs("4h")
        await world.crash()
        world.chat.slow = set()
        await world.restart()
        assert (world.said, world.state) == (["a"], "finished")
        assert len({one["identity"] for one in world.effects("chat.nudge") if one["state"] == "done"}) == 2


async def test_a_digest_that_is_cut_off_and_must_not_be_doubled_waits_for_a_person(site):
    async with site(FOLD) as world:
        await world.declared("a")
        world.chat.slow = {"a"}
        await world.elapses_until_a_call_hangs("4h")
        await world.crash()
        world.chat.slow = set()
        await world.restart()
        assert (world.said, world.state) == ([], "needs_decision")
        await world.declared("b")
        await world.move("5h")
        assert world.said == ["b"]  # what it took is told by nobody else
        parked = next(run["uid"] for run in world.runs() if run["state"] == "needs_decision")
        await world.does("decide_run", run=parked, decision="repeat")
        assert world.said == ["b", "a"]


async def test_a_crash_anywhere_around_a_digest_neither_loses_nor_doubles_what_waits(site):
    async with site(FOLD, chat=NativeChat) as world:
        for number in range(10):
            await world.application.accept("pager", [world.fact("declared", f"n{number}", severity="sev2")])
            world.elapse("241m")
            for _ in range(3 * number):
                await asyncio.sleep(0)
            await world.crash()
            await world.restart()
        await world.move("5h")
        digests = {message.effect: message.text for message in world.chat.sent}  # a service shows what it took once
        told = [line.removeprefix("- ") for text in digests.values() for line in text.splitlines()]
        assert sorted(line for line in told if line.startswith("n")) == [f"n{number}" for number in range(10)]


async def test_what_has_moved_on_meanwhile_is_not_told_after_a_restart_either(site):
    async with site(FOLD) as world:
        await at_once(world, "a", "b")
        await world.is_down_for("5h", world.fact("updated", "a", severity="sev4"))
        assert world.said == ["b"]


# --- the daily limit ---


async def test_nobody_gets_more_a_day_than_their_limit_however_many_runs_write_at_once(site):
    async with site(NUDGE, other=NUDGE) as world:
        await at_once(world, *range(12))
        assert len(said(world)) == 5
        await world.move("23h")
        assert len(said(world)) == 5
        await world.move("61m")
        assert len(said(world)) == 6
        assert said(world)[5].count("\n- ") + said(world)[5].count("(2 times)") == 24 - 5


async def test_the_limit_holds_over_a_crash_between_intent_and_result(site):
    async with site(NUDGE, chat=NativeChat) as world:
        await at_once(world, *range(4))
        world.chat.slow = {"x"}
        await world.begins(world.fact("declared", "x", severity="sev2"))
        await world.crash()
        world.chat.slow = set()
        await world.restart()
        await at_once(world, *range(5, 9))
        assert len(said(world)) == 5


async def test_a_question_above_the_limit_is_asked_the_next_morning_after_a_restart_too(site):
    async with site(NUDGE, ask=ASK.replace("once_per", "on: incident.reopened\nonce_per")) as world:
        await at_once(world, *range(6))
        await world.incident("resolved", "pager:1")
        await world.incident("reopened", "pager:1")
        assert (len(said(world)), world.state) == (5, "held")
        await world.is_down_for("10h")
        assert len(said(world)) == 5
        await world.move("15h")
        assert said(world)[-1] == "1?" or said(world)[-2] == "1?"


async def test_a_further_attempt_is_no_further_message(site):
    async with site(NUDGE) as world:
        failures = [RetryLater("busy")] * 3

        def fail(message):
            if failures:
                raise failures.pop()

        world.chat.before = fail
        await at_once(world, *range(5))
        await world.move("10m")
        assert len(said(world)) == 5
        await at_once(world, 9)
        assert len(said(world)) == 5


# --- mutes ---


async def test_what_is_muted_is_not_sent_after_a_restart_either(site):
    async with site(NUDGE) as world:
        await world.declared("a")
        await world.mutes("pager:a", "1d")
        await world.is_down_for("1h", world.fact("updated", "a", severity="sev3"))
        assert (world.said, world.states) == (["a"], ["finished", "finished"])
        await world.move("1d")
        await world.incident("updated", "pager:a", severity="sev2")
        assert world.said == ["a", "a"]


async def test_a_question_that_a_mute_holds_is_asked_when_it_ends_after_a_restart_too(site):
    async with site(ASK.replace("once_per", "on: [incident.declared, incident.reopened]\nonce_per")) as world:
        await world.declared("a")
        await world.answer("go", "ada")
        await world.mutes("pager:a", "1d")
        await world.incident("resolved", "pager:a")
        await world.incident("reopened", "pager:a")
        await world.is_down_for("1h")
        assert (world.said, world.state) == (["a?"], "held")
        await world.move("23h")
        assert (world.said, world.state) == (["a?", "a?"], "waiting")
