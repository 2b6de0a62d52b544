"""Look-ups in our own store (LANGUAGE 4) and derived fields (LANGUAGE 9)."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from engine import subjects
from engine.calendars import WEEKDAYS_9_TO_5, parse_duration
from engine.domain import Entry, Person, Service, Team
from engine.plugins import Fact
from engine.store import schema
from engine.store.codec import dumps
from engine.store.journal import Direct, connect
from engine.store.lookups import MOST, Directory, Lookups
from engine.workflow.expressions import NeedLookup
from tests.fakes import ADA, GRACE, FakePeople

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class Store:
    def __init__(self, connection):
        self.cursor = connection.cursor(Direct)
        people = FakePeople(
            (ADA, GRACE), (Team("sre", "SRE", lead="ada", members=("ada", "grace")),), (Service("shop", "Shop", "sre"),)
        )
        self.world = Lookups(connection, Directory(people, {}, WEEKDAYS_9_TO_5, "UTC", {"a": 1}), NOON)

    def say(self, type, subject, *, ago="0s", late=False, data=None, note=None, actor=None, own=False, **fields):
        at = NOON - parse_duration(ago).timedelta()
        kind = type.partition(".")[0]
        fact = Fact(type, at, kind, subject, fields, data or {}, actor=actor, own=own, note=note)
        subjects.record(self.cursor, subject.partition(":")[0], fact, NOON if late else at)

    def keys(self, kind, last=None, private=False, **criteria):
        length = parse_duration(last) if last else None
        found = self.world.find(kind, criteria, length, private)
        assert self.world.count(kind, criteria, length, private) == len(found)
        return [record.id.partition(":")[2] for record in found]

    def events(self, type, last=None, private=False, **criteria):
        length = parse_duration(last) if last else None
        found = self.world.events(type, criteria, length, private)
        assert self.world.count_events(type, criteria, length, private) == len(found)
        return [str(event.subject).partition(":")[2] for event in found]

    def explained(self, query):
        return [row["detail"] for row in self.cursor.execute(f"EXPLAIN QUERY PLAN {query}")]


@pytest.fixture
def store(tmp_path):
    schema.prepare(tmp_path / "test.db")
    with closing(connect(tmp_path / "test.db")) as connection:
        yield Store(connection)


@pytest.fixture
def tickets(store):
    store.say("ticket.created", "x:1", ago="3d", labels=("postmortem", "db"), project="OPS", assignee=ADA)
    store.say("ticket.created", "x:2", ago="2d", labels=("postmortem",), project="WEB", assignee=GRACE, done=True)
    store.say("ticket.created", "x:3", ago="1d", project="OPS", team="sre")
    return store


# --- keywords ---


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({}, ["3", "2", "1"]),
        ({"project": "OPS"}, ["3", "1"]),
        ({"project": "OPS", "done": False}, ["3", "1"]),
        ({"done": True}, ["2"]),
        ({"label": "postmortem"}, ["2", "1"]),
        ({"labels": "db"}, ["1"]),
        ({"label": ["db", "none"]}, ["1"]),
        ({"label": "postmortem", "done": False}, ["1"]),
        ({"assignee": ADA}, ["1"]),
        ({"assignee": "grace"}, ["2"]),
        ({"assignee": None}, ["3"]),
        ({"team": "sre"}, ["3"]),
        ({"project": ["OPS", "WEB"]}, ["3", "2", "1"]),
        ({"project": None}, []),
    ],
)
def test_keywords_are_fields_and_a_list_matches_where_both_share_an_element(tickets, criteria, expected):
    assert tickets.keys("ticket", **criteria) == expected


def test_a_field_that_is_false_by_default_is_found_where_nobody_set_it(tickets):
    assert tickets.keys("ticket", done=False) == ["3", "1"]


def test_an_alert_fires_unless_it_says_otherwise(store):
    store.say("alert.updated", "mon:a")
    store.say("alert.resolved", "mon:b", firing=False)
    assert store.keys("alert", firing=True) == ["a"]


def test_derived_fields_are_compared_too(store):
    store.say("incident.declared", "p:1", services=("shop",))
    store.say("incident.resolved", "p:2")
    assert store.keys("incident", open=True) == ["1"]
    assert store.keys("incident", team="sre") == ["1"]
    assert store.keys("incident", service="shop") == ["1"]


def test_texts_with_quotes_and_wildcards_are_only_texts(store):
    for name in ["it's", "%", 'a"b']:
        store.say("ticket.created", f"x:{name}", project=name, labels=(name,))
    for name in ["it's", "%", 'a"b']:
        assert store.keys("ticket", project=name) == [name]
        assert store.keys("ticket", label=name) == [name]


def test_people_teams_and_services_are_found_by_their_fields(store):
    assert [person.id for person in store.world.find("person", {"email": "ada@example.com"}, None, False)] == ["ada"]
    assert [team.id for team in store.world.find("team", {"member": "grace"}, None, False)] == ["sre"]
    assert store.world.count("service", {"team": "sre"}, None, False) == 1


# --- age, privacy, number ---


def test_last_bounds_the_age_by_when_it_began_by_its_own_account(store):
    store.say("incident.declared", "p:old", declared_at=NOON - timedelta(days=30))
    store.say("incident.declared", "p:new", declared_at=NOON - timedelta(days=2))
    assert store.keys("incident", last="7d") == ["new"]


def test_last_counts_from_the_first_sight_where_the_beginning_is_not_known(store):
    store.say("incident.resolved", "p:old", ago="8d")
    store.say("incident.resolved", "p:new", ago="7d")
    assert store.keys("incident", last="7d") == ["new"]


def test_last_takes_working_days(store):
    store.say("ticket.created", "x:thursday", ago="4d")
    store.say("ticket.created", "x:friday", ago="3d")
    assert store.keys("ticket", last="1bd") == ["friday"]


def test_last_takes_a_month_of_the_calendar(store):
    store.say("incident.declared", "p:before", declared_at=NOON - timedelta(days=28, seconds=1))
    store.say("incident.declared", "p:in", declared_at=NOON - timedelta(days=28))  # February has 28
    assert store.keys("incident", last="P1M") == ["in"]


def test_private_incidents_are_left_out_unless_asked_for(store):
    store.say("incident.declared", "p:secret", ago="1m", private=True)
    store.say("incident.declared", "p:open")
    assert store.keys("incident") == ["open"]
    assert store.keys("incident", private=True) == ["open", "secret"]
    assert store.events("incident.declared") == ["open"]
    assert store.events("incident.declared", private=True) == ["open", "secret"]


def test_at_most_a_thousand_and_one_are_given_and_all_are_counted(store):
    for number in range(MOST + 20):
        store.say("ticket.created", f"x:{number}", labels=("a",))
    assert len(store.world.find("ticket", {"label": "a"}, None, False)) == MOST + 1
    assert store.world.count("ticket", {"label": "a"}, None, False) == MOST + 20
    assert len(store.world.events("ticket.created", {}, None, False)) == MOST + 1
    assert store.world.count_events("ticket.created", {}, None, False) == MOST + 20


def test_plain_fields_are_counted_in_the_database(tickets):
    asked = []
    tickets.world.reader.set_trace_callback(asked.append)
    tickets.world.count("ticket", {"label": "postmortem", "done": False}, parse_duration("7d"), False)
    tickets.world.count_events("ticket.created", {"subject": "x:1"}, None, False)
    assert [sql.startswith("SELECT count(*)") for sql in asked] == [True, True]


# --- events ---


def test_events_are_found_by_subject_data_and_the_subjects_fields(store):
    store.say("ticket.commented", "x:1", data={"comment": "hello", "labels": ["of-data"]}, labels=("of-ticket",))
    store.say("ticket.commented", "x:2", data={"comment": "bye"}, labels=("of-ticket",))
    assert store.events("ticket.commented", subject="x:1") == ["1"]
    assert store.events("ticket.commented", subject=store.world.subject("ticket", "x:2")) == ["2"]
    assert store.events("ticket.commented", comment="bye") == ["2"]
    assert store.events("ticket.commented", labels="of-data") == ["1"]
    assert store.events("ticket.commented", label="of-ticket") == ["2", "1"]


def test_events_are_as_old_as_what_happened_and_ignored_ones_are_left_out(store):
    store.say("incident.declared", "p:1", ago="2d")
    store.say("incident.declared", "p:1", ago="1d")  # it was declared already
    store.say("incident.declared", "p:2", ago="1h")
    assert store.events("incident.declared") == ["2", "1"]
    assert store.events("incident.declared", last="1d") == ["2"]


# --- one subject ---


def test_a_subject_is_found_by_its_id_or_by_a_key_that_only_one_has(store):
    store.say("ticket.created", "x:1", key="HW-1")
    store.say("ticket.created", "y:1", key="HW-1")
    store.say("ticket.created", "y:2", key="HW-2")
    assert store.world.subject("ticket", "HW-2").id == "y:2"
    assert store.world.subject("ticket", "x:1").id == "x:1"
    assert store.world.subject("ticket", "HW-1") is None
    assert store.world.subject("ticket", "HW-3") is None


# --- derived fields ---


def test_idle_counts_from_the_later_of_creation_and_the_last_change_by_a_person(store):
    store.say("ticket.created", "x:1", created_at=NOON - timedelta(days=1), active_at=NOON - timedelta(days=3))
    ticket = store.world.subject("ticket", "x:1")
    assert str(store.world.field(ticket, "idle")) == "1d"


def test_the_timeline_tells_transitions_notes_and_late_arrivals_in_their_order(store):
    store.say("incident.acknowledged", "p:1", ago="2h", actor=ADA)
    store.say("incident.resolved", "p:1", ago="1h", note=Entry(NOON - timedelta(hours=1), "drained"))
    store.say("incident.declared", "p:1", ago="3h", late=True)
    store.say("incident.acknowledged", "p:1", ago="150m", late=True, actor=GRACE)
    incident = store.world.subject("incident", "p:1")
    told = [(entry.text, entry.by.id if entry.by else None) for entry in store.world.field(incident, "timeline")]
    expected = [("Declared", None), ("Acknowledged", "grace"), ("Acknowledged", "ada"), ("drained", None)]
    assert told == [*expected, ("Resolved", None)]


def test_participants_are_those_with_roles_those_named_and_those_who_acted(store):
    bob, bot = Person("pd:BOB", "Bob"), Person("pd:BOT", "Bot")
    store.say("incident.declared", "p:1", participants=(bob,))
    store.say("incident.acknowledged", "p:1", actor=Person("pd:A", "A", email="ada@example.com"))
    store.say("incident.resolved", "p:1", actor=bot, own=True)
    incident = store.world.subject("incident", "p:1")
    assert [person.id for person in store.world.field(incident, "participants")] == ["pd:BOB", "ada"]


def test_times_between_the_states_are_null_where_one_is_unknown(store):
    store.say("incident.acknowledged", "p:1", ago="1h")
    store.say("incident.resolved", "p:1", resolved_at=NOON)
    incident = store.world.subject("incident", "p:1")
    assert store.world.field(incident, "time_to_resolve") is None
    store.say("incident.declared", "p:2", ago="1h")
    store.say("incident.resolved", "p:2")
    assert str(store.world.field(store.world.subject("incident", "p:2"), "time_to_resolve")) == "1h"


def test_a_vendors_answer_is_read_where_it_was_recorded_and_asked_for_where_not(store):
    with pytest.raises(NeedLookup):
        store.world.vendor("on_call", ("shop",))
    store.world.answers = {f"on_call{dumps(['shop'])}": ADA}
    assert store.world.vendor("on_call", ("shop",)) == ADA
