"""What a failure leads to: `continue_on_error`, `on_failure`, who is told, and a retry of the run."""

from __future__ import annotations

from engine.plugins import ActionError, Fact

BAD = """
steps:
  - id: bad
    uses: chat.post
    with: {text: bad}
"""
ON_FAILURE = """
on_failure:
  - uses: chat.post
    with: {text: "sorry ${{ run.error.step }}: ${{ run.error.message }} [${{ run.error.code }}]"}
"""


def refuse(*texts, why="no"):
    """Give what lets the sending of some texts fail for good."""

    def before(message):
        if message.text in texts:
            raise ActionError(f"{why} {message.text}")

    return before


async def test_a_failing_step_ends_the_run_as_failed(engine):
    async with engine(BAD + "  - uses: chat.post\n    with: {text: never}\n") as world:
        world.chat.before = refuse("bad")
        await world.declared()
        assert world.state == "failed"
        assert world.runs()[0]["error"] == {"message": "no bad", "step": "bad", "code": "action-failed"}
        assert "never" not in world.said


async def test_continue_on_error_goes_on_and_shows_the_error(engine):
    async with engine(
        BAD
        + """
    continue_on_error: true
  - uses: chat.post
    with: {text: "${{ steps.bad.failed }} ${{ steps.bad.error.message }} ${{ steps.bad.url == null }}"}
"""
    ) as world:
        world.chat.before = refuse("bad")
        await world.declared()
        assert (world.said, world.state) == (["true no bad true"], "finished")


async def test_continue_on_error_of_a_group_leaves_out_what_comes_after_in_it(engine):
    async with engine("""
steps:
  - id: group
    continue_on_error: true
    steps:
      - uses: chat.post
        with: {text: bad}
      - uses: chat.post
        with: {text: never}
  - uses: chat.post
    with: {text: "${{ steps.group.failed }} ${{ steps.group.error.message }}"}
""") as world:
        world.chat.before = refuse("bad")
        await world.declared()
        assert (world.said, world.state) == (["true no bad"], "finished")


async def test_what_did_not_fail_says_so(engine):
    async with engine("""
steps:
  - id: group
    steps:
      - id: post
        uses: chat.post
        with: {text: hello}
  - id: pause
    wait: 1m
  - uses: chat.post
    with: {text: "${{ steps.group.failed }} ${{ steps.post.failed }} ${{ steps.pause.failed }} ${{ steps.post.error }}"}
""") as world:
        await world.declared()
        await world.move("1m")
        assert world.said[1] == "false false false "


# --- on_failure and the owner ---


async def test_on_failure_sees_what_went_wrong(engine):
    async with engine(BAD + ON_FAILURE) as world:
        world.chat.before = refuse("bad")
        await world.declared()
        assert world.said[0] == "sorry bad: no bad [action-failed]"
        assert world.state == "failed"


async def test_on_failure_reads_what_the_steps_before_gave(engine):
    async with engine("""
steps:
  - id: first
    uses: chat.post
    with: {text: hello}
  - uses: chat.post
    with: {text: bad}
on_failure:
  - uses: chat.post
    with: {text: "${{ steps.first.url }}"}
""") as world:
        world.chat.before = refuse("bad")
        await world.declared()
        assert world.said[1] == "https://chat.invalid/1"


async def test_on_failure_may_wait_and_goes_on_after_a_crash(engine):
    async with engine(BAD + "on_failure:\n  - wait: 1h\n  - uses: chat.post\n    with: {text: sorry}\n") as world:
        world.chat.before = refuse("bad")
        await world.declared()
        assert (world.said, world.state) == ([], "waiting")
        await world.crash()
        await world.restart()
        await world.move("1h")
        assert world.said[0] == "sorry"
        assert world.state == "failed"


async def test_the_owner_is_told_once(engine):
    async with engine("owner: ada\n" + BAD) as world:
        world.chat.before = refuse("bad")
        await world.declared()
        await world.crash()
        await world.restart()
        await world.move("1d")
        assert len(world.chat.to("ada")) == 1
        assert "no bad" in world.chat.to("ada")[0]


async def test_without_an_owner_of_its_own_the_projects_owner_is_told(engine):
    async with engine(BAD) as world:
        world.chat.before = refuse("bad")
        await world.declared()
        assert len(world.chat.to("grace")) == 1


async def test_what_the_owner_is_told_shows_no_markdown_of_others(engine):
    async with engine("""
owner: ada
steps:
  - finish: {as: failed, reason: "${{ incident.title }}"}
""") as world:
        await world.declared(title="[click](https://evil.invalid)")
        assert r"\[click\]" in world.chat.to("ada")[0]


async def test_an_on_failure_that_fails_is_recorded_and_told(engine):
    async with engine(BAD + "on_failure:\n  - uses: chat.post\n    with: {text: worse}\n") as world:
        world.chat.before = refuse("bad", "worse")
        await world.declared()
        assert world.state == "failed"
        assert world.error == "no bad"
        assert world.runs()[0]["reason"] == "on_failure failed as well: no worse"
        assert "no worse" in world.chat.to("grace")[0]


async def test_an_owner_who_cannot_be_told_does_not_keep_the_run_from_ending(engine):
    def before(_message):
        raise ActionError("no chat")

    async with engine(BAD) as world:
        world.chat.before = before
        await world.declared()
        assert (world.state, world.error) == ("failed", "no chat")


async def test_stop_when_does_not_stop_a_run_that_is_failing(engine):
    source = BAD + 'stop_when: incident.severity == "sev4"\non_failure:\n  - wait: 1h\n'
    async with engine(source) as world:
        world.chat.before = refuse("bad")
        await world.declared()
        await world.incident("updated", severity="sev4")
        await world.move("1h")
        assert world.state == "failed"


# --- a retry of the run ---


async def test_a_retry_goes_on_at_the_failed_step(engine):
    async with engine("""
steps:
  - uses: chat.post
    with: {text: first}
  - uses: chat.post
    with: {text: bad}
  - uses: chat.post
    with: {text: last}
""") as world:
        world.chat.before = refuse("bad")
        await world.declared()
        world.chat.before = lambda message: None
        await world.retry()
        assert world.chat.to("#default") == ["first", "bad", "last"]
        assert world.state == "finished"


async def test_a_step_that_could_not_be_evaluated_is_evaluated_anew_by_a_retry(engine):
    async with engine("""
steps:
  - uses: chat.nudge
    with: {to: "${{ person(incident.channel) }}", text: hello}
""") as world:
        await world.declared()
        assert world.state == "failed"
        await set_channel(world)
        await world.retry()
        assert world.chat.to("ada") == ["hello"]


async def set_channel(world):
    """Let the engine's own field change."""
    fact = Fact("incident.updated", world.now, "incident", "pager:P1", {"channel": "ada"}, engine=True)
    await world.happens("hotwash", fact)


async def test_a_retry_that_fails_is_a_failure_of_its_own(engine):
    async with engine(BAD + ON_FAILURE) as world:
        world.chat.before = refuse("bad")
        await world.declared()
        world.chat.before = refuse("bad", why="still no")
        await world.retry()
        assert world.state == "failed"
        assert [text.partition(" [")[0] for text in world.chat.to("#default")] == [
            "sorry bad: no bad",
            "sorry bad: still no bad",
        ]
        assert len(world.chat.to("grace")) == 2


async def test_a_retry_goes_on_in_the_iteration_that_failed(engine):
    async with engine("""
steps:
  - repeat: {every: 1h, max: 2}
    steps:
      - uses: chat.post
        with: {text: "${{ iteration }}"}
""") as world:
        world.chat.before = refuse("2")
        await world.declared()
        await world.move("1h")
        assert world.state == "failed"
        world.chat.before = lambda message: None
        await world.retry()
        assert world.chat.to("#default") == ["1", "2"]
        assert world.state == "finished"


async def test_a_step_that_failed_and_was_gone_on_from_is_not_performed_again_by_a_retry(engine):
    async with engine("""
steps:
  - uses: chat.post
    with: {text: tolerated}
    continue_on_error: true
  - uses: chat.post
    with: {text: bad}
""") as world:
        world.chat.before = refuse("tolerated", "bad")
        await world.declared()
        world.chat.before = lambda message: None
        await world.retry()
        assert world.chat.to("#default") == ["bad"]


async def test_a_finished_as_failed_run_that_is_retried_fails_again(engine):
    async with engine("steps:\n  - finish: {as: failed, reason: no}\n") as world:
        await world.declared()
        await world.retry()
        assert (world.state, world.error) == ("failed", "no")


async def test_a_stop_when_that_cannot_be_evaluated_fails_the_run_and_a_retry_looks_again(engine):
    async with engine("""
stop_when: incident.labels | first == "x" and instant(incident.title) < now()
steps:
  - wait: 1h
  - uses: chat.post
    with: {text: end}
""") as world:
        await world.declared()
        await world.incident("updated", labels=["x"])
        assert (world.state, world.runs()[0]["error"]["step"]) == ("failed", "stop_when")
        await world.incident("updated", labels=["y"])
        await world.retry()
        await world.move("1h")
        assert (world.chat.to("#default"), world.state) == (["end"], "finished")
