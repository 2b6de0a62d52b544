"""PagerDuty's webhooks: signatures, and what each recorded body means."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from actions.providers.pagerduty import PagerDuty as PagerDutyProvider
from engine.domain import Entry, Person
from engine.plugins import Unauthorized
from tests.fakes import FakeConnection
from triggers.sources.pagerduty import PagerDuty

RECORDED = Path(__file__).resolve().parents[4] / "shared/payloads/pagerduty"
recorded = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded payloads are not beside the project")

AGENT = {"id": "PADA", "type": "user_reference", "summary": "Ada"}
INCIDENT = {
    "id": "P1",
    "type": "incident",
    "number": 7,
    "status": "triggered",
    "title": "Checkout is slow",
    "html_url": "https://example.pagerduty.com/incidents/P1",
    "service": {"id": "PS1", "summary": "checkout"},
    "assignees": [{"id": "PGRACE", "type": "user_reference", "summary": "Grace"}],
    "priority": None,
    "urgency": "high",
}
ADA = Person("pagerduty:PADA", "Ada", ids={"pagerduty": "PADA"})
GRACE = Person("pagerduty:PGRACE", "Grace", ids={"pagerduty": "PGRACE"})
AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture
def receiver(connection):
    def build(secret="s3cret", accounts=(), **options):
        provider = PagerDutyProvider.build(PagerDutyProvider.options(**options), connection)
        made = PagerDuty.options.model_validate({"webhook_secret": secret, "accounts": list(accounts)})
        return PagerDuty.build(made, connection, provider)

    return build


def body(kind="incident.triggered", data=INCIDENT, agent=AGENT, **more):
    event = {"id": "01E", "event_type": kind, "resource_type": "incident", "occurred_at": "2026-03-02T09:00:00Z"}
    return json.dumps({"event": {**event, "agent": agent, "data": data, **more}}).encode()


def signed(raw, *secrets):
    return {
        "x-pagerduty-signature": ",".join(
            f"v1={hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()}" for secret in secrets
        )
    }


def fact(source, raw, now):
    (only,) = source.read({}, raw, now).facts
    return only


# --- signatures ------------------------------------------------------------------------------------------------------


@recorded
def test_the_vendors_own_vector_is_accepted(receiver, now):
    source = receiver("lDQHScfUeXUKaQRNF+8XIiDKZ7XX3itBAYzwU0TARw8lJqRnkKl2iB1anSb0Z+IK")
    raw = (RECORDED / "go-pagerduty-vector.body.json").read_bytes()
    signature = "v1=0c0b9495b893a39e70d1fea2fe11fbe0a825f88b9f67846f6cc07dd2bc5476cd"
    source.authenticate({"x-pagerduty-signature": signature}, raw, now)
    assert source.sign(raw, now) == {"x-pagerduty-signature": signature}


def test_what_we_sign_we_accept(receiver, now):
    source = receiver()
    source.authenticate(source.sign(body(), now), body(), now)


def test_without_a_secret_no_webhook_is_taken(receiver, now):
    with pytest.raises(Unauthorized, match="no 'webhook_secret', so it takes no webhooks"):
        receiver(None).authenticate(signed(body(), ""), body(), now)


def test_one_right_signature_among_several_is_enough(receiver, now):
    receiver("new").authenticate(signed(body(), "old", "new"), body(), now)


def test_both_secrets_are_accepted_while_one_replaces_the_other(receiver, now):
    source = receiver(["old", "new"])
    source.authenticate(signed(body(), "old"), body(), now)
    source.authenticate(signed(body(), "new"), body(), now)
    with pytest.raises(Unauthorized):
        source.authenticate(signed(body(), "older"), body(), now)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "X-PagerDuty-Signature is missing"),
        ({"x-pagerduty-signature": " "}, "is missing"),
        ({"x-pagerduty-signature": "v0=abc"}, "no signature of the form v1=HEX"),
        ({"x-pagerduty-signature": "v1="}, "is made with this connection's webhook_secret"),
        ({"x-pagerduty-signature": "v1=é"}, "is made with this connection's webhook_secret"),
        ({"x-pagerduty-signature": ",".join(["v1=0"] * 21)}, "more than 20 signatures"),
        (signed(body(), "another"), "is made with this connection's webhook_secret"),
        (signed(body() + b" ", "s3cret"), "is made with this connection's webhook_secret"),
    ],
)
def test_a_signature_that_is_not_ours_is_refused_without_telling_the_right_one(receiver, now, headers, said):
    source = receiver()
    with pytest.raises(Unauthorized) as raised:
        source.authenticate(headers, body(), now)
    assert said in str(raised.value)
    assert source.sign(body(), now)["x-pagerduty-signature"].removeprefix("v1=") not in str(raised.value)


@pytest.mark.parametrize("secret", ["", " ", [], ["a", "b", "c"], ["a", ""], 5])
def test_a_secret_that_protects_nothing_is_refused(secret):
    with pytest.raises(ValidationError):
        PagerDuty.options.model_validate({"webhook_secret": secret})


def test_secrets_are_not_shown():
    assert "s3cret" not in repr(PagerDuty.options.model_validate({"webhook_secret": ["s3cret", "s3cret2"]}))


# --- recorded bodies -------------------------------------------------------------------------------------------------


def read_recorded(source, name, now):
    return fact(source, (RECORDED / f"{name}.json").read_bytes(), now)


@recorded
def test_the_recorded_triggered_incident_is_declared_when_it_was_triggered(receiver, now):
    found = read_recorded(receiver(), "incident.triggered", now)
    at = datetime(2021, 6, 4, 13, 35, 29, 781000, tzinfo=UTC)
    assert (found.type, found.subject, found.time, found.id) == (
        "incident.declared",
        "pager:PFQZPSY",
        at,
        "01BZYIL05THJDFF2Y08X9SVMTU",
    )
    assert found.actor.id == "pagerduty:PJ0LVEB"
    assert found.fields | {"participants": None} == {
        "key": "PD-9",
        "title": "Test Incident 3",
        "url": "https://pig208.pagerduty.com/incidents/PFQZPSY",
        "status": "declared",
        "severity": "sev2",
        "services": ("pig208",),
        "declared_at": at,
        "participants": None,
    }
    assert found.fields["participants"] == (found.actor,)


@recorded
def test_the_recorded_acknowledged_incident_does_not_say_when_it_was_declared(receiver, now):
    found = read_recorded(receiver(), "incident.acknowledged", now)
    assert (found.type, found.fields["status"]) == ("incident.acknowledged", "acknowledged")
    assert found.fields["acknowledged_at"] == found.time
    assert "declared_at" not in found.fields


@recorded
def test_the_recorded_resolved_incident_knows_one_time_and_one_person(receiver, now):
    found = read_recorded(receiver(), "incident.resolved", now)
    assert (found.type, found.subject) == ("incident.resolved", "pager:PCPZE64")
    assert {name for name in found.fields if name.endswith("_at")} == {"resolved_at"}
    assert found.fields["resolved_at"] == datetime(2021, 6, 4, 13, 16, 53, 816000, tzinfo=UTC)
    assert [person.id for person in found.fields["participants"]] == ["pagerduty:PJ0LVEB"]


@recorded
def test_the_recorded_change_of_priority_is_an_update_and_keeps_the_time_of_creation(receiver, now):
    found = read_recorded(receiver(severity={"P2": "sev3"}), "incident.priority_updated", now)
    assert (found.type, found.fields["severity"], found.fields["status"]) == ("incident.updated", "sev3", "declared")
    assert found.fields["declared_at"] == datetime(2026, 4, 1, 2, 7, 30, tzinfo=UTC)
    assert found.data == {"event_type": "incident.priority_updated"}


# --- what else comes in ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("incident.reopened", "incident.reopened"), ("incident.unacknowledged", "incident.updated")]
    + [
        (f"incident.{name}", "incident.updated") for name in ("reassigned", "delegated", "escalated", "service_updated")
    ],
)
def test_what_happens_to_an_incident_is_a_transition_or_an_update(receiver, now, kind, expected):
    assert fact(receiver(), body(kind), now).type == expected


def test_assignees_and_whoever_acted_took_part(receiver, now):
    assert fact(receiver(), body(), now).fields["participants"] == (GRACE, ADA)


def test_our_own_accounts_act_as_such_and_take_no_part(receiver, now):
    found = fact(receiver(accounts=["PADA"]), body(), now)
    assert found.own
    assert found.fields["participants"] == (GRACE,)


def test_an_integration_is_nobody(receiver, now):
    found = fact(receiver(), body(agent={"id": "PX", "type": "inbound_integration_reference", "summary": "Bot"}), now)
    assert (found.actor, found.own) == (None, False)
    assert fact(receiver(), body(agent=None), now).actor is None


@pytest.mark.parametrize(
    ("priority", "urgency", "severity"),
    [("P1", "low", "sev1"), ("P9", "low", "sev4"), (None, "high", "sev2"), (None, "low", "sev4"), (None, None, None)],
)
def test_the_priority_decides_the_severity_and_without_one_the_urgency(receiver, now, priority, urgency, severity):
    data = {**INCIDENT, "urgency": urgency, "priority": {"summary": priority} if priority else None}
    assert fact(receiver(severity={"P1": "sev1"}), body(data=data), now).fields.get("severity") == severity


REFERENCE = {"id": "P1", "type": "incident_reference", "summary": "Checkout is slow"}


def test_a_note_goes_into_the_timeline_and_says_nothing_of_the_state(receiver, now):
    note = {"id": "PN", "type": "incident_note", "content": "Rolled back.", "incident": REFERENCE}
    found = fact(receiver(), body("incident.annotated", note), now)
    assert (found.type, found.subject) == ("incident.updated", "pager:P1")
    assert found.note == Entry(AT, "Rolled back.", "note", ADA, id="pager/PN")
    assert found.fields == {"title": "Checkout is slow", "participants": (ADA,)}


def test_a_status_update_goes_into_the_timeline_as_a_message(receiver, now):
    update = {"type": "incident_status_update", "message": "A fix is on its way.", "incident": REFERENCE}
    found = fact(receiver(), body("incident.status_update_published", update), now)
    assert found.note == Entry(AT, "A fix is on its way.", "message", ADA)


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        (
            "incident.conference_bridge.updated",
            {
                "type": "incident_conference_bridge",
                "conference_url": "https://meet.example/1",
                "conference_numbers": [{"label": "", "number": "+1-555-555-5555"}],
            },
            "Conference bridge: https://meet.example/1, +1-555-555-5555",
        ),
        (
            "incident.conference_bridge.updated",
            {"type": "incident_conference_bridge", "conference_url": None, "conference_numbers": []},
            "Conference bridge: none any more",
        ),
        (
            "incident.custom_field_values.updated",
            {
                "type": "incident_field_values",
                "custom_fields": [{"name": "region", "value": "US"}],
                "changed_custom_fields": [{"name": "environment", "value": "staging"}, {"name": "tier", "value": None}],
            },
            "environment: staging; tier: empty",
        ),
        (
            "incident.workflow.started",
            {"type": "incident_workflow_instance", "summary": "Major"},
            "PagerDuty's workflow 'Major' started",
        ),
        (
            "incident.workflow.completed",
            {"type": "incident_workflow_instance", "summary": "Major"},
            "PagerDuty's workflow 'Major' is done",
        ),
    ],
)
def test_what_is_said_about_an_incident_goes_into_its_timeline(receiver, now, kind, data, text):
    found = fact(receiver(), body(kind, {**data, "incident": REFERENCE}), now)
    assert (found.type, found.subject, found.note.text) == ("incident.updated", "pager:P1", text)


#: Every event type about incidents that PagerDuty documents for webhooks of version 3.
DOCUMENTED = {
    "incident.acknowledged": "incident",
    "incident.annotated": "incident_note",
    "incident.conference_bridge.updated": "incident_conference_bridge",
    "incident.custom_field_values.updated": "incident_field_values",
    "incident.delegated": "incident",
    "incident.escalated": "incident",
    "incident.incident_type.changed": "incident",
    "incident.priority_updated": "incident",
    "incident.reassigned": "incident",
    "incident.reopened": "incident",
    "incident.resolved": "incident",
    "incident.responder.added": "incident_responder",
    "incident.responder.replied": "incident_responder",
    "incident.service_updated": "incident",
    "incident.status_update_published": "incident_status_update",
    "incident.triggered": "incident",
    "incident.unacknowledged": "incident",
    "incident.workflow.completed": "incident_workflow_instance",
    "incident.workflow.started": "incident_workflow_instance",
}
PAGE = Path(__file__).resolve().parents[3] / "docs/integrations/pagerduty.md"


@pytest.mark.parametrize("kind", DOCUMENTED)
def test_every_documented_event_about_an_incident_is_used_as_the_page_says(receiver, now, kind):
    about = DOCUMENTED[kind]
    data = {"type": about, "incident": REFERENCE, "id": "PN", "content": "x", "message": "x"}
    found = fact(receiver(), body(kind, INCIDENT if about == "incident" else data), now)
    assert f"| `{kind}` | `{found.type}` |" in PAGE.read_text("utf-8")


@pytest.mark.parametrize(
    ("state", "text", "took_part"),
    [
        ("pending", "Grace was asked to join as a responder", (ADA,)),
        ("accepted", "Grace joined as a responder", (GRACE, ADA)),
        ("declined", "Grace declined to join as a responder", (ADA,)),
    ],
)
def test_a_responder_takes_part_once_they_accept(receiver, now, state, text, took_part):
    data = {"type": "incident_responder", "incident": REFERENCE, "user": INCIDENT["assignees"][0], "state": state}
    found = fact(receiver(), body("incident.responder.replied", data), now)
    assert (found.note.text, found.fields["participants"]) == (text, took_part)


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("pagey.ping", {"type": "ping", "message": "Hello"}, "a test delivery"),
        ("service.updated", {"type": "service", "id": "PS1"}, "'service.updated' are not used"),
        ("incident.task.created", {"type": "incident_task", "id": "T1"}, "'incident.task.created' are not used"),
    ],
)
def test_what_is_not_used_is_ignored_with_the_reason(receiver, now, kind, data, said):
    received = receiver().read({}, body(kind, data), now)
    assert (list(received.facts), said in received.ignored) == ([], True)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "the body is not JSON"),
        (b"\xff", "the body is not UTF-8"),
        (b"[]", "the body must be a mapping, not a list"),
        (b"{}", "'event' must be a mapping, not null"),
        (body(kind=5), "'event.event_type' must be a text, not a number"),
        (body(data=None), "'event.data' must be a mapping"),
        (body(occurred_at="yesterday"), "'event.occurred_at' must be a time"),
        (body(occurred_at="2026-03-02T09:00:00"), "'event.occurred_at' must be a time"),
        (body(id=None), "'event.id' must be a text"),
        (body(data={**INCIDENT, "id": None}), "must have an 'id'"),
        (body(data={**INCIDENT, "status": "asleep"}), "triggered, acknowledged or resolved"),
        (body(data={**INCIDENT, "created_at": "2026-03-02T09:00:00"}), "'created_at'"),
        (body("incident.annotated", {"type": "incident_note", "incident": REFERENCE}), "'event.data.content'"),
    ],
)
def test_a_payload_that_is_not_pagerdutys_is_refused_with_a_sentence(receiver, now, raw, said):
    with pytest.raises(ValueError, match=r".") as raised:
        receiver().read({}, raw, now)
    assert said in str(raised.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    value=json_values, key=st.sampled_from([*INCIDENT, "created_at", "event", "agent", "occurred_at", "id", "incident"])
)
def test_any_json_is_read_or_refused_with_a_sentence(value, key):
    pager = FakeConnection(Path(), "pager")
    provider = PagerDutyProvider.build(PagerDutyProvider.options(), pager)
    source = PagerDuty.build(PagerDuty.options.model_validate({"webhook_secret": "s"}), pager, provider)
    note = {"type": "incident_note", "content": "x", "incident": {"id": "P1"}}
    for raw in (
        json.dumps(value).encode(),
        json.dumps({"event": value}).encode(),
        body(data={**INCIDENT, key: value}),
        body("incident.annotated", {**note, key: value}),
        body(**{key: value} if key in ("agent", "occurred_at", "id") else {}),
    ):
        try:
            received = source.read({}, raw, AT)
        except ValueError as error:
            assert len(str(error)) > 10  # noqa: PT017  refusing is as good as reading
        else:
            assert received.facts or received.ignored
