"""Order, ids, variables, conditions, null inputs, `finish` (LANGUAGE 2 and 5)."""

from __future__ import annotations

from engine.plugins import RetryLater


async def test_steps_run_in_order(engine):
    async with engine("""
steps:
  - uses: chat.post
    with: {text: first}
  - uses: chat.post
    with: {text: second}
""") as world:
        await world.declared()
        assert world.said == ["first", "second"]
        assert world.state == "finished"


async def test_a_step_without_id_is_called_by_its_action_and_count(engine):
    async with engine("""
steps:
  - uses: chat.post
    with: {text: one}
  - steps:
      - uses: chat.nudge
        with: {to: ada, text: two}
      - uses: chat.post
        with: {text: three}
""") as world:
        await world.declared()
        key = world.runs()[0]["key"]
        ids = [effect["identity"].removeprefix(f"flow/{key}/1/") for effect in world.effects()]
        assert ids == ["chat.post#1", "chat.nudge#1", "chat.post#2"]


async def test_outputs_of_a_step_are_read_by_those_after_it(engine):
    async with engine("""
steps:
  - id: first
    uses: chat.post
    with: {text: hello}
  - uses: chat.post
    with: {text: "${{ steps.first.url }} ${{ steps.first.failed }}"}
""") as world:
        await world.declared()
        assert world.said[-1] == "https://chat.invalid/1 false"


# --- vars ---


async def test_vars_are_evaluated_in_order_and_later_ones_read_earlier_ones(engine):
    async with engine("""
vars:
  who: ${{ person("ada") }}
  greeting: "Dear ${{ vars.who.name }}"
steps:
  - uses: chat.post
    with: {text: "${{ vars.greeting }}"}
""") as world:
        await world.declared()
        assert world.said == ["Dear Ada"]


async def test_vars_keep_their_value_after_the_world_changed_and_a_restart(engine):
    async with engine("""
vars:
  before: ${{ incident.severity }}
steps:
  - wait: 1d
  - uses: chat.post
    with: {text: "${{ vars.before }} ${{ incident.severity }}"}
""") as world:
        await world.declared(severity="sev1")
        await world.incident("updated", severity="sev3")
        await world.crash()
        await world.restart()
        await world.move("1d")
        assert world.said == ["sev1 sev3"]


async def test_a_variable_that_cannot_be_evaluated_fails_the_run(engine):
    async with engine("""
vars:
  far: ${{ event.data.when | length }}
  wrong: ${{ instant(incident.title) }}
steps:
  - uses: chat.post
    with: {text: hello}
""") as world:
        await world.declared()
        assert world.state == "failed"
        assert world.runs()[0]["error"]["step"] == "vars"


# --- if ---


async def test_a_step_whose_if_is_false_does_not_run_and_its_outputs_are_null(engine):
    async with engine("""
steps:
  - id: skipped
    if: incident.severity == "sev9"
    uses: chat.post
    with: {text: never}
  - uses: chat.post
    with: {text: "${{ steps.skipped.url == null }}"}
""") as world:
        await world.declared()
        assert world.said == ["true"]


async def test_an_if_is_decided_once_although_the_world_changes_while_the_effect_is_retried(engine):
    async with engine("""
steps:
  - if: incident.severity == "sev1"
    uses: chat.post
    with: {text: hello}
""") as world:
        world.chat.before = _fails(1)
        await world.declared(severity="sev1")
        await world.incident("updated", severity="sev3")
        await world.move("1m")
        assert world.said == ["hello"]


async def test_what_an_if_gave_is_recorded_with_the_part_that_was_false(engine):
    async with engine("""
steps:
  - if: incident.open and incident.roles.commander.name == "Ada"
    uses: chat.post
    with: {text: hello}
""") as world:
        await world.declared()
        row = world.application.reader.execute("SELECT data FROM steps WHERE kind = 'decided'").fetchone()
        assert '"value":false' in row["data"]
        assert "incident.roles.commander" in row["data"]


async def test_the_if_of_a_group_is_not_looked_at_again_inside(engine):
    async with engine("""
steps:
  - if: incident.severity == "sev1"
    steps:
      - wait: 1h
      - uses: chat.post
        with: {text: still here}
""") as world:
        await world.declared(severity="sev1")
        await world.incident("updated", severity="sev3")
        await world.move("1h")
        assert world.said == ["still here"]


async def test_else_runs_where_the_if_of_a_group_is_false(engine):
    async with engine("""
steps:
  - if: incident.severity == "sev9"
    steps:
      - uses: chat.post
        with: {text: "yes"}
    else:
      - id: other
        uses: chat.post
        with: {text: "no"}
  - uses: chat.post
    with: {text: "${{ steps.other.url }}"}
""") as world:
        await world.declared()
        assert world.said == ["no", "https://chat.invalid/1"]


async def test_an_if_that_is_no_condition_fails_the_step(engine):
    async with engine("""
steps:
  - if: event.data.anything or incident.title
    uses: chat.post
    with: {text: hello}
""") as world:
        await world.declared()
        assert world.state == "failed"
        assert "true or false" in world.error


# --- null ---


async def test_null_for_a_required_input_fails_at_once_and_names_the_empty_link(engine):
    async with engine("""
steps:
  - uses: chat.nudge
    with: {to: "${{ incident.roles.commander.manager }}", text: hello}
""") as world:
        await world.declared()
        assert world.state == "failed"
        assert world.error == "'to' is null: incident.roles.commander has no value"
        assert world.chat.to("ada") == []


async def test_every_empty_link_of_a_choice_is_named(engine):
    async with engine("""
steps:
  - uses: chat.nudge
    with: {to: "${{ incident.roles.commander or team(incident.team).lead }}", text: hello}
""") as world:
        await world.declared()
        assert "incident.roles.commander and " in world.error
        assert world.error.endswith("have no value")


async def test_null_for_an_optional_input_leaves_it_out(engine):
    async with engine("""
steps:
  - uses: chat.post
    with: {channel: "${{ incident.channel }}", text: hello}
""") as world:
        await world.declared()
        assert world.chat.to("#default") == ["hello"]


# --- inputs ---


async def test_inputs_are_rendered_once_and_a_retry_sends_the_stored_ones(engine):
    async with engine("""
steps:
  - uses: chat.post
    with: {text: "${{ incident.severity }}"}
""") as world:
        world.chat.before = _fails(1)
        await world.declared(severity="sev1")
        await world.incident("updated", severity="sev3")
        await world.crash()
        await world.restart()
        await world.move("1m")
        assert world.said == ["sev1"]


# --- finish ---


async def test_finish_ends_the_run_as_finished_with_its_reason(engine):
    async with engine("""
steps:
  - if: incident.drill
    finish: "no need for ${{ incident.title }}"
  - uses: chat.post
    with: {text: never}
""") as world:
        await world.declared(drill=True)
        assert world.said == []
        assert (world.state, world.runs()[0]["reason"]) == ("finished", "no need for Checkout is slow")


async def test_finish_as_failed_fails_the_run_and_runs_on_failure(engine):
    async with engine("""
steps:
  - finish: {as: failed, reason: nobody is there}
on_failure:
  - uses: chat.post
    with: {text: "${{ run.error.message }}"}
""") as world:
        await world.declared()
        assert world.state == "failed"
        assert world.said[0] == "nobody is there"


async def test_a_reason_that_is_a_person_is_rendered_by_name(engine):
    async with engine("""
steps:
  - finish: ${{ person("ada") }}
""") as world:
        await world.declared()
        assert world.runs()[0]["reason"] == "Ada"


async def test_finish_inside_a_group_ends_the_run(engine):
    async with engine("""
steps:
  - steps:
      - finish: enough
  - uses: chat.post
    with: {text: never}
""") as world:
        await world.declared()
        assert (world.state, world.said) == ("finished", [])


async def test_a_finished_run_has_spent_its_key(engine):
    async with engine("""
stop_when: incident.severity == "sev9"
once_per: incident.id
steps:
  - finish: done
""") as world:
        await world.declared()
        await world.incident("resolved")
        await world.incident("reopened")
        assert len(world.runs()) == 1
        assert world.runs()[0]["round"] == 1


def _fails(times, message="busy"):
    """Give what makes the first sendings fail in a way that may pass."""
    left = [times]

    def before(_sent):
        if left[0]:
            left[0] -= 1
            raise RetryLater(message)

    return before


async def test_a_time_in_a_message_to_one_person_is_shown_in_their_zone(engine):
    async with engine("""
steps:
  - {uses: chat.nudge, with: {to: ada, text: "${{ now() | local }}"}}
  - {uses: chat.nudge, with: {to: grace, text: "${{ now() | local }} and ${{ now() | local('Asia/Tokyo') }}"}}
  - {uses: chat.ask, with: {to: ["${{ person('grace') }}", ada], text: "${{ now() | local }}", choices: {fine: "Fine"}}}
""") as world:
        people = (world.folder / "people.yaml").read_text("utf-8")
        (world.folder / "people.yaml").write_text(
            people.replace("name: Grace,", "name: Grace, timezone: America/New_York,")
        )
        await world.restart()
        await world.declared()
        assert world.said == [
            "Mon 2 Mar 2026 09:00 UTC",
            "Mon 2 Mar 2026 04:00 EST and Mon 2 Mar 2026 18:00 JST",
            "Mon 2 Mar 2026 09:00 UTC",
        ]
