"""`chat.ask`: an action that takes days (LANGUAGE 5)."""

from __future__ import annotations

import pytest

from engine.domain import Person
from engine.plugins import Fact

ASK = """
steps:
  - id: ask
    uses: chat.ask
    timeout: 2d
    with: {to: TO, text: "well?", choices: {fine: "Fine", bad: "Bad"}}
  - uses: chat.post
    with: {text: "${{ steps.ask.answer }} ${{ steps.ask.by.name }} ${{ steps.ask.timed_out }}"}
"""
ADA = ASK.replace("TO", "ada")


async def test_a_question_waits_for_its_answer_which_becomes_the_outputs(engine):
    async with engine(ADA) as world:
        await world.declared()
        assert (world.said, world.state) == (["well?"], "waiting")
        await world.answer("fine", "ada")
        assert (world.said[1:], world.state) == (["fine Ada false"], "finished")


async def test_the_timeout_of_a_question_ends_it_without_an_answer_and_not_before(engine):
    async with engine(ADA) as world:
        await world.declared()
        await world.move("47h")
        await world.move("59m")
        assert world.said == ["well?"]
        await world.move("1m")
        assert world.said[1:] == ["  true"]


async def test_the_timeout_of_a_question_counts_from_its_delivery(engine):
    async with engine(ADA) as world:
        world.chat.before = busy_for(world, "1h")
        await world.declared()
        await world.move("48h")
        assert world.said == ["well?"]
        await world.move("1h")
        assert len(world.said) == 2


async def test_the_timeout_of_a_question_may_be_an_expression(engine):
    async with engine(ADA.replace("2d", "${{ vars.patience }}") + 'vars: {patience: "3h"}\n') as world:
        await world.declared()
        await world.move("2h")
        assert world.said == ["well?"]
        await world.move("1h")
        assert world.said[1:] == ["  true"]


async def test_the_first_answer_counts(engine):
    async with engine(ASK.replace("TO", "[ada, mary]")) as world:
        await world.declared()
        question = world.effects("chat.ask")[0]["identity"]
        answers = [
            Fact("chat.answered", world.now, data={"question": question, "answer": word}, actor=Person(who, who))
            for word, who in (("bad", "mary"), ("fine", "ada"))
        ]
        await world.happens("chat", *answers)
        assert world.said[1:] == ["bad Mary false"]


async def test_only_those_asked_may_answer(engine):
    async with engine(ADA) as world:
        await world.declared()
        await world.answer("bad", "mary")
        assert world.state == "waiting"
        await world.answer("fine", "ada")
        assert world.said[1:] == ["fine Ada false"]


@pytest.mark.parametrize("to", ["ada@example.org", '${{ person("ada") }}', "[ada@example.org]"])
async def test_somebody_asked_may_answer_however_the_workflow_names_them(engine, to):
    async with engine(ASK.replace("TO", to if to[0] == "[" else f"'{to}'")) as world:
        await world.declared()
        await world.answer("fine", Person("slack:U1", "A. Example", email="ada@example.org"))
        assert world.said[1:] == ["fine Ada false"]


async def test_an_answer_to_another_question_does_not_count(engine):
    async with engine(ADA) as world:
        await world.declared()
        data = {"question": "flow/else/1/ask", "answer": "fine"}
        await world.happens("chat", Fact("chat.answered", world.now, data=data, actor=Person("ada", "Ada")))
        await world.incident("updated", severity="sev3")  # the run looks again
        assert world.state == "waiting"


async def test_a_question_goes_on_after_a_crash(engine):
    async with engine(ADA) as world:
        await world.declared()
        await world.crash()
        await world.restart()
        await world.move("1d")
        await world.answer("fine", "ada")
        assert world.said == ["well?", "fine Ada false"]


async def test_an_answer_that_came_while_the_process_was_down_counts_even_if_later_than_due(engine):
    async with engine(ADA) as world:
        await world.declared()
        question = world.effects("chat.ask")[0]["identity"]
        await world.crash()
        world.clock.move_to(world.now.replace(day=9))
        answer = Fact(
            "chat.answered", world.now, data={"question": question, "answer": "fine"}, actor=Person("ada", "")
        )
        await world.restart_with(answer)
        assert world.said[1:] == ["fine Ada false"]


async def test_a_question_is_put_once_in_each_iteration(engine):
    async with engine("""
steps:
  - repeat: {every: 1d, max: 3, until: steps.ask.answer != "snooze"}
    steps:
      - id: ask
        uses: chat.ask
        with: {to: ada, text: "well? ${{ iteration }}", choices: {snooze: "Later", fine: "Fine"}}
""") as world:
        await world.declared()
        await world.answer("snooze", "ada")
        await world.move("1d")
        await world.answer("fine", "ada")
        assert world.said == ["well? 1", "well? 2"]
        assert world.state == "finished"


async def test_nobody_asked_fails_the_step(engine):
    async with engine(ASK.replace("TO", "'${{ incident.roles.commander }}'")) as world:
        await world.declared()
        assert world.error == "'to' is null: incident.roles.commander has no value"


async def test_a_question_of_a_run_that_is_stopped_is_closed(engine):
    source = ADA + 'stop_when: incident.severity == "sev4"\n'
    async with engine(source) as world:
        await world.declared()
        await world.incident("updated", severity="sev4")
        assert world.state == "stopped"
        assert [effect["state"] for effect in world.effects("chat.ask")] == ["failed"]


def busy_for(world, length):
    """Give what lets every sending fail in a way that may pass, until the clock was moved by a duration."""
    from engine.calendars import parse_duration
    from engine.plugins import RetryLater

    end = world.now + parse_duration(length).timedelta()

    def before(_message):
        if world.now < end:
            raise RetryLater("busy", after=(end - world.now).total_seconds())

    return before
