"""`timeout` of groups and of the file, waits included (LANGUAGE 2)."""

from __future__ import annotations

from engine.plugins import RetryLater

GROUP = """
steps:
  - id: group
    timeout: 2h
    steps:
      - uses: chat.post
        with: {text: begin}
      - wait: {for: WAIT, until: incident.acknowledged}
      - uses: chat.post
        with: {text: end}
  - uses: chat.post
    with: {text: after}
"""


async def test_a_group_that_ends_in_time_goes_on(engine):
    async with engine(GROUP.replace("WAIT", "1h")) as world:
        await world.declared()
        await world.move("1d")
        assert (world.said, world.state) == (["begin", "end", "after"], "finished")


async def test_a_group_fails_at_its_timeout_and_not_before_although_it_only_waits(engine):
    async with engine(GROUP.replace("WAIT", "1d")) as world:
        await world.declared()
        await world.move("119m")
        assert world.state == "waiting"
        await world.move("1m")
        assert (world.state, world.error) == ("failed", "'group' did not end within its 'timeout'")
        assert world.runs()[0]["error"]["code"] == "timeout"


async def test_nothing_of_a_group_goes_out_after_its_timeout(engine):
    async with engine(GROUP.replace("WAIT", "1d")) as world:
        await world.declared()
        await world.move("2h")
        await world.incident("acknowledged")
        await world.move("2d")
        assert "end" not in world.said


async def test_a_timeout_that_passed_while_the_process_was_down_counts(engine):
    async with engine(GROUP.replace("WAIT", "1h")) as world:
        await world.declared()
        await world.crash()
        world.clock.move_to(world.now.replace(day=3))
        await world.restart()
        assert world.state == "failed"
        assert "end" not in world.said


async def test_after_a_timeout_that_is_gone_on_from_the_next_step_runs(engine):
    async with engine(
        GROUP.replace("WAIT", "1d").replace("timeout: 2h", "timeout: 2h\n    continue_on_error: true")
    ) as world:
        await world.declared()
        await world.move("2h")
        assert (world.said, world.state) == (["begin", "after"], "finished")


async def test_the_timeout_of_a_repeated_group_counts_anew_for_each_iteration(engine):
    async with engine("""
steps:
  - timeout: 2h
    repeat: {max: 3}
    steps:
      - wait: 90m
      - uses: chat.post
        with: {text: "${{ iteration }}"}
""") as world:
        await world.declared()
        await world.move("1d")
        assert (world.said, world.state) == (["1", "2", "3"], "finished")


async def test_the_timeout_of_a_loop_counts_for_each_item(engine):
    async with engine("""
steps:
  - id: each
    for_each: incident.labels
    timeout: 2h
    continue_on_error: true
    steps:
      - if: item == "slow"
        steps:
          - wait: 3h
      - uses: chat.post
        with: {text: "${{ item }}"}
  - uses: chat.post
    with: {text: "${{ steps.each.results[0].error.code }} ${{ steps.each.results[1].failed }}"}
""") as world:
        await world.declared(labels=["slow", "quick"])
        await world.move("1d")
        assert world.said == ["quick", "timeout false"]


async def test_else_is_held_to_the_timeout_of_its_group(engine):
    async with engine("""
steps:
  - if: incident.drill
    timeout: 1h
    steps:
      - wait: 1m
    else:
      - wait: 1d
""") as world:
        await world.declared()
        await world.move("1h")
        assert world.state == "failed"


async def test_the_timeout_of_the_file_ends_a_run_that_waits(engine):
    async with engine("timeout: 1d\nsteps:\n  - wait: 7d\n") as world:
        await world.declared()
        await world.move("1d")
        assert (world.state, world.error) == ("failed", "the workflow did not end within its 'timeout'")


async def test_the_timeout_of_the_file_runs_on_failure(engine):
    async with engine("""
timeout: 1d
steps:
  - wait: 7d
on_failure:
  - uses: chat.post
    with: {text: "${{ run.error.code }}"}
""") as world:
        await world.declared()
        await world.move("1d")
        assert world.said[0] == "timeout"


async def test_the_nearest_timeout_around_counts(engine):
    async with engine("timeout: 1h\n" + GROUP.replace("WAIT", "1d")) as world:
        await world.declared()
        await world.move("1h")
        assert world.error == "the workflow did not end within its 'timeout'"


async def test_an_attempt_that_was_to_come_is_given_up_at_the_timeout(engine):
    def before(_message):
        raise RetryLater("busy", after=86400)

    async with engine(GROUP.replace("WAIT", "1h")) as world:
        world.chat.before = before
        await world.declared()
        world.chat.before = lambda message: None
        await world.move("3d")
        assert world.state == "failed"
        assert "begin" not in world.said


async def test_a_retry_gives_a_group_its_time_again_and_goes_on_where_it_was(engine):
    async with engine(GROUP.replace("WAIT", "3h")) as world:
        await world.declared()
        await world.move("2h")
        world.chat.sent.clear()
        await world.retry()
        assert world.state == "waiting"
        await world.incident("acknowledged")
        assert (world.said, world.state) == (["end", "after"], "finished")


async def test_a_question_whose_group_timed_out_is_put_again_by_a_retry(engine):
    async with engine("""
steps:
  - timeout: 2h
    steps:
      - id: ask
        uses: chat.ask
        with: {to: ada, text: "well?", choices: {fine: "Fine"}}
""") as world:
        await world.declared()
        await world.move("2h")
        assert [effect["state"] for effect in world.effects("chat.ask")] == ["failed"]
        world.chat.sent.clear()
        await world.retry()
        assert world.said == ["well?"]
        await world.answer("fine", "ada")
        assert world.state == "finished"


async def test_a_question_of_a_group_that_timed_out_is_closed_although_the_run_goes_on(engine):
    async with engine("""
steps:
  - timeout: 2h
    continue_on_error: true
    steps:
      - uses: chat.ask
        with: {to: ada, text: "well?", choices: {fine: "Fine"}}
  - wait: 1d
""") as world:
        await world.declared()
        await world.move("2h")
        assert world.state == "waiting"
        assert [effect["state"] for effect in world.effects("chat.ask")] == ["failed"]


async def test_after_a_retry_a_wait_in_a_group_that_timed_out_is_woken_by_its_event(engine):
    async with engine("""
steps:
  - timeout: 2h
    steps:
      - wait: {until: {document.published: event.document.title == "report"}}
""") as world:
        await world.declared()
        await world.move("2h")
        await world.retry()
        await world.document("report")
        assert world.state == "finished"
