"""Workflows that a person starts: what they are given, what is looked at, and that they start once."""

from __future__ import annotations

import pytest

from engine import operations
from engine.operations import BadInput, NotFound, Refused

NOTE = """
on: [incident.resolved, manual]
if: not incident.drill
stop_when: incident.severity == "sev4"
steps:
  - uses: chat.post
    with: {text: "${{ incident.title }}"}
"""
TYPED = """
on: manual
inputs:
  incident: {type: incident}
  reason: {type: choice, options: [drill, real], default: real}
  count: {type: number, default: 2}
  urgent: {type: boolean, default: false}
  pause: {type: duration, default: 1h}
  at: {type: instant}
  who: {type: person, default: ada}
  team: {type: team}
  names: {type: list, of: text, default: [a, b]}
  title: {type: text, required: true}
steps:
  - uses: chat.post
    with:
      text: >-
        ${{ inputs.title }} ${{ inputs.reason }} ${{ inputs.count + 1 }} ${{ inputs.urgent }} ${{ inputs.pause }}
        ${{ inputs.who.name }} ${{ inputs.team.lead.name }} ${{ inputs.names | join("+") }} ${{ incident.title }}
        at ${{ inputs.at - "1h" }}
"""


async def start(world, workflow="flow", actor="ada", **inputs):
    done = await operations.perform(world.application, "start_workflow", {"workflow": workflow, **inputs}, actor)
    await world.settle()
    return done


# --- what a run is given ---


async def test_a_person_starts_a_workflow_about_an_incident(engine):
    async with engine(NOTE) as world:
        await world.declared()
        done = await start(world, incident="p1")
        assert done.message == f"'flow' is started: {world.runs()[0]['uid']}"
        assert world.said == ["Checkout is slow"]


async def test_inputs_are_of_their_types_whether_given_as_text_or_left_to_their_defaults(engine):
    async with engine(TYPED) as world:
        await start(world, inputs={"title": "T"})
        given = {"title": "T", "reason": "drill", "count": "3.5", "urgent": "true", "pause": "2d", "who": "mary"}
        await start(world, again=True, inputs={**given, "team": "sre", "names": "x, y", "at": "2026-03-02T10:00+01:00"})
        assert world.said == [
            "T real 3 false 1h Ada  a+b  at ",
            "T drill 4.5 true 2d Mary Grace x+y  at 2026-03-02T08:00:00+00:00",
        ]


async def test_a_program_gives_inputs_as_json(engine):
    async with engine(TYPED) as world:
        await start(world, inputs={"title": "T", "count": 7, "urgent": True, "names": ["x"]})
        assert world.said == ["T real 8 true 1h Ada  x  at "]


async def test_an_input_that_is_a_subject_is_what_the_run_is_about_as_it_is_now(engine):
    async with engine("""
on: manual
inputs: {incident: {type: incident, required: true}}
stop_when: incident.severity == "sev4"
steps:
  - wait: 1h
  - uses: chat.post
    with: {text: "${{ inputs.incident.title }} ${{ incident.id }}"}
""") as world:
        await world.declared()
        await start(world, incident="P1")
        await world.incident("updated", title="Checkout is down")
        await world.move("61m")
        assert world.said == ["Checkout is down pager:P1"]


async def test_an_event_fills_the_input_that_is_called_like_its_subject_and_leaves_the_others_to_their_defaults(engine):
    async with engine("""
on: [incident.declared, manual]
inputs:
  incident: {type: incident, required: true}
  reason: {type: text, default: an alarm}
if: inputs.reason == "an alarm" and inputs.incident.severity == "sev1"
steps:
  - uses: chat.post
    with: {text: "${{ inputs.incident.title }}: ${{ inputs.reason }}"}
""") as world:
        await world.declared()
        await start(world, incident="P1", inputs={"reason": "a drill"})
        assert world.said == ["Checkout is slow: an alarm", "Checkout is slow: a drill"]


async def test_a_run_keeps_what_it_was_given_over_a_restart(engine):
    async with engine("""
on: manual
inputs: {who: {type: person}, at: {type: instant}}
steps:
  - wait: 1h
  - uses: chat.post
    with: {text: "${{ inputs.who.name }} ${{ inputs.at }}"}
""") as world:
        await start(world, inputs={"who": "mary", "at": "2026-03-02T09:00:00Z"})
        await world.crash()
        await world.restart()
        await world.move("61m")
        assert world.said == ["Mary 2026-03-02T09:00:00+00:00"]


# --- once ---


async def test_what_ran_for_a_subject_is_not_started_twice_and_the_answer_names_the_run(engine):
    async with engine(NOTE) as world:
        await world.declared()
        first = await start(world, incident="P1")
        second = await start(world, incident="P1")
        assert second.message == f"'flow' already ran for this: {first.data['run']}"
        assert (second.data["run"], second.data["started"]) == (first.data["run"], False)
        assert len(world.said) == 1


async def test_again_begins_a_run_of_its_own(engine):
    async with engine(NOTE) as world:
        await world.declared()
        for again in (False, True, True):
            await start(world, incident="P1", again=again)
        assert len(world.said) == 3
        assert len({run["key"] for run in world.runs()}) == 3


async def test_without_a_subject_each_request_is_a_run(engine):
    async with engine(TYPED) as world:
        for _ in range(2):
            await start(world, inputs={"title": "T"})
        assert len(world.runs()) == 2


async def test_once_per_of_the_file_decides_and_may_read_inputs(engine):
    async with engine(TYPED.replace("steps:", "once_per: inputs.title\nsteps:")) as world:
        for title in "aba":
            await start(world, inputs={"title": title})
        assert [run["key"] for run in world.runs()] == ["a", "b"]


async def test_a_run_that_was_stopped_is_taken_up_with_the_new_inputs(engine):
    async with engine("""
on: manual
inputs: {incident: {type: incident, required: true}, word: {type: text}}
stop_when: incident.severity == "sev4"
steps:
  - wait: 1h
  - uses: chat.post
    with: {text: "${{ inputs.word }}"}
""") as world:
        await world.declared()
        await start(world, incident="P1", inputs={"word": "old"})
        await world.incident("updated", severity="sev4")
        await world.incident("updated", severity="sev1")
        done = await start(world, incident="P1", inputs={"word": "new"})
        await world.move("61m")
        assert (done.data["verdict"], world.said, world.runs()[0]["round"]) == ("taken_up", ["new"], 2)


# --- what is looked at ---


async def test_if_is_not_looked_at_and_the_verdict_says_that_a_person_decided(engine):
    async with engine(NOTE) as world:
        await world.declared(drill=True)
        await start(world, incident="P1")
        assert world.said == ["Checkout is slow"]
        row = world.application.reader.execute("SELECT detail FROM verdicts WHERE kind = 'start'").fetchone()
        assert '"by":"Ada"' in row["detail"]


async def test_stop_when_is_looked_at_and_nothing_is_written(engine):
    async with engine(NOTE) as world:
        await world.declared(severity="sev4")
        with pytest.raises(Refused, match="'flow' is not started: 'stop_when' holds already"):
            await start(world, incident="P1")
        assert world.runs() == []
        assert world.events("manual") == []


async def test_a_request_starts_only_the_workflow_that_it_names(engine):
    async with engine(a=NOTE, b=NOTE) as world:
        await world.declared()
        await start(world, "b", incident="P1")
        assert [run["workflow"] for run in world.runs()] == ["b"]


async def test_a_dry_start_sends_nothing_and_spends_no_key(engine):
    async with engine(NOTE) as world:
        await world.declared()
        dry = await start(world, incident="P1", dry_run=True)
        assert (dry.message, world.said) == (f"'flow' is started as a dry run: {world.runs()[0]['uid']}", [])
        assert (await start(world, incident="P1", dry_run=True)).data["started"] is False
        await start(world, incident="P1")
        assert world.said == ["Checkout is slow"]


# --- what is refused ---


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"title": "T", "reason": "reel"}, "'reason' must be drill or real, not 'reel'"),
        ({"title": "T", "count": "many"}, "'count' must be a number, not 'many'"),
        ({"title": "T", "urgent": "yes"}, "'urgent' must be true or false, not 'yes'"),
        ({"title": "T", "pause": "soon"}, "'pause' must be a duration such as"),
        ({"title": "T", "at": "soon"}, "'at' must be an instant such as"),
        ({"title": "T", "who": "nobody"}, "'who': nobody in the roster is called 'nobody'"),
        ({"title": "T", "team": "sree"}, "'team': no team is called 'sree'; did you mean 'sre'?"),
        ({"title": "T", "names": 3}, "'names' must be a list, not 3"),
        ({"title": "T", "titel": "T"}, "there is no input 'titel'; did you mean 'title'?"),
        ({}, "the input 'title' is missing: it takes text"),
        ({"title": "T", "incident": "P9"}, "'incident': no incident is called 'P9'"),
    ],
)
async def test_a_bad_input_is_named_with_what_was_found_and_what_is_allowed(engine, inputs, said):
    async with engine(TYPED) as world:
        with pytest.raises(BadInput) as refused:
            await start(world, inputs=inputs)
        assert str(refused.value).startswith(said)
        assert world.runs() == []


@pytest.mark.parametrize(
    ("asked", "kind", "said"),
    [
        ({"workflow": "flwo"}, NotFound, "no workflow is called 'flwo'; did you mean 'flow'?"),
        ({"workflow": "auto"}, Refused, "'auto' is not started by hand but by incident.declared: add 'manual'"),
        ({"workflow": "idle"}, Refused, "'idle' is off"),
        ({"workflow": "flow"}, BadInput, "'flow' is about an incident: say which, with 'incident'"),
        ({"workflow": "flow", "incident": "P9"}, NotFound, "no incident is called 'P9'; there are none yet"),
        ({"workflow": "flow", "ticket": "T1"}, BadInput, "'flow' is about an incident, and takes no ticket"),
    ],
)
async def test_what_cannot_be_started_is_refused_with_the_reason(engine, asked, kind, said):
    auto = NOTE.replace("[incident.resolved, manual]", "incident.declared")
    async with engine(flow=NOTE, auto=auto, idle=NOTE + "mode: off\n") as world:
        with pytest.raises(kind) as refused:
            await start(world, **asked)
        assert str(refused.value).startswith(said)


async def test_a_workflow_may_be_started_while_no_engine_runs_and_begins_at_the_next_start(engine):
    async with engine(NOTE) as world:
        await world.declared()
        await world.crash()
        application = world._open()
        application.executor.stopping = True
        try:
            asked = {"workflow": "flow", "incident": "P1"}
            done = await operations.perform(application, "start_workflow", asked, "ada")
            again = await operations.perform(application, "start_workflow", asked, "ada")
        finally:
            await application.stop()
        assert (done.data["started"], again.data["started"]) == (True, False)
        await world.restart()
        assert world.said == ["Checkout is slow"]
