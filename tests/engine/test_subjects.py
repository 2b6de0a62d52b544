"""The state of a subject: transitions, order, first sight, who owns which field (PROMISES, "State of a subject")."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engine import subjects
from engine.domain import SUBJECTS, Entry, Person
from engine.plugins import Fact
from engine.store import schema
from engine.store.codec import decode
from engine.store.journal import Direct, connect
from engine.store.lookups import subject_of

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ADA = Person("ada", "Ada")
GRACE = Person("grace", "Grace")


@dataclass
class Store:
    """A database in which facts are recorded; `now` is a minute after each by default."""

    cursor: Any

    def say(self, type, minute=0, subject="pager:P1", *, received=None, connection="pager", **more):
        kind = more.pop("subject_type", type.partition(".")[0])
        fields = more.pop("fields", {})
        cause = more.pop("cause", subjects.Cause())
        at = NOON + timedelta(minutes=minute)
        fact = Fact(type, at, kind, subject, fields, **more)
        return subjects.record(self.cursor, connection, fact, received or at + timedelta(seconds=1), cause)

    def events(self, *states):
        """Give the types of the events, oldest first; those that are matched unless told otherwise."""
        rows = self.cursor.execute("SELECT type, state FROM events ORDER BY id").fetchall()
        return [row["type"] for row in rows if row["state"] in (states or ("new",))]

    def row(self, column):
        return self.cursor.execute(f"SELECT {column} FROM subjects").fetchone()[0]

    @property
    def state(self):
        return decode(json.loads(self.row("state")))

    @property
    def last(self):
        return self.cursor.execute("SELECT * FROM events ORDER BY id DESC LIMIT 1").fetchone()


@pytest.fixture
def store(tmp_path):
    schema.prepare(tmp_path / "test.db")
    with closing(connect(tmp_path / "test.db")) as connection:
        yield Store(connection.cursor(Direct))


# --- transitions ---

INCIDENT = {"declared": {"status": "declared"}, "acknowledged": {"status": "acknowledged"}}
INCIDENT |= {"mitigated": {"status": "mitigated"}, "resolved": {"status": "resolved"}}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("declared", "acknowledged", "incident.acknowledged"),
        ("declared", "mitigated", "incident.mitigated"),
        ("declared", "resolved", "incident.resolved"),
        ("acknowledged", "declared", "incident.updated"),
        ("acknowledged", "resolved", "incident.resolved"),
        ("mitigated", "resolved", "incident.resolved"),
        ("resolved", "declared", "incident.reopened"),
        ("resolved", "acknowledged", "incident.reopened"),
    ],
)
def test_an_incidents_transition_follows_from_the_two_states(store, before, after, expected):
    store.say("incident.updated", fields={"status": before})
    store.say("incident.updated", 1, fields={"status": after})
    assert store.events() == ["incident.updated", expected]


TRANSITIONS = [
    ("ticket", {"done": False}, {"done": True}, ["ticket.closed"]),
    ("ticket", {"done": True}, {"done": False}, ["ticket.reopened"]),
    ("ticket", {}, {"title": "other"}, ["ticket.updated"]),
    ("ticket", {"done": False}, {"done": True, "title": "other"}, ["ticket.closed", "ticket.updated"]),
    ("alert", {"started_at": NOON}, {"firing": False, "started_at": NOON}, ["alert.resolved"]),
    ("alert", {"firing": False}, {"firing": True}, ["alert.firing"]),
    ("alert", {"started_at": NOON}, {"started_at": NOON + timedelta(hours=1)}, ["alert.firing"]),
    ("alert", {"firing": False, "started_at": NOON}, {"firing": False, "started_at": NOON + timedelta(hours=1)},
     ["alert.resolved"]),
    ("document", {"published": False}, {"published": True, "content": "a"}, ["document.published"]),
    ("document", {"published": True, "content": "a"}, {"published": True, "content": "b"}, ["document.published"]),
    ("document", {"published": True, "content": "a"}, {"published": True, "content": "a"}, []),
    ("document", {"published": True, "content": "a"}, {"published": False}, []),
    ("review", {"start": NOON}, {"start": NOON + timedelta(days=1)}, ["review.scheduled"]),
    ("review", {"start": NOON}, {"end": NOON + timedelta(hours=1)}, ["review.scheduled"]),
    ("review", {"start": NOON}, {"start": NOON, "title": "other"}, ["review.updated"]),
    ("review", {"cancelled": False}, {"cancelled": True}, ["review.updated"]),
    ("review", {"cancelled": True}, {"start": NOON + timedelta(days=1)}, []),
    ("review", {"start": NOON, "cancelled": True}, {"cancelled": False}, ["review.scheduled", "review.updated"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "before", "after", "expected"), TRANSITIONS)
def test_other_subjects_transitions_follow_from_the_two_states(store, kind, before, after, expected):
    store.say(f"{kind}.updated", subject="x:1", fields=before)
    store.say(f"{kind}.updated", 1, subject="x:1", fields=after)
    assert store.events()[1:] == expected


def test_a_document_published_again_with_the_content_it_had_is_not_told_again(store):
    for minute, state in enumerate([{"published": True, "content": "a"}, {"published": False}] * 2):
        store.say("document.updated", minute, subject="docs:a", fields=state)
    assert store.events() == ["document.updated"]


def test_what_changes_nothing_is_kept_but_not_matched(store):
    store.say("incident.resolved", fields=INCIDENT["resolved"])
    store.say("incident.resolved", 1, fields=INCIDENT["resolved"])
    assert (store.events("new"), store.events("ignored")) == (["incident.resolved"], ["incident.resolved"])
    assert store.last["reason"] == "the state was this already"


@pytest.mark.parametrize("empty", [{"assignee": None}, {"labels": ()}, {"done": False}])
def test_saying_that_nothing_is_there_is_no_change(store, empty):
    store.say("ticket.created", subject="x:1", fields={"title": "t"})
    store.say("ticket.updated", 1, subject="x:1", fields=empty)
    assert store.events() == ["ticket.created"]


def test_saying_that_it_is_no_drill_is_no_change(store):
    store.say("incident.declared")
    store.say("incident.declared", 1, fields={"drill": False, "private": False})
    assert store.events() == ["incident.declared"]


def test_an_event_that_says_no_more_than_its_name_changes_the_state(store):
    store.say("incident.declared")
    store.say("incident.resolved", 1)
    assert store.state["status"] == "resolved"
    assert store.events() == ["incident.declared", "incident.resolved"]


@pytest.mark.parametrize("kind", ["ticket.commented", "ticket.stale", "deploy.finished"])
def test_some_events_are_told_although_they_change_nothing(store, kind):
    for minute in range(2):
        store.say(kind, minute, subject="x:1", subject_type="ticket")
    assert store.events() == [kind, kind]


def test_a_note_is_told_once_and_stands_beside_the_transition(store):
    store.say("incident.declared", fields={"title": "a"})
    note = Entry(NOON, "drained by hand")
    store.say("incident.resolved", 1, fields={"status": "resolved", "title": "b"}, note=note)
    assert store.events() == ["incident.declared", "incident.resolved", "incident.updated"]
    notes = store.cursor.execute("SELECT type FROM events WHERE note IS NOT NULL").fetchall()
    assert [row["type"] for row in notes] == ["incident.resolved"]


def test_an_event_keeps_the_state_before_and_after(store):
    store.say("incident.declared", fields={"severity": "sev2"})
    store.say("incident.updated", 1, fields={"severity": "sev1"})
    before, after = json.loads(store.last["before"]), json.loads(store.last["after"])
    assert (before["severity"], after["severity"]) == ("sev2", "sev1")


# --- first sight ---


@pytest.mark.parametrize("name", ["declared", "acknowledged", "mitigated", "resolved", "reopened"])
def test_the_first_sight_of_an_incident_counts_as_what_its_event_names(store, name):
    store.say(f"incident.{name}")
    assert store.events() == [f"incident.{name}"]
    assert store.state["status"] == ("declared" if name == "reopened" else name)


def test_an_incident_first_seen_resolved_has_no_other_times(store):
    store.say("incident.resolved", fields=INCIDENT["resolved"])
    assert store.state["resolved_at"] == NOON
    assert store.state.keys() & {"declared_at", "acknowledged_at", "mitigated_at"} == set()


def test_a_subject_without_key_or_title_is_called_by_its_id(store):
    store.say("incident.declared", subject="pager:PCPZE64")
    assert (store.state["key"], store.state["title"]) == ("PCPZE64", "PCPZE64")


@pytest.mark.parametrize("kind", SUBJECTS)
def test_a_subject_of_which_nothing_else_is_known_can_be_read(store, kind):
    store.say(f"{kind}.updated", subject="x:1")
    store.say(f"{kind}.updated", 1, subject="x:1", fields={"title": None, "name": None})
    assert subject_of(kind, json.loads(store.row("state"))).id == "x:1"


# --- times of an incident ---


def test_times_are_filled_in_by_the_events_that_name_them(store):
    for minute, name in enumerate(["declared", "acknowledged", "mitigated", "resolved"]):
        store.say(f"incident.{name}", minute)
    times = [store.state[f"{name}_at"] - NOON for name in ("declared", "acknowledged", "mitigated", "resolved")]
    assert times == [timedelta(minutes=minute) for minute in range(4)]


def test_a_time_that_the_source_gives_wins(store):
    store.say("incident.declared", 5, fields={"declared_at": NOON})
    assert store.state["declared_at"] == NOON


def test_a_transition_found_by_another_events_words_has_no_known_time(store):
    store.say("incident.declared")
    store.say("incident.updated", 9, fields=INCIDENT["resolved"])
    assert "resolved_at" not in store.state


def test_reopening_clears_the_times_that_hold_no_more_and_keeps_the_declaration(store):
    for minute, name in enumerate(["declared", "acknowledged", "resolved", "reopened", "declared"]):
        store.say(f"incident.{name}", minute)
    assert store.state["declared_at"] == NOON
    assert store.state.keys() & {"acknowledged_at", "resolved_at"} == set()


# --- order ---


def test_an_older_event_changes_no_state(store):
    store.say("incident.resolved", 10, fields={"severity": "sev1"})
    store.say("incident.acknowledged", 5, fields={"severity": "sev4"}, received=NOON + timedelta(minutes=11))
    assert (store.state["status"], store.state["severity"]) == ("resolved", "sev1")


def test_an_older_event_fires_as_the_first_of_its_kind_and_only_then(store):
    late = NOON + timedelta(minutes=20)
    store.say("incident.resolved", 10)
    store.say("incident.acknowledged", 5, received=late)
    store.say("incident.acknowledged", 4, received=late)
    assert store.events("new") == ["incident.resolved", "incident.acknowledged"]
    assert store.last["reason"] == subjects.OLDER


def test_every_comment_is_told_however_late(store):
    late = NOON + timedelta(minutes=20)
    store.say("ticket.updated", 10, subject="x:1")
    for minute in (5, 4):
        store.say("ticket.commented", minute, subject="x:1", received=late)
    assert store.events() == ["ticket.updated", "ticket.commented", "ticket.commented"]


def test_events_of_one_instant_are_taken_as_they_come(store):
    store.say("incident.declared")
    store.say("incident.acknowledged")
    assert store.state["status"] == "acknowledged"


def test_an_event_of_tomorrow_does_not_make_those_of_today_old(store):
    store.say("incident.declared", 60 * 24, received=NOON)
    store.say("incident.resolved", 1)
    assert store.state["status"] == "resolved"


def test_an_event_of_tomorrow_counts_as_one_of_now(store):
    store.say("incident.resolved", 60 * 24, received=NOON)
    store.say("incident.acknowledged", -5, received=NOON)
    assert store.state["status"] == "resolved"


def test_a_word_that_changed_nothing_was_not_the_first_of_its_kind(store):
    store.say("incident.updated", 5, fields=INCIDENT["acknowledged"])
    store.say("incident.acknowledged", 6)
    store.say("incident.acknowledged", 4, received=NOON + timedelta(minutes=7))
    assert store.events() == ["incident.updated", "incident.acknowledged"]


def test_a_clock_that_was_set_back_does_not_make_our_own_tracker_stand_still(store):
    store.say("ticket.created", 60, subject="local:HW-1", connection="local")
    store.say("ticket.closed", 0, subject="local:HW-1", connection="local")
    assert store.state["done"] is True


# --- who owns which field ---


def test_a_source_cannot_set_what_the_engine_owns(store):
    store.say("incident.declared")
    store.say("incident.updated", 1, fields={"roles": {"commander": ADA}}, engine=True)
    store.say("incident.updated", 2, fields={"roles": {"commander": GRACE}, "channel": "#theirs", "title": "new"})
    assert store.state["roles"] == {"commander": ADA}
    assert "channel" not in store.state
    assert store.state["title"] == "new"


def test_the_engine_cannot_set_what_the_source_owns(store):
    store.say("incident.declared", fields={"severity": "sev1"})
    store.say("incident.updated", 1, fields={"severity": "sev4", "channel": "#inc"}, engine=True)
    assert (store.state["severity"], store.state["channel"]) == ("sev1", "#inc")


def test_a_source_that_is_older_than_a_change_of_ours_but_newer_than_its_own_last_word_counts(store):
    late = NOON + timedelta(minutes=20)
    store.say("incident.declared")
    store.say("incident.updated", 10, fields={"channel": "#inc"}, engine=True)
    store.say("incident.acknowledged", 5, received=late)
    assert (store.state["status"], store.state["channel"]) == ("acknowledged", "#inc")
    assert store.events("new") == ["incident.declared", "incident.updated", "incident.acknowledged"]


def test_changes_of_ours_count_in_the_order_of_their_commits(store):
    store.say("incident.declared")
    store.say("incident.updated", 10, fields={"channel": "#first"}, engine=True)
    store.say("incident.updated", 5, fields={"channel": "#second"}, engine=True)
    assert store.state["channel"] == "#second"


def test_roles_are_given_one_at_a_time(store):
    store.say("incident.declared")
    store.say("incident.updated", 1, fields={"roles": {"commander": ADA}}, engine=True)
    store.say("incident.updated", 2, fields={"roles": {"scribe": GRACE}}, engine=True)
    assert store.state["roles"] == {"commander": ADA, "scribe": GRACE}


def test_participants_gather(store):
    store.say("incident.declared", fields={"participants": (ADA,)})
    store.say("incident.acknowledged", 1, fields={"participants": (GRACE, ADA)})
    assert store.state["participants"] == [ADA, GRACE]


def test_what_a_person_does_counts_as_activity_and_what_we_do_does_not(store):
    store.say("incident.declared", actor=ADA)
    store.say("incident.acknowledged", 1, actor=ADA)
    store.say("incident.resolved", 2, actor=GRACE, own=True)
    assert store.state["active_at"] == NOON + timedelta(minutes=1)


# --- deliveries ---


def test_the_same_delivery_changes_nothing(store):
    store.say("incident.declared", id="d1", fields={"title": "a"})
    again = store.say("incident.updated", 5, id="d1", fields={"title": "b"})
    assert (again.duplicate, again.events) == (True, ())
    assert store.state["title"] == "a"


def test_the_same_delivery_id_at_another_connection_is_another_delivery(store):
    store.say("incident.declared", id="d1")
    assert not store.say("incident.declared", id="d1", subject="other:P1", connection="other").duplicate
    assert len(store.events()) == 2


def test_a_delivery_with_two_transitions_is_known_by_its_id_too(store):
    store.say("ticket.created", subject="x:1")
    store.say("ticket.closed", 1, subject="x:1", id="d", fields={"done": True, "title": "b"})
    assert store.events() == ["ticket.created", "ticket.closed", "ticket.updated"]
    assert store.say("ticket.closed", 1, subject="x:1", id="d").duplicate


# --- causes ---


def test_what_a_run_changed_last_is_known(store):
    store.say("incident.declared")
    store.say("incident.updated", 1, fields={"channel": "#a"}, engine=True, cause=subjects.Cause("flow/k/1/s", 7, 2))
    assert store.row("changed_run") == 7
    assert (store.last["caused_by"], store.last["cause_run"], store.last["depth"]) == ("flow/k/1/s", 7, 2)
    store.say("incident.updated", 2, fields={"title": "by somebody else"})
    assert store.row("changed_run") is None


def test_a_word_that_changes_nothing_leaves_the_last_change_with_the_run_that_made_it(store):
    store.say("incident.declared")
    store.say("incident.updated", 1, fields={"channel": "#a"}, engine=True, cause=subjects.Cause("e", 7))
    store.say("incident.declared", 2)
    assert store.row("changed_run") == 7


def test_a_change_that_no_trigger_names_is_passed_on_to_the_runs_about_it(store):
    store.say("ticket.created", subject="x:1")
    assert store.say("ticket.updated", 1, subject="x:1", fields={"active_at": NOON}).changed == "x:1"
    assert store.say("ticket.updated", 2, subject="x:1", fields={"active_at": NOON}).changed is None


# --- readings ---


def reading(store, minute=9, **fields):
    known = subjects.read_fields("ticket", fields)
    fact = Fact("ticket.updated", NOON + timedelta(minutes=minute), "ticket", "x:1", known)
    return subjects.record_reading(store.cursor, "x", fact, fact.time)


def test_a_reading_that_finds_nothing_new_only_says_that_the_state_is_fresh(store):
    store.say("ticket.created", subject="x:1", fields={"title": "t"})
    reading(store, title="t", done=False, labels=(), assignee=None)
    assert store.events("new", "ignored") == ["ticket.created"]
    assert store.row("refreshed") == (NOON + timedelta(minutes=9)).timestamp() * 1_000_000


def test_a_reading_that_finds_a_change_tells_it_as_if_the_tracker_had(store):
    store.say("ticket.created", subject="x:1", fields={"title": "t", "assignee": ADA})
    reading(store, title="t", done=True, assignee=None)
    assert store.events() == ["ticket.created", "ticket.closed", "ticket.updated"]
    assert (store.last["own"], "assignee" in store.state) == (0, False)


def test_a_reading_that_was_overtaken_by_a_word_of_the_tracker_says_nothing(store):
    store.say("ticket.created", subject="x:1", fields={"title": "t"})
    store.say("ticket.closed", 5, subject="x:1")
    fact = Fact("ticket.updated", NOON + timedelta(minutes=4), "ticket", "x:1", {"done": False})
    subjects.record_reading(store.cursor, "x", fact, NOON + timedelta(minutes=6))
    assert store.state["done"] is True
    assert store.events("new", "ignored") == ["ticket.created", "ticket.closed"]


def test_a_reading_does_not_forget_instants_nor_what_the_engine_owns(store):
    store.say("ticket.created", subject="x:1", fields={"created_at": NOON, "incident": "pager:P1"})
    reading(store, created_at=None, incident=None, title="t")
    assert (store.state["created_at"], store.state["incident"]) == (NOON, "pager:P1")
