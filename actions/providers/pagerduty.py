"""What PagerDuty's JSON means. The source of the same name receives its webhooks with this."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from engine.domain import Person
from engine.plugins import Connection, Field, Options, provider

_STATUS = {"triggered": "declared", "acknowledged": "acknowledged", "resolved": "resolved"}
_BY_URGENCY = {"high": "sev2", "low": "sev4"}


class PagerDutyOptions(Options):
    """How PagerDuty's incidents are read.

    Example:
        pager:
          provider: pagerduty
          webhook_secret: ${PAGERDUTY_WEBHOOK_SECRET}
          severity: {P1: sev1, P2: sev2, P3: sev3}
    """

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
            "key": _key(raw.get("number")),
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
    raise ValueError("the 'created_at' of PagerDuty's incident must be a time such as 2026-03-02T09:00:00Z")


PagerDuty = provider("pagerduty", PagerDutyOptions, serves=())(PagerDutyRecords)
