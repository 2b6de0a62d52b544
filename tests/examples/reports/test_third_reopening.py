"""A service is reopened for the third time in a month: one problem is filed, and its team told."""

from __future__ import annotations


async def reopened(example, times, *, service="checkout", every="1d"):
    number = len(example.subjects("incident")) + 1
    await example.declare(f"{service} is slow", services=(service,))
    for _ in range(times):
        await example.resolve(f"INC-{number}")
        await example.does("ada", "reopen_incident", incident=f"INC-{number}")
        await example.move(every)
    await example.resolve(f"INC-{number}")


async def test_the_third_time_files_a_problem_and_tells_the_team(example):
    await reopened(example, 2)
    assert (example.tickets, example.said("#sre")) == ({}, [])
    await reopened(example, 1)
    (problem,) = example.tickets.values()
    assert (problem.title, problem.assignee.id) == ("checkout keeps coming back: reopened 3 times in 30 days", "grace")
    assert problem.description == "Reopened: INC-1, INC-2."
    assert example.said("#sre") == ["checkout was reopened 3 times in a month. HW-1 is to find out why; Grace has it."]


async def test_a_fourth_time_files_nothing_while_the_problem_is_open(example):
    await reopened(example, 5)
    assert list(example.tickets) == ["HW-1"]
    await example.does("grace", "close_ticket", ticket="HW-1")
    await reopened(example, 1)
    assert list(example.tickets) == ["HW-1", "HW-2"]


async def test_three_times_in_a_longer_time_are_not_three_in_a_month(example):
    await reopened(example, 4, every="16d")
    assert example.tickets == {}


async def test_another_service_is_another_matter(example):
    await reopened(example, 2)
    await reopened(example, 2, service="search")
    assert example.tickets == {}


async def test_the_problem_is_the_lead_s_of_the_service_s_team_or_of_sre(example):
    await example.rewrite(
        "people.yaml",
        ("services:\n", "services:\n  web: {team: web}\n"),
        ("teams:\n", "teams:\n  web: {lead: ada, members: [ada]}\n"),
    )
    await reopened(example, 3, service="web")
    await reopened(example, 3, service="something")
    assert [(ticket.service, ticket.assignee.id) for ticket in example.tickets.values()] == [
        ("web", "ada"),
        ("something", "grace"),
    ]
