"""`stop_when`, runs that are taken up, and their rounds (PROMISES 1.2 and 1.6)."""

from __future__ import annotations

import asyncio

from engine.domain import Ticket
from engine.plugins import Fact, RetryLater, at_most_once
from engine.testing import RecordingChat, RecordingTickets

HEAD = """
on: [incident.declared, incident.reopened]
once_per: incident.id
stop_when: incident.severity == "sev4"
"""


async def stopped(world):
    """Let the subject change so that the run stops."""
    await world.incident("updated", severity="sev4")


# --- stop_when ---


async def test_a_run_is_stopped_by_an_event_about_its_subject(engine):
    async with engine(
        HEAD
        + """
steps:
  - wait: 1h
  - uses: chat.post
    with: {text: never}
"""
    ) as world:
        await world.declared()
        await stopped(world)
        assert (world.state, world.runs()[0]["reason"]) == ("stopped", 'incident.severity == "sev4"')
        await world.move("1h")
        assert world.said == []


async def test_stop_when_is_looked_at_before_each_effect(engine):
    async with engine("""
stop_when: incident.idle > "1h"
steps:
  - wait: 2h
  - uses: chat.post
    with: {text: never}
""") as world:
        await world.declared()
        await world.move("2h")
        assert (world.state, world.said) == ("stopped", [])


async def test_a_run_that_would_be_stopped_at_once_is_not_started(engine):
    async with engine(HEAD + "steps:\n  - uses: chat.post\n    with: {text: never}\n") as world:
        await world.declared(severity="sev4")
        assert world.runs() == []


async def test_stop_when_reads_what_the_steps_gave(engine):
    async with engine("""
stop_when: steps.ask.answer == "enough"
steps:
  - id: ask
    uses: chat.ask
    with: {to: ada, text: "well?", choices: {enough: "Enough", more: "More"}}
  - uses: chat.post
    with: {text: more}
""") as world:
        await world.declared()
        await world.answer("enough", "ada")
        assert (world.state, world.said) == ("stopped", ["well?"])


async def test_stop_when_reads_the_variables_of_the_round(engine):
    async with engine("""
vars: {at_first: "${{ incident.severity }}"}
stop_when: incident.severity != vars.at_first
steps:
  - wait: 1h
  - uses: chat.post
    with: {text: never}
""") as world:
        await world.declared(severity="sev1")
        assert world.state == "waiting"
        await world.incident("updated", severity="sev2")
        assert world.state == "stopped"


async def test_a_state_that_the_run_itself_caused_does_not_stop_it(engine):
    async with engine("""
on: ticket.created
stop_when: ticket.done
steps:
  - uses: ticket.close
    with: {ticket: "${{ ticket.id }}"}
  - uses: chat.post
    with: {text: closed}
""") as world:
        await world.happens(
            "local", Fact("ticket.created", world.now, "ticket", "local:T1", {"title": "a", "key": "T1"})
        )
        assert (world.state, world.said) == ("finished", ["closed"])


async def test_a_state_that_somebody_else_caused_after_that_does(engine):
    async with engine("""
on: ticket.created
stop_when: ticket.labels | length > 0
steps:
  - uses: ticket.update
    with: {ticket: "${{ ticket.id }}", title: b}
  - wait: 1h
  - uses: chat.post
    with: {text: never}
""") as world:
        fact = Fact("ticket.created", world.now, "ticket", "local:T1", {"title": "a", "key": "T1"})
        await world.happens("local", fact)
        await world.move("1m")
        await world.happens("local", Fact("ticket.updated", world.now, "ticket", "local:T1", {"labels": ("x",)}))
        assert (world.state, world.said) == ("stopped", [])


async def test_a_run_with_no_effect_left_is_finished_and_never_stopped(engine):
    async with engine(
        HEAD
        + """
steps:
  - uses: chat.post
    with: {text: hello}
  - wait: 1h
"""
    ) as world:
        await world.declared()
        await stopped(world)
        await world.move("1h")
        assert world.state == "finished"


async def test_a_step_that_is_still_to_be_decided_may_have_an_effect(engine):
    async with engine(
        HEAD
        + """
steps:
  - for_each: incident.labels
    steps:
      - uses: chat.post
        with: {text: hello}
      - wait: 1h
  - if: incident.drill
    steps:
      - uses: chat.post
        with: {text: never}
"""
    ) as world:
        await world.declared(labels=["a"])
        await stopped(world)
        assert world.state == "stopped"


async def test_the_last_loop_with_its_effects_done_is_not_stopped(engine):
    async with engine(
        HEAD
        + """
steps:
  - for_each: incident.labels
    steps:
      - uses: chat.post
        with: {text: hello}
        repeat: {max: 2}
      - wait: 1h
"""
    ) as world:
        await world.declared(labels=["a", "b"])
        await stopped(world)
        await world.move("1h")
        assert world.state == "finished"


async def test_a_repeat_with_iterations_to_come_is_stopped(engine):
    async with engine(
        HEAD
        + """
steps:
  - uses: chat.post
    with: {text: hello}
    repeat: {every: 1h, max: 2}
"""
    ) as world:
        await world.declared()
        await stopped(world)
        assert (world.state, world.said) == ("stopped", ["hello"])


async def test_a_repeated_group_with_iterations_to_come_is_stopped_while_it_waits(engine):
    async with engine(
        HEAD
        + """
steps:
  - repeat: {max: 2}
    steps:
      - uses: chat.post
        with: {text: hello}
      - wait: 1h
"""
    ) as world:
        await world.declared()
        await stopped(world)
        assert (world.state, world.said) == ("stopped", ["hello"])


async def test_a_run_whose_last_effect_is_under_way_is_finished(engine):
    chat = GatedChat()
    async with engine(
        HEAD + "steps:\n  - uses: chat.post\n    with: {text: hello}\n", providers={"console": chat}
    ) as world:
        await world.application.accept("pager", [incident(world, "declared", severity="sev1")])
        await chat.called.wait()
        await world.application.accept("pager", [incident(world, "updated", severity="sev4")])
        await until(lambda: woken(world) == (2, 0))
        chat.gate.set()
        await world.settle()
        assert world.state == "finished"


async def test_a_stale_subject_is_read_again_before_an_effect(engine):
    tracker = RecordingTickets(Ticket("tracker:T1", "T1", "a", done=True))
    async with engine(
        """
on: ticket.created
stop_when: ticket.done
steps:
  - wait: 1d
  - uses: chat.post
    with: {text: never}
""",
        providers={"tracker": tracker},
        project="connections: {tracker: {provider: local}}\n",
    ) as world:
        await world.ticket("T1", "created", done=False)
        await world.move("1d")
        assert (world.state, world.said) == ("stopped", [])


async def test_a_subject_that_its_provider_no_longer_has_holds_nothing_up_for_ever(engine):
    async with engine(
        """
on: ticket.created
stop_when: ticket.done
steps:
  - wait: 1d
  - uses: chat.post
    with: {text: hello}
""",
        providers={"tracker": RecordingTickets()},
        project="connections: {tracker: {provider: local}}\n",
    ) as world:
        await world.ticket("T1", "created", done=False)
        await asyncio.wait_for(world.move("1d"), 10)
        assert world.state in ("waiting", "finished", "held", "stopped")


# --- a new round ---

ROUND = (
    HEAD
    + """
vars: {severity: "${{ incident.severity }}"}
steps:
  - id: file
    uses: ticket.create
    with: {title: "${{ incident.severity }}"}
  - uses: chat.post
    with: {text: "round ${{ run.round }} ${{ vars.severity }} ${{ steps.file.title }}"}
  - wait: 1h
  - uses: chat.post
    with: {text: end}
"""
)


async def test_a_stopped_run_is_taken_up_from_its_first_step_and_passing_effects_happen_again(engine):
    async with engine(ROUND) as world:
        await world.declared(severity="sev1")
        await stopped(world)
        await world.taken_up(severity="sev2")
        assert world.said == ["round 1 sev1 sev1", "round 2 sev2 sev1"]
        await world.move("1h")
        assert world.said[2:] == ["end"]
        assert [run["state"] for run in world.runs()] == ["finished"]


async def test_lasting_effects_are_kept_and_their_inputs_not_looked_at_again(engine):
    async with engine(ROUND.replace('{title: "${{ incident.severity }}"}', '{title: "${{ incident.team }}"}')) as world:
        await world.declared(severity="sev1", team="sre")
        await stopped(world)
        await world.incident("updated", team=None)
        await world.taken_up(severity="sev2")
        assert len(world.subjects("ticket")) == 1
        assert len(world.said) == 2


async def test_a_new_round_goes_on_after_a_crash(engine):
    async with engine(ROUND) as world:
        await world.declared(severity="sev1")
        await stopped(world)
        await world.taken_up(severity="sev2")
        await world.crash()
        await world.restart()
        await world.move("1h")
        assert world.said == ["round 1 sev1 sev1", "round 2 sev2 sev1", "end"]


async def test_conditions_waits_and_repeats_begin_anew_in_a_new_round(engine):
    async with engine(
        HEAD
        + """
steps:
  - if: incident.severity == "sev1"
    uses: chat.post
    with: {text: first}
  - uses: chat.post
    with: {text: "again ${{ iteration }}"}
    repeat: {every: 1h, max: 2}
"""
    ) as world:
        await world.declared(severity="sev1")
        await stopped(world)
        await world.taken_up(severity="sev2")
        await world.move("1h")
        assert world.said == ["first", "again 1", "again 1", "again 2"]


async def test_a_passing_effect_that_waited_for_another_attempt_is_given_up_with_its_round(engine):
    async with engine(
        HEAD
        + """
steps:
  - uses: chat.post
    with: {text: "round ${{ run.round }}"}
"""
    ) as world:
        world.chat.before = busy
        await world.declared(severity="sev1")
        await stopped(world)
        world.chat.before = lambda message: None
        await world.taken_up(severity="sev2")
        await world.move("1d")
        assert world.said == ["round 2"]
        assert [effect["state"] for effect in world.effects()] == ["failed", "done"]


async def test_what_a_call_of_an_earlier_round_gave_is_not_taken_for_this_rounds(engine):
    chat = GatedChat()
    async with engine(
        HEAD
        + """
steps:
  - uses: chat.post
    with: {text: "round ${{ run.round }}"}
  - uses: chat.post
    with: {text: "after ${{ run.round }}"}
""",
        providers={"console": chat},
    ) as world:
        await world.application.accept("pager", [incident(world, "declared", severity="sev1")])
        await chat.called.wait()
        await world.application.accept("pager", [incident(world, "updated", severity="sev4")])
        await until(lambda: world.state == "stopped")
        await world.application.accept("pager", [incident(world, "resolved", severity="sev1", status="resolved")])
        await world.application.accept("pager", [incident(world, "reopened", status="declared")])
        await until(lambda: world.runs()[0]["round"] == 2)
        chat.gate.set()
        await world.settle()
        assert sorted(message.text for message in chat.sent) == ["after 2", "round 1", "round 2"]
        assert world.state == "finished"


class GatedChat(RecordingChat):
    """A chat whose calls end when its gate is opened."""

    def __init__(self):
        super().__init__()
        self.called, self.gate = asyncio.Event(), asyncio.Event()

    @at_most_once
    async def post(self, channel, text, *, thread, effect):
        self.called.set()
        await self.gate.wait()
        return await super().post(channel, text, thread=thread, effect=effect)


def incident(world, name, **fields):
    return Fact(f"incident.{name}", world.now, "incident", "pager:P1", {"title": "a", **fields})


def woken(world):
    """Give how many events were matched, and how much its run has not looked at."""
    reader = world.application.reader
    matched = reader.execute("SELECT count(*) FROM events WHERE state = 'matched'").fetchone()[0]
    return matched, reader.execute("SELECT wake FROM runs").fetchone()[0]


def busy(_message):
    raise RetryLater("busy", after=3600)


async def until(true):
    """Let the engine work until something is true."""
    for _ in range(2000):
        if true():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it does not become true")
