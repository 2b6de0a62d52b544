"""No nudges in a maintenance window: what fires then is told after it, if it still fires."""

from __future__ import annotations

from datetime import UTC, datetime

SUNDAY_NIGHT = datetime(2026, 3, 8, 2, 0, tzinfo=UTC)  # 03:00 in Prague: the window is from 02:00 to 06:00
AFTER_IT = SUNDAY_NIGHT.replace(hour=5)


async def test_whoever_is_on_call_hears_of_an_alert_after_ten_minutes_and_not_before(example):
    await example.fires(lasts=None)
    await example.move("9m")
    assert example.said("linus") == []
    await example.move("1m")
    assert example.said("linus") == ["QueueIsFull of checkout has been firing since Mon 2 Mar 2026 10:00 CET."]


async def test_in_the_window_it_is_held_and_told_when_the_window_has_closed(example):
    await example.move_to(SUNDAY_NIGHT)
    await example.fires(lasts=None)
    await example.move_to(AFTER_IT.replace(hour=4, minute=59))
    assert (example.said("linus"), example.states("alert-nudge")) == ([], ["held"])
    await example.move_to(AFTER_IT)
    assert len(example.said("linus")) == 1


async def test_what_fired_and_ended_in_the_window_is_never_told(example):
    await example.move_to(SUNDAY_NIGHT)
    await example.fires(lasts="1h")
    await example.move("1d")
    assert (example.said("linus"), example.states("alert-nudge")) == ([], ["stopped"])


async def test_a_hiccup_is_not_told(example):
    await example.fires(lasts="5m")
    await example.move("1d")
    assert (example.said("linus"), example.runs("alert-nudge")) == ([], [])
