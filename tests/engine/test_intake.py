"""Accepted means kept, one run per occasion, settle times, and the waking of runs (PROMISES 1.1, 1.2; LANGUAGE 6)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from engine.plugins import Fact, Params, trigger
from engine.store.journal import StorageUnavailable, connect

POST = """
steps:
  - uses: chat.post
    with: {text: "${{ incident.title }}"}
"""


def declared(now, name="P1", **more):
    return Fact("incident.declared", now, "incident", f"pager:{name}", {"title": name}, **more)


# --- accepted means kept ---


async def test_what_was_accepted_before_a_crash_is_matched_after_it(engine):
    async with engine(POST) as world:
        await world.crash()
        await world.restart_with(declared(world.now))
        assert world.said == ["P1"]
        assert world.state == "finished"


async def test_nothing_is_answered_before_it_is_in_the_file(engine):
    async with engine(POST) as world:
        accepted = await world.application.accept("pager", [declared(world.now)])
        reader = connect(world.application.journal.path, readonly=True)
        assert reader.execute("SELECT id FROM events").fetchall()[0]["id"] == accepted.events[0]
        reader.close()


async def test_a_delivery_that_comes_again_changes_nothing(engine):
    async with engine(POST) as world:
        for _ in range(3):
            accepted = await world.application.accept("pager", [declared(world.now, id="d1")])
            await world.settle()
        assert (accepted.events, accepted.duplicates) == ((), 1)
        assert len(world.events()) == len(world.runs()) == 1


async def test_a_delivery_that_comes_again_after_a_crash_changes_nothing(engine):
    async with engine(POST) as world:
        await world.happens("pager", declared(world.now, id="d1"))
        await world.crash()
        await world.restart()
        await world.happens("pager", declared(world.now, id="d1"))
        assert (world.said, world.verdicts("flow")) == (["P1"], ["start"])


async def test_what_is_of_no_use_is_kept_with_the_reason(engine):
    async with engine(POST) as world:
        await world.application.accept("pager", [], ignored="no such kind")
        await world.settle()
        row = world.application.reader.execute("SELECT * FROM events").fetchone()
        assert (row["type"], row["state"], row["reason"]) == ("webhook.ignored", "ignored", "no such kind")


async def test_a_full_disk_refuses_a_delivery_whole_and_takes_it_when_there_is_room(engine):
    async with engine(POST) as world:
        journal = world.application.journal
        pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
        journal._connection.execute(f"PRAGMA max_page_count = {pages}")
        large = declared(world.now, "P2", data={"text": "x" * 200_000})
        with pytest.raises(StorageUnavailable):
            await world.application.accept("pager", [declared(world.now), large])
        assert world.events() == world.subjects("incident") == []
        journal._connection.execute("PRAGMA max_page_count = 1000000")
        await world.happens("pager", declared(world.now), large)
        assert world.said == ["P1", "P2"]


async def test_matching_goes_on_by_itself_when_the_database_can_be_written_again(engine):
    async with engine(f"if: incidents() | length == 1\n{POST}") as world:  # a look-up waits for the commit
        journal = world.application.journal
        journal.patience = 0
        other = connect(journal.path)
        await world.application.accept("pager", [declared(world.now)])
        other.execute("BEGIN IMMEDIATE")
        await world.settle()
        assert world.runs() == []
        other.execute("ROLLBACK")
        other.close()
        await world.move("5s")
        assert world.said == ["P1"]


# --- one trouble does not stop the others ---


class Fragile(Params):
    """Start, or fail.

    Example:
        on:
          incident.declared:
    """


async def test_a_trigger_that_raises_fails_its_own_workflow_alone(engine):
    @trigger("incident.declared", Fragile, subject="incident")
    def fragile(params, event):
        raise RuntimeError("a plugin's bug")

    async with engine(flow=POST, other=POST) as world:
        use = world.application.library.current["flow"].triggers[0]
        object.__setattr__(use, "trigger", fragile)
        await world.declared()
        assert (world.verdicts("flow"), world.verdicts("other")) == (["failed"], ["start"])
        assert (
            "verdict.failed",
            "flow: its condition could not be evaluated: RuntimeError: a plugin's bug",
        ) in world.told


async def test_an_event_that_cannot_be_matched_is_put_aside_and_the_next_ones_are_matched(engine):
    async with engine(POST) as world:
        await world.application.journal.transact(
            lambda cursor: (
                cursor.execute(
                    "INSERT INTO events (uid, type, source, time, received, data, own, depth, private, state)"
                    " VALUES ('evt_x', 'deploy.done', 'ci', 0, 0, 'no JSON', 0, 0, 0, 'new')"
                )
                and None
            )
        )
        world.application.intake.wake()
        await world.declared()
        assert world.said == ["Checkout is slow"]
        row = world.application.reader.execute("SELECT * FROM events WHERE uid = 'evt_x'").fetchone()
        assert row["state"] == "matched"
        assert "could not be matched" in row["reason"]


# --- one run per occasion ---


async def test_an_occasion_starts_one_run_and_the_verdict_says_that_it_already_ran(engine):
    async with engine("on: [incident.declared, incident.updated]\nonce_per: incident.id" + POST) as world:
        await world.declared()
        await world.incident("updated", severity="sev2")
        assert len(world.runs()) == 1
        assert world.verdicts("flow") == ["start", "already_ran"]


async def test_two_values_that_read_alike_together_are_two_occasions(engine):
    async with engine("on: incident.updated\nonce_per: [incident.title, incident.severity]" + POST) as world:
        await world.incident("updated", title="a/b", severity="c")
        await world.incident("updated", title="a", severity="b/c")
        assert len(world.runs()) == 2


TAKEN_UP = """
on: {incident.resolved: {}}
stop_when: incident.open
steps:
  - wait: 1h
  - uses: chat.post
    with: {text: "round ${{ run.round }}"}
"""


async def test_a_run_that_was_stopped_is_taken_up_in_a_new_round(engine):
    async with engine(TAKEN_UP) as world:
        await world.incident("resolved")
        await world.incident("reopened")
        assert world.state == "stopped"
        await world.incident("resolved")
        await world.move("1h")
        assert world.verdicts("flow") == ["start", "taken_up"]
        assert [(run["state"], run["round"]) for run in world.runs()] == [("finished", 2)]
        assert world.said == ["round 2"]


async def test_a_new_round_runs_the_current_version_of_the_file(engine, tmp_path):
    async with engine(TAKEN_UP) as world:
        await world.incident("resolved")
        await world.incident("reopened")
        (tmp_path / "workflows" / "flow.yaml").write_text(TAKEN_UP.replace("round ${{", "newer ${{"))
        await world.application.reload()
        await world.incident("resolved")
        await world.move("1h")
        assert world.said == ["newer 2"]


async def test_a_finished_run_has_spent_its_key(engine):
    async with engine("on: incident.resolved" + POST) as world:
        await world.incident("resolved")
        await world.incident("reopened")
        await world.incident("resolved")
        assert [run["round"] for run in world.runs()] == [1]
        assert world.verdicts("flow") == ["start", "already_ran"]


async def test_a_workflow_whose_stop_when_holds_already_does_not_start(engine):
    async with engine("on: incident.updated\nstop_when: incident.open" + POST) as world:
        await world.incident("updated")
        assert (world.runs(), world.verdicts("flow")) == ([], ["stopped_already"])


# --- settle times ---

SETTLE = """
on: {incident.resolved: {for: 15m}}
if: incident.severity == "sev1"
steps:
  - uses: chat.post
    with: {text: "${{ incident.title }}"}
"""


async def settles(world):
    return world.application.reader.execute("SELECT count(*) FROM waits WHERE kind = 'settle'").fetchone()[0]


async def test_a_settle_time_is_a_row_that_becomes_a_run_when_it_is_due(engine):
    async with engine(SETTLE) as world:
        await world.incident("resolved", title="a", severity="sev1")
        await world.move("899s")
        assert (world.runs(), await settles(world)) == ([], 1)
        await world.move("1s")
        assert (world.said, await settles(world)) == (["a"], 0)
        assert world.verdicts("flow") == ["settling", "start"]


async def test_a_settle_time_counts_from_the_events_own_time(engine):
    async with engine(SETTLE) as world:
        await world.incident("resolved", ago="10m", title="a", severity="sev1")
        await world.move("5m")
        assert world.said == ["a"]


async def test_a_settle_time_is_dropped_when_the_state_is_left_and_begins_anew_on_return(engine):
    async with engine(SETTLE) as world:
        await world.incident("resolved", title="a", severity="sev1")
        await world.move("14m")
        await world.incident("reopened")
        assert await settles(world) == 0
        await world.move("10m")
        await world.incident("resolved")
        await world.move("14m")
        assert world.runs() == []
        await world.move("1m")
        assert world.said == ["a"]


async def test_our_own_accounts_reopening_it_ends_a_settle_time_too(engine):
    async with engine(SETTLE) as world:
        await world.incident("resolved", severity="sev1")
        fact = Fact("incident.reopened", world.now, "incident", "pager:P1", {"status": "declared"}, own=True)
        await world.happens("pager", fact)
        assert await settles(world) == 0


async def test_conditions_are_evaluated_when_the_settle_time_is_over_on_the_state_then(engine):
    async with engine(SETTLE) as world:
        await world.incident("resolved", "pager:P1", title="down", severity="sev1")
        await world.incident("resolved", "pager:P2", title="up", severity="sev3")
        await world.incident("updated", "pager:P1", severity="sev3")
        await world.incident("updated", "pager:P2", severity="sev1")
        await world.move("15m")
        assert world.said == ["up"]


async def test_settle_times_survive_a_restart_and_are_ended_oldest_first(engine):
    async with engine(SETTLE) as world:
        await world.incident("resolved", "pager:late", title="late", severity="sev1")
        await world.incident("resolved", "pager:early", ago="10m", title="early", severity="sev1")
        await world.crash()
        world.clock.move_to(world.now + timedelta(days=1))
        await world.restart()
        assert world.said == ["early", "late"]


async def test_a_settle_time_ends_without_a_run_where_the_workflow_is_off_by_then(engine, tmp_path):
    async with engine(SETTLE) as world:
        await world.incident("resolved", severity="sev1")
        (tmp_path / "workflows" / "flow.yaml").write_text("mode: off\n" + SETTLE)
        await world.application.reload()
        await world.move("15m")
        assert (world.runs(), await settles(world)) == ([], 0)


async def test_a_settle_time_of_a_workflow_that_is_gone_ends_and_says_so(engine, tmp_path):
    async with engine(SETTLE) as world:
        await world.incident("resolved", severity="sev1")
        (tmp_path / "workflows" / "flow.yaml").unlink()
        await world.application.reload()
        await world.move("15m")
        assert (world.runs(), await settles(world)) == ([], 0)
        assert ("verdict.gone", "flow: it no longer listens to incident.resolved") in world.told


async def test_a_word_that_comes_late_about_a_state_that_was_left_since_does_not_settle(engine):
    async with engine(SETTLE) as world:
        await world.incident("declared", ago="1h", severity="sev1")
        await world.incident("updated", ago="1m", severity="sev1", title="b")
        await world.incident("reopened", ago="30s")
        await world.incident("resolved", ago="5m")
        assert await settles(world) == 0
        assert world.verdicts("flow") == ["left"]


async def test_a_word_that_comes_late_ends_no_settle_time_of_a_later_state(engine):
    async with engine(SETTLE) as world:
        await world.incident("resolved", severity="sev1", title="a")
        await world.incident("reopened", ago="5m")
        assert await settles(world) == 1
        await world.move("15m")
        assert world.said == ["a"]


# --- waking ---


async def test_a_change_that_no_trigger_names_is_seen_by_the_runs_about_it(engine):
    async with engine("""
on: ticket.created
steps:
  - wait: {until: ticket.idle < "1h"}
  - uses: chat.post
    with: {text: "touched"}
""") as world:
        old = world.now - timedelta(days=3)
        await world.ticket("T1", "created", created_at=old, active_at=old)
        assert world.said == []
        await world.ticket("T1", active_at=world.now)
        assert world.said == ["touched"]
        assert [event.type for event in world.events()] == ["ticket.created", "ticket.updated"]


async def test_only_the_runs_that_wait_for_an_event_like_it_are_woken(engine):
    async with engine("""
vars: {doc: "${{ incident.url }}"}
steps:
  - wait: {until: {document.published: event.document.id == vars.doc}}
""") as world:
        for number in range(3):
            await world.incident("declared", f"pager:{number}", url=f"docs:{number}")
        before = {run["id"]: run for run in world.runs()}
        loaded = []
        load = world.application.executor._load
        world.application.executor._load = lambda number: loaded.append(number) or load(number)
        await world.document("1")
        assert [before[number]["key"][-1] for number in loaded] == ["1"]
        assert [run["state"] for run in world.runs()] == ["waiting", "finished", "waiting"]
