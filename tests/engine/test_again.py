"""What people have done once more: a run with the current file, an event against the current files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from engine import operations, reports, wiring
from engine.operations import NotFound, Refused
from engine.plugins import ActionError
from engine.testing import RecordingChat, World

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PROJECT = "timezone: UTC\npeople: people.yaml\n"
PEOPLE = "people:\n  ada: {name: Ada, ids: {os: al}}\n"
BAD = """\
on: incident.declared
vars: {word: first}
steps:
  - {id: doc, uses: document.create, with: {title: Notes, text: a}}
  - {id: nap, wait: 1h}
  - for_each: '["x", "y"]'
    id: each
    steps:
      - {id: say, uses: chat.post, with: {text: "${{ item }} ${{ vars.word }}"}}
"""


@pytest.fixture
def engine(tmp_path):
    """Give what makes a world: workflows by name, and providers."""

    def make(workflows=(), **providers):
        (tmp_path / "workflows").mkdir()
        (tmp_path / "hotwash.yaml").write_text(PROJECT)
        (tmp_path / "people.yaml").write_text(PEOPLE)
        for name, text in dict(workflows).items():
            (tmp_path / "workflows" / f"{name}.yaml").write_text(text)
        return World(tmp_path, START, wiring.open_application, providers=providers)

    return make


async def perform(world, name, **inputs):
    done = await operations.perform(world.application, name, inputs, "ada")
    await world.settle()
    return done


def write(world, name, text):
    (world.folder / "workflows" / f"{name}.yaml").write_text(text)


def refusing(text):
    def before(message):
        if message.text == text:
            raise ActionError("no")

    chat = RecordingChat()
    chat.before = before
    return chat


@pytest.fixture
async def failed(engine):
    """Give a world with a run of `flow` that failed at one of two items, with a document, a wait and an item done."""
    chat = refusing("y first")
    async with engine({"flow": BAD}, console=chat) as world:
        world.chat = chat
        await world.incident("declared", title="t")
        await world.move("2h")
        assert world.runs()[0]["state"] == "failed"
        yield world


# --- the current file ---


async def test_a_retry_with_the_current_file_does_what_failed_as_it_says_now_and_nothing_twice(failed):
    write(failed, "flow", BAD.replace("word: first", "word: second"))
    await perform(failed, "retry_run", run="1", latest=True)
    assert failed.runs()[0]["state"] == "finished"
    assert [message.text for message in failed.chat.sent] == ["x first", "y second"]
    assert len(failed.effects("document.create")) == 1


async def test_a_retry_without_it_goes_on_in_the_runs_own_version(failed):
    write(failed, "flow", BAD.replace("word: first", "word: second"))
    await failed.application.reload()
    failed.chat.before = lambda message: None
    await perform(failed, "retry_run", run="1")
    assert [message.text for message in failed.chat.sent] == ["x first", "y first"]


async def test_steps_that_the_current_file_has_before_the_failed_one_are_done_too(failed):
    more = "  - {id: also, uses: chat.post, with: {text: also}}\n  - for_each"
    write(failed, "flow", BAD.replace("  - for_each", more).replace("first", "second"))
    await perform(failed, "retry_run", run="1", latest=True)
    assert [message.text for message in failed.chat.sent][-2:] == ["also", "y second"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("id: doc, uses: document.create", "id: notes, uses: document.create", r"'doc' \(document.create\) is not"),
        ("id: doc, uses: document.create, with: {title: Notes, text: a}",
         "id: doc, uses: chat.post, with: {text: a}", "'doc' was document.create and is chat.post"),
        ("{id: nap, wait: 1h}", "{id: nap, uses: chat.post, with: {text: a}}", "'nap' was a wait and is chat.post"),
        ("    id: each\n", "    id: every\n", r"'each/say' \(chat.post\) is not there$"),
        ("for_each: '[\"x\", \"y\"]'", "if: true", r"'each/say' \(chat.post\) is not there$"),
    ],
)  # fmt: skip
async def test_a_file_that_has_a_finished_step_no_more_is_not_taken_and_nothing_changes(failed, old, new, said):
    before = list(failed.application.reader.execute("SELECT * FROM runs"))
    write(failed, "flow", BAD.replace(old, new).replace("${{ item }} ", ""))
    with pytest.raises(Refused, match=f"cannot go on with the current 'flow': {said}"):
        await perform(failed, "retry_run", run="1", latest=True)
    assert list(failed.application.reader.execute("SELECT * FROM runs")) == before


async def test_a_file_with_mistakes_or_none_is_not_taken(failed):
    write(failed, "flow", BAD.replace("document.create", "document.creat"))
    with pytest.raises(Refused, match="'flow' has mistakes and is not loaded: no action is called"):
        await perform(failed, "retry_run", run="1", latest=True)
    (failed.folder / "workflows" / "flow.yaml").unlink()
    with pytest.raises(NotFound, match="no workflow is called 'flow'"):
        await perform(failed, "retry_run", run="1", latest=True)


async def test_without_an_engine_the_current_file_is_taken_at_the_next_start(failed):
    write(failed, "flow", BAD.replace("word: first", "word: second"))
    await failed.crash()
    alone = wiring.open_application(failed.folder, clock=failed.clock, environ={})
    await operations.perform(alone, "retry_run", {"run": "1", "latest": True}, "ada")
    await alone.stop()
    await failed.restart()
    assert (failed.runs()[0]["state"], failed.chat.sent[-1].text) == ("finished", "y second")


async def test_a_condition_of_the_failed_step_is_that_of_the_current_file(engine):
    chat = refusing("hello")
    text = "on: incident.declared\nsteps:\n  - {id: say, if: COND, uses: chat.post, with: {text: hello}}\n"
    async with engine({"flow": text.replace("COND", "true")}, console=chat) as world:
        await world.incident("declared", title="t")
        write(world, "flow", text.replace("COND", "false"))
        await perform(world, "retry_run", run="1", latest=True)
        assert (world.runs()[0]["state"], chat.sent) == ("finished", [])


async def test_the_history_says_with_which_file_a_run_went_on(failed):
    await perform(failed, "retry_run", run="1", latest=True)
    shown = reports.show_run(failed.application.reader, "1")
    data = next(line["data"] for line in shown["history"] if line["kind"] == "retried")
    assert (data["version"], data["by"]["name"]) == (shown["version"], "Ada")


# --- replay ---

SAY = "on: incident.declared\nsteps:\n  - {id: say, uses: chat.post, with: {text: hello}}\n"


async def replay(world, event="1", workflow=None):
    inputs = {"event": event} | ({"workflow": workflow} if workflow else {})
    return await perform(world, "replay_event", **inputs)


def explained(world, workflow, ref="1"):
    told = reports.explain_event(
        world.application.reader, ref, world.application.library, world.application.hub.lookups(), workflow
    )
    return told["outcomes"][0]


async def test_a_replay_starts_a_workflow_that_was_added_after_the_event_and_no_other_again(engine):
    async with engine({"flow": SAY}) as world:
        await world.incident("declared", title="t")
        write(world, "late", SAY)
        done = await replay(world)
        assert [(one["workflow"], one["verdict"]) for one in done.data["outcomes"]] == [
            ("flow", "already_ran"),
            ("late", "start"),
        ]
        assert [(run["workflow"], run["state"]) for run in world.runs()] == [("flow", "finished"), ("late", "finished")]
        assert world.runs()[0]["uid"] in done.message


async def test_a_replay_again_answers_that_it_already_ran(engine):
    async with engine({"flow": SAY}) as world:
        await world.incident("declared", title="t")
        write(world, "late", SAY)
        run = (await replay(world, workflow="late")).data["outcomes"][0]["run"]
        again = (await replay(world, workflow="late")).data["outcomes"]
        assert [(one["verdict"], one["run"]) for one in again] == [("already_ran", run)]
        assert len(world.runs()) == 2


async def test_a_replay_of_one_workflow_asks_no_other(engine):
    async with engine({"flow": SAY}) as world:
        await world.incident("declared", title="t")
        write(world, "late", SAY)
        write(world, "later", SAY)
        await replay(world, workflow="late")
        assert [run["workflow"] for run in world.runs()] == ["flow", "late"]


async def test_a_mended_condition_is_looked_at_on_the_state_of_now(engine):
    async with engine({"flow": SAY + 'if: incident.severity == "sev1"\n'}) as world:
        await world.incident("declared", title="t", severity="sev3")
        await replay(world)
        assert world.runs() == []
        await world.incident("updated", severity="sev1")
        await replay(world)
        assert [run["state"] for run in world.runs()] == ["finished"]


async def test_what_a_replay_led_to_is_explained_as_replayed_beside_what_was_before(engine):
    async with engine({"flow": SAY + 'if: incident.severity == "sev1"\n'}) as world:
        await world.incident("declared", title="t", severity="sev3")
        write(world, "flow", SAY)
        write(world, "late", SAY + "if: false\n")
        await replay(world)
        history = explained(world, "flow")["history"]
        assert [one["kind"] for one in history] == ["condition_false", "start"]
        assert "replayed" not in history[0]["sentence"]
        assert history[1]["sentence"] == "started; replayed by Ada"
        assert explained(world, "late")["sentence"] == "false at: false; replayed by Ada"


async def test_a_replay_changes_no_state_and_wakes_nothing_that_waits(engine):
    wait = "on: incident.declared\nsteps:\n  - wait: {until: {incident.acknowledged: }}\n"
    async with engine({"flow": wait}) as world:
        await world.incident("acknowledged", title="t")
        await world.incident("declared", title="u", ago="1h")
        before = [tuple(row) for row in world.application.reader.execute("SELECT * FROM subjects")]
        events = len(world.events())
        await replay(world, "1")
        assert [tuple(row) for row in world.application.reader.execute("SELECT * FROM subjects")] == before
        assert (len(world.events()), world.runs()[0]["state"]) == (events, "waiting")


async def test_a_wait_of_a_replayed_run_looks_back_to_the_replay_and_not_to_the_event(engine):
    async with engine({}) as world:
        await world.incident("declared", title="t")
        await world.incident("acknowledged")
        write(world, "flow", "on: incident.declared\nsteps:\n  - wait: {until: {incident.acknowledged: }}\n")
        await replay(world)
        assert world.runs()[0]["state"] == "waiting"


@pytest.mark.parametrize(
    ("after", "kinds"), [(["resolved"], ["settling", "start"]), (["resolved", "reopened"], ["left"])]
)
async def test_a_settle_time_counts_from_the_event_and_is_not_begun_where_the_state_was_left(engine, after, kinds):
    async with engine({}) as world:
        for name in ("declared", *after):
            await world.incident(name, title="t")
        write(world, "flow", SAY.replace("incident.declared", "{incident.resolved: {for: 2h}}"))
        await world.move("1h")
        await replay(world, "2")
        await world.move("61m")
        assert world.verdicts("flow") == kinds
        assert all("replayed by Ada" in one["sentence"] for one in explained(world, "flow", "2")["history"])


async def test_a_settle_time_that_lasts_is_not_begun_anew_by_a_replay(engine):
    async with engine({"flow": SAY.replace("incident.declared", "{incident.resolved: {for: 2h}}")}) as world:
        await world.incident("declared", title="t")
        await world.incident("resolved")
        await replay(world, "2")
        await world.move("121m")
        assert (world.verdicts("flow"), len(world.runs())) == (["settling", "settling", "start"], 1)
        assert explained(world, "flow", "2")["sentence"] == "started"


async def test_an_event_that_was_pruned_is_said_to_be(engine):
    async with engine({"flow": SAY}) as world:
        await world.incident("declared", title="t")
        world.clock.move_to(world.now + timedelta(days=400))
        await world.settle()
        with pytest.raises(Refused, match=r"what incident.declared evt_\w+ said was pruned"):
            await replay(world)


@pytest.mark.parametrize(
    ("event", "workflow", "error", "said"),
    [
        ("9", None, NotFound, "there is no event '9'"),
        ("1", "flo", NotFound, r"no workflow is called 'flo'; did you mean 'flow'\?"),
        ("1", "deaf", Refused, "'deaf' listens to manual, not to incident.declared"),
    ],
)
async def test_a_replay_that_cannot_be_says_why(engine, event, workflow, error, said):
    async with engine({"flow": SAY, "deaf": SAY.replace("incident.declared", "manual")}) as world:
        await world.incident("declared", title="t")
        with pytest.raises(error, match=said):
            await replay(world, event, workflow)


async def test_a_start_by_hand_is_not_replayed(engine):
    async with engine({"flow": SAY.replace("incident.declared", "manual")}) as world:
        await perform(world, "start_workflow", workflow="flow")
        with pytest.raises(Refused, match="is a start by hand"):
            await replay(world)


async def test_without_an_engine_what_a_replay_starts_goes_on_at_the_next_start(engine):
    async with engine({}) as world:
        await world.incident("declared", title="t")
        write(world, "late", SAY)
        await world.crash()
        alone = wiring.open_application(world.folder, clock=world.clock, environ={})
        await operations.perform(alone, "replay_event", {"event": "1"}, "ada")
        await alone.stop()
        await world.restart()
        assert [run["state"] for run in world.runs()] == ["finished"]


async def test_a_start_by_hand_takes_the_last_good_version_of_a_file_with_mistakes(engine):
    text = SAY.replace("incident.declared", "manual")
    async with engine({"flow": text}) as world:
        write(world, "flow", text.replace("chat.post", "chat.pots"))
        await perform(world, "start_workflow", workflow="flow")
        assert [run["state"] for run in world.runs()] == ["finished"]
