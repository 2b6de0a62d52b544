from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from engine import reports, wiring
from engine.operations import perform
from engine.plugins import ActionError, ConnectionBroken, Fact, RetryLater
from engine.store.journal import connect
from engine.testing import RecordingChat, World

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SETTLED = """
name: Settled
on: {incident.resolved: {for: 15m}}
if: incident.severity == "sev1"
steps:
  - uses: chat.post
    with: {channel: "#sre", text: "resolved: ${{ incident.title }}"}
"""
DECLARED = """
name: Declared
on: {incident.declared: {}}
steps:
  - id: tell
    uses: chat.post
    with: {channel: "#sre", text: "${{ incident.title }}"}
"""
ASKS = """
name: Asks
on: {incident.declared: {}}
steps:
  - id: ask
    uses: chat.ask
    timeout: 2h
    with: {to: ada, text: "Who takes it?", choices: {me: I do, you: You do}}
  - id: closed
    wait: {for: 3d, until: [incident.resolved]}
"""


def project(folder, **workflows):
    (folder / "workflows").mkdir()
    (folder / "hotwash.yaml").write_text("timezone: Europe/Prague\nowner: ada\npeople: people.yaml\n")
    (folder / "people.yaml").write_text("people: {ada: {name: Ada}, grace: {name: Grace}}\n")
    for name, text in workflows.items():
        write(folder, name, text)
    return folder


def write(folder, name, text):
    (folder / "workflows" / f"{name}.yaml").write_text(text)


@asynccontextmanager
async def running(folder, **workflows):
    chat = RecordingChat()
    project(folder, **workflows)
    async with World(folder, START, wiring.open_application, providers={"console": chat}) as world:
        world.chat = chat
        world.reader = connect(folder / ".hotwash" / "hotwash.db", readonly=True)
        yield world
        world.reader.close()


def explained(world, ref, workflow=None):
    hub = world.application.hub
    return reports.explain_event(world.reader, str(ref), hub.library, hub.lookups(), workflow)


def outcome(world, ref, workflow):
    (found,) = explained(world, ref, workflow)["outcomes"]
    return found


def newest(world, type):
    return reports.list_events(world.reader, type, limit=1)[0]["id"]


# --- runs ---


async def test_runs_are_listed_newest_first_and_narrowed(tmp_path):
    async with running(tmp_path, declared=DECLARED, asks=ASKS) as world:
        await world.incident("declared", title="Slow")
        assert [run["workflow"] for run in reports.list_runs(world.reader)] == ["declared", "asks"]
        assert [run["state"] for run in reports.list_runs(world.reader, workflow="asks")] == ["waiting"]
        assert [run["workflow"] for run in reports.list_runs(world.reader, state="finished")] == ["declared"]
        assert len(reports.list_runs(world.reader, limit=1)) == 1


async def test_a_listed_run_says_what_it_is_about_and_until_when_it_waits(tmp_path):
    async with running(tmp_path, asks=ASKS) as world:
        await world.incident("declared", title="Slow")
        (run,) = reports.list_runs(world.reader)
        assert run["subject"] == {"type": "incident", "id": "pager:P1", "key": "P1", "title": "Slow"}
        assert run["due"] == "2026-03-02T11:00:00+00:00"
        assert run["event"]["type"] == "incident.declared"


async def test_a_run_is_found_by_its_id_the_beginning_of_it_and_its_number(tmp_path):
    async with running(tmp_path, declared=DECLARED) as world:
        await world.incident("declared", title="Slow")
        uid = world.runs()[0]["uid"]
        for ref in (uid, uid[:-3], uid.removeprefix("run_"), "1", "#1"):
            assert reports.show_run(world.reader, ref)["id"] == uid


@pytest.mark.parametrize("ref", ["run_zz", "", "run_", "12345678", "%"])
async def test_a_run_that_is_not_there_is_not_found(tmp_path, ref):
    async with running(tmp_path, declared=DECLARED) as world:
        await world.incident("declared", title="Slow")
        with pytest.raises(reports.NotFound):
            reports.show_run(world.reader, ref)


async def test_a_beginning_that_several_runs_have_names_them(tmp_path):
    async with running(tmp_path, declared=DECLARED) as world:
        for number in range(17):
            await world.incident("declared", f"pager:P{number}", title="Slow")
        uids = [run["uid"].removeprefix("run_") for run in world.runs()]
        shared = next(uid[0] for uid in uids if sum(other[0] == uid[0] for other in uids) > 1)
        if shared.isdigit():
            shared = f"run_{shared}"
        with pytest.raises(reports.Ambiguous, match=r"several runs are called 'run_.*': run_"):
            reports.show_run(world.reader, shared)


async def test_a_runs_history_has_its_records_and_effects_and_is_json(tmp_path):
    async with running(tmp_path, declared=DECLARED) as world:
        await world.incident("declared", title="Slow")
        run = json.loads(json.dumps(reports.show_run(world.reader, "1")))
        kinds = [(record["path"], record["kind"]) for record in run["history"]]
        assert kinds[-3:] == [("tell", "intent"), ("tell", "done"), ("", "ended")]
        (effect,) = run["effects"]
        assert (effect["action"], effect["class"], effect["state"]) == ("chat.post", "at_most_once", "done")
        assert effect["inputs"] == {"channel": "#sre", "text": "Slow"}
        assert effect["result"]["url"] == "https://chat.invalid/1"


async def test_a_waiting_run_names_the_instant_and_the_event_it_waits_for(tmp_path):
    async with running(tmp_path, asks=ASKS) as world:
        await world.incident("declared", title="Slow")
        await world.answer("me", "ada")
        waits = reports.show_run(world.reader, "1")["waits"]
        assert [(wait["kind"], wait["due"], wait["event"]) for wait in waits] == [
            ("timer", "2026-03-05T09:00:00+00:00", None),
            ("event", None, "incident.resolved"),
        ]
        assert waits[1]["value"] == "pager:P1"


async def test_a_failed_attempt_shows_why_and_when_the_next_one_is(tmp_path):
    async with running(tmp_path, declared=DECLARED) as world:
        world.chat.before = raising(RetryLater("503", after=120))
        await world.incident("declared", title="Slow")
        run = reports.show_run(world.reader, "1")
        assert run["history"][-1]["data"]["error"]["message"] == "503"
        assert run["waits"][0]["due"] == "2026-03-02T09:02:00+00:00"


async def test_a_long_text_in_a_run_is_cut(tmp_path):
    async with running(tmp_path, declared=DECLARED) as world:
        await world.incident("declared", title="x" * 5000)
        assert len(reports.show_run(world.reader, "1")["effects"][0]["inputs"]["text"]) == 200


def raising(error):
    def before(_message):
        raise error

    return before


# --- events ---


async def test_events_are_narrowed_by_type_kind_and_subject(tmp_path):
    async with running(tmp_path, declared=DECLARED) as world:
        await world.incident("declared", "pager:P1", title="Slow")
        await world.incident("acknowledged", "pager:P1")
        await world.incident("declared", "pager:P2", title="Down")
        assert len(reports.list_events(world.reader, "incident.declared")) == 2
        assert len(reports.list_events(world.reader, "incident")) == 3
        assert reports.list_events(world.reader, "incid") == []
        assert [event["type"] for event in reports.list_events(world.reader, subject="P1")] == [
            "incident.acknowledged",
            "incident.declared",
        ]


async def test_an_event_shows_what_changed_and_what_it_started(tmp_path):
    async with running(tmp_path, declared=DECLARED) as world:
        await world.incident("declared", title="Slow", severity="sev3")
        await world.incident("updated", severity="sev1")
        first = reports.show_event(world.reader, "1")
        assert [(one["what"], one["workflow"], one["state"]) for one in first["runs"]] == [
            ("started", "declared", "finished")
        ]
        assert first["first_sight"]
        changed = reports.show_event(world.reader, newest(world, "incident.updated"))["changes"]
        assert changed == [{"field": "severity", "before": "sev3", "after": "sev1"}]


async def test_an_event_names_the_runs_it_woke(tmp_path):
    async with running(tmp_path, asks=ASKS) as world:
        await world.incident("declared", title="Slow")
        await world.answer("me", "ada")
        answered = reports.show_event(world.reader, newest(world, "chat.answered"))
        assert [(one["what"], one["path"]) for one in answered["runs"]] == [("woken", "ask")]
        await world.move("1h")
        await world.incident("resolved")
        resolved = reports.show_event(world.reader, newest(world, "incident.resolved"))
        assert [(one["what"], one["path"], one["state"]) for one in resolved["runs"]] == [
            ("woken", "closed", "finished")
        ]


async def test_an_event_names_the_runs_that_it_stopped(tmp_path):
    async with running(
        tmp_path, asks=ASKS.replace("steps:", 'stop_when: incident.severity == "sev4"\nsteps:')
    ) as world:
        await world.incident("declared", title="Slow", severity="sev1")
        await world.incident("acknowledged")
        await world.move("1m")
        await world.incident("updated", severity="sev4")
        seen = {
            event["type"]: reports.show_event(world.reader, event["id"]) for event in reports.list_events(world.reader)
        }
        assert [one["what"] for one in seen["incident.updated"]["runs"]] == ["stopped"]
        assert seen["incident.acknowledged"]["runs"] == []


async def test_an_event_that_a_run_caused_names_the_run(tmp_path):
    async with running(tmp_path, declared=DECLARED) as world:
        world.chat.before = raising(ActionError("no such channel"))
        await world.incident("declared", title="Slow")
        cause = reports.show_event(world.reader, newest(world, "workflow.failed"))["caused_by"]
        assert (cause["run"], cause["workflow"]) == (world.runs()[0]["uid"], "declared")


# --- why, and why not ---


async def test_a_workflow_that_started_is_told_with_its_run(tmp_path):
    async with running(tmp_path, declared=DECLARED) as world:
        await world.incident("declared", title="Slow")
        found = outcome(world, 1, "declared")
        assert (found["kind"], found["computed"], found["run"]["state"]) == ("start", False, "finished")
        assert found["run"]["id"] == world.runs()[0]["uid"]


async def test_a_false_condition_without_a_row_is_computed_and_says_so(tmp_path):
    text = DECLARED.replace("steps:", 'if: not incident.drill and incident.severity == "sev1"\nsteps:')
    async with running(tmp_path, declared=text) as world:
        await world.incident("declared", title="Slow", severity="sev3")
        assert world.verdicts() == []
        found = outcome(world, 1, "declared")
        assert (found["kind"], found["computed"]) == ("condition_false", True)
        assert "false at: incident.severity == \"sev1\"  (incident.severity was 'sev3')" in found["sentence"]
        assert "computed" in found["sentence"]


async def test_a_null_in_a_false_condition_is_named(tmp_path):
    async with running(tmp_path, declared=DECLARED.replace("steps:", 'if: incident.team == "sre"\nsteps:')) as world:
        await world.incident("declared", title="Slow")
        assert "empty: incident.team" in outcome(world, 1, "declared")["sentence"]


async def test_a_condition_is_computed_on_the_subject_as_it_was_and_not_as_it_is(tmp_path):
    async with running(
        tmp_path, declared=DECLARED.replace("steps:", 'if: incident.severity == "sev1"\nsteps:')
    ) as world:
        await world.incident("declared", title="Slow", severity="sev3")
        await world.incident("updated", severity="sev1")
        assert outcome(world, 1, "declared")["kind"] == "condition_false"


async def test_a_condition_is_computed_with_the_version_that_was_listening(tmp_path):
    async with running(
        tmp_path, declared=DECLARED.replace("steps:", 'if: incident.severity == "sev1"\nsteps:')
    ) as world:
        await world.incident("declared", title="Slow", severity="sev3")
        write(tmp_path, "declared", DECLARED.replace("steps:", 'if: incident.severity == "sev2"\nsteps:'))
        await world.restart()
        world.application.library._versions.clear()
        assert 'severity == "sev1"' in outcome(world, 1, "declared")["sentence"]


async def test_a_version_that_no_longer_compiles_is_said_to_be_unreadable(tmp_path):
    text = DECLARED.replace("steps:", 'if: person("grace") == null\nsteps:')
    async with running(tmp_path, declared=text) as world:
        await world.incident("declared", title="Slow")
        write(tmp_path, "declared", DECLARED)
        (tmp_path / "people.yaml").write_text("people: {ada: {name: Ada}}\n")
        await world.restart()
        found = outcome(world, 1, "declared")
        assert (found["kind"], "cannot be read any more" in found["sentence"]) == ("unknown", True)


async def test_a_condition_that_used_a_lookup_is_told_as_it_was_written_down(tmp_path):
    text = DECLARED.replace("steps:", "if: incidents() | length > 5\nsteps:")
    async with running(tmp_path, declared=text) as world:
        await world.incident("declared", title="Slow")
        found = outcome(world, 1, "declared")
        assert (found["kind"], found["computed"]) == ("condition_false", False)


async def test_a_settle_time_is_told_with_its_end_while_it_lasts(tmp_path):
    async with running(tmp_path, settled=SETTLED) as world:
        await world.incident("resolved", title="Slow", severity="sev1")
        found = outcome(world, 1, "settled")
        assert (found["kind"], found["until"]) == ("settling", "2026-03-02T09:15:00+00:00")


async def test_after_a_settle_time_what_was_decided_then_counts_and_both_are_told(tmp_path):
    async with running(tmp_path, settled=SETTLED) as world:
        await world.incident("resolved", title="Slow", severity="sev1")
        await world.move("15m")
        found = outcome(world, 1, "settled")
        assert found["kind"] == "start"
        assert [(one["kind"], one["at"]) for one in found["history"]] == [
            ("settling", "2026-03-02T09:00:00+00:00"),
            ("start", "2026-03-02T09:15:00+00:00"),
        ]


async def test_a_condition_that_was_false_after_a_settle_time_is_computed_on_the_state_then(tmp_path):
    async with running(tmp_path, settled=SETTLED) as world:
        await world.incident("resolved", title="Slow", severity="sev1")
        await world.move("5m")
        await world.incident("updated", severity="sev2")
        await world.move("20m")
        await world.incident("updated", severity="sev1")
        found = outcome(world, 1, "settled")
        assert (found["kind"], found["computed"], found["at"]) == ("condition_false", True, "2026-03-02T09:15:00+00:00")
        assert "incident.severity was 'sev2'" in found["sentence"]


async def test_a_settle_time_that_was_left_names_the_event_that_left_it(tmp_path):
    async with running(tmp_path, settled=SETTLED) as world:
        await world.incident("resolved", title="Slow", severity="sev3")
        await world.move("5m")
        await world.incident("reopened")
        await world.move("1h")
        found = outcome(world, 1, "settled")
        assert (found["kind"], found["at"]) == ("left", "2026-03-02T09:05:00+00:00")
        assert newest(world, "incident.reopened") in found["sentence"]


async def test_a_settle_time_that_is_over_unseen_is_late(tmp_path):
    async with running(tmp_path, settled=SETTLED) as world:
        await world.incident("resolved", title="Slow", severity="sev1")
        hub = world.application.hub
        later = hub.lookups()
        later.now += timedelta(hours=1)
        (found,) = reports.explain_event(world.reader, "1", hub.library, later)["outcomes"]
        assert found["kind"] == "late"


async def test_a_workflow_that_is_off_or_asks_for_other_inputs_says_so(tmp_path):
    other = "name: Other\non: {document.published: {template: postmortem}}\nsteps: [{finish: done}]\n"
    fields = {"title": "Notes", "template": "notes", "published": True}
    async with running(tmp_path, off=DECLARED.replace("on:", "mode: off\non:"), other=other) as world:
        await world.incident("declared", title="Slow")
        await world.happens("markdown", Fact("document.published", world.now, "document", "markdown:d1", fields))
        assert outcome(world, 1, "off")["kind"] == "off"
        found = outcome(world, 2, "other")
        assert (found["kind"], '(template: "postmortem")' in found["sentence"]) == ("inputs_differ", True)


async def test_what_our_own_account_did_says_so(tmp_path):
    async with running(tmp_path, declared=DECLARED) as world:
        await world.happens(
            "pager", Fact("incident.declared", world.now, "incident", "pager:P1", {"title": "x"}, own=True)
        )
        assert outcome(world, 1, "declared")["kind"] == "own"


async def test_the_second_event_of_a_key_already_ran_and_a_stopped_run_is_taken_up(tmp_path):
    text = DECLARED.replace("incident.declared", "incident.resolved")
    stops = text.replace("steps:", "stop_when: incident.open\nsteps:\n  - wait: 1d")
    async with running(tmp_path, again=text, stops=stops) as world:
        for name in ("resolved", "reopened", "resolved"):
            await world.incident(name, title="Slow")
            await world.move("1m")
        last = newest(world, "incident.resolved")
        assert outcome(world, last, "again")["kind"] == "already_ran"
        assert outcome(world, last, "stops")["kind"] == "taken_up"


async def test_a_workflow_that_listens_to_something_else_names_what(tmp_path):
    async with running(tmp_path, settled=SETTLED, declared=DECLARED) as world:
        await world.incident("declared", title="Slow")
        found = explained(world, 1)
        assert [one["workflow"] for one in found["outcomes"]] == ["declared"]
        (other,) = found["not_listening"]
        assert other["sentence"] == "listens to incident.resolved, not to incident.declared"


async def test_a_workflow_that_came_later_did_not_listen_then(tmp_path):
    async with running(tmp_path, declared=DECLARED) as world:
        await world.incident("declared", title="Slow")
        write(tmp_path, "newcomer", DECLARED)
        await world.application.reload()
        (other,) = explained(world, 1)["not_listening"]
        assert (other["workflow"], "did not when the event came in" in other["sentence"]) == ("newcomer", True)


async def test_an_event_that_was_ignored_says_why_nobody_was_asked(tmp_path):
    async with running(tmp_path, declared=DECLARED) as world:
        await world.incident("declared", title="Slow")
        await world.incident("updated")
        found = explained(world, 2)
        assert (found["outcomes"], found["note"]) == ([], "no workflow was asked about it: the state was this already")


async def test_an_event_of_a_check_is_for_the_workflow_it_was_made_for(tmp_path):
    daily = "name: Daily\non: {schedule: {cron: '0 12 * * *'}}\nsteps: [{finish: done}]\n"
    async with running(tmp_path, noon=daily, night=daily.replace("0 12", "0 23")) as world:
        await world.move("8h")
        assert outcome(world, 1, "noon")["kind"] == "start"
        found = outcome(world, 1, "night")
        assert (found["kind"], "'noon' alone" in found["sentence"]) == ("elsewhere", True)


async def test_explaining_writes_nothing(tmp_path):
    async with running(tmp_path, declared=DECLARED) as world:
        await world.incident("declared", title="Slow")
        explained(world, 1)
        reports.show_run(world.reader, "1")
        reports.status(world.reader, world.now)
        assert world.reader.total_changes == 0


# --- how things stand ---


async def test_status_counts_runs_and_names_what_is_due_next(tmp_path):
    async with running(tmp_path, declared=DECLARED, asks=ASKS, settled=SETTLED) as world:
        await world.incident("declared", title="Slow")
        await world.incident("resolved", "pager:P2", title="Down")
        found = reports.status(world.reader, world.now)
        assert (found["runs"]["waiting"], found["runs"]["finished"], found["late"]) == (1, 1, [])
        assert [(one["workflow"], one["due"][11:16]) for one in found["next"]] == [
            ("settled", "09:15"),
            ("asks", "11:00"),
        ]
        assert [one["source"] for one in found["sources"]] == ["pager"]


async def test_what_is_due_for_more_than_a_minute_is_late(tmp_path):
    async with running(tmp_path, asks=ASKS) as world:
        await world.incident("declared", title="Slow")
        due = START + timedelta(hours=2)
        assert reports.status(world.reader, due + timedelta(seconds=59))["late"] == []
        found = reports.status(world.reader, due + timedelta(seconds=60))
        assert ([one["path"] for one in found["late"]], found["late_count"]) == (["ask"], 1)


async def test_an_effect_in_doubt_needs_a_decision(tmp_path):
    async with running(tmp_path, declared=DECLARED) as world:
        world.chat.before = raising(RetryLater("timed out", maybe_done=True))
        await world.incident("declared", title="Slow")
        (parked,) = reports.status(world.reader, world.now)["needs_decision"]
        assert (parked["path"], parked["action"], parked["inputs"]["text"]) == ("tell", "chat.post", "Slow")


async def test_a_connection_that_refuses_us_is_held_with_its_reason(tmp_path):
    async with running(tmp_path, declared=DECLARED) as world:
        world.chat.before = raising(ConnectionBroken("401: the token was revoked"))
        await world.incident("declared", title="Slow")
        found = reports.status(
            world.reader, world.now, connections={"pager": "PAGER_SECRET is not set", "console": None}
        )
        assert [(one["connection"], one["state"], one["why"]) for one in found["connections"]] == [
            ("pager", "disabled", "PAGER_SECRET is not set"),
            ("console", "held", "401: the token was revoked"),
        ]


async def test_a_failed_run_is_told_for_seven_days(tmp_path):
    async with running(tmp_path, declared=DECLARED) as world:
        world.chat.before = raising(ActionError("no such channel"))
        await world.incident("declared", title="Slow")
        (failed,) = reports.status(world.reader, START + timedelta(days=7))["failed"]
        assert failed["error"]["message"] == "no such channel"
        assert reports.status(world.reader, START + timedelta(days=7, seconds=1))["failed"] == []


async def test_a_question_is_open_until_it_is_answered(tmp_path):
    async with running(tmp_path, asks=ASKS) as world:
        await world.incident("declared", title="Slow")
        (question,) = reports.status(world.reader, world.now)["questions"]
        assert (question["to"], question["text"], list(question["choices"])) == ("ada", "Who takes it?", ["me", "you"])
        await world.answer("me", "ada")
        assert reports.status(world.reader, world.now)["questions"] == []


CALLED = "name: Called\ninputs: {n: {type: number}}\nsteps:\n  - wait: 3d\n"
CALLS = "name: Calls\non: incident.declared\nsteps:\n  - uses: workflow.called\n    with: {n: 1}\n"


async def test_a_workflow_that_is_called_is_no_question(tmp_path):
    async with running(tmp_path, calls=CALLS, called=CALLED) as world:
        await world.incident("declared", title="Slow")
        assert len(world.runs("called")) == 1
        assert reports.status(world.reader, world.now)["questions"] == []


# --- what is held ---

LATER = DECLARED.replace("name: Declared", "during: recipient")
OPENS = "2026-03-03T08:00:00+00:00"  # nine in the morning, in Prague
CLOSED = "outside the hours of calendar 'default'"


async def test_what_is_held_is_told_with_until_when_and_why(tmp_path):
    async with running(tmp_path, later=LATER) as world:
        await world.move("9h")
        await world.incident("declared", title="Slow")
        told = {"path": "tell", "until": OPENS, "code": "closed", "why": CLOSED}
        assert reports.show_run(world.reader, "#1")["held"] == [told]
        found = reports.status(world.reader, world.now)
        assert found["held_count"] == 1
        assert [(one["path"], one["until"], one["reason"]) for one in found["held"]] == [("tell", OPENS, CLOSED)]
        (outcome,) = explained(world, "#1")["outcomes"]
        assert outcome["run"]["held"] == [told]
        await world.move("15h")
        assert reports.show_run(world.reader, "#1")["held"] == []


async def test_status_tells_of_pauses_and_of_what_they_hold(tmp_path):
    async with running(tmp_path, declared=DECLARED) as world:
        await perform(world.application, "pause", {}, "ada")
        await perform(world.application, "pause", {"workflow": "declared"}, "grace")
        await world.incident("declared", title="Slow")
        found = reports.status(world.reader, world.now)
        at = START.isoformat()
        assert found["paused"] == [
            {"workflow": None, "since": at, "by": "Ada"},
            {"workflow": "declared", "since": at, "by": "Grace"},
        ]
        assert [(one["until"], one["reason"]) for one in found["held"]] == [(None, "everything is paused by Ada")]
        assert [wait["kind"] for wait in reports.show_run(world.reader, "#1")["waits"]] == ["pause"]


DIGEST = """
on: incident.declared
steps:
  - uses: chat.nudge
    with: {to: ada, text: hello, digest: {window: 4h}}
  - uses: chat.post
    with: {channel: "#sre", text: hello, digest: {window: 1d}}
"""


async def test_status_says_how_many_messages_wait_for_whom_and_until_when(tmp_path):
    async with running(tmp_path, declared=DIGEST) as world:
        for name in "ab":
            await world.incident("declared", f"pager:{name}", title="Slow")
        found = reports.status(world.reader, world.now)["digests"]
        whom = [(one["person"], one["channel"], one["connection"], one["messages"], one["due"]) for one in found]
        until = [(START + timedelta(hours=hours)).isoformat() for hours in (24, 4)]
        assert whom == [(None, "#sre", "console", 2, until[0]), ("ada", None, "console", 2, until[1])]
        await world.move("4h")
        assert [one["channel"] for one in reports.status(world.reader, world.now)["digests"]] == ["#sre"]


async def test_status_names_the_digest_that_is_held(tmp_path):
    async with running(tmp_path, declared=DIGEST) as world:
        await world.incident("declared", "pager:a", title="Slow")
        await perform(world.application, "pause", {}, "ada")
        await world.move("5h")
        told = next(one for one in reports.status(world.reader, world.now)["digests"] if one["person"] == "ada")
        assert (told["run"], told["due"]) == (world.runs("hotwash.digest")[0]["uid"], None)
