"""`wait`, its look back over events, and what wakes it (LANGUAGE 5)."""

from __future__ import annotations

import pytest

from engine.plugins import Fact
from engine.testing import RecordingTickets

THEN = """
  - uses: chat.post
    with: {text: "timed out ${{ steps.pause.timed_out }}, event ${{ steps.pause.event.type }}"}
"""


def waiting(until, head=""):
    """Give a workflow that waits, and says how the wait ended."""
    return f"{head}\nsteps:\n  - id: pause\n    wait: {until}{THEN}"


TIMED_OUT, UPDATED = "timed out true, event ", "timed out false, event incident.updated"


# --- instants ---


async def test_a_duration_ends_at_its_instant_and_not_before(engine):
    async with engine(waiting("2h")) as world:
        await world.declared()
        await world.move("1h")
        await world.move("59m")
        assert world.said == []
        await world.move("1m")
        assert world.said == [TIMED_OUT]


async def test_a_duration_may_be_an_expression(engine):
    async with engine(waiting("${{ event.data.pause }}", head="on: webhook")) as world:
        await world.happens("hooks", Fact("webhook", world.now, data={"pause": "3h"}))
        await world.move("2h")
        assert world.said == []
        await world.move("1h")
        assert world.said == [TIMED_OUT]


async def test_a_duration_that_is_null_fails_the_step_and_names_the_empty_link(engine):
    async with engine(waiting("${{ event.data.pause }}", head="on: webhook")) as world:
        await world.happens("hooks", Fact("webhook", world.now))
        assert world.error == "'for' is null: event.data.pause has no value"


async def test_an_instant_ends_the_wait_when_it_comes(engine):
    async with engine(waiting('{at: "2026-03-02T12:00:00+01:00"}')) as world:  # 11:00 in UTC
        await world.declared()
        await world.move("119m")
        assert world.said == []
        await world.move("1m")
        assert world.said == [TIMED_OUT]


async def test_an_instant_may_be_a_text_of_an_event(engine):
    async with engine(waiting('{at: "${{ event.data.at }}"}', head="on: webhook")) as world:
        await world.happens("hooks", Fact("webhook", world.now, data={"at": "2026-03-02T12:00:00+01:00"}))
        assert world.state == "waiting"
        await world.move("2h")
        assert world.said == [TIMED_OUT]


async def test_an_instant_without_a_zone_fails_the_step(engine):
    async with engine(waiting('{at: "${{ event.data.at }}"}', head="on: webhook")) as world:
        await world.happens("hooks", Fact("webhook", world.now, data={"at": "2026-03-02T12:00:00"}))
        assert world.error == "'at' must be an instant with its zone, not '2026-03-02T12:00:00'"


async def test_an_instant_in_the_past_passes_at_once(engine):
    async with engine(waiting('{at: "2026-03-01T12:00:00+01:00"}')) as world:
        await world.declared()
        assert world.said == [TIMED_OUT]


async def test_an_instant_that_is_null_fails_the_step_and_names_the_empty_link(engine):
    async with engine(waiting('{at: "${{ incident.resolved_at }}"}')) as world:
        await world.declared()
        assert world.error == "'at' is null: incident.resolved_at has no value"


async def test_a_wait_goes_on_after_a_crash_and_ends_at_its_instant(engine):
    async with engine(waiting("1d")) as world:
        await world.declared()
        await world.move("12h")
        await world.crash()
        await world.restart()
        await world.move("11h")
        assert world.said == []
        await world.move("1h")
        assert world.said == [TIMED_OUT]


async def test_a_wait_that_fell_due_while_the_process_was_down_ends_at_the_start(engine):
    async with engine(waiting("1d")) as world:
        await world.declared()
        await world.crash()
        world.clock.move_to(world.now.replace(day=5))
        await world.restart()
        assert world.said == [TIMED_OUT]


# --- until: a condition ---


async def test_a_condition_that_holds_on_arrival_ends_the_wait_at_once(engine):
    async with engine(waiting('{for: 1d, until: incident.severity == "sev1"}')) as world:
        await world.declared(severity="sev1")
        assert world.said == ["timed out false, event "]


async def test_a_condition_is_looked_at_when_the_subject_changes(engine):
    async with engine(waiting('{for: 1d, until: incident.severity == "sev3"}')) as world:
        await world.declared(severity="sev1")
        await world.incident("updated", severity="sev2")
        assert world.said == []
        await world.incident("updated", severity="sev3")
        assert world.said == ["timed out false, event "]


async def test_a_condition_that_never_holds_ends_by_its_time(engine):
    async with engine(waiting('{for: 1d, until: incident.severity == "sev3"}')) as world:
        await world.declared(severity="sev1")
        await world.move("1d")
        assert world.said == [TIMED_OUT]


# --- until: events ---


@pytest.mark.parametrize("until", ["incident.updated", "[incident.resolved, incident.updated]", "{incident.updated: }"])
async def test_an_event_without_a_condition_is_one_about_the_subject(engine, until):
    async with engine(waiting(f"{{for: 1d, until: {until}}}")) as world:
        await world.declared()
        await world.incident("declared", "pager:P2", title="another")
        await world.incident("updated", "pager:P2", severity="sev3")
        assert "event incident.updated" not in world.said[:1]
        await world.incident("updated", severity="sev3")
        assert UPDATED in world.said


async def test_an_event_with_a_condition_ends_the_wait_where_it_holds(engine):
    source = waiting('{for: 1d, until: {document.published: event.document.title == "report"}}')
    async with engine(source) as world:
        await world.declared()
        await world.document("other")
        assert world.said == []
        await world.document("report")
        assert world.said == ["timed out false, event document.published"]


async def test_the_subject_of_an_arriving_event_is_as_it_was_just_after_it(engine):
    source = waiting('{until: {ticket.updated: event.ticket.title == "b"}}')
    async with engine(source) as world:
        await world.ticket("T1", "created", title="a")
        await world.declared()
        await world.crash()
        facts = [Fact("ticket.updated", world.now, "ticket", "tracker:T1", {"title": title}) for title in ("b", "c")]
        await world.restart_with(*facts)
        assert world.said == ["timed out false, event ticket.updated"]


async def test_bare_names_in_a_condition_on_an_event_stay_the_runs_own(engine):
    source = waiting("{until: {incident.updated: event.incident.severity == run.event.incident.severity}}")
    async with engine(source) as world:
        await world.declared(severity="sev1")
        await world.incident("declared", "pager:P2", title="another", severity="sev4")
        await world.incident("updated", "pager:P2", severity="sev2")
        assert UPDATED not in world.said
        await world.incident("updated", "pager:P2", severity="sev1")
        assert UPDATED in world.said


async def test_outputs_hold_the_event(engine):
    source = """
steps:
  - id: pause
    wait: {until: {document.published: event.document.title == "report"}}
  - uses: chat.post
    with: {text: "${{ steps.pause.event.document.id }}"}
"""
    async with engine(source) as world:
        await world.declared()
        await world.document("report")
        assert world.said == ["docs:report"]


# --- looking back ---

LATE = (
    """
steps:
  - wait: 1h
  - id: pause
    wait: {for: 1d, until: %s}
"""
    + THEN
)


async def test_an_event_that_came_before_the_wait_was_reached_ends_it(engine):
    async with engine(LATE % "incident.updated") as world:
        await world.declared()
        await world.incident("updated", severity="sev3")
        await world.move("1h")
        assert world.said == [UPDATED]


async def test_an_event_from_before_the_run_does_not_count(engine):
    async with engine(LATE % '{document.published: event.document.title == "report"}') as world:
        await world.document("report")
        await world.declared()
        await world.move("1h")
        assert world.said == []


async def test_the_event_that_started_the_run_does_not_count(engine):
    async with engine(LATE % "incident.declared") as world:
        await world.declared()
        await world.move("1h")
        assert world.said == []


async def test_an_event_known_when_the_wait_is_decided_wins_even_if_it_is_later_than_due(engine):
    async with engine(waiting("{for: 1h, until: incident.updated}")) as world:
        await world.declared()
        await world.crash()
        world.clock.move_to(world.now.replace(hour=15))
        await world.restart_with(Fact("incident.updated", world.now, "incident", "pager:P1", {"severity": "sev3"}))
        assert world.said == [UPDATED]


async def test_an_event_that_an_earlier_wait_took_is_not_taken_again(engine):
    async with engine(
        """
steps:
  - id: first
    wait: {for: 1d, until: incident.updated}
  - id: pause
    wait: {for: 1d, until: incident.updated}
"""
        + THEN
    ) as world:
        await world.declared()
        await world.incident("updated", severity="sev2")
        assert world.said == []
        await world.incident("updated", severity="sev3")
        assert world.said == [UPDATED]


async def test_a_wait_takes_an_older_event_that_no_earlier_one_took(engine):
    async with engine(
        """
steps:
  - wait: 1h
  - wait: {until: incident.acknowledged}
  - id: pause
    wait: {for: 1d, until: incident.updated}
"""
        + THEN
    ) as world:
        await world.declared()
        await world.incident("updated", severity="sev2")
        await world.incident("acknowledged")
        await world.move("1h")
        assert world.said == [UPDATED]


async def test_every_iteration_of_a_wait_takes_an_event_of_its_own(engine):
    async with engine("""
steps:
  - repeat: {max: 2}
    steps:
      - wait: {until: incident.updated}
      - uses: chat.post
        with: {text: "${{ iteration }}"}
""") as world:
        await world.declared()
        await world.incident("updated", severity="sev2")
        assert world.said == ["1"]
        await world.incident("updated", severity="sev3")
        assert world.said == ["1", "2"]


async def test_what_was_taken_stays_taken_after_a_crash(engine):
    async with engine(
        """
steps:
  - wait: {until: incident.updated}
  - wait: 1h
  - id: pause
    wait: {for: 1d, until: incident.updated}
"""
        + THEN
    ) as world:
        await world.declared()
        await world.incident("updated", severity="sev2")
        await world.crash()
        await world.restart()
        await world.move("2h")
        assert world.said == []
        await world.move("1d")
        assert world.said == [TIMED_OUT]


async def test_items_look_back_each_for_itself(engine):
    async with engine("""
steps:
  - for_each: incident.labels
    steps:
      - wait: {until: incident.updated}
      - uses: chat.post
        with: {text: "${{ item }}"}
""") as world:
        await world.declared(labels=["a", "b"])
        await world.incident("updated", severity="sev2")
        assert world.said == ["a", "b"]


async def test_two_waits_of_one_item_take_two_events(engine):
    async with engine("""
steps:
  - for_each: incident.labels
    steps:
      - wait: {until: incident.updated}
      - wait: {until: incident.updated}
      - uses: chat.post
        with: {text: "${{ item }}"}
""") as world:
        await world.declared(labels=["a", "b"])
        await world.incident("updated", severity="sev2")
        assert world.said == []
        await world.incident("updated", severity="sev3")
        assert world.said == ["a", "b"]


async def test_an_item_does_not_take_what_a_wait_before_the_loop_took(engine):
    async with engine("""
steps:
  - wait: {until: incident.updated}
  - for_each: incident.labels
    steps:
      - wait: {for: 1d, until: incident.updated}
      - uses: chat.post
        with: {text: "${{ item }}"}
""") as world:
        await world.declared(labels=["a"])
        await world.incident("updated", severity="sev2")
        assert world.said == []


# --- what wakes a run ---


async def test_an_equality_with_a_known_value_is_stored_with_the_wait_and_wakes_no_other_run(engine):
    async with engine("""
on: webhook
vars: {ticket: "${{ event.data.ticket }}"}
steps:
  - wait: {until: {ticket.closed: event.ticket.key == vars.ticket and event.ticket.done}}
""") as world:
        await world.ticket("T1", "created")
        await world.ticket("T2", "created")
        for name in ("T1", "T2"):
            await world.happens("hooks", Fact("webhook", world.now, data={"ticket": name}))
        before = updated(world)
        world.clock.move_to(world.now.replace(hour=10))
        await world.ticket("T2", "closed", done=True)
        assert [run["state"] for run in world.runs()] == ["waiting", "finished"]
        assert updated(world)[0] == before[0]


async def test_an_equality_with_what_may_change_meanwhile_is_asked_of_every_event(engine):
    source = waiting("{until: {document.published: event.document.title == incident.severity}}")
    async with engine(source) as world:
        await world.declared(severity="sev1")
        await world.incident("updated", severity="sev3")
        await world.document("sev3")
        assert world.said == ["timed out false, event document.published"]


@pytest.mark.parametrize(("known", "arriving"), [("3", 3.0), ("true", True), ("null", None), ('["a"]', ["a"])])
async def test_an_equality_wakes_whatever_form_the_value_has(engine, known, arriving):
    async with engine(
        f"""
on: webhook
if: event.data.begin
steps:
  - wait: {{until: {{webhook: "event.data.value == {known}"}}}}
""".replace('["a"]', "['a']")
    ) as world:
        await world.happens("hooks", Fact("webhook", world.now, data={"begin": True, "value": "other"}))
        assert world.state == "waiting"
        await world.happens("hooks", Fact("webhook", world.now, data={"begin": False, "value": arriving}))
        assert world.state == "finished"


async def test_a_wait_for_an_instant_in_an_event_is_woken_by_another_spelling(engine):
    async with engine("""
on: webhook
if: event.data.begin
steps:
  - wait: {until: {webhook: "instant(event.data.at) == run.started_at"}}
""") as world:
        await world.happens("hooks", Fact("webhook", world.now, data={"begin": True, "at": "2026-01-01T00:00:00Z"}))
        fact = Fact("webhook", world.now, data={"begin": False, "at": "2026-03-02T10:00:00+01:00"})
        await world.happens("hooks", fact)
        assert world.state == "finished"


async def test_events_about_what_the_run_made_count_from_the_runs_beginning(engine):
    async with engine("""
on: [incident.declared, incident.reopened]
once_per: incident.id
stop_when: incident.severity == "sev4"
steps:
  - id: file
    uses: ticket.create
    with: {title: mend it}
  - wait: 1h
  - id: pause
    wait: {until: {ticket.closed: event.ticket.id == steps.file.id}}
  - uses: chat.post
    with: {text: "round ${{ run.round }}"}
""") as world:
        await world.declared(severity="sev1")
        ticket = world.subjects("ticket")[0]
        await world.happens("local", Fact("ticket.closed", world.now, "ticket", ticket.id, {"done": True}))
        await world.incident("updated", severity="sev4")
        assert world.state == "stopped"
        await world.taken_up(severity="sev1")
        await world.move("1h")
        assert world.said == ["round 2"]


async def test_other_events_from_before_the_round_do_not_count_in_it(engine):
    async with engine("""
on: [incident.declared, incident.reopened]
once_per: incident.id
stop_when: incident.severity == "sev4"
steps:
  - wait: 1h
  - id: pause
    wait: {until: {ticket.closed: event.ticket.key == "T1"}}
  - uses: chat.post
    with: {text: "round ${{ run.round }}"}
""") as world:
        await world.ticket("T1", "created")
        await world.declared(severity="sev1")
        await world.ticket("T1", "closed", done=True)
        await world.incident("updated", severity="sev4")
        await world.taken_up(severity="sev1")
        await world.move("1h")
        assert (world.runs()[0]["round"], world.said) == (2, [])


def updated(world):
    """Give when each run was last brought forward."""
    rows = world.application.reader.execute("SELECT updated FROM runs ORDER BY id").fetchall()
    return [row["updated"] for row in rows]


async def test_what_the_run_made_at_a_vendor_that_says_nothing_of_it_is_known_by_its_result(engine):
    tracker = RecordingTickets()
    async with engine(
        """
on: [incident.declared, incident.reopened]
once_per: incident.id
stop_when: incident.severity == "sev4"
steps:
  - id: file
    uses: ticket.create
    with: {title: mend it}
  - wait: 1h
  - id: pause
    wait: {until: {ticket.closed: event.ticket.id == steps.file.id}}
  - uses: chat.post
    with: {text: "round ${{ run.round }}"}
""",
        providers={"tracker": tracker},
        project="use: {ticket: tracker}\nconnections: {tracker: {provider: local}}\n",
    ) as world:
        await world.declared(severity="sev1")
        await world.ticket("T-1", "closed", done=True)
        await world.incident("updated", severity="sev4")
        await world.taken_up(severity="sev1")
        await world.move("1h")
        assert world.said == ["round 2"]


async def test_an_event_during_the_settle_time_of_the_trigger_does_not_count(engine):
    async with engine(
        """
on: {incident.acknowledged: {for: 1h}}
steps:
  - id: pause
    wait: {for: 1d, until: incident.updated}
"""
        + THEN
    ) as world:
        await world.declared()
        await world.incident("acknowledged")
        await world.incident("updated", severity="sev2")
        await world.move("1h")
        assert (world.state, world.said) == ("waiting", [])
        await world.incident("updated", severity="sev3")
        assert world.said == [UPDATED]
