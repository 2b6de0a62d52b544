"""`for_each` (LANGUAGE 5)."""

from __future__ import annotations

import asyncio

import pytest

from engine.plugins import ActionError, Fact, at_most_once
from engine.testing import RecordingChat

EACH = """
on: webhook
steps:
  - id: each
    for_each: event.data.items
    uses: chat.post
    with: {text: "${{ item }}"}
"""


async def posted(world, **data):
    """Let a webhook come in, which starts a run."""
    await world.happens("hooks", Fact("webhook", world.now, data=data))


def refuse(*texts):
    """Give what lets the sending of some texts fail for good."""

    def before(message):
        if message.text in texts:
            raise ActionError(f"no '{message.text}'")

    return before


async def test_each_item_is_performed_in_order(engine):
    async with engine(EACH) as world:
        await posted(world, items=["a", "b", "c"])
        assert world.said == ["a", "b", "c"]


async def test_null_and_an_empty_list_have_no_items(engine):
    async with engine(EACH) as world:
        await posted(world, items=None)
        await posted(world, items=[])
        assert [run["state"] for run in world.runs()] == ["finished", "finished"]
        assert world.said == []


async def test_what_is_no_list_is_an_error(engine):
    async with engine(EACH) as world:
        await posted(world, items="abc")
        assert world.error == "'for_each' must be a list, not 'abc'"


async def test_the_list_is_evaluated_once_and_stored(engine):
    async with engine("""
steps:
  - for_each: incident.labels
    steps:
      - wait: 1h
      - uses: chat.post
        with: {text: "${{ item }}"}
""") as world:
        await world.declared(labels=["a", "b"])
        await world.incident("updated", labels=["c"])
        await world.crash()
        await world.restart()
        await world.move("1h")
        assert world.said == ["a", "b"]


@pytest.mark.parametrize(
    ("item", "key"),
    [
        ({"id": "x", "key": "y"}, "x"),
        ({"key": "y"}, "y"),
        ({"id": None, "key": "y"}, "y"),
        ("plain", "plain"),
        (7, "7"),
        (None, "none"),
    ],
)
async def test_an_item_is_known_by_its_id_its_key_or_itself(engine, item, key):
    async with engine(EACH.replace("${{ item }}", "hello")) as world:
        await posted(world, items=[item])
        assert world.effects()[0]["identity"].endswith(f"/each[{key}]")


async def test_item_key_says_how_an_item_is_known(engine):
    source = EACH.replace("    uses:", "    item_key: item.name\n    uses:").replace("${{ item }}", "${{ item.name }}")
    async with engine(source) as world:
        await posted(world, items=[{"id": 1, "name": "ada"}])
        assert world.effects()[0]["identity"].endswith("/each[ada]")


async def test_an_item_without_a_key_is_an_error(engine):
    async with engine(EACH.replace("${{ item }}", "hello")) as world:
        await posted(world, items=[{"name": "ada"}])
        assert world.error == "an item without 'id' or 'key' needs 'item_key'"


async def test_two_items_with_one_key_are_an_error(engine):
    async with engine(EACH) as world:
        await posted(world, items=["a", "b", "a"])
        assert world.error == "two items of 'for_each' have the key 'a'"
        assert world.said[0] != "a"


async def test_a_key_may_hold_any_sign(engine):
    async with engine(EACH.replace("${{ item }}", "hello")) as world:
        await posted(world, items=["docs:2026/a.md", "x]#1[y", "docs:2026", "a%2Fb", "a/b"])
        assert world.said == ["hello"] * 5
        assert world.state == "finished"


async def test_an_effect_of_an_item_whose_key_has_a_slash_is_found_again_after_a_crash(engine):
    chat = StuckChat()
    async with engine(EACH, providers={"console": chat}) as world:
        await world.application.accept("hooks", [Fact("webhook", world.now, data={"items": ["a/b"]})])
        await chat.called.wait()
        await world.crash()
        await world.restart()
        assert world.state == "needs_decision"


class StuckChat(RecordingChat):
    """A chat whose calls never end."""

    def __init__(self):
        super().__init__()
        self.called = asyncio.Event()

    @at_most_once
    async def post(self, channel, text, *, thread, effect):
        self.called.set()
        await asyncio.Event().wait()


async def test_the_if_of_a_loop_is_decided_for_each_item_and_so_is_else(engine):
    async with engine("""
on: webhook
steps:
  - for_each: event.data.items
    if: item > 1
    steps:
      - uses: chat.post
        with: {text: "${{ item }} is more"}
    else:
      - uses: chat.post
        with: {text: "${{ item }} is not"}
""") as world:
        await posted(world, items=[1, 2])
        assert world.said == ["1 is not", "2 is more"]


# --- independence ---


async def test_a_wait_in_one_item_holds_up_no_other(engine):
    async with engine("""
on: webhook
steps:
  - for_each: event.data.items
    steps:
      - if: item == "slow"
        steps:
          - wait: 1d
      - uses: chat.post
        with: {text: "${{ item }}"}
  - uses: chat.post
    with: {text: all}
""") as world:
        await posted(world, items=["slow", "quick"])
        assert world.said == ["quick"]
        await world.move("1d")
        assert world.said == ["quick", "slow", "all"]


async def test_a_question_in_one_item_holds_up_no_other(engine):
    async with engine("""
on: webhook
steps:
  - for_each: event.data.people
    steps:
      - id: ask
        uses: chat.ask
        with: {to: "${{ item }}", text: "well?", choices: {yes_please: "Yes", no_thanks: "No"}}
      - uses: chat.post
        with: {text: "${{ steps.ask.by.name }}: ${{ steps.ask.answer }}"}
""") as world:
        await posted(world, people=["ada", "mary"])
        await world.answer("yes_please", "mary")
        assert world.said[2:] == ["Mary: yes_please"]
        await world.answer("no_thanks", "ada")
        assert world.said[3:] == ["Ada: no_thanks"]
        assert world.state == "finished"


async def test_a_failing_item_lets_the_others_finish_and_then_the_step_fails(engine):
    async with engine(EACH + '  - uses: chat.post\n    with: {text: "after"}\n') as world:
        world.chat.before = refuse("a", "c")
        await posted(world, items=["a", "b", "c"])
        assert world.state == "failed"
        assert world.error == "no 'a'"
        assert "b" in world.said
        assert "after" not in world.said


async def test_a_step_whose_item_failed_waits_for_the_others_before_it_fails(engine):
    async with engine("""
on: webhook
steps:
  - for_each: event.data.items
    steps:
      - if: item == "slow"
        steps:
          - wait: 1d
      - uses: chat.post
        with: {text: "${{ item }}"}
""") as world:
        world.chat.before = refuse("bad")
        await posted(world, items=["bad", "slow"])
        assert world.state == "waiting"
        await world.move("1d")
        assert world.state == "failed"
        assert "slow" in world.said


# --- what comes of it ---


async def test_results_list_every_item_with_its_outputs(engine):
    source = (
        EACH
        + """
    continue_on_error: true
  - for_each: steps.each.results
    item_key: item.key
    uses: chat.post
    with: {text: "${{ item.key }} ${{ item.item }} ${{ item.failed }} ${{ item.url }} ${{ item.error.message }}"}
"""
    )
    async with engine(source) as world:
        world.chat.before = refuse("b")
        await posted(world, items=["a", "b"])
        assert world.said == ["a", "a a false https://chat.invalid/1 ", "b b true  no 'b'"]
        assert world.state == "finished"


async def test_results_of_a_group_have_the_outputs_of_its_steps_by_their_ids(engine):
    async with engine("""
on: webhook
steps:
  - id: each
    for_each: event.data.items
    steps:
      - id: post
        uses: chat.post
        with: {text: "${{ item }}"}
      - id: never
        if: item == "z"
        uses: chat.post
        with: {text: never}
  - uses: chat.post
    with: {text: "${{ steps.each.results[1].post.url }} ${{ steps.each.results[1].never == null }}"}
""") as world:
        await posted(world, items=["a", "b"])
        assert world.said[2] == "https://chat.invalid/2 true"


async def test_a_failed_item_of_a_group_shows_what_it_had_done(engine):
    async with engine("""
on: webhook
steps:
  - id: each
    for_each: event.data.items
    continue_on_error: true
    steps:
      - id: post
        uses: chat.post
        with: {text: "${{ item }}"}
      - uses: chat.nudge
        with: {to: ada, text: bad}
  - uses: chat.post
    with: {text: "${{ steps.each.failed }} ${{ steps.each.results[0].post.url }}"}
""") as world:
        world.chat.before = refuse("bad")
        await posted(world, items=["a"])
        assert world.said == ["a", "true https://chat.invalid/1"]


async def test_a_failed_item_shows_nothing_that_another_did(engine):
    async with engine("""
on: webhook
steps:
  - id: each
    for_each: event.data.items
    continue_on_error: true
    steps:
      - uses: chat.post
        with: {text: "${{ item }}"}
      - id: post
        uses: chat.post
        with: {text: good}
  - uses: chat.post
    with: {text: "${{ steps.each.results[1].failed }} ${{ steps.each.results[1].post == null }}"}
""") as world:
        world.chat.before = refuse("b")
        await posted(world, items=["a", "b"])
        assert world.said[-1] == "true true"


async def test_a_retry_of_the_run_performs_the_failed_items_alone(engine):
    async with engine(EACH) as world:
        world.chat.before = refuse("b", "c")
        await posted(world, items=["a", "b", "c"])
        world.chat.sent.clear()
        world.chat.before = lambda message: None
        await world.retry()
        assert world.said == ["b", "c"]
        assert world.state == "finished"
