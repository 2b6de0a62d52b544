"""`moved_from`: a renamed file goes on where it was, once, and does nothing twice."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from engine import operations, wiring
from engine.matching import LISTENER
from engine.operations import Refused
from engine.plugins import Fact, idempotent
from engine.testing import RecordingChat, World

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SAY = "on: incident.declared\nonce_per: incident.id\nsteps:\n  - {id: say, uses: chat.post, with: {text: hello}}\n"
WAIT = "on: incident.declared\nsteps:\n  - wait: 1d\n  - {uses: chat.post, with: {text: '${{ workflow.id }}'}}\n"
STALE = """\
on: {ticket.stale: {for: 7d, poll: {every: 1d}, runs_per_check: 1}}
steps: [{uses: chat.post, with: {text: "${{ ticket.key }}"}}]
"""
POST = "steps: [{uses: chat.post, with: {text: x}}]\n"
DAILY = 'on: {schedule: {cron: "0 12 * * *", timezone: UTC, missed: all}}\n' + POST
EVERY = "on: {schedule: {every: 10h}}\n" + POST
ROUNDS = """\
on: [incident.declared, incident.reopened]
once_per: incident.id
stop_when: incident.severity == "sev4"
steps:
  - {id: doc, uses: document.create, with: {title: Notes, text: a}}
  - wait: 1h
  - {uses: chat.post, with: {text: end}}
"""


class Chat(RecordingChat):
    """A chat that may be sent the same again, and whose calls stand still until `go_on`."""

    def __init__(self):
        super().__init__()
        self.slow, self.began, self.go_on = False, asyncio.Event(), asyncio.Event()

    @idempotent
    async def post(self, channel, text, *, thread, effect):
        self.began.set()
        if self.slow:
            await self.go_on.wait()
        return await RecordingChat.post(self, channel, text, thread=thread, effect=effect)


@pytest.fixture
def engine(tmp_path):
    """Give what makes a world: workflows by name."""

    def make(**workflows):
        (tmp_path / "workflows").mkdir()
        (tmp_path / "hotwash.yaml").write_text("timezone: UTC\n")
        for name, text in workflows.items():
            (tmp_path / "workflows" / f"{name}.yaml").write_text(text)
        world = World(tmp_path, START, wiring.open_application, providers={"console": Chat()})
        world.chat = world._providers["console"]
        return world

    return make


def rename(world, old, new, *, said=None, text=None):
    """Give a file another name, and `moved_from`."""
    folder = world.folder / "workflows"
    text = text or (folder / f"{old}.yaml").read_text()
    (folder / f"{old}.yaml").unlink()
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("moved_from")]
    (folder / f"{new}.yaml").write_text("".join(lines) + f"moved_from: {said or old}\n")


async def reload(world):
    problems = await world.application.reload()
    await world.settle()
    return problems


async def restart(world):
    await world.restart()


@pytest.fixture(params=[reload, restart], ids=lambda how: how.__name__)
def takes(request):
    """Give how the engine comes to know of the new file."""
    return request.param


def said(world):
    return [message.text for message in world.chat.sent]


def told(world, event):
    return [sentence for name, sentence in world.told if name == event]


# --- keys ---


async def test_a_key_that_was_spent_stays_spent(engine, takes):
    async with engine(old=SAY) as world:
        await world.incident("declared", title="t")
        rename(world, "old", "new")
        await takes(world)
        await world.incident("resolved")
        await operations.perform(world.application, "replay_event", {"event": "1"}, "ada")
        assert [(run["workflow"], run["state"]) for run in world.runs()] == [("new", "finished")]
        assert said(world) == ["hello"]


async def test_a_run_that_waits_goes_on_under_the_new_name(engine, takes):
    async with engine(old=WAIT) as world:
        await world.incident("declared", title="t")
        rename(world, "old", "new")
        await takes(world)
        await world.move("25h")
        assert [(run["workflow"], run["state"]) for run in world.runs()] == [("new", "finished")]
        assert said(world) == ["new"]


async def test_what_lasts_is_not_made_again_in_a_later_round(engine, takes):
    async with engine(old=ROUNDS) as world:
        await world.incident("declared", title="t")
        await world.incident("updated", severity="sev4")
        rename(world, "old", "new")
        await takes(world)
        await world.incident("updated", severity="sev2")
        await world.incident("resolved")
        await world.incident("reopened")
        await world.move("2h")
        assert [(run["round"], run["state"]) for run in world.runs()] == [(2, "finished")]
        assert len(world.effects("document.create")) == 1


async def test_what_is_done_once_per_value_is_not_done_again_for_it(engine, takes):
    text = SAY.replace("uses: chat.post", "uses: chat.post, once_per: incident.severity")
    async with engine(old=text) as world:
        await world.incident("declared", "pager:P1", title="t", severity="sev1")
        rename(world, "old", "new")
        await takes(world)
        await world.incident("declared", "pager:P2", title="u", severity="sev1")
        await world.incident("declared", "pager:P3", title="u", severity="sev2")
        assert said(world) == ["hello", "hello"]
        assert [run["state"] for run in world.runs()] == ["finished"] * 3


async def test_an_effect_that_was_cut_off_is_taken_up_under_the_identity_that_its_service_knows(engine):
    async with engine(old=SAY) as world:
        world.chat.slow = True
        await world.application.accept("pager", [Fact("incident.declared", world.now, "incident", "pager:P1", {})])
        await asyncio.wait_for(world.chat.began.wait(), 20)
        await world.crash()
        world.chat.slow = False
        rename(world, "old", "new")
        await world.restart()
        assert [(effect["identity"], effect["state"]) for effect in world.effects()] == [("old/pager:P1/1/say", "done")]
        assert [message.effect for message in world.chat.sent] == ["old/pager:P1/1/say"]


async def test_a_call_that_is_under_way_when_the_file_is_renamed_ends_under_the_new_name(engine):
    two = SAY + "  - {id: more, uses: chat.post, with: {text: '${{ workflow.id }}'}}\n"
    async with engine(old=two) as world:
        world.chat.slow = True
        await world.application.accept("pager", [Fact("incident.declared", world.now, "incident", "pager:P1", {})])
        await asyncio.wait_for(world.chat.began.wait(), 20)
        rename(world, "old", "new")
        await world.application.reload()
        world.chat.slow = False
        world.chat.go_on.set()
        await world.settle()
        assert said(world) == ["hello", "new"]
        assert [(run["workflow"], run["state"]) for run in world.runs()] == [("new", "finished")]


# --- settle times, clocks, pauses, calls ---


async def test_a_settle_time_goes_on(engine, takes):
    async with engine(old=SAY.replace("incident.declared", "{incident.resolved: {for: 2h}}")) as world:
        await world.incident("resolved", title="t")
        await world.move("1h")
        rename(world, "old", "new")
        await takes(world)
        await world.move("61m")
        assert [run["workflow"] for run in world.runs()] == ["new"]


async def test_a_settle_time_that_goes_on_is_dropped_when_the_state_is_left(engine, takes):
    async with engine(old=SAY.replace("incident.declared", "{incident.resolved: {for: 2h}}")) as world:
        await world.incident("resolved", title="t")
        rename(world, "old", "new")
        await takes(world)
        await world.incident("reopened")
        await world.move("3h")
        assert world.runs() == []


async def test_a_schedule_makes_up_for_what_it_missed_before_it_was_renamed(engine):
    async with engine(old=DAILY) as world:
        await world.move("4h")
        await world.crash()
        rename(world, "old", "new")
        world.clock.move_to(datetime(2026, 3, 4, 13, 0, tzinfo=UTC))
        await world.restart()
        assert [run["workflow"] for run in world.runs()] == ["new"] * 3


async def test_an_interval_counts_on_from_its_last_instant(engine, takes):
    async with engine(old=EVERY) as world:
        await world.move("15h")
        rename(world, "old", "new")
        await takes(world)
        await world.move("5h")
        assert len(world.runs()) == 2


async def test_an_occasion_that_was_found_and_not_looked_at_is_the_new_files(engine):
    async with engine(old=EVERY) as world:
        await world.crash()
        data = {LISTENER: "old/schedule", "every": "10h"}
        await world.arrives_unseen("hotwash", Fact("schedule", START, data=data, id="old/schedule/x"))
        rename(world, "old", "new")
        await world.restart()
        assert [run["workflow"] for run in world.runs()] == ["new"]


async def test_a_stale_ticket_is_not_told_of_again_and_keeps_no_other_waiting(engine, takes):
    async with engine(old=STALE) as world:
        for name in ("T1", "T2"):
            state = {"key": name, "title": name, "created_at": world.now}
            await world.happens("local", Fact("ticket.created", world.now, "ticket", f"local:{name}", state))
        await world.move("169h")
        assert said(world) == ["T1"]
        rename(world, "old", "new")
        await takes(world)
        await world.move("1d")
        assert said(world) == ["T1", "T2"]


async def test_a_pause_goes_on(engine, takes):
    async with engine(old=WAIT) as world:
        await operations.perform(world.application, "pause", {"workflow": "old"}, "ada")
        await world.incident("declared", title="t")
        rename(world, "old", "new")
        await takes(world)
        await world.move("25h")
        assert (said(world), list(world.application.hub.pauses.current)) == ([], ["new"])
        await operations.perform(world.application, "resume", {"workflow": "new"}, "ada")
        await world.settle()
        assert said(world) == ["new"]


async def test_who_calls_a_workflow_that_is_renamed_meanwhile_gets_its_end(engine, takes):
    caller = "on: incident.declared\nsteps:\n  - {id: a, uses: workflow.old}\n  - {uses: chat.post, with: {text: b}}\n"
    callee = "inputs: {}\nsteps:\n  - wait: 1d\n"
    async with engine(caller=caller, old=callee) as world:
        await world.incident("declared", title="t")
        rename(world, "old", "new")
        (world.folder / "workflows" / "caller.yaml").write_text(caller.replace("workflow.old", "workflow.new"))
        await takes(world)
        await world.move("25h")
        assert [(run["workflow"], run["state"]) for run in world.runs()] == [
            ("caller", "finished"),
            ("new", "finished"),
        ]


# --- names ---


async def test_it_is_carried_over_once(engine, takes):
    async with engine(old=SAY) as world:
        await world.incident("declared", title="t")
        rename(world, "old", "new")
        for _ in range(3):
            await takes(world)
        assert told(world, "workflow.moved") == ["new takes over from old: 1 runs and their keys are carried over"]


@pytest.mark.parametrize("last", ["b", "a"])
async def test_a_file_that_is_renamed_again_takes_all_with_it_whichever_name_it_says(engine, takes, last):
    async with engine(a=ROUNDS) as world:
        await world.incident("declared", title="t")
        await world.incident("updated", severity="sev4")
        rename(world, "a", "b")
        await takes(world)
        rename(world, "b", "c", said=last)
        await takes(world)
        await world.incident("updated", severity="sev2")
        await world.incident("resolved")
        await world.incident("reopened")
        await world.move("2h")
        assert [(run["workflow"], run["round"]) for run in world.runs()] == [("c", 2)]
        assert len(world.effects("document.create")) == 1


async def test_a_renaming_can_be_undone(engine, takes):
    async with engine(a=SAY) as world:
        await world.incident("declared", title="t")
        rename(world, "a", "b")
        await takes(world)
        rename(world, "b", "a")
        await takes(world)
        (world.folder / "workflows" / "a.yaml").write_text(SAY)
        await takes(world)
        await operations.perform(world.application, "replay_event", {"event": "1"}, "ada")
        assert ([run["workflow"] for run in world.runs()], said(world)) == (["a"], ["hello"])


async def test_a_file_with_a_name_that_was_given_up_is_not_loaded(engine):
    async with engine(old=SAY) as world:
        await world.incident("declared", title="t")
        rename(world, "old", "new")
        await reload(world)
        (world.folder / "workflows" / "old.yaml").write_text(SAY)
        (world.folder / "workflows" / "new.yaml").unlink()
        problems = await reload(world)
        assert [problem.code for problem in problems] == ["name-given-up"]
        assert "old" not in world.application.library.current
        with pytest.raises(Refused, match="'old' has mistakes and is not loaded: the name 'old' was given up"):
            await operations.perform(world.application, "replay_event", {"event": "1", "workflow": "old"}, "ada")


async def test_what_another_file_has_taken_over_stays_there(engine, takes):
    async with engine(old=SAY) as world:
        await world.incident("declared", title="t")
        rename(world, "old", "new")
        await takes(world)
        (world.folder / "workflows" / "new.yaml").write_text(SAY)
        (world.folder / "workflows" / "third.yaml").write_text(SAY + "moved_from: old\n")
        await takes(world)
        assert [run["workflow"] for run in world.runs()] == ["new"]
        assert "third: 'moved_from: old' carries nothing over, 'new' has it already" in told(
            world, "workflow.not_moved"
        )


async def test_a_key_that_both_have_is_spent_and_stays_where_it_is(engine, takes):
    async with engine(old=SAY, new=SAY) as world:
        await world.incident("declared", title="t")
        rename(world, "old", "new")
        await takes(world)
        await operations.perform(world.application, "replay_event", {"event": "1"}, "ada")
        assert sorted(run["workflow"] for run in world.runs()) == ["new", "old"]


async def test_who_waits_for_a_turn_gets_it_when_those_before_it_end(engine, takes):
    async with engine(old=WAIT + 'concurrency: {key: "1", limit: 1, on_conflict: queue}\n') as world:
        for name in ("pager:P1", "pager:P2"):
            await world.incident("declared", name, title="t")
        rename(world, "old", "new")
        await takes(world)
        await world.move("25h")
        assert [run["state"] for run in world.runs()] == ["finished", "waiting"]
        await world.move("25h")
        assert [(run["workflow"], run["state"]) for run in world.runs()] == [("new", "finished")] * 2
