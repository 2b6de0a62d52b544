"""The effect journal, crashes by class of effect, retries, held connections, re-reading (PROMISES 1.4, 1.5, 1.6)."""

from __future__ import annotations

import asyncio
from contextlib import closing
from datetime import timedelta
from itertools import pairwise

import pytest

from engine.domain import Ticket
from engine.plugins import (
    ActionError,
    ConnectionBroken,
    Fact,
    RetryLater,
    at_most_once,
    findable,
    idempotent,
    native,
)
from engine.store.journal import connect
from engine.testing import RecordingChat, RecordingTickets
from engine.testing.clock import MovableClock

POST = """
steps:
  - id: post
    uses: chat.post
    with: {text: hello}
  - uses: chat.post
    with: {text: "after"}
"""


class Chat(RecordingChat):
    """A chat whose first message is kept under way until `go_on` is set, or for ever where the engine is killed."""

    def __init__(self):
        super().__init__()
        self.go_on, self.calls = asyncio.Event(), 0

    async def _first(self, text, effect):
        self.calls += 1
        message = self._send_text(text, effect)
        if self.calls == 1:
            await self.go_on.wait()
        return message

    def _send_text(self, text, effect):
        from engine.testing.providers import Sent

        return self._send(Sent("#default", text, effect.id))

    @property
    def texts(self):
        return [message.text for message in self.sent]


class OnceChat(Chat):
    @at_most_once
    async def post(self, channel, text, *, thread, effect):
        return await self._first(text, effect)


class IdempotentChat(Chat):
    @idempotent
    async def post(self, channel, text, *, thread, effect):
        return await self._first(text, effect)


class NativeChat(Chat):
    @native
    async def post(self, channel, text, *, thread, effect):
        return await self._first(text, effect)


class FindableChat(Chat):
    def __init__(self):
        super().__init__()
        self.looks, self.found, self.failing = [], True, False

    @findable(visible_after="30s")
    async def post(self, channel, text, *, thread, effect):
        return await self._first(text, effect)

    async def find(self, effect):
        self.looks.append(effect.id)
        if self.failing:
            raise ConnectionError("down")
        found = [message for message in self.sent if message.effect == effect.id]
        from engine.capabilities import Message

        return Message("found") if found and self.found else None


class UnseeingChat(FindableChat):
    @findable(visible_after="0s")
    async def post(self, channel, text, *, thread, effect):
        return await self._first(text, effect)


async def begun(world):
    """Let an incident be declared, and wait until the first message is under way."""
    accepted = Fact("incident.declared", world.now, "incident", "pager:P1", {"title": "a"})
    await world.application.accept("pager", [accepted])
    while not world.chat_under_test.calls:
        await asyncio.sleep(0.001)


@pytest.fixture
def cut_off(engine):
    """Give an engine that was killed while the first message was under way, and was started again."""

    def run(chat, text=POST):
        class Killed:
            async def __aenter__(self):
                self.context = engine(text, providers={"console": chat})
                world = await self.context.__aenter__()
                world.chat_under_test = chat
                await begun(world)
                await world.crash()
                await world.restart()
                return world

            async def __aexit__(self, *error):
                await self.context.__aexit__(*error)

        return Killed()

    return run


# --- written down before it is tried ---


async def test_the_intent_is_in_the_file_before_the_call_is_made(engine):
    seen = []

    async with engine(POST) as world:
        path = world.application.journal.path

        def look(message):
            with closing(connect(path, readonly=True)) as other:
                row = other.execute(
                    "SELECT state, inputs FROM effects WHERE identity = ?", (message.effect,)
                ).fetchone()
                seen.append((row["state"], row["inputs"]))

        world.chat.before = look
        await world.declared()
        assert seen == [("intent", '{"text":"hello"}'), ("intent", '{"text":"after"}')]


async def test_a_result_and_the_next_intent_share_a_commit(engine):
    async with engine(POST) as world:
        path, states = world.application.journal.path, []

        def look(message):
            with closing(connect(path, readonly=True)) as other:
                states.append([row["state"] for row in other.execute("SELECT state FROM effects ORDER BY id")])

        world.chat.before = look
        await world.declared()
        assert states == [["intent"], ["done", "intent"]]


async def test_what_is_only_rows_of_ours_is_committed_with_its_result(engine):
    async with engine("""
steps:
  - uses: ticket.create
    with: {title: mend it}
  - uses: chat.post
    with: {text: "${{ tickets() | length }}"}
""") as world:
        states = []
        update = (
            "CREATE TEMP TRIGGER seen AFTER UPDATE OF state ON effects BEGIN SELECT note(OLD.state, NEW.state); END"
        )
        journal = world.application.journal

        def watch(cursor):
            cursor.connection.create_function("note", 2, lambda old, new: states.append((old, new)))
            cursor.execute(update)

        await journal.transact(watch)
        commits = []
        journal._connection.set_trace_callback(lambda sql: commits.append(len(states)) if sql == "COMMIT" else None)
        await world.declared()
        assert world.said == ["1"]
        assert states[0] == ("intent", "done")
        assert 0 in commits  # the accept
        first = next(number for number in commits if number)
        assert world.effects("ticket.create")[0]["state"] == "done"
        assert first == 1  # never committed as an intent alone


async def test_a_run_keeps_its_inputs_with_the_intent_and_a_retry_sends_the_stored_ones(engine):
    async with engine("""
steps:
  - uses: chat.post
    with: {text: "${{ incident.title }}"}
""") as world:

        def fail_once(message):
            world.chat.before = lambda message: None
            raise RetryLater("busy")

        world.chat.before = fail_once
        await world.declared(title="as it was")
        await world.incident("updated", title="as it is")
        await world.move("1m")
        assert world.said == ["as it was"]


# --- killed between intent and result ---


async def test_what_must_not_be_sent_twice_is_parked_after_a_crash(cut_off):
    chat = OnceChat()
    async with cut_off(chat) as world:
        assert (world.state, chat.to("#default")) == ("needs_decision", ["hello"])
        assert world.effects()[0]["state"] == "unknown"
        assert "effect.unknown" in [name for name, _ in world.told]
        await world.move("30d")
        assert chat.to("#default") == ["hello"]


@pytest.mark.parametrize("made", [IdempotentChat, NativeChat])
async def test_what_may_be_sent_again_is_sent_again_after_a_crash_under_the_same_identity(cut_off, made):
    chat = made()
    async with cut_off(chat) as world:
        assert (world.state, chat.texts) == ("finished", ["hello", "hello", "after"])
        assert chat.sent[0].effect == chat.sent[1].effect


async def test_what_can_be_found_is_looked_for_when_it_can_be_seen_and_not_made_again(cut_off):
    chat = FindableChat()
    async with cut_off(chat) as world:
        await world.move("89s")
        assert chat.looks == []  # a request may take a minute, and be seen half a minute later
        await world.move("1s")
        assert (world.state, chat.texts) == ("finished", ["hello", "after"])
        assert world.outputs()["post"]["id"] == "found"


async def test_what_was_looked_for_and_is_not_there_is_made_again(cut_off):
    chat = UnseeingChat()
    chat.found = False
    async with cut_off(chat) as world:
        assert (world.state, chat.texts) == ("finished", ["hello", "hello", "after"])


class LosingAnswers(FindableChat):
    """Takes every message, and drops the connection before it answers."""

    async def _first(self, text, effect):
        self._send_text(text, effect)
        raise RetryLater("connection reset", maybe_done=True)


async def test_what_can_be_found_is_looked_for_before_a_further_attempt_makes_it_again(engine):
    chat = LosingAnswers()
    async with engine(POST, providers={"console": chat}) as world:
        await world.declared()
        await world.move("10m")
        assert (world.state, chat.texts) == ("finished", ["hello", "after"])


async def test_the_time_until_a_look_counts_from_the_last_process_that_may_have_called(cut_off):
    chat = FindableChat()
    async with cut_off(chat) as world:
        await world.move("60s")
        await world.crash()
        await world.restart()
        await world.move("89s")
        assert chat.looks == []
        await world.move("1s")
        assert world.state == "finished"


class ResetClock(MovableClock):
    """A clock that can be put forward without any time going by."""

    lead = timedelta()

    def monotonic(self):
        return super().monotonic() - self.lead.total_seconds()

    def put_forward(self, length):
        self.lead += length
        self.move_to(self.now() + length)


async def test_a_clock_that_is_put_forward_gives_a_service_no_time_to_show_what_it_made(cut_off):
    chat = FindableChat()
    async with cut_off(chat) as world:
        await world.crash()
        world.clock = ResetClock(world.now)
        await world.restart()
        world.clock.put_forward(timedelta(hours=1))
        await world.move("89s")
        assert chat.looks == []
        await world.move("1s")
        assert (world.state, chat.texts) == ("finished", ["hello", "after"])


async def test_a_run_goes_on_after_an_end_between_an_effect_that_is_only_rows_and_what_follows(engine):
    async with engine("""
steps:
  - uses: event.emit
    with: {type: deploy.done}
  - uses: chat.post
    with: {text: after}
""") as world:

        def end(event, sentence, /, **facts):
            if event == "effect.done":
                world.application.executor.stopping = True

        world._tell = end
        await world.declared()
        assert (world.said, [one["state"] for one in world.effects()]) == ([], ["done"])
        await world.restart()
        assert world.said == ["after"]


class Blocking(OnceChat):
    async def _first(self, text, effect):
        self._send_text(text, effect)
        await self.go_on.wait()


async def test_other_items_are_taken_up_after_a_crash_while_one_waits_for_a_decision(engine):
    chat = Blocking()
    async with engine(
        """
steps:
  - for_each: ${{ ["a", "b"] }}
    steps:
      - if: item == "b"
        wait: 1h
      - uses: chat.post
        with: {text: "${{ item }}"}
""",
        providers={"console": chat},
    ) as world:
        for text in ("a", "b"):
            pending = asyncio.ensure_future(world.declared() if text == "a" else world.move("1h"))
            while text not in chat.texts:
                await asyncio.sleep(0)
            pending.cancel()
            await world.crash()
            await world.restart()
        assert [one["state"] for one in world.effects("chat.post")] == ["unknown", "unknown"]


async def test_a_look_that_fails_holds_the_effect_and_is_repeated(cut_off):
    chat = UnseeingChat()
    chat.failing = True
    async with cut_off(chat) as world:
        assert (chat.texts, len(chat.looks)) == (["hello"], 1)
        await world.incident("updated", severity="sev1")  # another reason to look at the run
        chat.failing = False
        await world.move("1m")
        assert (world.state, chat.texts) == ("finished", ["hello", "after"])


async def test_a_crash_while_an_attempt_was_to_come_leaves_the_attempt_to_come(engine):
    async with engine(POST) as world:
        world.chat.before = raising(RetryLater("busy", after=600))
        await world.declared()
        await world.crash()
        world.chat.before = lambda message: None
        await world.restart()
        assert world.said == []
        await world.move("11m")
        assert world.said == ["hello", "after"]
        assert world.effects()[0]["attempts"] == 2


# --- attempts ---


def raising(error):
    def raise_it(message):
        raise error

    return raise_it


async def test_a_service_that_asks_us_to_wait_is_given_that_time(engine):
    async with engine(POST) as world:
        world.chat.before = raising(RetryLater("busy", after=3600))
        await world.declared()
        world.chat.before = lambda message: None
        await world.move("3599s")
        assert world.said == []
        await world.move("1s")
        assert world.said == ["hello", "after"]


async def test_attempts_are_rows_that_grow_apart_and_come_to_an_end(engine):
    async with engine("""
steps:
  - uses: chat.post
    with: {text: hello}
    retry: {max: 4, every: 10s, at_most: 1h}
""") as world:
        times = []

        def fail(message):
            if message.text == "hello":
                times.append(world.now)
                raise RetryLater("busy")

        world.chat.before = fail
        await world.declared()
        for _ in range(3):
            assert world.application.reader.execute("SELECT count(*) FROM waits").fetchone()[0] == 1
            await world.move_to(world.application.dispatcher.next_due())
        pauses = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
        assert [round(pause / 10) for pause in pauses] in ([1, 2, 4], [1, 2, 5])
        assert (world.state, world.error) == ("failed", "busy")


async def test_a_refusal_for_good_is_not_tried_again(engine):
    async with engine(POST) as world:
        world.chat.before = raising(ActionError("no such channel", code="no-channel"))
        await world.declared()
        assert world.effects()[0]["attempts"] == 1
        assert world.runs()[0]["error"]["code"] == "no-channel"


@pytest.mark.parametrize("error", [RetryLater("timed out", maybe_done=True), TimeoutError(), KeyError("a bug")])
async def test_what_may_have_happened_and_must_not_happen_twice_is_not_tried_again(engine, error):
    async with engine(POST) as world:
        world.chat.before = raising(error)
        await world.declared()
        assert (world.state, world.effects()[0]["state"]) == ("needs_decision", "unknown")


async def test_a_bug_in_what_may_be_repeated_is_tried_again(engine):
    chat = IdempotentChat()
    chat.go_on.set()
    chat.before = raising(KeyError("a bug"))
    async with engine(POST, providers={"console": chat}) as world:
        await world.declared()
        chat.before = lambda message: None
        await world.move("1m")
        assert chat.texts == ["hello", "after"]


async def test_an_output_that_is_too_large_fails_the_step_and_says_so(engine):
    class Wordy(RecordingChat):
        def _send(self, message):
            from engine.capabilities import Message

            return Message("x" * 300_000)

    async with engine(POST, providers={"console": Wordy()}) as world:
        await world.declared()
        assert world.error.startswith("its output is 300,0")


async def test_an_output_that_cannot_be_kept_fails_the_step_and_says_so(engine):
    class Odd(RecordingChat):
        def _send(self, message):
            return {"id": object()}

    async with engine(POST, providers={"console": Odd()}) as world:
        await world.declared()
        assert world.error == "its output cannot be kept: a object cannot be kept"


# --- a connection that refuses us ---


async def test_a_connection_that_refuses_our_credentials_is_left_alone_and_tried_by_one_call(engine):
    async with engine("on: incident.declared" + POST) as world:
        calls = []

        def refuse(message):
            calls.append(message.effect)
            raise ConnectionBroken("401")

        world.chat.before = refuse
        await world.declared()
        for number in range(5):
            await world.incident("declared", f"pager:{number}")
        assert len(calls) == 1
        assert {run["state"] for run in world.runs()} == {"held"}
        await world.move("5m")
        assert len(calls) == 2
        world.chat.before = lambda message: None
        await world.move("10m")
        assert len(world.said) == 12
        assert {run["state"] for run in world.runs()} == {"finished"}


class RefusingChat(RecordingChat):
    """A chat that takes its time to refuse our credentials."""

    def __init__(self):
        super().__init__()
        self.calls, self.go_on = 0, asyncio.Event()

    async def post(self, channel, text, *, thread, effect):
        self.calls += 1
        await self.go_on.wait()
        raise ConnectionBroken("401")


async def test_while_one_call_tries_a_connection_that_was_held_the_others_wait(engine):
    chat = RefusingChat()
    async with engine(POST, providers={"console": chat}) as world:
        chat.go_on.set()
        for number in range(5):
            await world.incident("declared", f"pager:{number}")
        chat.calls = 0
        chat.go_on.clear()
        world.clock.move_to(world.now + timedelta(minutes=5))
        while not chat.calls or len(world.application.executor.active) > 1:
            await asyncio.sleep(0.001)
        assert chat.calls == 1
        chat.go_on.set()


async def test_what_is_held_is_decided_when_it_goes_out_after_a_restart_too(engine):
    async with engine("""
stop_when: incident.severity == "sev4"
steps:
  - uses: chat.post
    with: {text: "${{ incident.title }}"}
""") as world:
        world.chat.before = raising(ConnectionBroken("403"))
        await world.declared(title="before")
        await world.incident("declared", "pager:P2", title="stopped")
        await world.restart()
        world.chat.before = lambda message: None
        await world.incident("updated", title="after")
        await world.incident("updated", "pager:P2", severity="sev4")
        await world.move("6m")
        assert world.said == ["after"]
        assert [run["state"] for run in world.runs()] == ["finished", "stopped"]


# --- fresh state ---

NUDGE = """
on: ticket.created
stop_when: ticket.done
steps:
  - wait: 1d
  - uses: chat.nudge
    with: {to: ada, text: "${{ ticket.title }}"}
"""
TRACKED = "connections: {tracker: {provider: local, key: TR}}\nuse: {ticket: tracker}\n"


@pytest.fixture
def tracked(engine):
    """Give an engine with a ticket T1 at somebody else's tracker."""

    def run(text=NUDGE, tracker=None):
        tracker = tracker or RecordingTickets()
        tracker.tickets["tracker:T1"] = Ticket("tracker:T1", "T1", "as it was")
        return engine(text, project=TRACKED, providers={"tracker": tracker})

    return run


async def test_a_lost_webhook_does_not_nudge_about_a_ticket_that_was_closed(tracked):
    tracker = RecordingTickets()
    async with tracked(tracker=tracker) as world:
        await world.ticket("T1", "created")
        tracker.tickets["tracker:T1"] = Ticket("tracker:T1", "T1", "a", done=True)
        await world.move("1d")
        assert (world.state, world.said, tracker.reads) == ("stopped", [], 1)


async def test_what_goes_out_says_what_is_true_now_also_without_a_stop_when(tracked):
    tracker = RecordingTickets()
    async with tracked(NUDGE.replace("stop_when: ticket.done\n", ""), tracker) as world:
        await world.ticket("T1", "created")
        tracker.tickets["tracker:T1"] = Ticket("tracker:T1", "T1", "as it is")
        await world.move("1d")
        assert world.said == ["as it is"]


async def test_what_a_reading_finds_is_told_to_others_as_an_event(tracked):
    tracker = RecordingTickets()
    text = "on: ticket.closed\nsteps: [{uses: chat.post, with: {text: seen}}]"
    async with tracked(tracker=tracker) as world:
        (world.folder / "workflows" / "other.yaml").write_text(text)
        await world.application.reload()
        await world.ticket("T1", "created")
        tracker.tickets["tracker:T1"] = Ticket("tracker:T1", "T1", "a", done=True)
        await world.move("1d")
        assert world.said == ["seen"]


async def test_a_reading_that_finds_nothing_new_lets_the_effect_go_out_and_writes_no_event(tracked):
    tracker = RecordingTickets()
    async with tracked(tracker=tracker) as world:
        await world.ticket("T1", "created", title="as it was")
        await world.move("1d")
        assert (world.said, tracker.reads, len(world.events())) == (["as it was"], 1, 1)


async def test_fresh_state_is_not_read_again(tracked):
    tracker = RecordingTickets()
    async with tracked(NUDGE.replace("1d", "5m"), tracker) as world:
        await world.ticket("T1", "created")
        await world.move("5m")
        assert (len(world.said), tracker.reads) == (1, 0)


async def test_one_reading_serves_all_who_need_it(tracked):
    tracker = RecordingTickets()
    async with tracked(tracker=tracker) as world:
        for number in range(3):
            (world.folder / "workflows" / f"more{number}.yaml").write_text(NUDGE)
        await world.application.reload()
        await world.ticket("T1", "created")
        await world.move("1d")
        assert (len(world.said), tracker.reads) == (4, 1)


async def test_a_reading_that_fails_holds_the_effect_as_a_row(tracked):
    tracker = RecordingTickets()
    tracker.failing = "down"
    async with tracked(tracker=tracker) as world:
        await world.ticket("T1", "created")
        await world.move("1d")
        assert (world.state, world.said, tracker.reads) == ("held", [], 1)
        assert not world.application.executor.active
        await world.restart()
        await world.move("1m")
        assert world.said == []
        tracker.failing = None
        await world.move("1m")
        assert (world.state, len(world.said)) == ("finished", 1)


async def test_nothing_goes_out_about_a_ticket_that_is_no_longer_there(tracked):
    tracker = RecordingTickets()
    async with tracked(tracker=tracker) as world:
        await world.ticket("T1", "created")
        tracker.tickets.clear()
        await world.move("1d")
        assert (world.state, world.said) == ("held", [])
        await world.move("20m")
        assert 3 <= tracker.reads <= 6


async def test_a_reading_brings_the_last_change_by_a_person_along(tracked):
    tracker = RecordingTickets()
    text = NUDGE.replace("ticket.done", 'ticket.idle < "1h"')
    async with tracked(text, tracker) as world:
        await world.ticket("T1", "created", created_at=world.now - timedelta(days=9))
        touched = world.now + timedelta(hours=23, minutes=30)
        tracker.tickets["tracker:T1"] = Ticket("tracker:T1", "T1", "a", active_at=touched)
        await world.move("1d")
        assert (world.state, world.said) == ("stopped", [])


# --- two runs, one effect ---

ONCE = """
on: incident.declared
once_per: event.id
steps:
  - id: post
    uses: chat.post
    once_per: incident.severity
    with: {text: "${{ incident.title }}"}
  - uses: chat.post
    with: {text: "${{ steps.post.id }} for ${{ incident.title }}"}
"""


async def test_two_runs_that_decide_one_identity_at_the_same_time_perform_it_once(engine):
    async with engine(ONCE) as world:
        facts = [
            Fact("incident.declared", world.now, "incident", f"pager:{name}", {"title": name, "severity": "sev1"})
            for name in "abcdef"
        ]
        await world.happens("pager", *facts)
        assert [text for text in world.said if "for" not in text] == ["a"]
        assert sorted(text for text in world.said if "for" in text) == [f"1 for {name}" for name in "abcdef"]


async def test_a_failure_is_no_result_for_the_run_that_waits_for_it(engine):
    async with engine(ONCE) as world:

        def fail_first(message):
            if message.text == "a":
                raise ActionError("no")

        world.chat.before = fail_first
        facts = [
            Fact("incident.declared", world.now, "incident", f"pager:{name}", {"title": name, "severity": "sev1"})
            for name in "ab"
        ]
        await world.happens("pager", *facts)
        assert [run["state"] for run in world.runs()] == ["failed", "finished"]
        assert "b" in world.said


async def test_a_run_that_waits_for_the_result_of_one_that_was_stopped_does_it_itself(engine):
    async with engine("stop_when: incident.drill\n" + ONCE) as world:
        world.chat.before = raising(RetryLater("busy", after=86400))
        for name in "ab":
            await world.incident("declared", f"pager:{name}", title=name, severity="sev1")
        world.chat.before = lambda message: None
        await world.incident("updated", "pager:a", drill=True)
        assert [run["state"] for run in world.runs()] == ["stopped", "finished"]
        assert "b" in world.said


# --- versions ---


@pytest.mark.parametrize("change", ["edited", "deleted", "off", "broken"])
async def test_a_run_finishes_on_the_version_it_started_with(engine, tmp_path, change):
    text = """
on: incident.declared
steps:
  - wait: 1h
  - uses: chat.post
    with: {text: old}
"""
    async with engine(text) as world:
        await world.declared()
        file = tmp_path / "workflows" / "flow.yaml"
        match change:
            case "edited":
                file.write_text(text.replace("old", "new"))
            case "deleted":
                file.unlink()
            case "off":
                file.write_text("mode: off\n" + text.replace("old", "new"))
            case "broken":
                file.write_text("steps: [")
        await world.application.reload()
        if change != "broken":
            await world.crash()
            await world.restart()
        await world.move("1h")
        assert (world.said, world.state) == (["old"], "finished")


async def test_a_run_keeps_the_text_of_its_templates(engine, tmp_path):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "note.md").write_text("old {{ incident.title }}")
    async with engine("""
steps:
  - wait: 1h
  - uses: chat.post
    with: {template: note}
""") as world:
        await world.declared(title="a")
        (tmp_path / "templates" / "note.md").write_text("new {{ incident.title }}")
        await world.application.reload()
        await world.crash()
        await world.restart()
        await world.move("1h")
        assert world.said == ["old a"]
        await world.incident("declared", "pager:P2", title="b")
        await world.move("1h")
        assert world.said[-1] == "new b"
