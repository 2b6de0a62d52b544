"""Waits, settle times, questions and attempts to come are rows that fall due (PROMISES 1.3, 1.5, 1.7)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from engine.domain import Person
from engine.plugins import Fact, RetryLater

HOUR = timedelta(hours=1)
WAIT = """
steps:
  - wait: {for: "${{ incident.title }}"}
  - uses: chat.post
    with: {text: "${{ incident.title }}"}
"""
DOCUMENT = """
steps:
  - id: draft
    wait: {for: 1h, until: {document.published: event.document.id == "docs:a"}}
  - uses: chat.post
    with: {text: "${{ steps.draft.timed_out }}"}
"""


# --- instants ---


async def test_no_wait_ends_before_its_instant(site):
    async with site(WAIT) as world:
        begun = world.now
        await world.declared(title="1h")
        await world.move("59m")
        assert world.said == []
        await world.move("2m")
        assert world.said == ["1h"]
        assert world.chat.at["1h"] >= begun + HOUR


async def test_a_wait_ends_when_its_instant_has_come_with_nothing_else_happening(site):
    async with site(WAIT) as world:
        await world.declared(title="1h")
        begun = world.runs()[0]
        await world.move("1h")
        assert (world.said, world.state, begun["state"]) == (["1h"], "finished", "waiting")
        assert world.chat.at["1h"] < world.now + timedelta(minutes=1)


async def test_a_shorter_wait_that_begins_later_ends_first(site):
    async with site(WAIT) as world:
        await world.declared("a", title="2h")
        await world.move("30m")
        await world.declared("b", title="1h")
        await world.move("70m")
        assert world.said == ["1h"]
        await world.move("30m")
        assert world.said == ["1h", "2h"]


async def test_what_fell_due_while_the_engine_was_down_is_done_at_once_oldest_first(site):
    async with site(WAIT) as world:
        for name, length in (("a", "3h"), ("b", "1h"), ("c", "2h")):
            await world.declared(name, title=length)
        await world.is_down_for("1d")
        assert world.said == ["1h", "2h", "3h"]


async def test_what_is_not_due_after_a_restart_goes_on_waiting(site):
    async with site(WAIT) as world:
        await world.declared(title="3h")
        await world.is_down_for("1h")
        await world.move("1h")
        assert (world.said, world.state) == ([], "waiting")
        await world.move("70m")
        assert world.said == ["3h"]


async def test_three_hundred_waits_that_end_at_one_instant_all_end_once(site):
    async with site(WAIT) as world:
        await world.happens("pager", *(world.fact("declared", str(number), title="1h") for number in range(300)))
        await world.set_clock("61m")
        assert world.said == ["1h"] * 300
        assert set(world.states) == {"finished"}


async def test_a_clock_that_is_put_forward_ends_what_it_passes_over(site):
    async with site("steps: [{wait: 1h}, {wait: 1h}, {uses: chat.post, with: {text: a}}]") as world:
        await world.declared()
        await world.set_clock("5h")
        assert world.said == []  # the second wait began late, and lasts its hour
        await world.set_clock("61m")
        assert world.said == ["a"]


async def test_a_clock_set_back_delays_a_wait_and_repeats_nothing(site):
    async with site(WAIT) as world:
        await world.declared(title="1h")
        await world.move("30m")
        await world.set_clock("2h", back=True)
        await world.move("2h")
        assert world.said == []
        await world.move("31m")
        assert world.said == ["1h"]
        await world.set_clock("2h", back=True)
        await world.move("3h")
        assert world.said == ["1h"]


async def test_a_clock_set_back_while_the_engine_is_down_ends_no_wait_early(site):
    async with site(WAIT) as world:
        begun = world.now
        await world.declared(title="1h")
        await world.crash()
        world.clock.move_to(world.now - 2 * HOUR)
        await world.restart()
        await world.move("2h")
        assert world.said == []
        await world.move("61m")
        assert world.chat.at["1h"] >= begun + HOUR


async def test_a_waiting_run_keeps_no_task(site):
    async with site(DOCUMENT) as world:
        before = len(asyncio.all_tasks())
        await world.happens("pager", *(world.fact("declared", str(number)) for number in range(20)))
        assert set(world.states) == {"waiting"}
        assert len(asyncio.all_tasks()) < before + 10  # the clock has some of its own


# --- events ---


async def test_an_event_ends_a_wait_and_its_instant_does_nothing_then(site):
    async with site(DOCUMENT) as world:
        await world.declared()
        await world.published("b")
        assert world.said == []
        await world.published("a")
        assert world.said == ["false"]
        await world.move("2h")
        assert world.said == ["false"]


async def test_an_event_after_the_instant_ends_no_wait_twice(site):
    async with site(DOCUMENT) as world:
        await world.declared()
        await world.move("61m")
        await world.published("a")
        assert (world.said, world.state) == (["true"], "finished")


async def test_a_wait_looks_back_over_its_round(site):
    async with site("steps:\n  - wait: 10m" + DOCUMENT.replace("steps:\n", "").rstrip() + "\n") as world:
        await world.published("a")  # before the round began
        await world.declared("early")
        await world.move("11m")
        assert world.said == []
        await world.declared("late")
        await world.published("a")
        assert world.said == ["false"]
        await world.move("11m")
        assert world.said == ["false", "false"]


async def test_an_event_that_came_while_the_engine_was_down_wins_over_the_instant(site):
    async with site(DOCUMENT) as world:
        await world.declared()
        await world.is_down_for("2h", world.published_fact("a"))
        assert world.said == ["false"]


async def test_a_condition_ends_a_wait_when_the_subject_changes(site):
    async with site("""
steps:
  - wait: {for: 1h, until: incident.severity == "sev1"}
  - uses: chat.post
    with: {text: worse}
""") as world:
        await world.declared()
        await world.incident("updated", severity="sev3")
        assert world.said == []
        await world.incident("updated", severity="sev1")
        assert world.said == ["worse"]


# --- settle times ---

SETTLE = "on: {incident.resolved: {for: 1h}}\nsteps: [{uses: chat.post, with: {text: '${{ incident.title }}'}}]"


async def test_a_settle_time_is_dropped_when_the_state_is_left_and_begins_anew(site):
    async with site(SETTLE) as world:
        await world.declared()
        await world.incident("resolved")
        await world.move("30m")
        await world.incident("reopened")
        await world.move("1h")
        await world.incident("resolved")
        await world.move("59m")
        assert world.runs() == []
        await world.move("2m")
        assert world.said == ["P1"]


async def test_settle_times_that_end_while_the_engine_is_down_start_their_runs_oldest_first(site):
    async with site(SETTLE) as world:
        for name in "abc":
            await world.incident("resolved", f"pager:{name}", title=name)
            await world.move("1m")
        await world.is_down_for("1d")
        assert world.said == ["a", "b", "c"]


# --- attempts ---

POST = "steps: [{uses: chat.post, with: {text: a}, retry: {max: 3, every: 10m, at_most: 1h}}]"


def busy(after=None):
    def before(message):
        if message.text == "a":
            raise RetryLater("busy", after=after)

    return before


async def test_what_failed_is_tried_again_at_its_instant_and_not_before(site):
    async with site(POST) as world:
        world.chat.before = busy()
        await world.declared()
        world.chat.before = lambda message: None
        await world.move("9m")
        assert world.said == []
        await world.move("4m")
        assert world.said == ["a"]


async def test_a_run_that_was_to_try_again_does_after_a_restart(site):
    async with site(POST) as world:
        world.chat.before = busy()
        await world.declared()
        assert world.state == "waiting"
        world.chat.before = lambda message: None
        await world.is_down_for("1d")
        assert world.said == ["a"]


async def test_a_service_that_asks_for_more_time_gets_it_over_a_restart(site):
    async with site(POST) as world:
        world.chat.before = busy(after=7200)
        await world.declared()
        world.chat.before = lambda message: None
        await world.is_down_for("1h")
        await world.move("50m")
        assert world.said == []
        await world.move("11m")
        assert world.said == ["a"]


async def test_attempts_are_counted_over_restarts(site):
    async with site(POST) as world:
        world.chat.before = busy()
        await world.declared()
        for _ in range(2):
            await world.is_down_for("1h")
        assert world.state == "failed"
        assert world.chat.calls == ["a"] * 3


async def test_the_owner_is_told_of_a_failure_once(site):
    async with site(POST) as world:
        world.chat.before = busy()
        await world.declared()
        await world.move("1d")
        await world.is_down_for("1d")
        assert len(world.chat.to("grace")) == 1
        assert world.chat.to("grace")[0].startswith("flow failed at chat.post#1: busy")


# --- questions ---

ASK = """
steps:
  - id: ask
    uses: chat.ask
    timeout: 2h
    with: {to: ada, text: "well?", choices: {fine: "Fine", bad: "Bad"}}
  - uses: chat.post
    with: {text: "${{ steps.ask.answer | default('nothing') }}"}
"""


def answer(world, word, by="ada"):
    question = world.effects("chat.ask")[0]["identity"]
    return Fact("chat.answered", world.now, data={"question": question, "answer": word}, actor=Person(by, by))


async def test_the_first_answer_of_somebody_who_was_asked_counts(site):
    async with site(ASK) as world:
        await world.declared()
        await world.happens("chat", answer(world, "bad", by="mary"))
        assert (world.said, world.state) == (["well?"], "waiting")
        await world.happens("chat", answer(world, "fine"), answer(world, "bad"))
        assert world.said == ["well?", "fine"]


async def test_a_question_without_an_answer_ends_at_its_time_out_and_not_before(site):
    async with site(ASK) as world:
        await world.declared()
        await world.move("119m")
        assert world.said == ["well?"]
        await world.move("2m")
        assert world.said == ["well?", "nothing"]


async def test_a_question_is_put_once_and_waits_over_restarts(site):
    async with site(ASK) as world:
        await world.declared()
        for _ in range(2):
            await world.is_down_for("10m")
        await world.answer("fine", "ada")
        assert world.said == ["well?", "fine"]


async def test_an_answer_that_came_while_the_engine_was_down_counts_though_the_time_is_over(site):
    async with site(ASK) as world:
        await world.declared()
        await world.is_down_for("1d", answer(world, "fine"))
        assert world.said == ["well?", "fine"]


async def test_a_question_that_went_out_at_the_second_attempt_hears_its_answer(site):
    async with site(ASK) as world:

        def busy(message):
            world.chat.before = lambda message: None
            raise RetryLater("busy")

        world.chat.before = busy
        await world.declared()
        await world.move("1m")
        await world.answer("fine", "ada")
        assert world.said == ["well?", "fine"]
