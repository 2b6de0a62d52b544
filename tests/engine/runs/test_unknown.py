"""Effects of which it is not known whether they happened: `on_unknown`, who is told, and runs that ended meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from engine import operations
from engine.capabilities import Message
from engine.plugins import ActionError, Fact, RetryLater, at_most_once, findable, idempotent
from engine.testing import RecordingChat
from engine.testing.providers import Sent

DOUBTFUL = RetryLater("no answer", maybe_done=True)
POST = """
steps:
  - id: post
    uses: chat.post
    on_unknown: {decision}
    with: {{text: hello}}
  - uses: chat.post
    with: {{text: "after ${{{{ steps.post.url | default('nothing') }}}} ${{{{ steps.post.failed }}}}"}}
"""
LOOP = """
steps:
  - id: say
    for_each: "['a', 'b', 'c']"
    uses: chat.post
    with: {text: "${{ item }}"}
"""


def doubtful(*texts, error=DOUBTFUL):
    """Give what leaves the first sending of each of some texts in doubt."""
    left = list(texts)

    def before(message):
        if message.text in left:
            left.remove(message.text)
            raise error

    return before


class Slow(RecordingChat):
    """A chat that holds on to the first message, which has arrived, until it is killed."""

    def __init__(self):
        super().__init__()
        self.began, self.go_on, self.error = asyncio.Event(), asyncio.Event(), None

    @at_most_once
    async def post(self, channel, text, *, thread, effect):
        return await self._slowly(text, effect)

    async def _slowly(self, text, effect):
        message = self._send(Sent("#default", text, effect.id))
        if not self.began.is_set():
            self.began.set()
            await self.go_on.wait()
            if self.error is not None:
                raise self.error
        return message


class Setting(Slow):
    @idempotent
    async def post(self, channel, text, *, thread, effect):
        return await self._slowly(text, effect)


class Findable(Slow):
    def __init__(self):
        super().__init__()
        self.shows = True

    @findable(visible_after="30s")
    async def post(self, channel, text, *, thread, effect):
        return await self._slowly(text, effect)

    async def find(self, effect):
        there = self.shows and any(message.effect == effect.id for message in self.sent)
        return Message("found", "https://chat.invalid/found") if there else None


async def cut_off(world, chat):
    """Kill the engine while the first message is under way, and start it again."""
    await world.application.accept("pager", [Fact("incident.declared", world.now, "incident", "pager:P1", {})])
    await chat.began.wait()
    await world.crash()
    await world.restart()


async def decide(world, decision, run="1", step=None):
    await operations.perform(
        world.application, "decide_run", {"run": run, "decision": decision, **({"step": step} if step else {})}, "ada"
    )
    await world.settle()


def told(world, person="grace"):
    return [text for text in world.chat.to(person) if "not known" in text]


# --- on_unknown ---


async def test_a_step_that_may_be_skipped_is_passed_over_after_a_crash_and_the_row_says_so(engine):
    chat = Slow()
    async with engine(POST.format(decision="skip"), providers={"console": chat}) as world:
        await cut_off(world, chat)
        assert (world.state, [m.text for m in chat.sent]) == ("finished", ["hello", "after nothing false"])
        assert world.effects()[0]["state"] == "skipped"


async def test_a_step_that_may_be_skipped_is_passed_over_after_a_call_that_may_have_worked(engine):
    async with engine(POST.format(decision="skip")) as world:
        world.chat.before = doubtful("hello")
        await world.declared()
        assert (world.state, world.said) == ("finished", ["after nothing false"])
        assert "effect.skipped" in [name for name, _ in world.told]


async def test_a_step_that_may_be_repeated_is_sent_again_under_the_same_identity(engine):
    chat = Slow()
    async with engine(POST.format(decision="repeat"), providers={"console": chat}) as world:
        await cut_off(world, chat)
        assert [m.text for m in chat.sent] == ["hello", "hello", "after https://chat.invalid/2 false"]
        assert chat.sent[0].effect == chat.sent[1].effect


async def test_a_step_that_may_be_repeated_is_tried_as_often_as_retry_says(engine):
    text = POST.format(decision="repeat").replace("on_unknown:", "retry: {max: 2, every: 10s}\n    on_unknown:")
    async with engine(text) as world:
        world.chat.before = doubtful("hello", "hello")
        await world.declared()
        await world.move("1h")
        assert (world.state, world.error, world.effects()[0]["attempts"]) == ("failed", "no answer", 2)


async def test_without_on_unknown_a_person_is_asked(engine):
    async with engine(POST.format(decision="ask")) as world:
        world.chat.before = doubtful("hello")
        await world.declared()
        assert world.state == "needs_decision"
        await decide(world, "repeat")
        assert (world.state, world.effects()[0]["attempts"]) == ("finished", 2)


async def test_what_can_be_found_is_looked_for_before_another_attempt_makes_it_again(engine):
    chat = Findable()
    chat.before = lambda message: None
    async with engine(POST.format(decision="ask"), providers={"console": chat}) as world:
        chat.go_on.set()
        chat.error = DOUBTFUL
        await world.declared()
        await world.move("89s")  # it could not be seen yet, had it taken its time
        assert len(chat.sent) == 1
        await world.move("1m")
        assert [m.text for m in chat.sent] == ["hello", "after https://chat.invalid/found false"]


async def test_a_question_that_is_found_after_a_crash_waits_for_its_answer(engine):
    class Asking(Findable):
        @findable(visible_after="30s")
        async def ask(self, people, text, choices, *, effect):
            return await self._slowly(text, effect)

    chat = Asking()
    steps = "steps: [{id: q, uses: chat.ask, timeout: 1h, with: {to: ada, text: well, choices: {y: Yes}}}]\n"
    async with engine(steps, providers={"console": chat}) as world:
        await cut_off(world, chat)
        await world.move("5m")
        assert (world.state, len(chat.sent)) == ("waiting", 1)
        await world.answer("y", "ada")
        assert (world.state, world.outputs()["q"]["answer"]) == ("finished", "y")


# --- the owner is told ---


async def test_the_owner_is_told_once_of_an_effect_in_doubt_also_over_restarts(engine):
    async with engine("owner: ada\n" + POST.format(decision="ask")) as world:
        world.chat.before = doubtful("hello")
        await world.declared()
        for _ in range(2):
            await world.crash()
            await world.restart()
        await world.incident("updated", severity="sev2")
        await world.move("2d")
        (text,) = told(world, "ada")
        run = world.runs()[0]["uid"]
        assert "it is not known whether 'post' (chat.post) happened: no answer" in text
        for decision in ("done", "repeat", "skip"):
            assert f"`hotwash runs decide {run} {decision} --step post`" in text


async def test_the_owner_is_told_of_each_of_several_effects_in_doubt(engine):
    async with engine(LOOP) as world:
        world.chat.before = doubtful("a", "c")
        await world.declared()
        assert ["say[a]" in text for text in told(world)] == [True, False]
        assert "--step 'say[c]'" in told(world)[1]
        await decide(world, "done", step="say[a]")
        assert (world.state, len(told(world))) == ("needs_decision", 2)
        await decide(world, "repeat", step="say[c]")
        assert (world.state, world.chat.to("#default")) == ("finished", ["b", "c"])


async def test_the_owner_is_told_again_where_the_repeated_effect_is_in_doubt_again(engine):
    async with engine(POST.format(decision="ask")) as world:
        world.chat.before = doubtful("hello", "hello")
        await world.declared()
        await decide(world, "repeat")
        assert (world.state, len(told(world))) == ("needs_decision", 2)


async def test_the_message_to_the_owner_is_written_down_with_the_doubt(engine):
    chat = Slow()
    async with engine(POST.format(decision="ask"), providers={"console": chat}) as world:
        await cut_off(world, chat)
        rows = world.application.reader.execute("SELECT kind, path FROM steps WHERE kind != 'done' ORDER BY id")
        assert [tuple(row) for row in rows.fetchall()][-2:] == [("parked", "post"), ("intent", "!in-doubt/post~1")]


async def test_a_message_to_the_owner_that_was_cut_off_is_not_sent_twice_and_parks_nothing(engine):
    class SlowToPeople(RecordingChat):
        began = asyncio.Event()

        @at_most_once
        async def direct(self, person, text, *, effect):
            self._send(Sent(person.id, text, effect.id))
            self.began.set()
            await asyncio.Event().wait()

    chat = SlowToPeople()
    chat.before = doubtful("hello")
    async with engine(POST.format(decision="ask"), providers={"console": chat}) as world:
        world.chat = chat
        await cut_off(world, chat)
        assert (world.state, len(told(world))) == ("needs_decision", 1)
        assert [effect["state"] for effect in world.effects()] == ["unknown", "skipped"]


async def test_an_owner_who_cannot_be_told_now_is_told_later_and_not_once_it_is_decided(engine):
    async with engine(LOOP) as world:
        doubt = doubtful("a", "c")

        def before(message):
            if message.to == "grace":
                raise RetryLater("down", after=600)
            doubt(message)

        world.chat.before = before
        await world.declared()
        await decide(world, "done", step="say[a]")
        world.chat.before = doubt
        await world.move("1h")
        assert ["say[c]" in text for text in told(world)] == [True]
        assert [effect["state"] for effect in world.effects("chat.nudge")] == ["failed", "done"]
        assert world.application.reader.execute("SELECT count(*) FROM waits").fetchone()[0] == 0


async def test_an_owner_who_cannot_be_told_now_is_told_later_also_where_the_run_was_stopped(engine):
    text = "stop_when: incident.drill\n" + LOOP + "  - uses: chat.post\n    with: {text: later}\n"
    async with engine(text) as world:
        doubt = doubtful("a")

        def before(message):
            if message.to == "grace":
                raise RetryLater("down", after=600)
            doubt(message)

        world.chat.before = before
        await world.declared()
        await world.incident("updated", drill=True)
        assert world.state == "stopped"
        await world.crash()
        world.chat.before = doubt
        await world.restart()
        await world.move("1h")
        assert len(told(world)) == 1


async def test_what_stands_in_an_items_key_cannot_write_into_the_message(engine):
    text = LOOP.replace("['a', 'b', 'c']", "incident.labels")
    async with engine(text) as world:
        world.chat.before = doubtful("a\\`b")
        await world.declared(labels=["a`b"])
        (text,) = told(world)
        assert text.count("`") == text.count("\\`") > 0


async def test_without_an_owner_nobody_is_told_and_the_run_waits(engine, tmp_path):
    async with engine(POST.format(decision="ask")) as world:
        (tmp_path / "hotwash.yaml").write_text("timezone: UTC\npeople: people.yaml\n")
        await world.restart()
        world.chat.before = doubtful("hello")
        await world.declared()
        assert (world.state, world.said) == ("needs_decision", [])


async def test_an_effect_under_way_beside_one_in_doubt_is_taken_up_after_a_crash(engine):
    chat = Setting()
    text = """
steps:
  - id: both
    for_each: "['a', 'b']"
    steps:
      - if: item == "a"
        uses: chat.nudge
        with: {to: ada, text: a}
      - if: item == "b"
        uses: chat.post
        with: {text: b}
"""
    chat.before = doubtful("a")
    async with engine(text, providers={"console": chat}) as world:
        await cut_off(world, chat)
        chat.go_on.set()
        assert [m.text for m in chat.sent if m.to == "#default"] == ["b", "b"]
        assert world.state == "needs_decision"


# --- runs that ended while an effect was under way ---

ONCE = """
once_per: event.id
stop_when: incident.drill
steps:
  - id: post
    uses: chat.post
    once_per: "'all'"
    on_unknown: {decision}
    with: {{text: "${{{{ incident.title }}}}"}}
"""


async def stopped_while_under_way(world, chat):
    """Let run 1 be stopped while its effect is under way, run 2 wait for that effect, and the engine be killed."""
    first = Fact("incident.declared", world.now, "incident", "pager:a", {"title": "a"})
    await world.application.accept("pager", [first])
    await chat.began.wait()
    drill = Fact("incident.updated", world.now, "incident", "pager:a", {"drill": True})
    second = Fact("incident.declared", world.now, "incident", "pager:b", {"title": "b"})
    for fact in (drill, second):
        await world.application.accept("pager", [fact])
    while [run["state"] for run in world.runs()] != ["stopped", "waiting"]:
        await asyncio.sleep(0.001)
    await world.crash()
    await world.restart()


LATER = """
  - uses: chat.post
    with: {text: "later ${{ steps.post.url | default('nothing') }}"}
"""


@pytest.mark.parametrize(
    ("made", "sent"),
    [
        (Findable, ["a", "later https://chat.invalid/found"]),
        (Setting, ["a", "b", "later https://chat.invalid/2"]),
    ],
)
async def test_what_a_stopped_run_had_under_way_is_settled_after_a_crash_and_holds_up_nobody(engine, made, sent):
    chat = made()
    async with engine(ONCE.format(decision="ask") + LATER, providers={"console": chat}) as world:
        await stopped_while_under_way(world, chat)
        await world.move("90s")
        assert [m.text for m in chat.sent] == sent
        assert [run["state"] for run in world.runs()] == ["stopped", "finished"]


async def test_what_is_not_found_of_a_stopped_run_is_done_by_the_run_that_waits(engine):
    chat = Findable()
    chat.shows = False
    async with engine(ONCE.format(decision="ask") + LATER, providers={"console": chat}) as world:
        await stopped_while_under_way(world, chat)
        await world.move("89s")
        assert [m.text for m in chat.sent] == ["a"]
        await world.move("1s")
        assert [m.text for m in chat.sent] == ["a", "b", "later https://chat.invalid/2"]


@pytest.mark.parametrize(
    ("decision", "sent"),
    [
        ("skip", ["a", "later nothing"]),
        ("repeat", ["a", "b", "later https://chat.invalid/2"]),
    ],
)
async def test_the_step_of_a_stopped_run_says_what_becomes_of_what_must_not_be_sent_twice(engine, decision, sent):
    chat = Slow()
    async with engine(ONCE.format(decision=decision) + LATER, providers={"console": chat}) as world:
        await stopped_while_under_way(world, chat)
        assert [m.text for m in chat.sent] == sent


@pytest.mark.parametrize(
    ("decision", "sent"),
    [
        ("done", ["a", "later nothing"]),
        ("skip", ["a", "later nothing"]),
        ("repeat", ["a", "b", "later https://chat.invalid/3"]),
    ],
)
async def test_a_person_decides_for_a_run_that_ended_and_the_run_that_waits_goes_on(engine, decision, sent):
    chat = Slow()
    async with engine(ONCE.format(decision="ask") + LATER, providers={"console": chat}) as world:
        world.chat = chat
        await stopped_while_under_way(world, chat)
        await world.move("1d")
        assert ([m.text for m in chat.sent if m.to == "#default"], len(told(world))) == (["a"], 1)
        await decide(world, decision)
        assert chat.to("#default") == sent
        assert [run["state"] for run in world.runs()] == ["stopped", "finished"]


async def test_the_status_shows_what_another_run_waits_for(engine):
    from engine import reports

    chat = Slow()
    async with engine(ONCE.format(decision="ask") + LATER, providers={"console": chat}) as world:
        await stopped_while_under_way(world, chat)
        await world.move("30d")
        (one,) = reports.status(world.application.reader, world.now)["needs_decision"]
        assert (one["path"], one["over"], one["waiting"]) == ("post", "stopped", 1)
        await decide(world, "done")
        assert reports.status(world.application.reader, world.now)["needs_decision"] == []


async def test_a_call_that_comes_back_in_vain_after_its_run_was_stopped_holds_up_nobody(engine):
    chat = Slow()
    chat.error = RetryLater("busy", after=60)
    async with engine(ONCE.format(decision="ask") + LATER, providers={"console": chat}) as world:
        await world.application.accept(
            "pager", [Fact("incident.declared", world.now, "incident", "pager:a", {"title": "a"})]
        )
        await chat.began.wait()
        for ref, fields in (("pager:a", {"drill": True}), ("pager:b", {"title": "b"})):
            kind = "incident.declared" if "title" in fields else "incident.updated"
            await world.application.accept("pager", [Fact(kind, world.now, "incident", ref, fields)])
        chat.go_on.set()
        await world.settle()
        await world.move("1h")
        assert [m.text for m in chat.sent][1:] == ["b", "later https://chat.invalid/2"]


async def test_what_was_held_when_its_run_was_stopped_holds_up_nobody(engine):
    from engine.plugins import ConnectionBroken

    async with engine(ONCE.format(decision="ask") + LATER) as world:
        world.chat.before = lambda message: (_ for _ in ()).throw(ConnectionBroken("401"))
        await world.incident("declared", "pager:a", title="a")
        await world.incident("declared", "pager:b", title="b")
        world.chat.before = lambda message: None
        await world.incident("updated", "pager:a", drill=True)
        await world.move("10m")
        assert [run["state"] for run in world.runs()] == ["stopped", "finished"]


async def test_what_a_cancelled_run_had_under_way_is_settled_after_a_crash(engine):
    chat = Setting()
    async with engine(ONCE.format(decision="ask") + LATER, providers={"console": chat}) as world:
        await world.application.accept(
            "pager", [Fact("incident.declared", world.now, "incident", "pager:a", {"title": "a"})]
        )
        await chat.began.wait()
        await operations.perform(world.application, "cancel_run", {"run": "1"}, "ada")
        await world.crash()
        await world.restart()
        assert [(run["state"], effect["state"]) for run, effect in zip(world.runs(), world.effects(), strict=True)] == [
            ("cancelled", "failed")
        ]
        await world.incident("declared", "pager:b", title="b")
        assert [m.text for m in chat.sent][1:] == ["b", "later https://chat.invalid/2"]


async def test_what_was_to_be_looked_for_when_its_run_was_stopped_is_looked_for(engine):
    chat = Findable()
    async with engine(ONCE.format(decision="ask") + LATER, providers={"console": chat}) as world:
        await world.application.accept(
            "pager", [Fact("incident.declared", world.now, "incident", "pager:a", {"title": "a"})]
        )
        await chat.began.wait()
        await world.crash()
        await world.restart()  # it is looked for when it can be seen
        await world.incident("updated", "pager:a", drill=True)
        await world.incident("declared", "pager:b", title="b")
        assert [run["state"] for run in world.runs()] == ["stopped", "waiting"]
        await world.move("2m")
        assert [m.text for m in chat.sent] == ["a", "later https://chat.invalid/found"]


async def test_a_stopped_run_that_is_taken_up_again_keeps_what_was_found_of_it(engine):
    chat = Findable()
    text = ONCE.format(decision="ask").replace("event.id", "incident.id").replace("incident.drill", "incident.open")
    async with engine("on: incident.resolved\n" + text + LATER, providers={"console": chat}) as world:
        for kind in ("resolved", "reopened"):
            status = "resolved" if kind == "resolved" else "declared"
            fact = Fact(f"incident.{kind}", world.now, "incident", "pager:a", {"title": "a", "status": status})
            await world.application.accept("pager", [fact])
            await chat.began.wait()
        while world.state != "stopped":
            await asyncio.sleep(0.001)
        await world.crash()
        await world.restart()
        await world.move("2m")
        assert world.effects()[0]["state"] == "done"
        await world.incident("resolved", "pager:a")
        assert [m.text for m in chat.sent] == ["a", "later https://chat.invalid/found"]


async def test_a_refusal_is_no_doubt(engine):
    async with engine(POST.format(decision="skip")) as world:
        world.chat.before = doubtful("hello", error=ActionError("no such channel"))
        await world.declared()
        assert (world.state, world.error) == ("failed", "no such channel")
