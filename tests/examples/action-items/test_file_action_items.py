"""Action items become tickets that are due by the severity of their incident."""

from __future__ import annotations

from datetime import timedelta

import pytest

ALERT = "| Alert before the queue is full | linus | | |"
LIMIT = "| Limit the retries | edith | 2026-03-12 | |"


@pytest.mark.parametrize(("severity", "days"), [("sev1", 14), ("sev2", 30), ("sev3", 90)])
async def test_a_row_without_a_date_is_due_by_the_severity(example, severity, days):
    await example.postmortem(ALERT, severity=severity)
    (ticket,) = example.tickets.values()
    (incident,) = example.subjects("incident")
    assert (ticket.due, ticket.labels) == (incident.resolved_at + timedelta(days=days), ("postmortem",))


async def test_a_row_with_a_date_keeps_it_and_goes_to_its_owners_team(example):
    await example.postmortem(ALERT, LIMIT)
    first, second = example.tickets.values()
    assert (first.team, second.team, second.assignee.id) == ("sre", "payments", "edith")
    assert f"{second.due:%Y-%m-%d}" == "2026-03-12"


async def test_the_document_links_its_tickets_and_files_none_of_them_twice(example):
    await example.postmortem(ALERT)
    await example.move("1d")
    assert "HW-1" in example.document("postmortem").read_text("utf-8")
    await example.publish("postmortem", LIMIT)
    await example.move("1d")
    assert [ticket.title for ticket in example.tickets.values()] == [
        "Alert before the queue is full",
        "Limit the retries",
    ]


async def test_a_draft_files_nothing(example):
    await example.declare()
    await example.resolve()
    await example.move("7d")
    assert example.documents == ["Postmortem: Checkout is slow"]
    assert example.tickets == {}


async def test_a_row_whose_link_somebody_took_out_is_not_filed_again(example):
    await example.postmortem(ALERT)
    path = example.document("postmortem")
    path.write_text(path.read_text("utf-8").replace("HW-1", "").replace("()", ""), "utf-8")
    await example.publish("postmortem", LIMIT)
    assert len(example.tickets) == 2


async def test_a_ticket_says_where_it_comes_from_and_is_its_incident_s_team_s_where_nobody_owns_it(example):
    await example.postmortem("| Alert before the queue is full | | | |")
    (ticket,), (document,) = example.tickets.values(), example.subjects("document")
    assert (ticket.team, ticket.assignee, ticket.incident, ticket.document) == (
        "sre",
        None,
        "local:INC-1",
        document.id,
    )
    assert ticket.description == f"From Postmortem: Checkout is slow: {document.url}"


async def test_a_severity_without_a_deadline_of_its_own_gets_the_longest(example):
    await example.declare()
    await example.resolve()
    await example.updates(severity="sev4")
    await example.publish("postmortem", ALERT)
    (ticket,), (incident,) = example.tickets.values(), example.subjects("incident")
    assert ticket.due == incident.resolved_at + timedelta(days=90)


async def test_a_row_that_has_a_ticket_already_gets_no_other(example):
    await example.postmortem("| Alert before the queue is full | linus | | OPS-7 |", LIMIT)
    assert [ticket.title for ticket in example.tickets.values()] == ["Limit the retries"]


async def test_the_same_row_of_another_postmortem_is_another_item(example):
    await example.postmortem(ALERT)
    await example.declare("Search is slow")
    await example.resolve("INC-2")
    await example.publish("search", ALERT)
    assert [(ticket.title, ticket.incident) for ticket in example.tickets.values()] == [
        ("Alert before the queue is full", "local:INC-1"),
        ("Alert before the queue is full", "local:INC-2"),
    ]


async def test_the_table_of_another_document_is_nobody_s_to_file(example):
    await example.postmortem()
    example.publish_beside("postmortem", "notes", template="notes", rows=ALERT + "\n")
    await example.settle()
    assert (example.tickets, len(example.runs("file-action-items"))) == ({}, 1)
