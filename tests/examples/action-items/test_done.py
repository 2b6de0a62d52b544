"""An action item is done: the incident's channel hears it, and the last one is celebrated."""

from __future__ import annotations

ROWS = ("| Alert before the queue is full | linus | | |", "| Limit the retries | edith | | |")
CHANNEL = "#inc-1"


async def two_items(example):
    await example.postmortem(*ROWS)
    await example.engine_says(channel=CHANNEL)


async def done(example, ticket):
    await example.does("linus", "close_ticket", ticket=ticket)
    await example.move("15m")


async def test_the_channel_hears_of_each_and_the_last_is_celebrated(example):
    await two_items(example)
    await done(example, "HW-1")
    assert example.said(CHANNEL) == ["HW-1 Alert before the queue is full is done, thanks to Linus. 1 to go."]
    await done(example, "HW-2")
    assert example.said(CHANNEL)[1].endswith("The last one was HW-2 Limit the retries. Thank you, Edith, Linus!")


async def test_closed_by_mistake_for_a_few_minutes_is_not_announced(example):
    await two_items(example)
    await example.does("linus", "close_ticket", ticket="HW-1")
    await example.move("5m")
    await example.does("linus", "reopen_ticket", ticket="HW-1")
    await example.move("1d")
    assert example.said(CHANNEL) == []


async def test_it_is_celebrated_once(example):
    await two_items(example)
    await done(example, "HW-1")
    await done(example, "HW-2")
    await example.does("linus", "reopen_ticket", ticket="HW-2")
    await example.move("1d")
    await done(example, "HW-2")
    assert [text.startswith("Everything") for text in example.said(CHANNEL)] == [False, True]


async def test_what_was_dropped_as_not_worth_doing_is_not_announced(example):
    await example.postmortem("| Alert before the queue is full | linus | 2026-03-12 | |", ROWS[1])
    await example.engine_says(channel=CHANNEL)
    await example.move_to_day(16, 12)
    await example.answers("grace", "drop")
    await example.move("1d")
    assert (example.tickets["HW-1"].done, example.said(CHANNEL)) == (True, [])


async def test_a_ticket_of_no_incident_and_one_of_no_postmortem_are_not_announced(example):
    await example.declare()
    await example.does("ada", "create_ticket", title="Tidy up", labels=("postmortem",))
    await example.does("ada", "create_ticket", title="Order pizza", incident="INC-1")
    await done(example, "HW-1")
    await done(example, "HW-2")
    assert (example.said("#incidents"), example.runs("done")) == ([], [])


async def test_what_nobody_owned_is_done_by_somebody_and_thanks_those_who_owned_the_others(example):
    await example.postmortem(ROWS[0], "| Limit the retries | | | |")
    await example.engine_says(channel=CHANNEL)
    await done(example, "HW-2")
    await done(example, "HW-1")
    first, last = example.said(CHANNEL)
    assert first == "HW-2 Limit the retries is done, thanks to somebody. 1 to go."
    assert last.endswith("Thank you, Linus!")


async def test_where_nobody_owned_anything_everybody_is_thanked(example):
    await example.postmortem("| Limit the retries | | | |")
    await example.engine_says(channel=CHANNEL)
    await done(example, "HW-1")
    assert example.said(CHANNEL)[0].endswith("Thank you, everybody!")
