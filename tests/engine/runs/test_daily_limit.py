"""Nobody gets more messages a day than their roster entry's `max_per_day`; what is held is told together."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from engine.plugins import ActionError, ConnectionBroken, Fact, RetryLater

NUDGE = """
once_per: event.id
on: [incident.declared, incident.updated]
steps: [{id: told, uses: chat.nudge, with: {to: ada, text: "${{ incident.title }}"}}]
"""
ASK = "steps: [{uses: chat.ask, with: {to: [ada, mary], text: a?, choices: {go: Go}}}]"
PEOPLE = """\
people:
  ada: {name: Ada, email: ada@example.org, max_per_day: 2, timezone: Asia/Tokyo}
  grace: {name: Grace, email: grace@example.org}
  mary: {name: Mary, email: mary@example.org}
"""


def incidents(world, *names):
    return [Fact("incident.declared", world.now, "incident", f"pager:{n}", {"title": str(n)}) for n in names]


async def nudge(world, *names):
    """Let incidents be declared all at once, each of which tells ada."""
    await asyncio.gather(*(world.application.accept("pager", [fact]) for fact in incidents(world, *names)))
    await world.settle()


async def test_what_is_above_the_limit_waits_for_the_next_morning_and_goes_out_as_one(engine):
    async with engine(NUDGE) as world:
        for name in range(8):
            await nudge(world, name)
        assert world.said == list("01234")
        await world.move("23h")
        assert len(world.said) == 5
        await world.move("1h")
        told = "**3 messages for you**\n\n**5**\n- 5\n\n**6**\n- 6\n\n**7**\n- 7\n\n"
        assert world.said[5:] == [told + "_Enough of one for a while:_ `hotwash mute 5 --until 7d`"]


async def test_the_run_goes_on_when_its_message_waits(engine):
    text = NUDGE + "  - {uses: chat.post, with: {text: '${{ steps.told.digested }}'}}\n"
    text = text.replace("steps: [{id: told, ", "steps:\n  - {id: told, ").replace('"}}]', '"}}')
    async with engine(text) as world:
        await nudge(world, *range(6))
        assert sorted(world.said[-6:]).count("true") == 1
        assert {run["state"] for run in world.runs()} == {"finished"}


async def test_the_limit_is_exact_when_many_runs_write_at_once(engine):
    async with engine(NUDGE) as world:
        await nudge(world, *range(40))
        assert len(world.chat.to("ada")) == 5
        await world.move("1d")
        assert len(world.chat.to("ada")) == 6
        assert world.said[5].startswith("**35 messages for you**")


async def test_the_limit_is_exact_within_one_run(engine):
    text = "steps: [{for_each: '[1, 2, 3, 4, 5, 6, 7]', uses: chat.nudge, with: {to: ada, text: '${{ item }}'}}]"
    async with engine(text) as world:
        await world.declared()
        assert (len(world.said), world.state) == (5, "finished")
        await world.move("1d")
        assert len(world.said) == 6


async def test_the_limit_holds_over_a_restart(engine):
    async with engine(NUDGE) as world:
        await nudge(world, *range(4))
        await world.crash()
        await world.restart()
        await nudge(world, *range(4, 9))
        assert len(world.said) == 5


async def test_a_day_is_the_persons_own_and_so_is_its_morning(engine):
    async with engine(NUDGE) as world:
        (world.folder / "people.yaml").write_text(PEOPLE)
        await world.restart()
        await world.move_to(datetime(2026, 3, 2, 14, 30, tzinfo=UTC))  # 23:30 in Tokyo
        await nudge(world, *range(3))
        assert len(world.said) == 2
        await world.move("45m")
        await nudge(world, 3)
        assert world.said[2:] == ["3"]
        await world.move_to(datetime(2026, 3, 2, 23, 59, tzinfo=UTC))
        assert len(world.said) == 3
        await world.move("1m")  # 9:00 there
        assert world.said[3:] == ["2"]


async def test_a_digest_counts_and_waits_where_the_day_is_full(engine):
    text = NUDGE.replace('"}}]', '", digest: {window: 1h}}}]')
    async with engine(many=NUDGE, fold=text) as world:
        await nudge(world, *range(5))
        await world.move("2h")
        assert (len(world.said), world.runs()[-1]["state"]) == (5, "held")
        await nudge(world, 9)
        await world.move("22h")
        assert [one.splitlines()[0] for one in world.said[5:]] == ["**6 messages for you**"]


async def test_what_did_not_go_out_does_not_count(engine):
    async with engine(NUDGE) as world:
        broken = [ConnectionBroken("401"), ActionError("no such channel")]

        def fail(message):
            if broken and message.to == "ada":
                raise broken.pop()

        world.chat.before = fail
        await nudge(world, 0)
        await nudge(world, 1)
        await world.move("10m")
        await nudge(world, *range(2, 9))
        assert len(world.chat.to("ada")) == 5


async def test_a_further_attempt_counts_once_and_to_the_day_on_which_it_is_made(engine):
    text = NUDGE.replace("id: told,", "id: told, retry: {max: 9, every: 20h, at_most: 20h},")
    async with engine(text) as world:
        failing = [True]

        def fail(message):
            if failing and message.to == "ada":
                raise RetryLater("busy")

        world.chat.before = fail
        await nudge(world, 0)
        failing.clear()
        await nudge(world, *range(1, 6))
        assert len(world.said) == 4
        await world.move("23h")
        assert sorted(world.said[4:]) == ["0"]
        await nudge(world, *range(6, 12))
        assert len(world.said) == 9


async def test_a_question_above_the_limit_is_held_until_the_next_morning(engine):
    async with engine(many=NUDGE, ask=ASK) as world:
        await nudge(world, *range(5))
        assert len(world.chat.to("ada,mary")) == 5 - len(world.chat.to("ada"))
        await world.move("1d")
        assert len(world.chat.to("ada,mary")) == 5


async def test_what_the_engine_tells_an_owner_has_no_limit_and_does_not_count(engine):
    fails = "once_per: event.id\nsteps: [{finish: {as: failed, reason: no}}]"
    async with engine(fails=fails, many=NUDGE.replace("to: ada", "to: grace")) as world:
        await nudge(world, *range(9))
        told = [text for text in world.chat.to("grace") if "failed at" in text]
        assert (len(told), len(world.chat.to("grace"))) == (9, 14)


async def test_channels_have_no_limit(engine):
    async with engine("once_per: event.id\nsteps: [{uses: chat.post, with: {text: a}}]") as world:
        await nudge(world, *range(9))
        assert len(world.said) == 9


@pytest.mark.parametrize(("limit", "got"), [(1, 1), (7, 7)])
async def test_the_roster_says_how_many_somebody_wants(engine, limit, got):
    async with engine(NUDGE) as world:
        (world.folder / "people.yaml").write_text(PEOPLE.replace("max_per_day: 2", f"max_per_day: {limit}"))
        await world.restart()
        await nudge(world, *range(9))
        assert len(world.said) == got


async def test_what_waits_above_the_limit_is_dropped_where_the_world_moved_on(engine):
    async with engine("stop_when: incident.severity == 'sev4'" + NUDGE) as world:
        await nudge(world, *range(6))
        await world.incident("updated", "pager:5", severity="sev4")
        await world.move_to(world.now + timedelta(days=2))
        assert len(world.said) == 5
