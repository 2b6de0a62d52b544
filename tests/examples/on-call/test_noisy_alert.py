"""The same alert three times in a week: a ticket and a review, once."""

from __future__ import annotations

from datetime import timedelta


async def fires(example, times, *, every="1d", name="QueueIsFull", **more):
    for _ in range(times):
        await example.fires(name, **more)
        await example.move(every)


async def test_the_third_time_files_a_ticket_and_books_a_review(example):
    await fires(example, 2)
    assert (example.tickets, example.reviews) == ({}, [])
    await fires(example, 1)
    (ticket,), (review,) = example.tickets.values(), example.reviews
    assert (ticket.title, ticket.assignee.id) == ("QueueIsFull fired 3 times in a week", "grace")
    assert (ticket.service, ticket.labels) == ("checkout", ("noisy-alert", "alert:QueueIsFull"))
    assert ticket.due - example.now > timedelta(days=12)
    assert (review.end - review.start, review.start - example.now < timedelta(days=7)) == (timedelta(minutes=30), True)
    assert {person.id for person in review.attendees} == {"grace", "linus"}
    assert example.in_office_hours(review.start)
    assert example.said("#sre")[0].startswith("QueueIsFull fired 3 times in a week: HW-1, review ")


async def test_what_cries_at_night_is_filed_in_the_morning(example):
    await example.move("14h")  # midnight
    await fires(example, 3, every="10m")
    assert (example.tickets, example.states("noisy-alert")) == ({}, ["held"])
    await example.move("10h")
    assert list(example.tickets) == ["HW-1"]


async def test_nothing_more_is_made_of_it_while_the_ticket_is_open(example):
    await fires(example, 6)
    assert (list(example.tickets), len(example.reviews), len(example.said("#sre"))) == (["HW-1"], 1, 1)


async def test_it_comes_back_when_the_ticket_is_closed_and_the_alert_still_fires(example):
    await fires(example, 3)
    await example.does("grace", "close_ticket", ticket="HW-1")
    await fires(example, 1)
    assert list(example.tickets) == ["HW-1", "HW-2"]


async def test_three_times_in_three_weeks_and_three_alerts_once_each_are_nothing(example):
    await fires(example, 3, every="4d")
    for name in ("DiskIsFull", "CertificateEnds", "QueueIsSlow"):
        await fires(example, 1, name=name)
    assert (example.tickets, example.runs("noisy-alert")) == ({}, [])


async def test_an_alert_that_goes_on_firing_has_fired_once(example):
    began = example.now
    for _ in range(5):
        await example.fires(lasts=None, started_at=began)
        await example.move("4h")
    assert example.tickets == {}


async def test_a_week_without_a_free_half_hour_costs_the_review_and_not_the_ticket(example):
    example.is_away("grace")
    await fires(example, 3)
    assert (list(example.tickets), example.reviews, example.states("noisy-alert")) == (["HW-1"], [], ["finished"])
    assert example.said("#sre") == ["QueueIsFull fired 3 times in a week: HW-1, review not booked yet."]


async def test_the_ticket_is_the_lead_s_of_the_alert_s_team_or_of_sre(example):
    await example.rewrite(
        "people.yaml",
        ("  checkout: {team: sre}", "  checkout: {team: sre}\n  web: {team: web}"),
        ("teams:\n", "teams:\n  web: {lead: ada, members: [ada]}\n"),
    )
    await fires(example, 3, name="WebIsSlow", service="web")
    await fires(example, 3, name="SomethingIsSlow", service=None, every="1h")
    assert [(ticket.title.split()[0], ticket.assignee.id) for ticket in example.tickets.values()] == [
        ("WebIsSlow", "ada"),
        ("SomethingIsSlow", "grace"),
    ]


async def test_how_often_it_fired_counts_neither_others_nor_what_is_longer_ago(example):
    await fires(example, 1)
    await example.move("7d")
    await fires(example, 2, name="DiskIsFull", every="1h")
    await fires(example, 3, every="1h")
    assert [ticket.title for ticket in example.tickets.values()] == ["QueueIsFull fired 3 times in a week"]
