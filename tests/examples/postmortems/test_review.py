"""A review that was not held is booked again: the same one, at another time."""

from __future__ import annotations

from datetime import timedelta


async def booked(example):
    """Let an incident be over whose postmortem linus owns."""
    await example.declare()
    await example.resolve()
    await example.answers("linus", "yes")


async def after_the_review(example):
    await example.move_to(example.reviews[-1].end)
    await example.move("31m")


async def test_a_review_is_booked_in_office_hours_for_those_who_took_part_and_not_at_once(example):
    await booked(example)
    (review,) = example.reviews
    assert {person.id for person in review.attendees} >= {"ada"}
    assert example.in_office_hours(review.start)
    assert review.start.day > 2
    assert example.effects("calendar.reschedule") == []


async def test_the_owner_is_asked_half_an_hour_after_its_end_and_not_before(example):
    await booked(example)
    await example.move_to(example.reviews[0].end)
    assert example.asked("linus", by="review") == []
    await example.move("31m")
    assert example.asked("linus", by="review")[0].startswith("Was the review of Checkout is slow held (Tue 3 Mar 2026")


async def test_one_that_was_not_held_is_moved_to_another_time_and_one_that_was_is_not(example):
    await booked(example)
    (first,) = example.reviews
    await after_the_review(example)
    await example.answers("linus", "no")
    (moved,) = example.reviews
    assert (moved.id, moved.start > first.end, moved.attendees) == (first.id, True, first.attendees)
    assert example.in_office_hours(moved.start)
    assert moved.start - example.now > timedelta(hours=20)
    await after_the_review(example)
    assert example.asked("linus", by="review")[1].startswith("Was the review of Checkout is slow held (Wed 4 Mar 2026")
    await example.answers("linus", "yes")
    await example.move("14d")
    assert (example.reviews, example.states("review"), example.said("grace", by="review")) == (
        [moved],
        ["finished"],
        [],
    )


async def test_silence_counts_as_not_held(example):
    await booked(example)
    (first,) = example.reviews
    await after_the_review(example)
    await example.move("1d")
    assert example.reviews[0].start > first.end


async def test_three_times_are_enough(example):
    await booked(example)
    times = set()
    for _ in range(3):
        times.add(example.reviews[0].start)
        await after_the_review(example)
        await example.answers("linus", "no")
    assert (len(example.reviews), len(times)) == (1, 3)
    assert example.said("grace", by="review") == [
        "The review of Checkout is slow was booked three times and never held. Is it still wanted?"
    ]


async def test_a_reopened_incident_books_no_further_review(example):
    await booked(example)
    await example.does("ada", "reopen_incident", incident="INC-1")
    await example.move("14d")
    assert (len(example.reviews), example.states("review")) == (1, ["stopped"])


async def test_the_lead_hears_where_nobody_has_time(example):
    example.is_away("ada")
    await booked(example)
    assert (example.reviews, example.states("review")) == ([], ["failed"])
    assert example.said("grace", by="review")[0].startswith(
        "No review of Checkout is slow could be booked: no 45 minutes within"
    )


async def test_a_hiccup_a_small_incident_and_a_drill_are_not_reviewed(example):
    await example.declare()
    await example.resolve("INC-1", stays="10m")
    await example.does("ada", "reopen_incident", incident="INC-1")
    await example.declare(severity="sev3")
    await example.resolve("INC-2")
    await example.declare(drill=True)
    await example.resolve("INC-3")
    assert example.reviews == []


async def test_where_nobody_owns_the_postmortem_the_lead_of_the_team_is_asked_or_that_of_sre(example):
    await example.declare("Login is slow", services=("login",))
    await example.resolve("INC-1")
    await example.declare("Something is slow", services=())
    await example.resolve("INC-2")
    await example.move("3d")
    asked = [[text.partition(" held")[0] for text in example.asked(who, by="review")] for who in ("whit", "grace")]
    assert asked == [["Was the review of Login is slow"], ["Was the review of Something is slow"]]


async def test_a_time_is_looked_for_within_six_working_days_of_the_end_and_of_the_answer(example):
    example.is_away("ada", until=10)
    await booked(example)
    assert f"{example.reviews[0].start:%a %d}" == "Tue 10"
    await after_the_review(example)
    example.is_away("ada", until=18)
    await example.answers("linus", "no")
    assert f"{example.reviews[0].start:%a %d}" == "Wed 18"
