from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from actions.providers.local import Local, LocalOptions
from engine.capabilities import TicketDraft, Where
from engine.domain import ENGINE_OWNED, Incident, Person, Ticket
from engine.plugins import ActionError, effect_class
from tests.fakes import ADA, GRACE, MONDAY, FakeConnection, FakePeople, an_effect

LATER = MONDAY + timedelta(days=2)
RECORDS = {"ticket": Ticket, "incident": Incident}


@pytest.fixture
def connection():
    team_mate = replace(GRACE, team="sre")
    return FakeConnection(Path(), name="local", people=FakePeople([ADA, team_mate]))


@pytest.fixture
def local(connection):
    return Local.build(LocalOptions(), connection)


def commit(connection, effect):
    """Do what the engine does with what an effect says: merge it into the subjects."""
    for _, fact in effect.emitted:
        known = connection.storage.records.setdefault(fact.subject_type, [])
        found = next((one for one in known if one.id == fact.subject), None)
        if found is not None:
            known.remove(found)
        fields = dict(fact.fields)
        known.insert(0, replace(found, **fields) if found else RECORDS[fact.subject_type](**fields))


def later(actor=None):
    effect = an_effect("later", actor=actor)
    effect.at = LATER
    return effect


async def filed(local, connection, title="Alert earlier", **more):
    effect = an_effect()
    ticket = await local.create(TicketDraft(title, **more), effect=effect)
    commit(connection, effect)
    return ticket


async def declared(local, connection, title="Slow", **more):
    given = {"severity": None, "services": (), "labels": (), "drill": False, "private": False, "summary": None}
    effect = an_effect()
    incident = await local.declare(title, effect=effect, **(given | {"started_at": None} | more))
    commit(connection, effect)
    return incident, effect.emitted[0][1]


async def test_tickets_are_numbered_and_named_by_their_connection(local, connection):
    first, second = await filed(local, connection), await filed(local, connection)
    assert (first.id, first.key, second.key, first.provider) == ("local:HW-1", "HW-1", "HW-2", "local")


async def test_a_new_ticket_is_a_fact_with_all_its_fields(local, connection):
    effect = an_effect()
    ticket = await local.create(TicketDraft("  Alert\n earlier ", assignee=ADA, incident="pager:P1"), effect=effect)
    [(name, fact)] = effect.emitted
    assert (name, fact.type, fact.subject, fact.own) == ("local", "ticket.created", "local:HW-1", True)
    assert Ticket(**fact.fields) == ticket
    assert (ticket.title, ticket.incident, ticket.created_at) == ("Alert earlier", "pager:P1", MONDAY)


@pytest.mark.parametrize("title", ["", " \n", "x" * 301])
async def test_a_title_that_cannot_be_kept_is_refused(local, connection, title):
    with pytest.raises(ActionError, match="'title' must have 1 to 300 characters"):
        await filed(local, connection, title)


async def test_only_what_differs_is_written(local, connection):
    await filed(local, connection, labels=("postmortem",))
    effect = later()
    changed = await local.update("hw-1", {"labels": ["postmortem"], "assignee": ADA}, effect=effect)
    assert changed.assignee == ADA
    assert effect.emitted[0][1].fields == {"assignee": ADA}


async def test_an_update_to_the_same_writes_nothing(local, connection):
    await filed(local, connection)
    effect = later(actor=ADA)
    await local.update("HW-1", {"title": "Alert earlier"}, effect=effect)
    assert effect.emitted == []


async def test_a_field_that_no_ticket_has_is_named(local, connection):
    await filed(local, connection)
    with pytest.raises(ActionError, match="a local ticket has no field 'severity'; it has title"):
        await local.update("HW-1", {"severity": "sev1"}, effect=later())


async def test_our_own_act_does_not_count_as_a_humans_change(local, connection):
    await filed(local, connection)
    effect = later()
    closed = await local.close("HW-1", comment="Won't do.", effect=effect)
    fact = effect.emitted[0][1]
    assert (closed.done, closed.closed_at, closed.active_at) == (True, LATER, MONDAY)
    assert (fact.type, fact.own, fact.actor, fact.data) == ("ticket.closed", True, None, {"comment": "Won't do."})


async def test_what_a_person_does_through_us_counts_as_theirs(local, connection):
    await filed(local, connection)
    effect = later(actor=ADA)
    commented = await local.comment("local:HW-1", "On it.", effect=effect)
    fact = effect.emitted[0][1]
    assert (fact.type, fact.own, fact.actor, fact.fields) == ("ticket.commented", False, ADA, {"active_at": LATER})
    assert commented.active_at == LATER


async def test_closing_a_closed_ticket_again_only_keeps_the_comment(local, connection):
    await filed(local, connection)
    effect = later()
    await local.close("HW-1", comment=None, effect=effect)
    commit(connection, effect)
    again, silent = later(), later()
    await local.close("HW-1", comment="Still.", effect=again)
    await local.close("HW-1", comment=None, effect=silent)
    assert [fact.type for _, fact in again.emitted + silent.emitted] == ["ticket.commented"]


async def test_a_reopened_ticket_is_not_done(local, connection):
    await filed(local, connection)
    for act in (local.close, local.reopen):
        effect = later()
        await act("HW-1", comment=None, effect=effect)
        commit(connection, effect)
    found = await local.get("HW-1")
    assert (found.done, found.closed_at, effect.emitted[0][1].type) == (False, None, "ticket.reopened")


async def test_a_link_is_said_on_both_tickets(local, connection):
    one, two = await filed(local, connection, "Drain it"), await filed(local, connection, "Alert on it")
    effect = later()
    assert (await local.link(one.key, two.key, "blocks", effect=effect)).key == one.key
    said = {fact.subject: fact.data["comment"] for _, fact in effect.emitted}
    assert said == {
        one.id: f"{one.key} blocks {two.key}: Alert on it",
        two.id: f"{one.key} blocks {two.key}: Drain it",
    }


async def test_an_empty_comment_is_refused(local, connection):
    await filed(local, connection)
    with pytest.raises(ActionError, match="must say something"):
        await local.comment("HW-1", " \n", effect=later())


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (Where(), ["HW-2", "HW-1"]),
        (Where(labels=("postmortem",)), ["HW-1"]),
        (Where(labels=("postmortem", "other")), []),
        (Where(done=True), []),
        (Where(done=False, project="web"), ["HW-2"]),
        (Where(team="sre"), ["HW-2"]),
        (Where(assignee="grace@example.com"), ["HW-2"]),
        (Where(assignee="ada"), []),
    ],
)
async def test_tickets_are_found_by_what_every_tracker_understands(local, connection, where, found):
    await filed(local, connection, labels=("postmortem", "queue"))
    await filed(local, connection, project="web", assignee=Person("pagerduty:P7", "Grace", email="grace@example.com"))
    assert [ticket.key for ticket in await local.search(where, None)] == found


async def test_a_query_in_another_trackers_language_is_refused(local):
    with pytest.raises(ActionError, match="use 'where'"):
        await local.search(Where(), "project = WEB")


@pytest.mark.parametrize("ref", ["HW-9", "local:HW-9", "nonsense"])
async def test_an_unknown_ticket_is_named(local, ref):
    assert await local.get(ref) is None
    with pytest.raises(ActionError, match=f"no ticket of 'local' is called '{ref}'"):
        await local.comment(ref, "x", effect=later())


@pytest.mark.parametrize("ref", ["pager:PCPZE64", "other:INC-1"])
async def test_what_another_connection_keeps_is_refused_by_name(local, connection, ref):
    await declared(local, connection)
    assert await local.get(ref) is None
    with pytest.raises(ActionError, match=f"'{ref}' is kept by connection '{ref.partition(':')[0]}'"):
        await local.update(ref, {"severity": "sev1"}, effect=later())


async def test_a_declared_incident_is_a_fact_with_what_its_source_owns(local, connection):
    incident, fact = await declared(local, connection, severity="sev2", services=["checkout"], summary="Queue is full.")
    assert (incident.id, incident.declared_at, incident.services) == ("local:INC-1", MONDAY, ("checkout",))
    assert (fact.type, fact.note.text) == ("incident.declared", "Queue is full.")
    assert not fact.fields.keys() & ENGINE_OWNED["incident"]
    assert await local.get("inc-1") == incident


async def moved(local, connection, *statuses):
    for status in statuses:
        effect = later()
        incident = await local.update("INC-1", {"status": status}, effect=effect)
        commit(connection, effect)
    return incident, effect


async def test_an_incident_moves_on_with_the_time_of_each_step(local, connection):
    await declared(local, connection)
    incident, effect = await moved(local, connection, "acknowledged", "resolved")
    assert (incident.acknowledged_at, incident.mitigated_at, incident.resolved_at) == (LATER, None, LATER)
    assert effect.emitted[0][1].type == "incident.resolved"


async def test_an_incident_that_is_reopened_keeps_when_it_was_acknowledged(local, connection):
    await declared(local, connection)
    incident, effect = await moved(local, connection, "acknowledged", "mitigated", "resolved", "declared")
    assert (incident.status, incident.acknowledged_at, incident.mitigated_at) == ("declared", LATER, None)
    assert (incident.resolved_at, effect.emitted[0][1].type) == (None, "incident.reopened")


async def test_a_status_it_has_already_writes_nothing(local, connection):
    await declared(local, connection)
    _, effect = await moved(local, connection, "resolved", "resolved")
    assert effect.emitted == []


async def test_an_incident_does_not_go_back_unless_it_is_reopened(local, connection):
    await declared(local, connection)
    with pytest.raises(ActionError, match="INC-1 is resolved: reopen it before it can be acknowledged"):
        await moved(local, connection, "resolved", "acknowledged")


async def test_the_command_lines_verbs_are_statuses(local, connection):
    await declared(local, connection)
    for verb in ("acknowledge", "mitigate", "resolve", "reopen"):
        effect = later(actor=ADA)
        incident = await getattr(local, verb)("INC-1", effect=effect)
        commit(connection, effect)
        assert effect.emitted[0][1].actor == ADA
    assert incident.status == "declared"


async def test_an_unknown_status_names_the_known_ones(local, connection):
    await declared(local, connection)
    with pytest.raises(ActionError, match="declared, acknowledged, mitigated, resolved, not 'gone'"):
        await local.update("INC-1", {"status": "gone"}, effect=later())


def test_all_it_writes_are_rows_of_our_own():
    verbs = ("create", "update", "comment", "close", "reopen", "declare", "acknowledge", "mitigate", "resolve")
    assert {effect_class(getattr(Local.cls, name)) for name in verbs} == {"own_rows"}


def test_tickets_and_incidents_cannot_have_the_same_prefix(connection):
    with pytest.raises(ValidationError, match="must differ"):
        LocalOptions(key="OPS", incident_key="OPS")


@pytest.mark.parametrize("ref", ["local:OPS-1", "OPS-1"])
async def test_a_prefix_of_ones_own_is_taken(connection, ref):
    own = Local.build(LocalOptions(key="OPS"), connection)
    await filed(own, connection)
    assert (await own.get(ref)).key == "OPS-1"
