"""`repeat` (LANGUAGE 5)."""

from __future__ import annotations

from engine.plugins import ActionError, Fact

LADDER = """
steps:
  - id: nudge
    uses: chat.post
    with: {text: "nudge ${{ iteration }}"}
    repeat: {every: 1d, max: 3, until: incident.severity == "sev3"}
  - uses: chat.post
    with: {text: "done ${{ steps.nudge.done }}"}
"""
UNTIL_PUBLISHED = """
steps:
  - wait: 1h
  - id: nudge
    uses: chat.post
    with: {text: "nudge ${{ iteration }}"}
    repeat:
      every: 1d
      max: 3
      until:
        document.published: event.document.id == "docs:report"
  - uses: chat.post
    with: {text: "done ${{ steps.nudge.done }}"}
"""


async def test_a_step_is_repeated_as_often_as_max_says(engine):
    async with engine(LADDER) as world:
        await world.declared()
        await world.move("10d")
        assert world.said == ["nudge 1", "nudge 2", "nudge 3", "done false"]


async def test_every_is_the_pause_after_an_iteration_and_not_a_second_less(engine):
    async with engine(LADDER) as world:
        await world.declared()
        await world.move("23h")
        await world.move("59m")
        assert world.said == ["nudge 1"]
        await world.move("1m")
        assert world.said == ["nudge 1", "nudge 2"]


async def test_every_counts_from_the_end_of_an_iteration(engine):
    async with engine("""
steps:
  - repeat: {every: 1d, max: 2}
    steps:
      - uses: chat.post
        with: {text: begin}
      - wait: 5h
""") as world:
        await world.declared()
        await world.move("28h")
        assert world.said == ["begin"]
        await world.move("1h")
        assert world.said == ["begin", "begin"]


async def test_a_pause_goes_on_after_a_crash(engine):
    async with engine(LADDER) as world:
        await world.declared()
        await world.move("20h")
        await world.crash()
        await world.restart()
        await world.move("3h")
        assert world.said == ["nudge 1"]
        await world.move("1h")
        assert world.said == ["nudge 1", "nudge 2"]


async def test_without_every_and_until_there_is_no_pause_and_max_iterations(engine):
    async with engine("""
steps:
  - uses: chat.post
    with: {text: "${{ iteration }}"}
    repeat: {max: 3}
""") as world:
        await world.declared()
        assert world.said == ["1", "2", "3"]
        assert world.state == "finished"


async def test_each_iteration_is_an_effect_of_its_own(engine):
    async with engine(LADDER) as world:
        await world.declared()
        await world.move("1d")
        ends = [effect["identity"].rpartition("/")[2] for effect in world.effects()]
        assert ends == ["nudge#1", "nudge#2"]


# --- until: a condition ---


async def test_a_condition_is_not_looked_at_before_the_first_iteration(engine):
    async with engine(LADDER) as world:
        await world.declared(severity="sev3")
        assert world.said == ["nudge 1", "done true"]


async def test_a_condition_ends_the_pause_on_an_event_about_the_subject(engine):
    async with engine(LADDER) as world:
        await world.declared()
        await world.move("2h")
        await world.incident("updated", severity="sev3")
        assert world.said == ["nudge 1", "done true"]


async def test_a_condition_reads_what_the_latest_iteration_gave(engine):
    async with engine("""
steps:
  - id: ladder
    repeat: {every: 1h, max: 5, until: steps.post.url == "https://chat.invalid/2"}
    steps:
      - id: post
        uses: chat.post
        with: {text: "${{ iteration }}"}
  - uses: chat.post
    with: {text: "${{ steps.post.url }} ${{ steps.ladder.done }}"}
""") as world:
        await world.declared()
        await world.move("5h")
        assert world.said == ["1", "2", "https://chat.invalid/2 true"]


async def test_a_condition_reads_the_number_of_the_iteration(engine):
    async with engine("""
steps:
  - uses: chat.post
    with: {text: hello}
    repeat: {max: 5, until: iteration == 2}
""") as world:
        await world.declared()
        assert world.said == ["hello", "hello"]


async def test_a_step_inside_reads_what_the_iteration_before_gave(engine):
    async with engine("""
steps:
  - repeat: {max: 2}
    steps:
      - id: post
        uses: chat.post
        with: {text: "before: ${{ steps.post.url }}"}
""") as world:
        await world.declared()
        assert world.said == ["before: ", "before: https://chat.invalid/1"]


# --- until: events ---


async def test_an_event_ends_the_pause(engine):
    async with engine(UNTIL_PUBLISHED) as world:
        await world.declared()
        await world.move("1h")
        await world.document("other")
        assert world.said == ["nudge 1"]
        await world.document("report")
        assert world.said == ["nudge 1", "done true"]


async def test_an_event_that_came_before_the_repeat_was_reached_spares_every_iteration(engine):
    async with engine(UNTIL_PUBLISHED) as world:
        await world.declared()
        await world.document("report")
        await world.move("1h")
        assert world.said == ["done true"]


async def test_an_event_while_an_iteration_goes_on_ends_the_repeat_after_it(engine):
    async with engine("""
steps:
  - id: ladder
    repeat:
      every: 1d
      max: 3
      until: {document.published: event.document.id == "docs:report"}
    steps:
      - wait: 2h
      - uses: chat.post
        with: {text: "${{ iteration }}"}
  - uses: chat.post
    with: {text: "done ${{ steps.ladder.done }}"}
""") as world:
        await world.declared()
        await world.move("1h")
        await world.document("report")
        assert world.said == []
        await world.move("1h")
        assert world.said == ["1", "done true"]


async def test_an_event_during_the_last_iteration_counts_as_done(engine):
    async with engine("""
steps:
  - id: ladder
    repeat: {max: 1, until: incident.acknowledged}
    steps:
      - wait: 2h
  - uses: chat.post
    with: {text: "done ${{ steps.ladder.done }}"}
""") as world:
        await world.declared()
        await world.incident("acknowledged")
        await world.move("2h")
        assert world.said == ["done true"]


async def test_an_event_while_the_process_was_down_ends_the_pause(engine):
    async with engine(UNTIL_PUBLISHED) as world:
        await world.declared()
        await world.move("1h")
        await world.crash()
        state = {"title": "report", "published": True, "content": "x"}
        await world.restart_with(Fact("document.published", world.now, "document", "docs:report", state))
        assert world.said == ["nudge 1", "done true"]


# --- beside other keys ---


async def test_an_if_beside_repeat_is_decided_once(engine):
    async with engine("""
steps:
  - if: incident.severity == "sev1"
    uses: chat.post
    with: {text: hello}
    repeat: {every: 1d, max: 2}
""") as world:
        await world.declared(severity="sev1")
        await world.incident("updated", severity="sev3")
        await world.move("1d")
        assert world.said == ["hello", "hello"]


async def test_an_if_inside_a_repeated_group_is_decided_every_time(engine):
    async with engine("""
steps:
  - repeat: {every: 1d, max: 2}
    steps:
      - if: incident.severity == "sev1"
        uses: chat.post
        with: {text: "${{ iteration }}"}
""") as world:
        await world.declared(severity="sev1")
        await world.incident("updated", severity="sev3")
        await world.move("1d")
        assert world.said == ["1"]
        assert world.state == "finished"


async def test_beside_for_each_every_item_repeats_for_itself(engine):
    async with engine("""
steps:
  - id: each
    for_each: incident.labels
    uses: chat.post
    with: {text: "${{ item }} ${{ iteration }}"}
    repeat: {every: 1d, max: 2, until: iteration == 1 and item == "b"}
  - uses: chat.post
    with: {text: "${{ steps.each.results[0].done }} ${{ steps.each.results[1].done }}"}
""") as world:
        await world.declared(labels=["a", "b"])
        assert world.said == ["a 1", "b 1"]
        await world.move("1d")
        assert world.said == ["a 1", "b 1", "a 2", "false true"]


async def test_a_loop_inside_a_repeat_evaluates_its_list_every_time(engine):
    async with engine("""
steps:
  - repeat: {every: 1d, max: 2}
    steps:
      - for_each: incident.labels
        uses: chat.post
        with: {text: "${{ item }} ${{ iteration }}"}
""") as world:
        await world.declared(labels=["a"])
        await world.incident("updated", labels=["a", "b"])
        await world.move("1d")
        assert world.said == ["a 1", "a 2", "b 2"]


async def test_a_repeat_that_fails_and_goes_on_is_not_done(engine):
    def before(message):
        if message.text == "hello":
            raise ActionError("no")

    async with engine("""
steps:
  - id: nudge
    uses: chat.post
    with: {text: hello}
    repeat: {max: 3}
    continue_on_error: true
  - uses: chat.post
    with: {text: "${{ steps.nudge.failed }} ${{ steps.nudge.done }}"}
""") as world:
        world.chat.before = before
        await world.declared()
        assert world.said == ["true false"]


async def test_an_event_that_ended_a_repeat_is_not_taken_by_a_wait_after_it(engine):
    async with engine("""
steps:
  - uses: chat.post
    with: {text: hello}
    repeat: {every: 1d, max: 2, until: incident.updated}
  - id: pause
    wait: {for: 1d, until: incident.updated}
  - uses: chat.post
    with: {text: "${{ steps.pause.timed_out }}"}
""") as world:
        await world.declared()
        await world.incident("updated", severity="sev2")
        assert world.said == ["hello"]
        await world.move("1d")
        assert world.said == ["hello", "true"]
