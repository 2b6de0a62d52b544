"""PagerDuty: who is on call, and incidents. What its JSON means stands here; its source receives the webhooks.

REST API reference: developer.pagerduty.com, version 2. Lists are paged by `limit` and `offset`; writing needs the
e-mail address of a user as `From`. 960 requests a minute are allowed for each key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from actions.providers.rest import Rest
from engine.capabilities import Shift
from engine.domain import Entry, Incident, Person
from engine.plugins import (
    OURSELVES,
    ActionError,
    Connection,
    Effect,
    Fact,
    Field,
    Options,
    Secret,
    findable,
    idempotent,
    provider,
)

_STATUS = {"triggered": "declared", "acknowledged": "acknowledged", "resolved": "resolved"}
_BY_URGENCY = {"high": "sev2", "low": "sev4"}
_STATUS_THERE = {"acknowledged": "acknowledged", "resolved": "resolved"}
_URGENT = frozenset({"sev1", "sev2"})
_REMEDIES = {
    401: "an admin of the PagerDuty account makes a new key under Integrations > API Access Keys; put it into 'token'",
    403: "the key may only read: an admin of the PagerDuty account makes one with full access",
}
_ID = re.compile(r"[PQR][A-Z0-9]{6,13}")
#: How long what has a name there is remembered by its id.
_NAMES_LAST = timedelta(minutes=10)
_A_MINUTE = timedelta(minutes=1)
#: Lines of a log that say what an incident's state and its notes say already.
_TOLD_ELSEWHERE = frozenset({"trigger_log_entry", "acknowledge_log_entry", "resolve_log_entry", "annotate_log_entry"})
#: Lines that are read back, the newest.
_MOST_LINES = 500
#: Which of its things may be on call, in the order in which a name is looked for, with the filter of `/oncalls`.
_ON_CALL = {
    "services": "escalation_policy_ids[]",
    "escalation_policies": "escalation_policy_ids[]",
    "schedules": "schedule_ids[]",
}


class PagerDutyOptions(Options):
    """How PagerDuty is asked, and how its incidents are read.

    Without a `token` a connection only receives webhooks.

    Example:
        pager:
          provider: pagerduty
          token: ${PAGERDUTY_TOKEN}
          email: hotwash@example.com
          service: Checkout
          webhook_secret: ${PAGERDUTY_WEBHOOK_SECRET}
          severity: {P1: sev1, P2: sev2, P3: sev3}
    """

    token: Secret | None = Field(default=None, description="A REST API key.")
    email: str | None = Field(
        default=None, pattern=r"^[^@\s]+@[^@\s]+$", description="E-mail address of the user in whose name it writes."
    )
    api: str = Field(
        default="https://api.pagerduty.com",
        pattern=r"^https?://[^\s?#]+$",
        description="Where the REST API is; accounts in Europe have https://api.eu.pagerduty.com.",
    )
    default: str | None = Field(
        default=None,
        description="Schedule, escalation policy or service, by name or id, that is asked where a target has none.",
    )
    service: str | None = Field(
        default=None,
        min_length=1,
        description="Service, by name or id, on which an incident is declared that names none.",
    )
    severity: dict[str, str] = Field(
        default={},
        description="Severity by the name of PagerDuty's priority. Without a priority that is named here the urgency "
        "decides: high is sev2, low sev4.",
    )


class PagerDutyRecords:
    """Read PagerDuty's records, as its REST API and its webhooks show them."""

    def __init__(self, options: PagerDutyOptions, connection: Connection) -> None:
        self._severity = options.severity
        self._connection = connection.name

    def read(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Give the fields of an incident, or of a reference to one: those it speaks about and no others.

        `id` is the subject's, such as `pager:PCPZE64`. Times that PagerDuty does not state are left out.

        Raises:
            ValueError: it is no incident.
        """
        fields: dict[str, Any] = {
            "id": f"{self._connection}:{_id(raw)}",
            "key": _key(raw.get("number", raw.get("incident_number"))),  # webhooks and the REST API differ
            "title": _text(raw.get("title")) or _text(raw.get("summary")),
            "url": _text(raw.get("html_url")),
            "status": _status(raw.get("status")),
            "severity": self._severity_of(raw),
            "services": _services(raw.get("service")),
            "participants": self._people(raw.get("assignees")),
            "declared_at": _instant(raw.get("created_at")),
        }
        return {name: value for name, value in fields.items() if value is not None}

    def person(self, raw: Any) -> Person | None:
        """Give the user that a reference is to; None for an integration, a service, or nothing."""
        if not isinstance(raw, Mapping) or raw.get("type") not in ("user_reference", "user"):
            return None
        key = _text(raw.get("id"))
        if key is None:
            return None
        name = _text(raw.get("summary")) or _text(raw.get("name")) or key
        return Person(f"pagerduty:{key}", name, email=_text(raw.get("email")), ids={"pagerduty": key})

    def entry_id(self, raw: Mapping[str, Any]) -> str | None:
        """Give the id in the timeline of a note or of a line of the log; it is the same however it comes in."""
        key = _text(raw.get("id"))
        return f"{self._connection}/{key}" if key is not None else None

    def _people(self, raw: Any) -> tuple[Person, ...] | None:
        found = [self.person(item) for item in raw] if isinstance(raw, list) else []
        return tuple(person for person in found if person is not None) or None

    def _severity_of(self, raw: Mapping[str, Any]) -> str | None:
        priority = raw.get("priority")
        name = _text(priority.get("summary")) if isinstance(priority, Mapping) else None
        urgency = raw.get("urgency")
        by_urgency = _BY_URGENCY.get(urgency) if isinstance(urgency, str) else None
        return self._severity.get(name, by_urgency) if name is not None else by_urgency


def _id(raw: Any) -> str:
    found = _text(raw.get("id")) if isinstance(raw, Mapping) else None
    if found is None:
        raise ValueError("an incident of PagerDuty must have an 'id', a text")
    return found


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _key(number: Any) -> str | None:
    return f"PD-{number}" if isinstance(number, int) and not isinstance(number, bool) else None


def _status(value: Any) -> str | None:
    if value is None:
        return None
    status = _STATUS.get(value) if isinstance(value, str) else None
    if status is None:
        raise ValueError("the 'status' of PagerDuty's incident must be triggered, acknowledged or resolved")
    return status


def _services(raw: Any) -> tuple[str, ...] | None:
    name = _text(raw.get("summary")) if isinstance(raw, Mapping) else None
    return (name,) if name is not None else None


def _instant(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError("the 'created_at' of PagerDuty's record must be a time such as 2026-03-02T09:00:00Z")


class PagerDutyApi(PagerDutyRecords):
    """Ask PagerDuty who is on call, and keep incidents there."""

    announces = True

    #: What PagerDuty knows of an incident: reading it again says nothing about the rest.
    owns = frozenset({"key", "title", "url", "severity", "status", "services", "declared_at"})

    def __init__(self, options: PagerDutyOptions, connection: Connection) -> None:
        super().__init__(options, connection)
        self._options = options
        self._people_known = connection.people
        self._clock = connection.clock
        self._on_call: dict[str, tuple[datetime, tuple[str, str] | None]] = {}
        self._priorities: tuple[datetime, dict[str, str]] | None = None
        self.readable = options.token is not None
        headers = {
            "Accept": "application/vnd.pagerduty+json;version=2",
            "Authorization": f"Token token={options.token}",
        }
        self._rest = Rest("PagerDuty", connection, options.api, headers, remedies=_REMEDIES)

    async def check(self) -> str | None:
        """Say what is wrong with the connection; None where it works."""
        if self._options.token is None:
            return "it has no 'token', so it only receives webhooks"
        await self._api().call("GET", "/abilities")
        if (skewed := self._rest.skew()) is not None:
            return skewed
        if self._options.email is None:
            return "it has no 'email', so it can read and not write"
        if not await self._has_user(self._options.email):
            return f"no user of PagerDuty has the e-mail address '{self._options.email}'"
        if self._options.service is not None and not await self._has_service(self._options.service):
            return f"'service' of the connection: no service of PagerDuty is called '{self._options.service}'"
        return None

    async def _has_user(self, email: str) -> bool:
        users = self._api().pages("/users", "users", {"query": email})
        return any([_text(user.get("email")) == email async for user in users])

    async def _has_service(self, name: str) -> bool:
        if _ID.fullmatch(name):
            return await self._api().get(f"/services/{name}") is not None
        return await self._service_called(name) is not None

    async def aclose(self) -> None:
        """Close the session."""
        await self._rest.aclose()

    # --- who is on call ----------------------------------------------------------------------------------------------

    async def on_call(self, target: str | None, at: datetime) -> Person | None:
        """Give who is on call at an instant for a service, escalation policy or schedule, by its name or id.

        Of several levels the first counts. None or a target that PagerDuty does not have gives the connection's
        `default`, else None.
        """
        for name in dict.fromkeys(one for one in (target, self._options.default) if one):
            found = await self._target(name)
            if found is not None:
                return await self._on_call_of(*found, at)
        return None

    async def _target(self, name: str) -> tuple[str, str] | None:
        """Give the filter of `/oncalls` that a name stands for, and the id it takes."""
        kept = self._on_call.get(name)
        if kept is None or self._clock.now() - kept[0] >= _NAMES_LAST:
            kept = self._on_call[name] = (self._clock.now(), await self._look_for(name))
        return kept[1]

    async def _look_for(self, name: str) -> tuple[str, str] | None:
        for kind, filter in _ON_CALL.items():
            if _ID.fullmatch(name):
                found = await self._api().get(f"/{kind}/{name}")
                items = [next(iter(found.values()))] if found else []
            else:
                asked = {"query": name}
                listed = [one async for one in self._api().pages(f"/{kind}", kind, asked)]
                items = [
                    one
                    for one in listed
                    if name.casefold() in (str(one.get(k)).casefold() for k in ("name", "summary"))
                ]
            for item in items:
                policy = item.get("escalation_policy") if kind == "services" else item
                return filter, _id(policy)
        return None

    async def shifts(self, at: datetime) -> Sequence[Shift]:
        """Give the shift of every schedule at an instant."""
        found: dict[str, Shift] = {}
        for one in await self._on_calls({}, at):
            schedule = one.get("schedule")
            if isinstance(schedule, Mapping):
                name = _text(schedule.get("summary")) or _id(schedule)
                found.setdefault(name, Shift(name, self._joined(one), *_span(one)))
        return tuple(found.values())

    async def _on_call_of(self, filter: str, id: str, at: datetime) -> Person | None:
        people = [self._joined(one) for one in await self._on_calls({filter: [id]}, at)]
        return next((person for person in people if person is not None), None)

    async def _on_calls(self, filter: Mapping[str, list[str]], at: datetime) -> list[Mapping[str, Any]]:
        """Give what `/oncalls` lists for an instant, the first level first."""
        since, until = at.astimezone(UTC), at.astimezone(UTC) + timedelta(minutes=1)
        asked: dict[str, str | list[str]] = {
            **filter,
            "include[]": "users",
            "since": since.isoformat(),
            "until": until.isoformat(),
        }
        listed = [one async for one in self._api().pages("/oncalls", "oncalls", asked)]
        there = [one for one in listed if _covers(_span(one), since)]
        return sorted(there, key=lambda one: one.get("escalation_level") or 0)

    def _joined(self, on_call: Mapping[str, Any]) -> Person | None:
        person = self.person(on_call.get("user"))
        return self._people_known.join(person) if person is not None else None

    # --- incidents ---------------------------------------------------------------------------------------------------

    @findable(visible_after="1m")
    async def declare(
        self,
        title: str,
        *,
        severity: str | None,
        services: Sequence[str],
        labels: Sequence[str],
        drill: bool,
        private: bool,
        summary: str | None,
        started_at: datetime | None,
        effect: Effect,
    ) -> Incident:
        """Open an incident on the first of `services`, else on the connection's; its `incident_key` is the effect's."""
        service = services[0] if services else self._options.service
        if service is None:
            raise ActionError(
                "PagerDuty keeps no incident without a service: name one in 'services', or one for all that name none"
                f" in 'service' of connection '{self._connection}'"
            )
        incident: dict[str, Any] = {
            "type": "incident",
            "title": title,
            "service": {"id": await self._service(service), "type": "service_reference"},
            "incident_key": effect.token,
            "urgency": "high" if severity in _URGENT else "low",
        }
        if severity is not None and (priority := await self._priority(severity)) is not None:
            incident["priority"] = priority
        if summary:
            incident["body"] = {"type": "incident_body", "details": {"summary": summary}}
        answer = await self._write("POST", "/incidents", {"incident": incident})
        return self._told("incident.declared", answer["incident"], effect)

    async def find(self, effect: Effect) -> Incident | None:
        """Give the incident that this effect opened, or wrote a note on."""
        if "text" in effect.inputs:
            return await self._find_note(effect)
        asked = {"incident_key": effect.token, "date_range": "all"}
        page = await self._api().call("GET", "/incidents", query=asked)
        for raw in page.get("incidents") or []:
            if raw.get("incident_key") == effect.token:
                return self._told("incident.declared", raw, effect)
        return None

    @idempotent
    async def update(self, incident: str, changes: Mapping[str, Any], *, effect: Effect) -> Incident:
        """Set title, severity (its priority) or status (acknowledged, resolved)."""
        wanted: dict[str, Any] = {"type": "incident_reference"}
        for name, value in changes.items():
            wanted |= await self._change(name, value)
        answer = await self._write("PUT", f"/incidents/{self._ref(incident)}", {"incident": wanted})
        status = changes.get("status")
        return self._told(f"incident.{status}" if status else "incident.updated", answer["incident"], effect)

    @idempotent
    async def resolve(self, incident: str, *, effect: Effect) -> Incident:
        """Resolve it."""
        return await self.update(incident, {"status": "resolved"}, effect=effect)

    @idempotent
    async def acknowledge(self, incident: str, *, effect: Effect) -> Incident:
        """Acknowledge it."""
        return await self.update(incident, {"status": "acknowledged"}, effect=effect)

    @findable(visible_after="10s")
    async def note(self, incident: str, text: str, *, effect: Effect) -> str | None:
        """Add a note to it."""
        answer = await self._write("POST", f"/incidents/{self._ref(incident)}/notes", {"note": {"content": text}})
        return self.entry_id(answer["note"])

    async def _find_note(self, effect: Effect) -> Incident | None:
        """Give the incident, with what its timeline is told, if a note with this text was made since the intent."""
        ref = effect.inputs.get("incident") or effect.incident
        id = str(getattr(ref, "id", ref))
        for raw in await self._notes(id):
            at = _instant(raw.get("created_at"))
            if raw.get("content") == effect.inputs["text"] and at is not None and at >= effect.at - _A_MINUTE:
                found = await self._api().call("GET", f"/incidents/{self._ref(id)}")
                incident = self._incident(found["incident"])
                note = Entry(effect.at, raw["content"], by=effect.actor, id=self.entry_id(raw))
                told = ("incident.updated", effect.at, "incident", incident.id)
                fact = Fact(*told, actor=effect.actor, own=effect.actor is None, engine=True, note=note)
                effect.emit(OURSELVES, fact)
                return incident
        return None

    async def log(self, incident: str) -> Sequence[Entry]:
        """Give the notes on it, and what else PagerDuty counts among the important lines of its log."""
        entries = [self._entry(raw, raw.get("user"), raw.get("content")) for raw in await self._notes(incident)]
        asked, read = {"is_overview": "true", "time_zone": "UTC"}, 0
        async for raw in self._api().pages(f"/incidents/{self._ref(incident)}/log_entries", "log_entries", asked):
            if raw.get("type") not in _TOLD_ELSEWHERE:
                entries.append(self._entry(raw, raw.get("agent"), raw.get("summary")))
            read += 1
            if read >= _MOST_LINES:
                break
        return sorted((one for one in entries if one is not None), key=lambda entry: entry.at)

    async def _notes(self, incident: str) -> Sequence[Mapping[str, Any]]:
        found = await self._api().get(f"/incidents/{self._ref(incident)}/notes")
        return (found or {}).get("notes") or ()

    def _entry(self, raw: Mapping[str, Any], who: Any, text: Any) -> Entry | None:
        at, edited = _instant(raw.get("created_at")), _instant(raw.get("updated_at"))
        if at is None or _text(text) is None:
            return None
        by = self.person(who)
        by = self._people_known.join(by) if by is not None else None
        edited = edited if edited is not None and edited > at else None
        return Entry(at, text, by=by, url=_text(raw.get("html_url")), id=self.entry_id(raw), edited=edited)

    async def get(self, incident: str) -> Incident | None:
        """Read it fresh; None where PagerDuty has none."""
        found = await self._api().get(f"/incidents/{self._ref(incident)}")
        return self._incident(found["incident"]) if found else None

    def _ref(self, incident: str) -> str:
        owner, _, key = incident.rpartition(":")
        if owner not in ("", self._connection):
            raise ActionError(f"'{incident}' is kept by connection '{owner}', not by '{self._connection}'")
        return quote(key.removeprefix("PD-"), safe="")

    async def _change(self, name: str, value: Any) -> dict[str, Any]:
        match name:
            case "title":
                return {"title": value}
            case "status" if value in _STATUS_THERE:
                return {"status": _STATUS_THERE[value]}
            case "severity":
                priority = await self._priority(value)
                if priority is None:
                    named = ", ".join(sorted(self._severity)) or "none"
                    raise ActionError(f"'severity' of the connection has no priority for '{value}'; it names {named}")
                return {"priority": priority}
            case "status":
                raise ActionError(f"PagerDuty has no status '{value}': it can be acknowledged or resolved")
            case _:
                raise ActionError(f"PagerDuty does not keep '{name}' of an incident")

    async def _priority(self, severity: str) -> dict[str, str] | None:
        if self._priorities is None or self._clock.now() - self._priorities[0] >= _NAMES_LAST:
            listed = [one async for one in self._api().pages("/priorities", "priorities", {})]
            ids = {str(one.get("name") or one.get("summary")): _id(one) for one in listed}
            self._priorities = (self._clock.now(), ids)
        there = self._priorities[1]
        for name, stands_for in self._severity.items():
            if stands_for == severity and name in there:
                return {"id": there[name], "type": "priority_reference"}
        return None

    async def _service(self, name: str) -> str:
        if _ID.fullmatch(name):
            return name
        found = await self._service_called(name)
        if found is None:
            raise ActionError(f"PagerDuty has no service called '{name}'")
        return found

    async def _service_called(self, name: str) -> str | None:
        async for one in self._api().pages("/services", "services", {"query": name}):
            if str(one.get("name")).casefold() == name.casefold():
                return _id(one)
        return None

    def _told(self, event: str, raw: Mapping[str, Any], effect: Effect) -> Incident:
        """Give the incident, and let the next step see what the effect changed."""
        known = self.read(raw)
        subject = known.pop("id")
        fact = Fact(event, effect.at, "incident", subject, known, actor=effect.actor, own=effect.actor is None)
        effect.emit(self._connection, fact)
        return self._incident(raw)

    def _incident(self, raw: Mapping[str, Any]) -> Incident:
        known = self.read(raw)
        known.setdefault("key", known["id"].partition(":")[2])
        known.setdefault("title", known["key"])
        return Incident(**{one.name: known[one.name] for one in fields(Incident) if one.name in known})

    async def _write(self, method: str, path: str, body: Any) -> Any:
        if self._options.email is None:
            raise ActionError(
                f"connection '{self._connection}' has no 'email': PagerDuty wants to know in whose name it writes"
            )
        return await self._api().call(method, path, body=body, headers={"From": self._options.email})

    def _api(self) -> Rest:
        if self._options.token is None:
            raise ActionError(f"connection '{self._connection}' has no 'token', so it only receives webhooks")
        return self._rest


def _span(on_call: Mapping[str, Any]) -> tuple[datetime | None, datetime | None]:
    """Give when a shift begins and ends; one without a start or an end is for ever."""
    start, end = on_call.get("start"), on_call.get("end")
    return datetime.fromisoformat(start) if start else None, datetime.fromisoformat(end) if end else None


def _covers(span: tuple[datetime | None, datetime | None], at: datetime) -> bool:
    start, end = span
    return (start is None or start <= at) and (end is None or at < end)


PagerDuty = provider("pagerduty", PagerDutyOptions, serves=("incident", "on_call"), rate="960/min")(PagerDutyApi)
