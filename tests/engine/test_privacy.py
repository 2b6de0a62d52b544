"""Private subjects start only what asks for them, and nothing shows them unasked (PROMISES 2)."""

from __future__ import annotations

import pytest

from engine import reports
from engine.domain import Person
from engine.operations import perform
from engine.plugins import Fact

POST = "\nsteps: [{uses: chat.post, with: {text: '${{ event.type }} ${{ event.subject }}'}}]"
SECRET, PLAIN = "pager:secret", "pager:plain"


async def declare(world):
    """Let two incidents be declared, of which one is private."""
    await world.incident("declared", SECRET, title="Breach", private=True)
    await world.incident("declared", PLAIN, title="Slow")


async def say(world, type, subject, incident, **fields):
    """Let something happen to a subject that belongs to an incident."""
    kind, connection = type.partition(".")[0], subject.partition(":")[0]
    state = {"title": subject, "incident": incident, **fields}
    await world.happens(connection, Fact(type, world.now, kind, subject, state))


# --- what they start ---


@pytest.mark.parametrize(
    ("asked", "started"),
    [("", [PLAIN]), ("no", [PLAIN]), ("only", [SECRET]), ("both", [SECRET, PLAIN])],
)
async def test_a_private_incident_starts_only_what_asks_for_it(engine, asked, started):
    on = f"on: {{incident.declared: {{private: {asked}}}}}" if asked else "on: incident.declared"
    async with engine(on + POST) as world:
        await declare(world)
        assert world.said == [f"incident.declared {subject}" for subject in started]


@pytest.mark.parametrize(
    ("type", "ref", "state"),
    [
        ("ticket.created", "tracker:T", {}),
        ("ticket.closed", "tracker:T", {"done": True}),
        ("document.published", "docs:D", {"published": True}),
    ],
)
async def test_what_belongs_to_a_private_incident_is_as_private(engine, type, ref, state):
    flows = {asked: f"on: {{{type}: {{private: {asked}}}}}{POST}" for asked in ("no", "only", "both")}
    async with engine(**flows) as world:
        await declare(world)
        await say(world, type, f"{ref}1", SECRET, **state)
        assert sorted(run["workflow"] for run in world.runs()) == ["both", "only"]
        await say(world, type, f"{ref}2", PLAIN, **state)
        assert sorted(run["workflow"] for run in world.runs()[2:]) == ["both", "no"]


async def test_an_incident_that_became_private_in_its_settle_time_starts_nothing_and_the_verdict_says_why(engine):
    async with engine("on: {incident.declared: {for: 1h}}" + POST) as world:
        await world.incident("declared", PLAIN, title="Slow")
        await world.incident("updated", PLAIN, private=True)
        await world.move("2h")
        assert (world.said, world.verdicts("flow")) == ([], ["settling", "private"])


async def test_an_event_of_ones_own_about_a_private_incident_starts_only_what_asks_for_it(engine):
    emit = "\nsteps: [{uses: event.emit, with: {type: our.word, subject: '${{ incident }}'}}]"
    async with engine(
        emits="on: {incident.declared: {private: both}}" + emit,
        plain="on: our.word" + POST,
        asks="on: {our.word: {private: only}}" + POST,
    ) as world:
        await world.incident("declared", SECRET, title="Breach", private=True)
        assert [run["workflow"] for run in world.runs()] == ["emits", "asks"]


async def test_why_a_workflow_did_not_start_for_a_private_incident_is_told(engine):
    async with engine("on: incident.declared" + POST) as world:
        await declare(world)
        hub = world.application.hub
        (outcome,) = reports.explain_event(hub.reader, "1", hub.library, hub.lookups())["outcomes"]
        assert outcome["kind"] == "private"
        assert outcome["sentence"].startswith("it is about something private, and the trigger does not ask for that")


async def test_a_person_may_start_a_workflow_for_a_private_incident(engine):
    async with engine("on: [manual, incident.resolved]" + POST) as world:
        await declare(world)
        inputs = {"workflow": "flow", "incident": "pager:secret"}
        await perform(world.application, "start_workflow", inputs, Person("ada", "Ada"))
        await world.settle()
        assert world.said == [f"manual {SECRET}"]


# --- look-ups ---


async def test_look_ups_leave_out_what_belongs_to_private_incidents_unless_asked(engine):
    async with engine() as world:
        await declare(world)
        for number, incident in enumerate((SECRET, PLAIN)):
            await say(world, "ticket.created", f"tracker:T{number}", incident)
            await say(world, "document.published", f"docs:D{number}", incident, published=True)
            await say(world, "review.scheduled", f"ics:R{number}", incident)
        look = world.application.hub.lookups()
        for kind in ("incident", "ticket", "document", "review"):
            assert [len(look.find(kind, {}, None, private)) for private in (False, True)] == [1, 2], kind
            assert [look.count(kind, {}, None, private) for private in (False, True)] == [1, 2], kind
        for type in ("incident.declared", "ticket.created", "document.published"):
            assert [len(look.events(type, {}, None, private)) for private in (False, True)] == [1, 2], type
            assert [look.count_events(type, {}, None, private) for private in (False, True)] == [1, 2], type


async def test_what_became_private_is_left_out_of_earlier_events_too(engine):
    async with engine() as world:
        await world.incident("declared", PLAIN, title="Slow")
        await world.incident("updated", PLAIN, private=True)
        look = world.application.hub.lookups()
        assert [len(look.events("incident.declared", {}, None, private)) for private in (False, True)] == [0, 1]


# --- lists ---

ASKS = """
on: {incident.declared: {private: both}}
steps:
  - {id: ask, uses: chat.ask, timeout: 2h, with: {to: ada, text: "Is “${{ incident.title }}” bad?", choices: {a: A}}}
  - {finish: {as: failed, reason: "${{ incident.title }} is unclear"}}
"""


def shown(world, **asked):
    """Give everything that lists and the status say."""
    reader, now = world.application.hub.reader, world.now
    return [
        *reports.list_runs(reader, **asked),
        *reports.list_events(reader, **asked),
        reports.status(reader, now, **asked),
    ]


async def test_no_list_says_what_is_private_unless_asked(engine):
    async with engine(ASKS) as world:
        await declare(world)
        assert "Breach" not in repr(shown(world))
        assert "Breach" in repr(shown(world, private=True))
        assert repr(shown(world)).count("Slow") == repr(shown(world, private=True)).count("Slow") > 2


async def test_a_failure_about_something_private_is_told_without_its_message(engine):
    async with engine(ASKS) as world:
        await declare(world)
        await world.move("3h")
        assert [run["state"] for run in world.runs()] == ["failed"] * 2
        assert "Breach" not in repr(shown(world))
        failed = reports.status(world.application.hub.reader, world.now)["failed"]
        assert sorted(one["error"]["message"] for one in failed) == ["Slow is unclear", "it is about something private"]


async def test_what_is_asked_for_by_its_name_is_shown(engine):
    async with engine(ASKS) as world:
        await declare(world)
        reader = world.application.hub.reader
        assert "Breach" in repr(reports.show_run(reader, "1"))
        assert "Breach" in repr(reports.show_event(reader, "1"))
        assert "Breach" in repr(reports.list_events(reader, subject=SECRET))


async def test_the_log_of_the_engine_does_not_name_what_is_private(engine):
    async with engine("on: {incident.declared: {private: both}}\nif: incident.title == 'x'" + POST) as world:
        await declare(world)
        assert "Slow" in repr(world.told)
        assert "Breach" not in repr(world.told)


SPEAKS = """
on: {incident.declared: {private: both}}
steps:
  - {id: doc, uses: document.create, with: {title: "${{ incident.title }}", text: a}}
  - {id: nudge, uses: chat.nudge, with: {to: ada, text: "Look at ${{ incident.title }}.", digest: {window: 4h}}}
  - {id: post, uses: chat.post, with: {text: "${{ incident.title }}"}}
  - {id: ask, uses: chat.ask, timeout: 2h, with: {to: ada, text: "${{ incident.title }}?", choices: {a: A}}}
  - {id: call, uses: workflow.child, with: {word: "${{ incident.title }}"}}
"""
CALLED = """
on: manual
inputs: {word: {type: text, required: true}}
steps:
  - {uses: chat.post, with: {text: "${{ inputs.word }}"}}
  - {finish: {as: failed, reason: "${{ inputs.word }} is unclear"}}
"""
AFTERWARDS = """
on: workflow.failed
steps: [{uses: chat.post, with: {text: "${{ event.data.error.message }}"}}]
"""
SPEAKING = {"flow": SPEAKS, "child": CALLED, "other": AFTERWARDS}


@pytest.fixture
async def spoken(engine):
    """Give a world whose chat is the console, and the lines of its log with their facts."""
    project = "use: {chat: talk}\nconnections: {talk: {provider: console}}\n"
    async with engine(**SPEAKING, project=project) as world:
        lines = []
        world.application.tell.add(lambda event, sentence, /, **facts: lines.append(f"{event} {sentence} {facts}"))
        yield world, lines


async def test_no_line_of_a_run_about_something_private_says_what(spoken):
    """Lines of effects, questions, calls, failures, digests, mutes, and what the console chat prints."""
    world, lines = spoken
    await declare(world)
    await perform(world.application, "mute_subject", {"subject": SECRET, "until": "1h", "person": "grace"}, "ada")
    await world.move("5h")
    assert {run["state"] for run in world.runs("flow")} == {"failed"}
    assert [line for line in lines if "Breach" in line] == []
    kinds = {line.partition(" ")[0] for line in lines if "Slow" in line}
    assert kinds >= {"event.received", "effect.done", "said", "run.failed"}
    assert {line.partition(" ")[0] for line in lines if "something private" in line} >= {*kinds} - {"event.received"}


async def test_what_became_private_is_said_no_more(spoken):
    world, lines = spoken
    await world.incident("declared", PLAIN, title="Slow")
    await world.incident("updated", PLAIN, private=True)
    lines.clear()
    await world.move("5h")
    assert len(lines) > 5
    assert [line for line in lines if "Slow" in line] == []


async def test_what_a_run_makes_private_is_not_said_either(engine):
    flow = """
on: incident.declared
steps:
  - {uses: incident.declare, with: {title: Leak, severity: sev1, private: true}}
  - {uses: chat.post, with: {text: "Somebody has declared Leak"}}
"""
    project = "use: {chat: talk}\nconnections: {talk: {provider: console}}\n"
    async with engine(flow, project=project) as world:
        await world.incident("declared", PLAIN, title="Slow")
        assert world.state == "finished"
        assert "Leak" not in repr(world.told)
