"""Runs that must not go on side by side: queued, skipped, or replaced (LANGUAGE 7)."""

from __future__ import annotations

import asyncio

import pytest

from engine.domain import Person
from engine.operations import perform
from engine.plugins import ActionError, Fact, RetryLater

ADA = Person("ada", "Ada")
QUEUE = """
concurrency: {{limit: {limit}, on_conflict: {conflict}}}
steps:
  - uses: chat.post
    with: {{text: "${{{{ incident.title }}}} begins"}}
  - wait: 1h
  - uses: chat.post
    with: {{text: "${{{{ incident.title }}}} ends"}}
"""


def flow(conflict="queue", limit=1):
    return QUEUE.format(limit=limit, conflict=conflict)


async def declare(world, *names, **fields):
    for name in names:
        await world.incident("declared", f"pager:{name}", **{"title": name, "severity": "sev1", **fields})


def states(world):
    return [run["state"] for run in world.runs()]


# --- the queue ---


async def test_runs_wait_for_their_turn_in_the_order_of_their_events(engine):
    async with engine(flow()) as world:
        await declare(world, "a", "b", "c")
        assert (world.said, states(world)) == (["a begins"], ["waiting"] * 3)
        await world.move("1h")
        assert world.said == ["a begins", "a ends", "b begins"]
        await world.move("2h")
        assert world.said[3:] == ["b ends", "c begins", "c ends"]
        assert states(world) == ["finished"] * 3


async def test_as_many_go_on_as_the_limit_says(engine):
    async with engine(flow(limit=2)) as world:
        await declare(world, "a", "b", "c", "d")
        assert world.said == ["a begins", "b begins"]
        await world.move("1h")
        assert sorted(world.said[2:]) == ["a ends", "b ends", "c begins", "d begins"]


async def test_only_runs_with_the_same_key_wait_for_one_another(engine):
    text = flow().replace("{limit", "{key: incident.severity, limit")
    async with engine(text) as world:
        await declare(world, "a")
        await declare(world, "b", severity="sev2")
        await declare(world, "c", severity=None)
        await declare(world, "d", severity=None)
        assert world.said == ["a begins", "b begins", "c begins"]


async def test_two_workflows_do_not_wait_for_one_another(engine):
    async with engine(a="on: incident.declared\n" + flow(), b="on: incident.declared\n" + flow()) as world:
        await declare(world, "a")
        assert world.said == ["a begins", "a begins"]


async def test_the_condition_is_decided_when_the_turn_comes_and_the_key_is_not_spent(engine):
    text = (
        "on: [incident.declared, incident.updated]\nonce_per: incident.id\nif: incident.severity == 'sev1'\n" + flow()
    )
    async with engine(text) as world:
        await declare(world, "a", "b")
        await declare(world, "c", severity="sev3")
        assert states(world) == ["waiting"] * 3
        await world.incident("updated", "pager:b", severity="sev3")
        await world.incident("updated", "pager:c", severity="sev1")
        await world.move("1h")
        assert world.said == ["a begins", "a ends", "c begins"]
        assert states(world) == ["finished", "stopped", "waiting"]
        assert world.runs()[1]["reason"].startswith("'if' is false now that it gets its turn, at: incident.severity")
        assert world.verdicts("flow").count("condition_false") == 1
        await world.move("2h")
        await world.incident("updated", "pager:b", severity="sev1")
        assert world.said[-1] == "b begins"
        assert world.runs()[1]["round"] == 2


async def test_a_condition_that_is_false_where_there_is_room_starts_nothing(engine):
    async with engine("if: incident.severity == 'sev1'\n" + flow()) as world:
        await declare(world, "a", severity="sev2")
        assert (world.runs(), world.verdicts()) == ([], [])


async def test_a_run_that_waits_for_its_turn_is_stopped_by_stop_when_at_its_turn(engine):
    async with engine("stop_when: incident.severity == 'sev4'\n" + flow()) as world:
        await declare(world, "a", "b")
        await world.incident("updated", "pager:b", severity="sev4")
        await world.move("1h")
        assert (world.said, states(world)) == (["a begins", "a ends"], ["finished", "stopped"])


async def test_a_run_that_waits_can_be_cancelled_and_is_passed_over(engine):
    async with engine(flow()) as world:
        await declare(world, "a", "b", "c")
        await perform(world.application, "cancel_run", {"run": world.runs()[1]["uid"]}, ADA)
        await world.settle()
        assert states(world) == ["waiting", "cancelled", "waiting"]
        await perform(world.application, "cancel_run", {"run": world.runs()[0]["uid"]}, ADA)
        await world.settle()
        assert world.said == ["a begins", "c begins"]


async def test_whoever_waits_for_a_decision_keeps_its_place(engine):
    text = "concurrency: {}\nsteps: [{uses: chat.post, with: {text: '${{ incident.title }}'}}]"
    async with engine(text) as world:

        def lost(message):
            if message.text == "a":
                raise RetryLater("lost", maybe_done=True)

        world.chat.before = lost
        await declare(world, "a", "b")
        assert states(world) == ["needs_decision", "waiting"]
        assert "b" not in world.said


async def test_a_run_that_failed_leaves_its_place_and_waits_for_one_when_it_is_retried(engine):
    text = """
concurrency: {limit: 1}
steps:
  - uses: chat.post
    with: {text: "${{ incident.title }} begins"}
  - wait: 1h
"""
    async with engine(text) as world:

        def refuse(message):
            if message.text == "a begins":
                raise ActionError("no")

        world.chat.before = refuse
        await declare(world, "a", "b", "c")
        assert states(world) == ["failed", "waiting", "waiting"]
        world.chat.before = lambda message: None
        done = await perform(world.application, "retry_run", {"run": world.runs()[0]["uid"]}, ADA)
        assert f"waits for its turn behind {world.runs()[1]['uid']}" in done.message
        await world.settle()
        assert [text for text in world.said if "begins" in text] == ["b begins"]
        await world.move("1h")
        assert [text for text in world.said if text.endswith("begins")] == ["b begins", "a begins"]


async def test_a_queue_survives_restarts(engine):
    async with engine(flow()) as world:
        await declare(world, "a", "b", "c")
        await world.crash()
        await world.restart()
        assert world.said == ["a begins"]
        await world.move("1h")
        await world.crash()
        await world.restart()
        await world.move("3h")
        assert world.said == ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]


@pytest.mark.parametrize("new", [flow(limit=2), flow().replace("concurrency", "vars: {}\n#")])
async def test_a_limit_that_is_raised_or_taken_away_lets_those_go_on_that_wait(engine, tmp_path, new):
    async with engine(flow()) as world:
        await declare(world, "a", "b")
        (tmp_path / "workflows" / "flow.yaml").write_text("on: incident.declared\n" + new)
        await world.application.reload()
        await world.settle()
        assert world.said == ["a begins", "b begins"]


async def test_a_queue_goes_on_when_the_file_is_gone(engine, tmp_path):
    async with engine(flow()) as world:
        await declare(world, "a", "b")
        (tmp_path / "workflows" / "flow.yaml").unlink()
        await world.restart()
        await world.move("1h")
        assert world.said == ["a begins", "a ends", "b begins"]


async def test_events_at_one_instant_do_not_both_pass(engine):
    async with engine(flow()) as world:
        facts = [fact(world, name) for name in "abcdef"]
        await asyncio.gather(*(world.application.accept("pager", [fact]) for fact in facts))
        await world.settle()
        assert len(world.said) == 1
        await world.move("6h")
        assert [text[2:] for text in world.said] == ["begins", "ends"] * 6


def fact(world, name):
    return Fact("incident.declared", world.now, "incident", f"pager:{name}", {"title": name})


async def test_a_run_whose_key_waits_already_is_not_queued_twice(engine):
    text = "on: [incident.declared, incident.updated]\nonce_per: incident.id\n" + flow()
    async with engine(text) as world:
        await declare(world, "a", "b")
        await world.incident("updated", "pager:b", title="b2")
        assert (len(world.runs()), world.verdicts("flow")) == (2, ["start", "queued", "already_ran"])


async def test_dry_runs_do_not_wait_for_live_ones(engine, tmp_path):
    async with engine(flow()) as world:
        await declare(world, "a")
        (tmp_path / "workflows" / "flow.yaml").write_text("on: incident.declared\nmode: dry_run\n" + flow())
        await world.application.reload()
        await declare(world, "b", "c")
        assert [effect["inputs"]["text"] for effect in world.effects()] == ["a begins", "b begins"]
        await perform(world.application, "cancel_run", {"run": world.runs()[1]["uid"]}, ADA)
        await world.settle()
        assert world.effects()[-1]["inputs"]["text"] == "c begins"


# --- skip ---


async def test_what_comes_while_there_is_no_room_is_skipped_and_spends_no_key(engine):
    text = "on: [incident.declared, incident.updated]\nonce_per: incident.id\n" + flow("skip")
    async with engine(text) as world:
        await declare(world, "a", "b")
        assert (world.said, world.verdicts("flow")) == (["a begins"], ["start", "skipped"])
        await world.move("1h")
        await world.incident("updated", "pager:b", title="b again")
        assert world.said == ["a begins", "a ends", "b again begins"]


# --- replace ---


async def test_what_comes_takes_the_place_of_the_run_before_it(engine):
    async with engine(flow("replace")) as world:
        await declare(world, "a", "b", "c")
        assert world.said == ["a begins", "b begins", "c begins"]
        assert states(world) == ["cancelled", "cancelled", "waiting"]
        assert world.runs()[0]["reason"] == f"replaced by {world.runs()[1]['uid']}"
        await world.move("1h")
        assert world.said[3:] == ["c ends"]


async def test_only_as_many_are_replaced_as_the_limit_asks_for_oldest_first(engine):
    async with engine(flow("replace", limit=2)) as world:
        await declare(world, "a", "b", "c")
        assert states(world) == ["cancelled", "waiting", "waiting"]


async def test_the_questions_of_a_run_that_is_replaced_are_closed(engine):
    text = """
concurrency: {on_conflict: replace}
steps:
  - id: ask
    uses: chat.ask
    with: {to: ada, text: "${{ incident.title }}?", choices: {go: Go}}
  - uses: chat.post
    with: {text: "${{ incident.title }}: ${{ steps.ask.answer }}"}
"""
    async with engine(text) as world:
        await declare(world, "a", "b")
        first, second = world.effects("chat.ask")
        assert (first["state"], second["state"]) == ("failed", "pending")
        await world.answer("go", "ada")
        assert world.said == ["a?", "b?", "b: go"]


async def test_a_call_under_way_in_a_run_that_is_replaced_ends_before_the_next_begins(engine):
    async with engine(flow("replace")) as world:
        going, go_on = asyncio.Event(), asyncio.Event()
        post = world.chat.post

        async def slow(channel, text, *, thread, effect):
            if text == "a begins":
                going.set()
                await go_on.wait()
            return await post(channel, text, thread=thread, effect=effect)

        slow.__effect_class__ = post.__effect_class__
        world.chat.post = slow
        await world.application.accept("pager", [fact(world, "a")])
        await asyncio.wait_for(going.wait(), 20)
        settled = asyncio.ensure_future(world.happens("pager", fact(world, "b")))
        await asyncio.wait({settled}, timeout=0.05)
        assert (world.said, states(world)) == ([], ["running", "waiting"])
        go_on.set()
        await settled
        assert (world.said, states(world)) == (["a begins", "b begins"], ["cancelled", "waiting"])
        assert world.effects()[0]["state"] == "done"


async def test_a_replaced_run_ends_after_a_crash_too_and_the_next_begins(engine):
    async with engine(flow("replace")) as world:
        await declare(world, "a")
        await world.crash()
        await world.arrives_unseen("pager", fact(world, "b"), fact(world, "c"))
        await world.restart()
        assert states(world) == ["cancelled", "cancelled", "waiting"]
        assert world.said[-1] == "c begins"


# --- calls ---

CALLER = """
on: incident.declared
steps:
  - id: call
    uses: workflow.flow
    with: {who: "${{ incident.title }}"}
    continue_on_error: true
  - uses: chat.post
    with: {text: "${{ incident.title }} has called: ${{ steps.call.error.code | default('well') }}"}
"""
CALLED = """
inputs: {who: {type: text, required: true}}
concurrency: {on_conflict: CONFLICT}
steps:
  - uses: chat.post
    with: {text: "${{ inputs.who }} begins"}
  - wait: 1h
"""


@pytest.mark.parametrize("conflict", ["queue", "skip"])
async def test_a_call_waits_for_its_turn(engine, conflict):
    async with engine(caller=CALLER, flow="on: manual\n" + CALLED.replace("CONFLICT", conflict)) as world:
        await declare(world, "a", "b")
        assert world.said == ["a begins"]
        await world.move("1h")
        assert sorted(world.said[1:]) == ["a has called: well", "b begins"]
        await world.move("1h")
        assert world.said[-1] == "b has called: well"


async def test_a_call_takes_the_place_of_one_before_it_whose_caller_hears_of_it(engine):
    async with engine(caller=CALLER, flow="on: manual\n" + CALLED.replace("CONFLICT", "replace")) as world:
        await declare(world, "a", "b")
        assert sorted(world.said) == ["a begins", "a has called: call-cancelled", "b begins"]
        await world.move("1h")
        assert world.said[-1] == "b has called: well"


async def test_the_run_that_a_replaced_run_calls_ends_with_it(engine):
    caller = CALLER.replace("steps:", "concurrency: {on_conflict: replace}\nsteps:", 1)
    flow = "on: manual\n" + CALLED.replace("concurrency: {on_conflict: CONFLICT}\n", "")
    async with engine(caller=caller, flow=flow) as world:
        await declare(world, "a", "b")
        assert [(run["workflow"], run["state"]) for run in world.runs()] == [
            ("caller", "cancelled"),
            ("flow", "cancelled"),
            ("caller", "waiting"),
            ("flow", "waiting"),
        ]


async def test_a_call_shares_its_place_by_what_it_is_given(engine):
    flow = "on: manual\n" + CALLED.replace("{on_conflict: CONFLICT}", "{key: inputs.who}")
    async with engine(caller=CALLER, flow=flow) as world:
        await declare(world, "a", "b")
        await declare(world, "c", title="a")
        assert world.said == ["a begins", "b begins"]
