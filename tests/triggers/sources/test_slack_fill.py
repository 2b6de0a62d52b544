"""What was missed while the engine was down is filled from the channel's history: no double and no gap."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from tests.slack_desk import live_slack
from tests.slack_workspace import error
from triggers.sources.slack import SlackInbound
from triggers.sources.slack_fill import PORTION


@pytest.fixture
async def slack(tmp_path):
    """Give an engine with the incident INC-1, whose channel is C9."""
    async with live_slack(tmp_path) as live:
        await live.command("")
        await live.submits(title="Checkout is slow")
        await live.has_channel("C9")
        yield live


def message(slack, ts):
    return next(one for one in slack.desk.messages["C9"] if one["ts"] == ts)


async def down(slack):
    """Let the engine be down, and time pass."""
    await slack.world.crash()
    slack.world.clock.move_to(slack.world.now + timedelta(minutes=10))


async def test_what_was_written_while_we_were_down_is_there_once(slack):
    first = await slack.writes("C9", "the queue is full")
    await down(slack)
    slack.desk.writes("C9", "draining it", by="UGRACE")
    slack.desk.writes("C9", "half empty", by="UGRACE", thread=first)
    await slack.world.restart()
    await slack.writes("C9", "it is empty")
    assert sorted(slack.captured()) == ["draining it", "half empty", "it is empty", "the queue is full"]
    await slack.world.restart()
    assert len(slack.captured()) == 4


async def test_many_messages_are_filled_in_a_portion_at_a_time(slack):
    await down(slack)
    for number in range(PORTION + 5):
        slack.desk.writes("C9", f"line {number}")
    await slack.world.restart()
    assert slack.captured() == [f"line {number}" for number in range(PORTION + 5)]


async def test_an_event_that_comes_late_as_well_changes_nothing(slack):
    await down(slack)
    ts = slack.desk.writes("C9", "draining it")
    await slack.world.restart()
    await slack.event("message", "EvLate", user="UADA", text="draining it", ts=ts, channel="C9", event_ts=ts)
    assert slack.captured() == ["draining it"]


async def test_what_was_edited_deleted_and_reacted_to_meanwhile_shows_in_the_record(slack):
    edited, deleted = await slack.writes("C9", "the queue is ful"), await slack.writes("C9", "the password is hunter2")
    await slack.event(
        "reaction_added",
        user="UADA",
        reaction="eyes",
        item={"type": "message", "channel": "C9", "ts": edited},
        event_ts="1772442000.500000",
    )
    await down(slack)
    message(slack, edited).update(text="the queue is full", edited={"user": "UADA", "ts": "1772442300.000000"})
    message(slack, edited)["reactions"] = [{"name": "bulb", "users": ["UGRACE"], "count": 1}]
    slack.desk.messages["C9"].remove(message(slack, deleted))
    for _ in range(2):
        await slack.world.restart()
        assert sorted(slack.captured()) == [
            "(a message that was deleted)",
            "reacted with :bulb: to “the queue is full”",
            "reacted with :eyes: to “the queue is full” (taken back)",
            "the queue is full (edited)",
        ]


async def test_an_old_message_that_was_edited_while_we_were_down_is_found(slack):
    ts = await slack.writes("C9", "the queue is ful")
    await slack.world.move("5h")
    await down(slack)
    message(slack, ts).update(text="the queue is full", edited={"user": "UADA", "ts": "1772460060.000000"})
    await slack.world.restart()
    assert slack.captured() == ["the queue is full (edited)"]


async def test_a_pin_that_was_missed_is_there_once_with_who_and_when(slack):
    ts = await slack.writes("C9", "the queue is full")
    await down(slack)
    slack.desk.pin("C9", ts, by="UGRACE")
    await slack.world.restart()
    (pin,) = [one for one in slack.timeline() if one.kind == "pin"]
    assert (pin.text, pin.by.id, pin.at) == ("pinned a message: “the queue is full”", "grace", slack.world.now)
    pinned = {"type": "message", "channel": "C9", "message": {"ts": ts}}
    await slack.event("pin_added", user="UGRACE", channel_id="C9", item=pinned, event_ts=f"{pin.at.timestamp():.6f}")
    await slack.world.restart()
    assert slack.captured() == ["the queue is full", "pinned a message: “the queue is full”"]


async def test_a_pin_that_was_heard_is_not_asked_for_again_and_its_end_is_found(slack):
    ts = await slack.writes("C9", "the queue is full")
    slack.desk.pin("C9", ts, by="UGRACE")
    pinned = {"type": "message", "channel": "C9", "message": {"ts": ts}}
    await slack.event("pin_added", user="UGRACE", channel_id="C9", item=pinned, event_ts="1772442060.000000")
    await down(slack)
    await slack.world.restart()
    assert "pins.list" not in slack.desk.calls
    slack.desk.pins.clear()
    await down(slack)
    await slack.world.restart()
    assert slack.captured()[-1] == "pinned a message: “the queue is full” (taken back)"


async def test_what_the_app_pinned_itself_is_no_entry_and_pins_that_cannot_be_read_hold_nothing_up(slack):
    first = await slack.writes("C9", "the queue is full")
    slack.desk.pins.append(("C9", first))
    await slack.world.restart()
    assert slack.captured() == ["the queue is full"]
    await down(slack)
    slack.desk.pin("C9", slack.desk.writes("C9", "draining it"), by="UGRACE")
    slack.desk.bad["pins.list"] = [error("missing_scope", needed="pins:read")]
    await slack.world.restart()
    assert slack.captured() == ["the queue is full", "draining it"]
    assert any("the pins of INC-1 cannot be read" in sentence for _, sentence in slack.world.told)


async def test_a_mark_that_was_missed_is_told_once(slack):
    ts = await slack.writes("C9", "add an index")
    await down(slack)
    message(slack, ts)["reactions"] = [{"name": "white_check_mark", "users": ["UGRACE", "UADA"], "count": 2}]
    await slack.world.restart()
    await slack.world.restart()
    (marked,) = slack.world.events("incident.marked")
    assert (marked.data["text"], marked.data["mark"], marked.actor.id) == ("add an index", "action_item", "grace")


async def test_what_was_written_before_the_incident_is_not_taken_for_its_own(tmp_path):
    async with live_slack(tmp_path) as slack:
        slack.desk.writes("C9", "lunch?")
        slack.world.clock.move_to(slack.world.now + timedelta(hours=1))
        await slack.command("")
        await slack.submits(title="Checkout is slow")
        await slack.has_channel("C9")
        await slack.world.restart()
        assert slack.captured() == []


async def test_channels_are_read_again_every_hour(slack):
    slack.desk.writes("C9", "an event of this was lost")
    assert slack.captured() == []
    await slack.world.move("1h")
    assert slack.captured() == ["an event of this was lost"]


async def test_while_slack_cannot_be_asked_the_rest_waits_and_nothing_is_lost(slack):
    await down(slack)
    slack.desk.writes("C9", "draining it")
    slack.desk.bad["conversations.history"] = [error("ratelimited", 429, headers={"Retry-After": "30"})]
    await slack.world.restart()
    assert slack.captured() == []
    await slack.world.move("2m")
    assert slack.captured() == ["draining it"]


async def test_a_channel_that_cannot_be_read_does_not_keep_others_from_being_read(slack):
    await slack.command("")
    await slack.submits(id="V2", title="Search is down")
    await slack.has_channel("C8", "local:INC-2")
    await down(slack)
    slack.desk.writes("C8", "reindexing")
    slack.desk.bad["conversations.history"] = [error("channel_not_found")]
    await slack.world.restart()
    assert slack.captured() == ["reindexing"]
    assert any("the channel of INC-1 cannot be read" in sentence for _, sentence in slack.world.told)


async def test_a_channel_is_left_alone_some_time_after_the_end(slack):
    await slack.command("resolve", room="C9")
    await slack.world.move("15d")
    await slack.world.restart()
    slack.desk.calls.clear()
    await slack.world.move("2h")
    assert "conversations.history" not in slack.desk.calls


async def test_without_a_way_in_nothing_is_read(tmp_path):
    async with live_slack(tmp_path) as slack:
        source = slack.world.application.sources["chat"]
        source._secrets = ()
        assert (await source.changes(None)).facts == ()


async def test_after_credentials_were_renewed_the_new_source_is_asked_at_once_and_heard(slack):
    slack.desk.writes("C9", "an event of this was lost")
    application = slack.world.application
    old = application.sources["chat"]
    application.sources["chat"] = new = SlackInbound(old._options, old._connection, old._vendor)
    await application.take_over("chat", [old])
    await slack.world.settle()
    assert slack.captured() == ["an event of this was lost"]
    slack.desk.writes("C9", "nor was this heard")
    new._fill.wake()  # as its socket does when it connects again
    async with asyncio.timeout(10):
        while len(slack.captured()) < 2:
            await asyncio.sleep(0)
    assert slack.captured()[-1] == "nor was this heard"
