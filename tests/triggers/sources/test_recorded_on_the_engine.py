"""Recorded deliveries on the engine: the subject's state afterwards is what was written down here, and stays so."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine import wiring
from engine.testing import World

RECORDED = Path(__file__).resolve().parents[4] / "shared/payloads"
PROJECT = """\
timezone: UTC
connections:
  pagerduty: {provider: pagerduty, webhook_secret: "${TOKEN}", severity: {P2: sev3}}
  jira: {provider: jira, server: "http://127.0.0.1:9", token: "${TOKEN}", webhook_secret: "${TOKEN}"}
  alertmanager: {provider: alertmanager, token: "${TOKEN}", severity: {critical: sev1}}
"""
#: Long after all of them, so that none is of the future.
AFTER = datetime(2027, 1, 4, 9, 0, tzinfo=UTC)
#: By file: the event, and of the ticket its key, whether it is done, its labels, whether it is somebody's, and when it
#: was made, closed, and last touched by a human.
TICKETS = {
    "cloud-comment-created": ("ticket.commented", "TES-41", False, (), False, None, None, "2019-02-16T03:11:18.321"),
    "cloud-comment-updated": ("ticket.commented", "TES-41", False, (), False, None, None, "2019-02-16T03:12:08.432"),
    "cloud-issue-created-many-fields": (
        *("ticket.created", "KT-22", False, ("Label1", "Label2"), True),
        *("2019-08-27T19:43:24.193", None, "2019-08-27T19:43:24.475"),
    ),
    "cloud-issue-updated-custom-field": (
        *("ticket.updated", "TES-14", False, ("Pickles",), True),
        *("2019-07-18T00:59:42.002", None, "2019-08-12T01:49:13.414"),
    ),
    "issue-created": (
        *("ticket.created", "TES-41", False, ("test-label",), False),
        *("2019-02-16T03:01:52.971", None, "2019-02-16T03:01:53.023"),
    ),
    "issue-deleted": (
        *("ticket.closed", "IDT-19", True, (), False),
        *("2019-07-01T05:13:46.091", "2019-07-03T18:05:36.176", "2019-07-03T18:05:36.176"),
    ),
    "issue-updated-assigned": (
        *("ticket.updated", "TES-41", False, ("test-label",), True),
        *("2019-02-16T03:01:52.971", None, "2019-02-16T03:18:01.752"),
    ),
    "issue-updated-labels": (
        *("ticket.updated", "TES-41", False, ("sad", "test-label"), False),
        *("2019-02-16T03:01:52.971", None, "2019-02-16T21:12:10.065"),
    ),
    "issue-updated-raised-priority": (
        *("ticket.updated", "TES-41", False, ("sad", "test-label"), False),
        *("2019-02-16T03:01:52.971", None, "2019-02-16T21:15:16.080"),
    ),
    "issue-updated-reopened": (
        *("ticket.reopened", "TES-41", False, ("test-label",), False),
        *("2019-02-16T03:01:52.971", None, "2019-02-16T03:17:06.531"),
    ),
    "issue-updated-resolved": (
        *("ticket.closed", "TES-41", True, ("test-label",), False),
        *("2019-02-16T03:01:52.971", "2019-02-16T03:15:40.470", "2019-02-16T03:15:40.507"),
    ),
    "server-issue-updated-resolved": (
        *("ticket.closed", "TES-4", True, (), False),
        *("2019-08-12T22:14:23.580", "2019-08-12T23:23:01.890", "2019-08-12T23:23:02.025"),
    ),
}
#: By file: the event, and of the incident its key, status and severity, when it was declared, acknowledged, resolved.
INCIDENTS = {
    "triggered": ("incident.declared", "PD-9", "declared", "sev2", "2021-06-04T13:35:29.781", None, None),
    "acknowledged": ("incident.acknowledged", "PD-10", "acknowledged", "sev2", None, "2021-06-04T13:55:30.394", None),
    "resolved": ("incident.resolved", "PD-6", "resolved", "sev2", None, None, "2021-06-04T13:16:53.816"),
    "priority_updated": ("incident.updated", "PD-5", "declared", "sev3", "2026-04-01T02:07:30", None, None),
}

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded payloads are not beside the project")


@pytest.fixture
def delivered(tmp_path):
    """Give a world to which a recorded delivery has come, and come again."""

    @asynccontextmanager
    async def run(vendor, file):
        (tmp_path / "hotwash.yaml").write_text(PROJECT)
        (tmp_path / "people.yaml").write_text("people: {}\n")
        (tmp_path / "workflows").mkdir()
        body = (RECORDED / vendor / file).read_bytes()
        environ = {"TOKEN": "of-some-length"}
        async with World(tmp_path, AFTER, wiring.open_application, environ=environ) as world:
            source = world.application.sources[vendor]
            for _ in range(2):
                await world.happens(vendor, *source.read({}, body, world.now).facts)
            yield world

    return run


def when(instant):
    return None if instant is None else instant.replace(tzinfo=None).isoformat().removesuffix("000")


@pytest.mark.parametrize("name", TICKETS)
async def test_a_delivery_of_jira_leaves_the_ticket_as_it_says(delivered, name):
    async with delivered("jira", f"webhook-{name}.json") as world:
        (ticket,), (event,) = world.subjects("ticket"), world.events()
        touched = (ticket.created_at, ticket.closed_at, ticket.active_at)
        known = (ticket.key, ticket.done, ticket.labels, ticket.assignee is not None)
        assert (event.type, *known, *map(when, touched)) == TICKETS[name]
        assert ticket.project == ticket.key.partition("-")[0]


@pytest.mark.parametrize("name", INCIDENTS)
async def test_a_delivery_of_pagerduty_leaves_the_incident_as_it_says(delivered, name):
    async with delivered("pagerduty", f"incident.{name}.json") as world:
        (incident,), (event,) = world.subjects("incident"), world.events()
        times = (incident.declared_at, incident.acknowledged_at, incident.resolved_at)
        known = (incident.key, incident.status, incident.severity)
        assert (event.type, *known, *map(when, times)) == INCIDENTS[name]
        assert (len(incident.services), len(incident.participants)) == (1, 1)


async def test_a_delivery_of_alertmanager_leaves_its_alerts_firing(delivered):
    async with delivered("alertmanager", "firing-real-0.25.json") as world:
        alerts = world.subjects("alert")
        assert [event.type for event in world.events()] == ["alert.firing", "alert.firing"]
        assert sorted((alert.labels["instance"], alert.service, alert.severity) for alert in alerts) == [
            ("web-1", "checkout", "sev1"),
            ("web-2", "checkout", "sev1"),
        ]
        assert all((alert.firing, alert.name, alert.ended_at) == (True, "HighErrorRate", None) for alert in alerts)


def test_every_recorded_delivery_has_its_expectation():
    assert {path.name for path in (RECORDED / "jira").glob("*.json")} == {f"webhook-{name}.json" for name in TICKETS}
    there = {path.name for path in (RECORDED / "pagerduty").glob("incident.*.json")}
    assert there == {f"incident.{name}.json" for name in INCIDENTS}
