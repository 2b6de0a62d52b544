"""PagerDuty's REST API by its own specification: what the provider sends, and how it reads the examples there."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from actions.providers.pagerduty import PagerDuty
from engine.plugins import ConnectionBroken
from tests.fakes import an_effect

HEADERS = {"Accept": "application/vnd.pagerduty+json;version=2", "Authorization": "Token token=t"}
FROM = {"From": "hotwash@example.com"}


@pytest.fixture
async def pager(prism, connection):
    options = PagerDuty.options(
        token="t", email="hotwash@example.com", api=prism("pagerduty"), severity={"P1": "sev1", "P2": "sev2"}
    )
    provider = PagerDuty.build(options, connection)
    yield provider
    await provider.aclose()


async def test_who_is_on_call_is_asked_for_a_service_by_its_name(pager):
    asked = datetime(2015, 3, 7, 0, 0, tzinfo=UTC)  # the specification's example is of that day
    person = await pager.on_call("My Application Service", asked)
    assert (person.id, person.name) == ("pagerduty:PT23IWX", "Tim Wright")


@pytest.mark.parametrize(("hour", "rotations"), [(0, ["Daily Engineering Rotation"]), (21, [])])
async def test_the_shifts_of_an_instant_are_those_that_cover_it(pager, hour, rotations):
    shifts = await pager.shifts(datetime(2015, 3, 7, hour, 0, tzinfo=UTC))
    assert [shift.rotation for shift in shifts] == rotations
    assert all(shift.end == datetime(2015, 3, 7, 20, 28, 51, tzinfo=UTC) for shift in shifts)


async def test_an_incident_is_opened_with_the_identity_as_its_key(pager):
    effect = an_effect()
    incident = await pager.declare(
        "Checkout is slow",
        severity="sev1",
        services=["PWIXJZS"],
        labels=(),
        drill=False,
        private=False,
        summary="Since the deploy",
        started_at=None,
        effect=effect,
    )
    assert (incident.id, incident.key, incident.status) == ("vendor:PT4KHLK", "PD-1234", "declared")
    assert [fact.type for _, fact in effect.emitted] == ["incident.declared"]


@pytest.mark.parametrize("changes", [{"status": "resolved"}, {"severity": "sev2"}, {"title": "Checkout fails"}])
async def test_an_incident_is_changed(pager, changes):
    incident = await pager.update("vendor:PT4KHLK", changes, effect=an_effect())
    assert (incident.title, incident.severity) == ("The server is on fire.", "sev2")  # as the example has it


async def test_an_incident_is_read_with_its_times_and_service(pager):
    incident = await pager.get("vendor:PT4KHLK")
    assert incident.key == "PD-1234"
    assert incident.declared_at == datetime(2015, 10, 6, 21, 30, 42, tzinfo=UTC)


async def test_a_note_is_added_and_has_an_id(pager):
    assert await pager.note("vendor:PT4KHLK", "Drained by hand.", effect=an_effect()) == "vendor/PWL7QXS"


async def test_notes_and_log_are_read_back(pager):
    entries = await pager.log("vendor:PT4KHLK")
    assert [(entry.text, entry.by and entry.by.name, entry.id) for entry in entries] == [
        ("Initial alert information indicates a 1-alarm fire", None, "vendor/PCQC25"),
        ("Firefighters are on the scene.", "Earline Greenholt", "vendor/PWL7QXS"),
    ]
    assert entries[0].at == datetime(2013, 3, 6, 20, 28, 42, tzinfo=UTC)


async def test_a_note_is_looked_for_by_its_text(pager):
    effect = an_effect(inputs={"text": "Drained by hand."}, incident="vendor:PT4KHLK")
    assert await pager.find(effect) is None


async def test_an_incident_is_looked_for_by_the_identity_and_taken_only_if_it_has_it(pager):
    assert await pager.find(an_effect()) is None  # the example has another key


async def test_the_check_finds_a_user_that_is_not_there(pager):
    assert await pager.check() == "no user of PagerDuty has the e-mail address 'hotwash@example.com'"


async def test_without_credentials_the_connection_is_broken(prism, connection):
    options = PagerDuty.options(token="t", api=prism("pagerduty"))
    provider = PagerDuty.build(options, connection)
    provider._rest._headers.pop("Authorization")
    with pytest.raises(ConnectionBroken, match="PagerDuty answered GET /abilities with 401"):
        await provider.check()
    await provider.aclose()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/oncalls?limit=many", None),
        ("GET", "/services?limit=many", None),
        ("GET", "/escalation_policies?limit=many", None),
        ("GET", "/schedules?limit=many", None),
        ("GET", "/users?limit=many", None),
        ("GET", "/priorities?limit=many", None),
        ("GET", "/incidents?date_range=some", None),
        ("GET", "/incidents/PT4KHLK/log_entries?is_overview=perhaps", None),
        ("POST", "/incidents", {"incident": {"type": "incident", "title": "without a service"}}),
        ("PUT", "/incidents/PT4KHLK", {"incident": {"type": "incident_reference", "status": "over"}}),
        ("POST", "/incidents/PT4KHLK/notes", {"note": {"text": "in the wrong field"}}),
    ],
)
async def test_the_specification_refuses_what_breaks_it(prism, by_hand, method, path, body):
    answer = await by_hand(method, prism("pagerduty") + path, headers=HEADERS | FROM, body=body)
    assert answer.refused
