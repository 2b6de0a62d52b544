"""`advance` without a database: what it asks for, and that it decides the same from its records alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engine.calendars import Duration, default_calendar
from engine.capabilities import Message
from engine.domain import Event, Incident
from engine.plugins import Params, action
from engine.problems import Span
from engine.runs.commands import Call, Called, KnownCall
from engine.runs.interpreter import End, Examined, Listen, Perform, Unlisten, advance, after_failed_attempt
from engine.runs.state import Leaf, Record, Run, RunState, escaped, within
from engine.store.codec import dumps, loads
from engine.store.lookups import Directory, Lookups
from engine.workflow.calling import call_of
from engine.workflow.expressions import compile_expression, compile_text
from engine.workflow.model import Repeat, Retry, Step, Until, Wait, Workflow
from tests.fakes import FakePeople

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SPAN = Span("flow.yaml", 1, 1, 1, 1)
RUN = Run(1, "run_1", "flow", "K", "v", 1, 10, 10, "incident.declared", "incident", "pager:P1", 0, NOW)


class Say(Params):
    text: str


@action("say", Say, returns=Message, lasts=False, via="chat.post")
async def say(params: Say, ctx: Any) -> Message:
    raise NotImplementedError


@dataclass
class FakeView:
    """A world of events, without a database."""

    now: datetime = NOW
    seen: list[tuple[int, Event]] = field(default_factory=list)
    subject: Any = field(default_factory=lambda: Incident("pager:P1", "P1", "Checkout", labels=("a", "b")))
    event: Event = field(default_factory=lambda: Event("e", "incident.declared", "pager", NOW))
    subject_changed_by_run: bool = False
    stale: bool = False
    owner: Any = None
    called: Any = None  #: the run of a call

    former_names = ()

    def __post_init__(self) -> None:
        calendar = default_calendar("UTC")
        self.world = Lookups(None, Directory(FakePeople(), {}, calendar, "UTC"), self.now)  # type: ignore[arg-type]

    @property
    def newest_event(self) -> int:
        return max((number for number, _ in self.seen), default=10)

    def events(self, event_type, after, subjects=()):
        return [(number, event) for number, event in self.seen if event.type == event_type and number > after]

    def effect(self, identity):
        return None

    def held(self, step, path):
        return None

    def held_for(self, step, path, inputs):
        return None

    def made_here(self, event):
        return False

    def check_inputs(self, step, inputs):
        return None

    def call(self, workflow, key):
        return self.called

    def callee(self, step, inputs):
        return Called(flow(), inputs, None)

    told_by_caller = False

    def notice(self):
        return None


def post(id, text="hello", **more):
    return Step(id, "uses", SPAN, action=say, inputs={"text": compile_text(text)}, **more)


def flow(*steps):
    return Workflow("flow", "v", "", {}, SPAN, "flow", subject="incident", steps=steps)


def each(*steps):
    return Step("each", "steps", SPAN, for_each=compile_expression("incident.labels"), steps=steps)


def paused(until=None):
    return Step("pause", "wait", SPAN, wait=Wait(Duration(3600), until=until))


def commands(outcome, kind):
    return [command for command in outcome.commands if isinstance(command, kind)]


# --- calls ---


def test_a_call_whose_run_was_still_ending_by_an_earlier_wish_is_made_again():
    workflow = flow(Step("call", "uses", SPAN, action=call_of("child"), calls="child"))
    state, view = RunState(RUN), FakeView()
    assert len(commands(advance(workflow, state, view), Call)) == 1
    view.called = KnownCall("run_2", "stopped", ended_by_caller=True)
    assert len(commands(advance(workflow, state, view), Call)) == 1
    view.called = KnownCall("run_2", "stopped")
    assert commands(advance(workflow, state, view), End) == [End("finished")]


# --- what it asks for ---


def test_the_items_of_a_loop_give_several_commands_at_once():
    outcome = advance(flow(each(post("say", "${{ item }}"))), RunState(RUN), FakeView())
    assert [command.inputs for command in commands(outcome, Perform)] == [{"text": "a"}, {"text": "b"}]


def test_nothing_is_asked_for_twice_while_an_effect_is_in_flight():
    workflow, state = flow(post("say")), RunState(RUN)
    advance(workflow, state, FakeView())
    assert advance(workflow, state, FakeView()).commands == ()


def test_the_second_step_comes_when_the_result_of_the_first_is_there():
    workflow, state = flow(post("one"), post("two")), RunState(RUN)
    assert [c.identity for c in commands(advance(workflow, state, FakeView()), Perform)] == ["flow/K/1/one"]
    state.apply(Record("one", "done", {"outputs": {}}))
    assert [c.identity for c in commands(advance(workflow, state, FakeView()), Perform)] == ["flow/K/1/two"]


def test_a_run_without_steps_left_ends():
    outcome = advance(flow(), RunState(RUN), FakeView())
    assert commands(outcome, End) == [End("finished")]


def test_a_run_that_has_ended_decides_nothing():
    state = RunState(RUN)
    advance(flow(), state, FakeView())
    assert advance(flow(post("say")), state, FakeView()).commands == ()


def test_a_wait_listens_for_its_instant_and_its_events_by_what_they_must_equal():
    until = Until(
        events=(("ticket.closed", compile_expression("event.ticket.key == 'T1'")), ("incident.updated", None))
    )
    outcome = advance(flow(paused(until)), RunState(RUN), FakeView())
    assert commands(outcome, Listen) == [
        Listen("pause", "timer", NOW + timedelta(hours=1)),
        Listen("pause", "event", None, "ticket.closed", "event.ticket.key", '"T1"'),
        Listen("pause", "event", None, "incident.updated", "event.subject", '"pager:P1"'),
    ]


@pytest.mark.parametrize("condition", ["event.ticket.key != 'T1'", "event.ticket.key == incident.key", "now() > now()"])
def test_a_condition_that_cannot_be_held_against_rows_listens_to_every_event(condition):
    until = Until(events=(("ticket.closed", compile_expression(condition)),))
    outcome = advance(flow(paused(until)), RunState(RUN), FakeView())
    assert Listen("pause", "event", None, "ticket.closed", "", "") in outcome.commands


def test_a_group_with_a_timeout_listens_for_its_end_until_it_has_ended():
    group = Step("group", "steps", SPAN, timeout=Duration(7200), steps=(paused(),))
    workflow, state = flow(group, post("say")), RunState(RUN)
    first = advance(workflow, state, FakeView())
    assert Listen("group!deadline", "deadline", NOW + timedelta(hours=2)) in first.commands
    last = advance(workflow, state, FakeView(now=NOW + timedelta(hours=1)))
    assert Unlisten("group!deadline") in last.commands
    assert advance(workflow, state, FakeView(now=NOW + timedelta(hours=1))).commands == ()


def test_events_that_were_looked_at_are_not_looked_at_again():
    workflow, state = flow(paused(Until(events=(("incident.updated", None),)))), RunState(RUN)
    other = Event("x", "incident.updated", "pager", NOW, "incident", "pager:P2")
    view = FakeView(seen=[(11, other)])
    assert commands(advance(workflow, state, view), Examined) == [Examined("pause", 11)]
    assert commands(advance(workflow, state, view), Examined) == []


def test_the_earliest_of_several_known_events_is_taken():
    names = ("incident.resolved", "incident.updated")
    workflow, state = flow(paused(Until(events=tuple((name, None) for name in names)))), RunState(RUN)
    events = [Event(name, name, "pager", NOW, "incident", "pager:P1") for name in reversed(names)]
    advance(workflow, state, FakeView(seen=[(11, events[0]), (12, events[1])]))
    assert state.leaves["pause"].outputs["event"].type == "incident.updated"


# --- records ---


def test_the_same_is_decided_from_the_records_alone():
    step = post("say", "${{ item }} ${{ iteration }}", repeat=Repeat(2, Duration(60)))
    workflow, live, view = flow(each(step, paused())), RunState(RUN), FakeView()
    written: list[Record] = []
    for _ in range(12):
        records = advance(workflow, live, view).records
        results = [
            Record(p, "done", {"outputs": {"id": p}}) for p, leaf in live.leaves.items() if leaf.status == "intent"
        ]
        live.apply_all(results)
        written += [*records, *results]
        view = replace(view, now=view.now + timedelta(minutes=10))
    read = RunState(RUN)
    read.apply_all(Record(one.path, one.kind, loads(dumps(dict(one.data)))) for one in written)
    assert live.ended == "finished"
    assert read == live


def test_a_round_begins_with_nothing_but_its_run():
    state = RunState(RUN)
    advance(flow(each(post("say"))), state, FakeView())
    state.apply(Record("", "round", {"n": 2, "event": "e", "since": 30}))
    fresh = RunState(RUN)
    fresh.since = 30
    assert state == fresh


@pytest.mark.parametrize(
    ("path", "around", "inside"),
    [
        ("a/b", "a", True),
        ("a#2/b", "a", True),
        ("a[x]", "a", True),
        ("a", "a", False),
        ("ab/c", "a", False),
        ("a", "", True),
        ("", "", False),
    ],
)
def test_what_lies_within_a_group(path, around, inside):
    assert within(path, around) is inside


def test_a_key_is_one_part_of_a_path_and_no_two_keys_are_the_same_part():
    keys = ["a/b", "a%2Fb", "a[b]", "a#b", "ab"]
    parts = [escaped(key) for key in keys]
    assert len(set(parts)) == len(keys)
    assert not any(sign in part for part in parts for sign in "/[]#")


# --- attempts ---


@pytest.mark.parametrize("identity", ["a", "b", "c", "d"])
def test_the_pause_after_an_attempt_lies_between_every_and_at_most(identity):
    step = post("say", retry=Retry(10, Duration(10), Duration(60)))
    for attempt in range(1, 9):
        leaf = Leaf("intent", identity=identity, attempt=attempt)
        record = after_failed_attempt(step, leaf, "no", "x", NOW, permanent=False, after=None)
        assert 10 <= (record.data["due"] - NOW).total_seconds() <= 60


def test_the_same_attempt_always_gets_the_same_pause():
    leaf = Leaf("intent", identity="a")
    first, second = (
        after_failed_attempt(post("say"), leaf, "no", "x", NOW, permanent=False, after=None) for _ in range(2)
    )
    assert first == second
