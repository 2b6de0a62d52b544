"""PagerDuty on good days and bad ones, against our small stand-in for it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from actions.providers.pagerduty import PagerDuty
from engine.domain import Entry, Person
from engine.plugins import OURSELVES, ActionError, ConnectionBroken, RetryLater
from tests.fakes import MONDAY, FakeClock, FakeConnection, an_effect
from tests.standins.pagerduty import POLICY, PagerDutyAccount

ADA = Person("pagerduty:PADA001", "Ada", ids={"pagerduty": "PADA001"})
PRIMARY = {"id": "PSCHED1", "type": "schedule_reference", "summary": "Primary"}


@pytest.fixture
def clock():
    return FakeClock(MONDAY)


@pytest.fixture
async def account(clock):
    async with PagerDutyAccount(clock.now) as account:
        yield account


@pytest.fixture
async def connected(account, clock):
    """Give what builds the provider, with more options than it needs."""
    built = []

    def build(**more):
        options = PagerDuty.options(
            token="t", email="hotwash@example.com", api=account.url, severity={"P1": "sev1"}, **more
        )
        built.append(PagerDuty.build(options, FakeConnection(Path(), "pager", clock)))
        return built[-1]

    yield build
    for one in built:
        await one.aclose()


@pytest.fixture
def pager(connected):
    return connected()


def shift(user, level, start, end, schedule=PRIMARY):
    return {
        "user": {"id": f"P{user.upper()}", "type": "user", "name": user.title(), "summary": user.title()},
        "schedule": schedule,
        "escalation_policy": POLICY,
        "escalation_level": level,
        "start": start and (MONDAY + timedelta(hours=start)).isoformat(),
        "end": end and (MONDAY + timedelta(hours=end)).isoformat(),
    }


# --- who is on call --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["Checkout", "Default", "Primary"])
@pytest.mark.parametrize(("hours", "person"), [(0, "Ada"), (7.99, "Ada"), (8, "Grace"), (15, "Grace"), (16, None)])
async def test_who_is_on_call_at_an_instant_is_known_for_a_service_a_policy_and_a_schedule(
    pager, account, target, hours, person
):
    account.on_calls = [shift("grace", 1, 8, 16), shift("ada", 1, -8, 8)]
    found = await pager.on_call(target, MONDAY + timedelta(hours=hours))
    assert (found.name if found else None) == person


async def test_of_several_levels_the_first_is_on_call(pager, account):
    account.on_calls = [shift("mary", 3, None, None), shift("grace", 2, -1, 1), shift("ada", 1, -1, 1)]
    assert (await pager.on_call("Checkout", MONDAY)).name == "Ada"


async def test_a_service_that_moves_to_another_policy_is_noticed(pager, account, clock):
    await pager.on_call("Checkout", clock.now())
    account.policy = {**POLICY, "id": "PPOLIC2"}
    clock.move(timedelta(minutes=10))
    await pager.on_call("Checkout", clock.now())
    assert [asked["escalation_policy_ids[]"] for asked in account.asked_for] == [["PPOLICY"], ["PPOLIC2"]]


# --- what is read back -----------------------------------------------------------------------------------------------


async def test_notes_and_log_are_read_back_with_their_own_times_and_without_what_the_state_says(pager, account, clock):
    account.add("Checkout is slow")
    account.page = 2
    for minutes, kind, text in [(5, "escalate", "Escalated to Ada"), (6, "acknowledge", "Acknowledged"), (7, "", "")]:
        clock.instant = MONDAY + timedelta(minutes=minutes)
        account.write("PINC001", kind, text) if kind else account.note("PINC001", "The queue was drained.")
    assert await pager.log("pager:PINC001") == [
        Entry(MONDAY + timedelta(minutes=5), "Escalated to Ada", by=ADA, id="pager/R000001"),
        Entry(MONDAY + timedelta(minutes=7), "The queue was drained.", by=ADA, id="pager/PNOTE00"),
    ]


async def test_a_note_that_was_edited_says_so(pager, account):
    account.add("Checkout is slow")
    account.note("PINC001", "Drained.")["updated_at"] = (MONDAY + timedelta(hours=1)).isoformat()
    (entry,) = await pager.log("pager:PINC001")
    assert entry.edited == MONDAY + timedelta(hours=1)


async def test_of_a_very_long_log_the_newest_lines_are_read(pager, account):
    account.add("Checkout is slow")
    for number in range(700):
        account.write("PINC001", "notify", f"Line {number}")
    entries = await pager.log("pager:PINC001")
    assert {entry.text for entry in entries} == {f"Line {number}" for number in range(200, 700)}


async def test_the_log_of_an_incident_that_is_gone_is_told(pager):
    with pytest.raises(Exception, match="GET /incidents/PGONE01/log_entries with 404"):
        await pager.log("pager:PGONE01")


# --- what is declared ------------------------------------------------------------------------------------------------


async def declare(pager, *services):
    given = {"labels": (), "drill": False, "private": False, "summary": None, "started_at": None}
    return await pager.declare("Slow", severity="sev2", services=services, effect=an_effect(), **given)


@pytest.mark.parametrize("service", ["Checkout", "checkout", "PSERVIC"])
async def test_an_incident_that_names_no_service_is_declared_on_that_of_the_connection(connected, account, service):
    await declare(connected(service=service))
    assert account.incidents["PINC001"]["service"]["id"] == "PSERVIC"


async def test_a_service_that_is_named_counts_before_that_of_the_connection(connected, account):
    await declare(connected(service="PANOTHER"), "Checkout")
    assert account.incidents["PINC001"]["service"]["id"] == "PSERVIC"


async def test_without_any_service_it_is_said_where_one_can_be_named(pager):
    with pytest.raises(ActionError, match=r"name one in 'services', or .* in 'service' of connection 'pager'"):
        await declare(pager)


@pytest.mark.parametrize("service", [None, "Checkout", "PSERVIC"])
async def test_a_connection_whose_service_is_there_works(connected, service):
    assert await connected(service=service).check() is None


@pytest.mark.parametrize("service", ["Chekout", "PANOTHER"])
async def test_a_service_of_the_connection_that_is_not_there_is_told(connected, service):
    told = f"'service' of the connection: no service of PagerDuty is called '{service}'"
    assert await connected(service=service).check() == told


# --- what is changed -------------------------------------------------------------------------------------------------


async def test_a_severity_sets_the_priority_that_stands_for_it(pager, account):
    account.add("Checkout is slow")
    changed = await pager.update("pager:PINC001", {"severity": "sev1"}, effect=an_effect())
    assert changed.severity == "sev1"
    assert account.incidents["PINC001"]["priority"]["id"] == "PPRIO01"


async def test_a_note_that_was_made_is_found_with_the_id_that_a_webhook_will_give_it(pager, account):
    account.add("Checkout is slow")
    effect = an_effect(inputs={"text": "Drained.", "at_source": True}, incident="pager:PINC001")
    assert await pager.find(effect) is None
    assert await pager.note("pager:PINC001", "Drained.", effect=effect) == "pager/PNOTE00"
    assert (await pager.find(effect)).id == "pager:PINC001"
    ((to, fact),) = effect.emitted
    assert (to, fact.engine, fact.note.id, fact.note.text) == (OURSELVES, True, "pager/PNOTE00", "Drained.")


async def test_a_note_from_before_the_effect_is_not_its_own(pager, account, clock):
    account.add("Checkout is slow")
    account.note("PINC001", "Drained.")
    effect = an_effect(inputs={"text": "Drained."}, incident="pager:PINC001")
    effect.at = MONDAY + timedelta(minutes=2)
    assert await pager.find(effect) is None


# --- bad days --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "doubtful", "too_often"), [(429, False, True), (502, True, False)])
async def test_trouble_is_tried_again_later_and_says_whether_it_may_have_worked(
    pager, account, status, doubtful, too_often
):
    account.add("Checkout is slow")
    account.refuses_next("POST", "/incidents/PINC001/notes", status, Retry_After="30")
    with pytest.raises(RetryLater) as raised:
        await pager.note("pager:PINC001", "Drained.", effect=an_effect())
    assert (raised.value.after, raised.value.maybe_done, raised.value.too_often) == (30, doubtful, too_often)


async def test_an_answer_that_is_lost_may_have_been_one_that_it_worked(pager, account):
    account.add("Checkout is slow")
    account.loses_next_answer("POST", "/incidents/PINC001/notes")
    with pytest.raises(RetryLater, match="PagerDuty broke off POST") as raised:
        await pager.note("pager:PINC001", "Drained.", effect=an_effect())
    assert raised.value.maybe_done
    assert len(account.notes["PINC001"]) == 1


async def test_a_key_that_was_revoked_breaks_the_connection(pager, account):
    account.refuses = {"Token token=t"}
    with pytest.raises(ConnectionBroken, match="with 401: the token has expired"):
        await pager.get("pager:PINC001")
