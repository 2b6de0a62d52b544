"""What is posted: an incident of a pager, about 1.9 kB of JSON, signed over its body."""

from __future__ import annotations

import json
from typing import Any

from bench.load import ID
from bench.project import SECRET

_ID = ID.decode()


def _reference(kind: str, number: int, summary: str) -> dict[str, str]:
    address = f"https://example.pagerduty.com/{kind}s/P{number:06d}"
    return {
        "html_url": address,
        "id": f"P{number:06d}",
        "self": f"https://api.pagerduty.com/{kind}s/P{number:06d}",
        "summary": summary,
        "type": f"{kind}_reference",
    }


def incident() -> str:
    """Give the body of a webhook, as PagerDuty's version 3 has it; its id and title are the request's."""
    data: dict[str, Any] = {
        "id": f"Q{_ID}",
        "type": "incident",
        "self": f"https://api.pagerduty.com/incidents/Q{_ID}",
        "html_url": f"https://example.pagerduty.com/incidents/Q{_ID}",
        "number": 1234,
        "status": "triggered",
        "incident_key": f"monitor/{_ID}",
        "title": _ID,
        "service": _reference("service", 1, "Checkout"),
        "assignees": [_reference("user", 2, "Ada"), _reference("user", 3, "Grace")],
        "escalation_policy": _reference("escalation_policy", 4, "Default"),
        "teams": [_reference("team", 5, "SRE")],
        "priority": None,
        "urgency": "high",
        "conference_bridge": {
            "conference_number": "+1 555 0100,,4242#",
            "conference_url": "https://meet.example.com/4242",
        },
        "first_trigger_log_entry": _reference(
            "log_entry", 6, "Triggered through the API: orders wait longer than 30 s"
        ),
        "resolve_reason": None,
    }
    event = {
        "id": f"01{_ID}",
        "event_type": "incident.triggered",
        "resource_type": "incident",
        "occurred_at": "2026-03-02T09:00:00.000Z",
        "agent": _reference("service", 1, "Checkout"),
        "client": {"name": "Monitoring of the shop's checkout in every region"},
        "data": data,
    }
    return json.dumps({"event": event}, separators=(",", ":"))


#: How a pager signs.
SIGNATURE = {"header": "X-PagerDuty-Signature", "prefix": "v1=", "secret": SECRET}
#: The connection of a project that takes these in.
CONNECTION = '  pager: {provider: pagerduty, webhook_secret: "${BENCH_SECRET}"}\n'


def head(port: int, path: str) -> str:
    """Give the head of a request, as far as it does not depend on the body."""
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
