"""The status page follows a bad incident, and whoever is in charge is reminded of one that was left open.

The workflows are open-the-page, tell-outside and page-still-open.
"""

from __future__ import annotations

import pytest

from engine.operations import OperationError

OPEN, TELL, STILL = "open-the-page", "tell-outside", "page-still-open"


def entry(example):
    return example.subjects("incident")[0].status_page


async def tells(example, text, state):
    inputs = {"text": text, "state": state}
    await example.does("ada", "start_workflow", workflow=TELL, incident="INC-1", inputs=inputs, again=True)


async def test_a_bad_incident_has_an_entry_with_its_services_and_people_add_to_it(example):
    await example.declare()
    assert (entry(example).title, entry(example).state, entry(example).impact) == (
        "Checkout is slow",
        "investigating",
        "major",
    )
    assert entry(example).components == {"checkout": "partial_outage"}
    await tells(example, "A fix is out.", "monitoring")
    assert entry(example).state == "monitoring"
    page = (example.folder / "status" / "index.html").read_text("utf-8")
    assert "A fix is out." in page


async def test_a_smaller_incident_and_a_drill_are_not_told_outside(example):
    await example.declare(severity="sev2")
    await example.declare(drill=True)
    await example.declare(private=True)
    assert [incident.status_page for incident in example.subjects("incident")] == [None, None, None]
    assert example.states(OPEN) == []


async def test_one_that_an_alert_declared_has_an_entry_too(example):
    await example.fires("CheckoutIsDown", lasts=None, severity="sev1")
    await example.move("3m")
    assert entry(example).title == "CheckoutIsDown (checkout)"


async def test_a_page_that_is_open_half_an_hour_after_the_end_is_told_of_three_times(example):
    await example.declare()
    await example.resolve(stays="29m")
    assert example.said("linus", by=STILL) == []
    await example.move("1m")
    assert example.said("linus", by=STILL) == [
        f"INC-1 Checkout is slow is over, and the status page still says 'investigating': {entry(example).url}"
    ]
    await example.move("1d")
    assert len(example.said("linus", by=STILL)) == 3


async def test_the_commander_is_told_where_there_is_one(example):
    await example.declare()
    await example.engine_says(roles={"commander": example.person("ada")})
    await example.resolve(stays="31m")
    assert (len(example.said("ada", by=STILL)), example.said("linus", by=STILL)) == (1, [])


async def test_a_page_that_was_closed_in_time_is_not_told_of(example):
    await example.declare()
    await tells(example, "Checkout is back to normal.", "resolved")
    await example.resolve(stays="1d")
    assert example.states(STILL) == []


async def test_closing_the_page_or_opening_the_incident_again_ends_the_reminders(example):
    await example.declare()
    await example.resolve(stays="31m")
    await tells(example, "Checkout is back to normal.", "resolved")
    await example.move("1d")
    assert (len(example.said("linus", by=STILL)), example.states(STILL)) == (1, ["stopped"])


async def test_an_incident_that_is_open_again_in_between_is_not_told_of(example):
    await example.declare()
    await example.resolve(stays="20m")
    await example.does("ada", "reopen_incident", incident="INC-1")
    await example.move("1d")
    assert example.states(STILL) == []


async def test_an_incident_that_is_open_again_after_a_reminder_is_not_told_of_further(example):
    await example.declare()
    await example.resolve(stays="31m")
    await example.does("ada", "reopen_incident", incident="INC-1")
    await example.move("1d")
    assert (len(example.said("linus", by=STILL)), example.states(STILL)) == (1, ["stopped"])


async def test_an_incident_that_was_never_on_the_page_is_not_told_of(example):
    await example.declare(severity="sev2")
    await example.resolve(stays="1d")
    assert example.states(STILL) == []


@pytest.mark.parametrize("missing", ["incident", "text", "state"])
async def test_a_word_for_the_page_needs_all_three(example, missing):
    await example.declare()
    given = {"text": "A fix is out.", "state": "monitoring"}
    given.pop(missing, None)
    about = {} if missing == "incident" else {"incident": "INC-1"}
    with pytest.raises(OperationError, match=missing):
        await example.does("ada", "start_workflow", workflow=TELL, inputs=given, **about)


async def test_nothing_of_a_private_incident_is_told(example):
    await example.declare(private=True)
    await tells(example, "A fix is out.", "monitoring")
    assert (entry(example), example.states(TELL)) == (None, ["failed"])
