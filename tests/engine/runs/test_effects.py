"""Identities of effects, `once_per`, retries, held connections, look-ups at vendors (LANGUAGE 5, PROMISES 1)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise

from engine.domain import Person
from engine.plugins import ActionError, ConnectionBroken, Fact, RetryLater

POST = """
steps:
  - uses: chat.post
    with: {text: "${{ incident.severity }}"}
"""


async def posted(world, **data):
    """Let a webhook come in, which starts a run."""
    await world.happens("hooks", Fact("webhook", world.now, data=data))


# --- identity ---


async def test_a_passing_effect_carries_the_round_and_a_lasting_one_does_not(engine):
    async with engine("""
once_per: incident.id
steps:
  - uses: chat.post
    with: {text: hello}
  - uses: ticket.create
    with: {title: mend it}
""") as world:
        await world.declared()
        assert [effect["identity"] for effect in world.effects()] == [
            "flow/pager:P1/1/chat.post#1",
            "flow/pager:P1/ticket.create#1",
        ]


async def test_an_identity_has_the_item_and_the_iterations_of_all_repeats_around(engine):
    async with engine("""
once_per: incident.id
steps:
  - repeat: {max: 2}
    steps:
      - id: post
        for_each: incident.labels
        uses: chat.post
        with: {text: hello}
        repeat: {max: 1}
""") as world:
        await world.declared(labels=["a"])
        ends = [effect["identity"].rpartition("/")[2] for effect in world.effects()]
        assert ends == ["post#1[a]#1", "post#2[a]#1"]


# --- once_per ---

ONCE = """
on: webhook
steps:
  - id: file
    uses: chat.post
    once_per: [event.data.doc, event.data.row]
    with: {text: "file ${{ event.data.row }}"}
  - uses: chat.post
    with: {text: "filed ${{ steps.file.url }}"}
"""


async def test_once_per_makes_an_effect_happen_once_over_all_runs_and_later_ones_get_its_outputs(engine):
    async with engine(ONCE) as world:
        await posted(world, doc="d", row="r")
        await posted(world, doc="d", row="r")
        assert world.said == ["file r", "filed https://chat.invalid/1", "filed https://chat.invalid/1"]


async def test_another_value_is_another_effect(engine):
    async with engine(ONCE) as world:
        await posted(world, doc="d", row="r")
        await posted(world, doc="d", row="s")
        assert world.said.count("file s") == 1


async def test_values_with_slashes_are_told_apart(engine):
    async with engine(ONCE) as world:
        await posted(world, doc="a/b", row="c")
        await posted(world, doc="a", row="b/c")
        assert [text for text in world.said if text.startswith("file ")] == ["file c", "file b/c"]


async def test_a_second_run_waits_for_the_firsts_result(engine):
    async with engine(ONCE) as world:
        world.chat.before = failing("file r", RetryLater("busy", after=60))
        await posted(world, doc="d", row="r")
        await posted(world, doc="d", row="r")
        assert [run["state"] for run in world.runs()] == ["waiting", "waiting"]
        world.chat.before = lambda message: None
        await world.move("1m")
        assert world.said.count("file r") == 1
        assert [run["state"] for run in world.runs()] == ["finished", "finished"]


async def test_a_second_run_still_waits_after_a_crash(engine):
    async with engine(ONCE) as world:
        world.chat.before = failing("file r", RetryLater("busy", after=60))
        await posted(world, doc="d", row="r")
        await posted(world, doc="d", row="r")
        world.chat.before = lambda message: None
        await world.crash()
        await world.restart()
        await world.move("1m")
        assert world.said.count("file r") == 1
        assert [run["state"] for run in world.runs()] == ["finished", "finished"]


async def test_a_failure_is_no_result(engine):
    async with engine(ONCE) as world:
        world.chat.before = failing("file r", ActionError("no"))
        await posted(world, doc="d", row="r")
        world.chat.before = lambda message: None
        await posted(world, doc="d", row="r")
        assert [run["state"] for run in world.runs()] == ["failed", "finished"]
        assert world.said.count("file r") == 1


async def test_a_second_run_does_not_wait_for_an_attempt_that_a_stopped_run_gave_up(engine):
    async with engine("""
stop_when: incident.severity == "sev4"
steps:
  - id: file
    uses: chat.post
    once_per: incident.title
    with: {text: file}
""") as world:
        world.chat.before = failing("file", RetryLater("busy", after=3600))
        await world.incident("declared", "pager:P1", title="same", severity="sev1")
        await world.incident("declared", "pager:P2", title="same", severity="sev1")
        world.chat.before = lambda message: None
        await world.incident("updated", "pager:P1", severity="sev4")
        assert [run["state"] for run in world.runs()] == ["stopped", "finished"]
        assert world.said == ["file"]


async def test_two_items_with_one_value_are_one_effect(engine):
    async with engine("""
on: webhook
steps:
  - id: file
    for_each: event.data.items
    item_key: item.id
    uses: chat.post
    once_per: item.what
    with: {text: "${{ item.what }}"}
""") as world:
        await posted(world, items=[{"id": 1, "what": "same"}, {"id": 2, "what": "same"}])
        assert world.said == ["same"]
        assert world.state == "finished"


async def test_once_per_without_any_value_fails_the_step(engine):
    async with engine(ONCE) as world:
        await posted(world)
        assert world.error == "'once_per' is null: event.data.doc has no value"


async def test_a_question_asked_once_per_value_gives_its_answer_to_later_runs(engine):
    async with engine("""
on: webhook
steps:
  - id: ask
    uses: chat.ask
    once_per: event.data.doc
    with: {to: ada, text: "well?", choices: {fine: "Fine"}}
  - uses: chat.post
    with: {text: "${{ steps.ask.answer }} ${{ steps.ask.by.name }}"}
""") as world:
        await posted(world, doc="d")
        await posted(world, doc="d")
        await world.answer("fine", "ada")
        await posted(world, doc="d")
        assert world.said == ["well?", "fine Ada", "fine Ada", "fine Ada"]


# --- retries ---


async def test_pauses_between_attempts_double_from_every_to_at_most(engine):
    tries = []

    def before(_message):
        tries.append(world.now)
        raise RetryLater("busy")

    source = POST + "    retry: {max: 6, every: 1m, at_most: 5m}\n"
    async with engine(source) as world:
        world.chat.before = before
        await world.declared()
        await world.move("1h")
        pauses = [(b - a).total_seconds() for a, b in pairwise(tries)][:5]
        for pause, least in zip(pauses, (60, 120, 240, 300, 300), strict=True):
            assert least <= pause <= min(least * 1.2, 300)


async def test_when_attempts_are_used_up_the_run_fails(engine):
    async with engine(POST + "    retry: {max: 2, every: 1m}\n") as world:
        world.chat.before = failing("sev1", RetryLater("busy"))
        await world.declared(severity="sev1")
        assert world.state == "waiting"
        await world.move("2m")
        assert (world.state, world.error) == ("failed", "busy")
        assert world.effects()[0]["attempts"] == 2


async def test_a_permanent_failure_is_not_tried_again(engine):
    async with engine(POST) as world:
        world.chat.before = failing("sev1", ActionError("no such channel"))
        await world.declared(severity="sev1")
        assert (world.state, world.error) == ("failed", "no such channel")


async def test_retry_after_counts_where_it_is_longer(engine):
    async with engine(POST + "    retry: {every: 1m}\n") as world:
        world.chat.before = failing("sev1", RetryLater("slow down", after=7200))
        await world.declared(severity="sev1")
        world.chat.before = lambda message: None
        await world.move("119m")
        assert world.said == []
        await world.move("1m")
        assert world.said == ["sev1"]


async def test_a_retry_is_a_row_and_goes_on_after_a_crash(engine):
    async with engine(POST) as world:
        world.chat.before = failing("sev1", RetryLater("busy", after=3600))
        await world.declared(severity="sev1")
        world.chat.before = lambda message: None
        await world.crash()
        await world.restart()
        await world.move("59m")
        assert world.said == []
        await world.move("1m")
        assert world.said == ["sev1"]


async def test_an_attempt_takes_no_longer_than_the_steps_timeout(engine):
    async with engine(POST + "    timeout: 1s\n    retry: {max: 1}\n", providers={"console": Slow()}) as world:
        await world.declared(severity="sev1")
        assert world.state == "needs_decision"  # whether it was sent is not known


class Slow:
    """A chat that does not answer."""

    async def post(self, channel, text, *, thread, effect):
        await asyncio.Event().wait()


# --- a connection that does not work ---


async def test_an_effect_on_a_held_connection_goes_out_with_what_is_true_then(engine):
    async with engine(POST) as world:
        world.chat.before = failing("sev1", ConnectionBroken("401"))
        await world.declared(severity="sev1")
        assert world.state == "held"
        await world.incident("updated", severity="sev3")
        world.chat.before = lambda message: None
        await world.move("10m")
        assert world.said == ["sev3"]


async def test_a_held_effect_has_no_intent(engine):
    async with engine(POST) as world:
        world.chat.before = failing("sev1", ConnectionBroken("401"))
        await world.incident("declared", "pager:P1", title="one", severity="sev1")
        await world.incident("declared", "pager:P2", title="two", severity="sev2")
        assert [run["state"] for run in world.runs()] == ["held", "held"]
        assert [effect["state"] for effect in world.effects()] == ["held"]
        world.chat.before = lambda message: None
        await world.move("10m")
        assert sorted(world.said) == ["sev1", "sev2"]


async def test_the_if_of_a_held_effect_is_not_decided_again(engine):
    async with engine(POST.replace("- uses", '- if: incident.severity == "sev1"\n    uses')) as world:
        world.chat.before = failing("sev1", ConnectionBroken("401"))
        await world.declared(severity="sev1")
        await world.incident("updated", severity="sev3")
        world.chat.before = lambda message: None
        await world.move("10m")
        assert world.said == ["sev3"]


async def test_an_event_ends_a_repeat_whose_effect_is_held(engine):
    async with engine("""
steps:
  - uses: chat.post
    with: {text: hello}
    repeat: {max: 2, until: incident.acknowledged}
""") as world:
        world.chat.before = failing("hello", ConnectionBroken("401"))
        await world.declared()
        await world.incident("acknowledged")
        world.chat.before = lambda message: None
        await world.move("10m")
        assert (world.said, world.state) == ([], "finished")


async def test_a_held_effect_goes_out_after_a_crash(engine):
    async with engine(POST) as world:
        world.chat.before = failing("sev1", ConnectionBroken("401"))
        await world.declared(severity="sev1")
        world.chat.before = lambda message: None
        await world.crash()
        await world.restart()
        await world.move("10m")
        assert world.said == ["sev1"]


# --- look-ups at a vendor ---

ON_CALL = """
steps:
  - uses: chat.nudge
    with: {to: "${{ on_call('sre') }}", text: hello}
"""
DUTY = "use: {on_call: duty}\nconnections: {duty: {provider: roster}}\n"


class OnCall:
    """A vendor that knows who is on call; `answers` may hold an exception, and `gate` makes it wait."""

    def __init__(self, *answers):
        self.answers, self.asked, self.gate = list(answers), [], None

    async def on_call(self, target, at):
        self.asked.append((target, at))
        if self.gate is not None:
            self.gate.set()
            await asyncio.Event().wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


ADA = Person("ada", "Ada", known=True)


async def test_a_look_up_is_asked_once_and_its_answer_recorded(engine):
    vendor = OnCall(ADA, Person("mary", "Mary", known=True))
    async with engine(ON_CALL, providers={"duty": vendor}, project=DUTY) as world:
        world.chat.before = failing("hello", RetryLater("busy", after=60))
        await world.declared()
        await world.crash()
        world.chat.before = lambda message: None
        await world.restart()
        await world.move("1m")
        assert world.chat.to("ada") == ["hello"]
        assert len(vendor.asked) == 1


async def test_a_run_that_was_asking_when_the_process_died_asks_again(engine):
    vendor = OnCall(ADA)
    vendor.gate = asyncio.Event()
    async with engine(ON_CALL, providers={"duty": vendor}, project=DUTY) as world:
        await world.application.accept("pager", [Fact("incident.declared", world.now, "incident", "pager:P1", {})])
        await vendor.gate.wait()
        await world.crash()
        vendor.gate = None
        await world.restart()
        assert world.chat.to("ada") == ["hello"]


async def test_a_look_up_for_another_instant_is_asked_once_although_time_goes_on(engine):
    source = ON_CALL.replace("on_call('sre')", "on_call('sre', at=now() + '1d')")
    vendor = OnCall(ADA)
    async with engine(source, providers={"duty": vendor}, project=DUTY) as world:
        vendor.on_call = ticking(world, vendor.on_call)
        await world.declared()
        assert world.chat.to("ada") == ["hello"]
        assert len(vendor.asked) == 1


async def test_a_look_up_that_fails_in_vars_fails_the_run(engine):
    source = "vars: {who: \"${{ on_call('sre') }}\"}\n" + POST
    async with engine(source, providers={"duty": OnCall(ValueError("no route"))}, project=DUTY) as world:
        await world.declared()
        assert world.state == "failed"
        assert "no route" in world.error


async def test_a_look_up_that_failed_is_asked_again_when_the_run_is_retried(engine):
    vendor = OnCall(ValueError("no route"), ADA)
    async with engine(ON_CALL, providers={"duty": vendor}, project=DUTY) as world:
        await world.declared()
        assert world.state == "failed"
        await world.retry()
        assert world.chat.to("ada") == ["hello"]


def ticking(world, call):
    """Give a call that takes a second of the world's time."""

    async def slow(target, at):
        world.clock.move_to(world.now + timedelta(seconds=1))
        return await call(target, at)

    return slow


def failing(text, error):
    """Give what lets the sending of a text fail."""

    def before(message):
        if message.text == text:
            raise error

    return before


async def test_a_failed_step_that_is_retried_asks_the_vendor_anew(engine):
    vendor = OnCall(ADA, Person("mary", "Mary", known=True))
    async with engine(ON_CALL, providers={"duty": vendor}, project=DUTY) as world:
        world.chat.before = failing("hello", ActionError("no"))
        await world.declared()
        world.chat.before = lambda message: None
        await world.retry()
        assert world.chat.to("mary") == ["hello"]


async def test_markdown_in_a_variable_reads_the_same_before_and_after_a_restart(engine):
    async with engine("""
vars: {note: "${{ '*bold*' | markdown }}"}
steps:
  - uses: chat.post
    with: {text: "${{ vars.note }}"}
  - wait: 1h
  - uses: chat.post
    with: {text: "${{ vars.note }}"}
""") as world:
        await world.declared()
        await world.crash()
        await world.restart()
        await world.move("1h")
        assert world.said[0] == world.said[1]
