"""Receive PagerDuty's webhooks, version 3.

A delivery is signed over its raw body with `X-PagerDuty-Signature: v1=HEX`, several of them with commas while the
subscription's secret is replaced. The scheme has no time stamp: a delivery that is sent again is known by its event's
id. Event types and payloads: developer-docs of PagerDuty, `docs/webhooks/01-Overview.md`.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from engine.domain import Entry, Person
from engine.plugins import Connection, Fact, Field, Options, Received, Unauthorized, source
from triggers.sources import payload
from triggers.sources.signing import MOST_SIGNATURES, Secrets, any_same, header

_SIGNATURE = "X-PagerDuty-Signature"
#: Which event types are transitions; every other one about an incident is an update.
_TRANSITIONS = {
    "incident.triggered": "incident.declared",
    "incident.acknowledged": "incident.acknowledged",
    "incident.resolved": "incident.resolved",
    "incident.reopened": "incident.reopened",
}
_WORKFLOWS = {"incident.workflow.started": "started", "incident.workflow.completed": "is done"}
#: The field that such an event dates, where the incident itself does not say when it was.
_DATED = {
    "incident.declared": "declared_at",
    "incident.acknowledged": "acknowledged_at",
    "incident.resolved": "resolved_at",
}


class PagerDutyWebhook(Options):
    """What comes in by PagerDuty's webhook subscriptions.

    Example:
        pager:
          provider: pagerduty
          webhook_secret: ${PAGERDUTY_WEBHOOK_SECRET}
    """

    webhook_secret: Secrets | None = Field(
        default=None,
        description="The subscription's secret, or a list of two while it is replaced; without, none come in.",
    )
    accounts: list[str] = Field(default=[], description="Ids of users and integrations of PagerDuty that are our own.")


class Vendor(Protocol):
    """What the provider `pagerduty` knows of PagerDuty's JSON."""

    def read(self, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """Give the fields of an incident, its id with the connection's name before it."""

    def person(self, raw: Any) -> Person | None:
        """Give somebody who is referred to; None for what is not a person."""

    def entry_id(self, raw: Mapping[str, Any]) -> str | None:
        """Give the id that a note has in the timeline."""


class PagerDutyWebhooks:
    """Take in what one webhook subscription of PagerDuty posts."""

    def __init__(self, options: PagerDutyWebhook, connection: Connection, provider: Vendor) -> None:
        self._secrets = options.webhook_secret or ()
        self._own = frozenset(options.accounts)
        self._vendor = provider

    def authenticate(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Accept a body that one of our secrets has signed.

        Raises:
            Unauthorized: the signature is missing, of another scheme, or made with another secret; or there is none to
                compare it with.
        """
        if not self._secrets:
            raise Unauthorized("this connection has no 'webhook_secret', so it takes no webhooks")
        listed = [part.strip() for part in header(headers, _SIGNATURE).split(",")]
        given = [part.removeprefix("v1=") for part in listed if part.startswith("v1=")]
        if not given:
            raise Unauthorized(f"the header {_SIGNATURE} holds no signature of the form v1=HEX")
        if len(given) > MOST_SIGNATURES:
            raise Unauthorized(f"the header {_SIGNATURE} holds more than {MOST_SIGNATURES} signatures")
        if not any_same(given, self._signatures(body)):
            raise Unauthorized(f"no signature in {_SIGNATURE} is made with this connection's webhook_secret")

    def sign(self, body: bytes, now: datetime) -> dict[str, str]:
        """Give the headers that `authenticate` accepts for a body."""
        return {_SIGNATURE.lower(): ",".join(f"v1={signature}" for signature in self._signatures(body))}

    def _signatures(self, body: bytes) -> list[str]:
        return [hmac.digest(secret.encode(), body, "sha256").hex() for secret in self._secrets]

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Received:
        """Give the fact that a delivery tells.

        Raises:
            ValueError: it is not what PagerDuty documents.
        """
        event = payload.mapping(payload.mapping(payload.parse(body), "the body").get("event"), "'event'")
        kind = payload.text(event.get("event_type"), "'event.event_type'")
        if kind == "pagey.ping":
            return Received(ignored="a test delivery of PagerDuty: 'pagey.ping'")
        data = payload.mapping(event.get("data"), "'event.data'")
        about = data.get("type")
        if not kind.startswith("incident.") or not isinstance(about, str) or about not in _READERS:
            return Received(ignored=f"events of type '{kind[:80]}' are not used")
        return Received([self._fact(kind, about, event, data)])

    def _fact(self, kind: str, about: str, event: Mapping[str, Any], data: Mapping[str, Any]) -> Fact:
        agent = event.get("agent")
        actor = self._vendor.person(agent)
        own = isinstance(agent, dict) and str(agent.get("id")) in self._own
        at = payload.instant(event.get("occurred_at"), "'event.occurred_at'")
        fields, note = _READERS[about](self._vendor, data, actor, at)
        if note is not None and kind in _WORKFLOWS:
            note = replace(note, text=f"{note.text} {_WORKFLOWS[kind]}")
        name = _TRANSITIONS.get(kind, "incident.updated")
        if name in _DATED:
            fields.setdefault(_DATED[name], at)
        took_part = [*fields.get("participants", ()), *([actor] if actor and not own else ())]
        if took_part:
            fields["participants"] = tuple({person.id: person for person in took_part}.values())
        return Fact(
            name,
            at,
            subject_type="incident",
            subject=fields.pop("id"),
            fields=fields,
            data={"event_type": kind},
            actor=actor,
            id=payload.text(event.get("id"), "'event.id'"),
            own=own,
            note=note,
        )


_Read = tuple[dict[str, Any], Entry | None]


def _incident(vendor: Vendor, data: Mapping[str, Any], actor: Person | None, at: datetime) -> _Read:
    return dict(vendor.read(data)), None


def _note(vendor: Vendor, data: Mapping[str, Any], actor: Person | None, at: datetime) -> _Read:
    text = payload.text(data.get("content"), "'event.data.content'")
    return _referred(vendor, data), Entry(at, text, "note", actor, id=vendor.entry_id(data))


def _status_update(vendor: Vendor, data: Mapping[str, Any], actor: Person | None, at: datetime) -> _Read:
    text = payload.text(data.get("message"), "'event.data.message'")
    return _referred(vendor, data), Entry(at, text, "message", actor)


def _responder(vendor: Vendor, data: Mapping[str, Any], actor: Person | None, at: datetime) -> _Read:
    fields, user, state = _referred(vendor, data), vendor.person(data.get("user")), str(data.get("state"))
    if user is None:
        return fields, None
    if state == "accepted":
        fields["participants"] = (user,)
    done = {"accepted": "joined as a responder", "declined": "declined to join as a responder"}
    return fields, Entry(at, f"{user.name} {done.get(state, 'was asked to join as a responder')}", "note", actor)


def _bridge(vendor: Vendor, data: Mapping[str, Any], actor: Person | None, at: datetime) -> _Read:
    url, listed = data.get("conference_url"), data.get("conference_numbers")
    numbers = [one.get("number") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    where = ", ".join(one for one in (url, *numbers) if isinstance(one, str) and one.strip())
    return _referred(vendor, data), Entry(at, f"Conference bridge: {where or 'none any more'}", "note", actor)


def _field_values(vendor: Vendor, data: Mapping[str, Any], actor: Person | None, at: datetime) -> _Read:
    changed = data.get("changed_custom_fields")
    values = [_value(one) for one in changed if isinstance(one, dict)] if isinstance(changed, list) else []
    return _referred(vendor, data), Entry(at, "; ".join(values), "note", actor) if values else None


def _value(raw: Mapping[str, Any]) -> str:
    value = raw.get("value")
    shown = ", ".join(str(one) for one in value) if isinstance(value, list) else "empty" if value is None else value
    return f"{raw.get('display_name') or raw.get('name')}: {shown}"


def _workflow(vendor: Vendor, data: Mapping[str, Any], actor: Person | None, at: datetime) -> _Read:
    name = data.get("summary")
    text = f"PagerDuty's workflow '{name}'" if isinstance(name, str) and name.strip() else "A workflow of PagerDuty"
    return _referred(vendor, data), Entry(at, text, "note", actor)


def _referred(vendor: Vendor, data: Mapping[str, Any]) -> dict[str, Any]:
    return dict(vendor.read(payload.mapping(data.get("incident"), "'event.data.incident'")))


#: How to read `event.data`, by its type.
_READERS = {
    "incident": _incident,
    "incident_note": _note,
    "incident_status_update": _status_update,
    "incident_responder": _responder,
    "incident_conference_bridge": _bridge,
    "incident_field_values": _field_values,
    "incident_workflow_instance": _workflow,
}

PagerDuty = source(
    "pagerduty",
    PagerDutyWebhook,
    headers=("content-type", "user-agent", "x-webhook-id", "x-webhook-subscription"),
)(PagerDutyWebhooks)
