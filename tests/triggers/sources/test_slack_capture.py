"""What is said and done in an incident's channel stands in its timeline, as Slack has it now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.slack_desk import APP, live_slack
from tests.slack_workspace import BOT

SHIPPED = Path(__file__).resolve().parents[3] / "workflows" / "marked-action-items.yaml"
TS = "1772442060.000100"


@pytest.fixture
async def slack(tmp_path):
    """Give an engine with the incident INC-1, whose channel is C9."""
    async with live_slack(tmp_path, **{"marked-action-items": SHIPPED.read_text()}) as live:
        await live.command("")
        await live.submits(title="Checkout is slow")
        await live.has_channel("C9")
        yield live


def entry(slack, text):
    return next(one for one in slack.timeline() if text in one.text)


async def test_a_message_is_an_entry_with_its_author_its_time_and_its_address(slack):
    await slack.world.move("5m")
    ts = await slack.writes("C9", "the queue is full", by="UGRACE")
    found = entry(slack, "the queue is full")
    assert (found.by.id, found.at, found.kind) == ("grace", slack.world.now, "message")
    assert found.url == f"https://example.slack.com/archives/C9/p{ts.replace('.', '')}"


async def test_people_channels_and_links_stand_in_the_text_by_their_names(slack):
    await slack.writes("C9", "<@UGRACE> see <https://x.example/a|the graph> in <#C2|ops>, a &lt;b&gt;")
    assert slack.captured() == ["@Grace see the graph (https://x.example/a) in #ops, a <b>"]


async def test_an_answer_in_a_thread_says_what_it_answers(slack):
    ts = await slack.writes("C9", "the queue is full")
    await slack.writes("C9", "draining it", by="UGRACE", thread=ts)
    assert entry(slack, "draining it").about == f"C9/{ts}"
    assert "?thread_ts=" in entry(slack, "draining it").url


async def test_of_a_file_the_name_and_the_address_are_kept(slack):
    file = {"title": "graph.png", "permalink": "https://example.slack.com/files/1", "url_private": "https://secret"}
    await slack.writes("C9", "", files=[file], subtype="file_share")
    assert slack.captured() == ["[graph.png] https://example.slack.com/files/1"]


async def test_what_slack_sends_again_is_there_once(slack):
    message = {"user": "UADA", "text": "the queue is full", "ts": TS, "channel": "C9", "event_ts": TS}
    for id in ("Ev1", "Ev1", "Ev2"):
        await slack.event("message", id, **message)
    assert slack.captured() == ["the queue is full"]
    assert len(slack.world.events("incident.captured")) == 1


async def test_an_edit_shows_in_the_record(slack):
    ts = await slack.writes("C9", "the queue is ful")
    now = {"user": "UADA", "text": "the queue is full", "ts": ts, "edited": {"user": "UADA", "ts": "1772442120.000000"}}
    was = {"user": "UADA", "text": "the queue is ful", "ts": ts}
    more = {"subtype": "message_changed", "channel": "C9", "event_ts": "1772442120.000000"}
    await slack.event("message", message=now, previous_message=was, **more)
    assert slack.captured() == ["the queue is full (edited)"]


async def test_a_message_that_is_only_shown_otherwise_is_not_edited(slack):
    ts = await slack.writes("C9", "see https://x.example")
    now = {"user": "UADA", "text": "see https://x.example", "ts": ts, "attachments": [{"title": "x"}]}
    await slack.event("message", subtype="message_changed", channel="C9", message=now, event_ts=TS)
    assert slack.captured() == ["see https://x.example"]


@pytest.mark.parametrize(
    "said",
    [
        {"subtype": "message_deleted", "deleted_ts": "TS", "previous_message": {"user": "UADA", "text": "pw"}},
        {"subtype": "message_changed", "message": {"subtype": "tombstone", "ts": "TS", "user": "USLACKBOT"}},
    ],
)
async def test_a_deletion_shows_in_the_record_without_the_text(slack, said):
    ts = await slack.writes("C9", "the password is hunter2")
    said = {name: ts if value == "TS" else value for name, value in said.items()}
    if "message" in said:
        said["message"] = {**said["message"], "ts": ts}
    await slack.event("message", channel="C9", event_ts="1772442120.000000", **said)
    found = entry(slack, "deleted")
    assert (found.text, found.by.id, found.withdrawn is None) == ("(a message that was deleted)", "ada", False)


async def test_a_reaction_and_a_pin_say_what_they_are_on_until_they_are_taken_back(slack):
    ts = await slack.writes("C9", "the queue is full")
    item = {"type": "message", "channel": "C9", "ts": ts}
    await slack.event("reaction_added", user="UGRACE", reaction="eyes::skin-tone-2", item=item, event_ts=TS)
    pinned = {"type": "message", "channel": "C9", "message": {"ts": ts}}
    await slack.event("pin_added", user="UGRACE", channel_id="C9", item=pinned, event_ts=TS)
    assert slack.captured()[1:] == [
        "reacted with :eyes: to “the queue is full”",
        "pinned a message: “the queue is full”",
    ]
    await slack.event("reaction_removed", user="UGRACE", reaction="eyes", item=item, event_ts="1772442120.000000")
    assert slack.captured()[1] == "reacted with :eyes: to “the queue is full” (taken back)"


async def test_who_comes_and_goes_is_there_once_however_slack_tells_of_it(slack):
    joined = {"user": "UGRACE", "channel": "C9", "event_ts": TS}
    await slack.event("member_joined_channel", **joined)
    await slack.event("message", subtype="channel_join", ts=TS, text="<@UGRACE> has joined the channel", **joined)
    await slack.event("member_left_channel", **joined)
    assert [(one.text, one.by.id) for one in slack.timeline() if one.id] == [
        ("joined the channel", "grace"),
        ("left the channel", "grace"),
    ]


async def test_an_event_without_a_time_of_its_own_has_that_of_its_delivery(slack):
    event = {"type": "member_joined_channel", "user": "UGRACE", "channel": "C9", "channel_type": "C"}
    said = {"type": "event_callback", "event_id": "Ev1", "event_time": 1772442060, "event": event}
    await slack.post(json.dumps(said).encode())
    assert f"{entry(slack, 'joined the channel').at:%H:%M}" == "09:01"


async def test_a_new_topic_is_an_entry(slack):
    topic = {"subtype": "channel_topic", "text": "set the channel topic: all hands", "topic": "all hands"}
    await slack.event("message", channel="C9", user="UADA", ts=TS, event_ts=TS, **topic)
    assert slack.captured() == ["set the channel topic: all hands"]


@pytest.mark.parametrize("mark", [{"user": BOT}, {"user": "UX", "app_id": APP}, {"bot_profile": {"app_id": APP}}])
async def test_our_own_messages_are_no_entries(slack, mark):
    await slack.event("message", channel="C9", text="the summary", ts=TS, event_ts=TS, **{"user": "U9", **mark})
    assert slack.captured() == []


@pytest.mark.parametrize("of", [{"subtype": "bot_message", "username": "Watchdog"}, {"user": "UADA"}])
async def test_what_another_app_says_is_an_entry_and_nothing_that_a_person_did(slack, of):
    before = slack.incident.active_at
    await slack.world.move("10m")
    said = {"bot_id": "B7", "text": "CPU at 100 %", "bot_profile": {"name": "Watchdog", "app_id": "A7"}, **of}
    await slack.event("message", channel="C9", ts=TS, event_ts=TS, **said)
    assert (slack.captured(), slack.incident.active_at) == (["CPU at 100 %"], before)
    assert entry(slack, "CPU").by.name == ("Ada" if "user" in of else "Watchdog")


async def test_nothing_is_kept_of_channels_that_are_no_incidents(slack):
    before = len(slack.world.events())
    await slack.writes("C1", "lunch?")
    assert len(slack.world.events()) == before


async def test_whoever_writes_took_part_and_the_incident_is_not_quiet(slack):
    await slack.world.move("1h")
    await slack.writes("C9", "still draining", by="UGRACE")
    lookups = slack.world.application.hub.lookups()
    assert [one.id for one in lookups.field(slack.incident, "participants")] == ["ada", "grace"]
    assert slack.incident.active_at == slack.world.now


async def test_a_message_marked_as_an_action_item_becomes_one_once(slack):
    ts = await slack.writes("C9", "add an index on orders", by="UGRACE")
    item = {"type": "message", "channel": "C9", "ts": ts}
    for number, user in enumerate(("UADA", "UGRACE", "UADA")):
        added = {"user": user, "reaction": "white_check_mark", "item": item, "event_ts": f"17724420{number}0.000000"}
        await slack.event("reaction_added", **added)
    (ticket,) = slack.world.subjects("ticket")
    assert (ticket.title, ticket.incident) == ("add an index on orders", "local:INC-1")
    assert f"https://example.slack.com/archives/C9/p{ts.replace('.', '')}" in ticket.description
    assert entry(slack, "add an index").marks == ("action_item",)


async def test_a_message_from_before_is_read_when_it_is_marked(slack):
    ts = await slack.writes("C9", "add an index on orders", told=False)
    item = {"type": "message", "channel": "C9", "ts": ts}
    await slack.event("reaction_added", user="UADA", reaction="white_check_mark", item=item, event_ts=TS)
    assert [ticket.title for ticket in slack.world.subjects("ticket")] == ["add an index on orders"]


async def test_other_reactions_mark_what_the_connection_says(tmp_path):
    async with live_slack(tmp_path, more=", reactions: {memo: timeline}") as slack:
        await slack.command("")
        await slack.submits(title="Checkout is slow")
        await slack.has_channel("C9")
        ts = await slack.writes("C9", "failed over")
        item = {"type": "message", "channel": "C9", "ts": ts}
        for name in ("memo", "bulb"):
            await slack.event("reaction_added", user="UADA", reaction=name, item=item, event_ts=TS)
        assert entry(slack, "failed over").marks == ("timeline",)


async def test_what_is_said_of_a_private_incident_is_private(tmp_path):
    async with live_slack(tmp_path) as slack:
        await slack.command("")
        await slack.submits(title="A break-in", private=["private"])
        await slack.has_channel("C9")
        await slack.writes("C9", "they had the key")
        assert [event.private for event in slack.world.events("incident.captured")] == [True]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"kind": "message", "ts": "now"}, "'event.ts' must be a time stamp"),
        ({"kind": "message", "subtype": "message_changed"}, "'event.message' must be a mapping"),
        ({"kind": "message", "subtype": "message_deleted"}, "'event.deleted_ts' must be a time stamp"),
        ({"kind": "reaction_added", "user": "UADA", "event_ts": TS}, "'event.reaction' must be a text"),
        ({"kind": "pin_added", "user": "UADA", "event_ts": TS}, "'event.item' must be a mapping"),
        ({"kind": "member_joined_channel", "event_ts": TS}, "'event.user' must be a text"),
    ],
)
async def test_an_event_that_is_not_slacks_is_refused_with_a_sentence(slack, event, said):
    answer = await slack.event(**{**event, "channel": "C9"})
    assert (answer.status_code, said in answer.json()["error"]) == (400, True)


async def test_slacks_handshake_is_answered(slack):
    answer = await slack.post(b'{"type": "url_verification", "challenge": "c1"}')
    assert (answer.status_code, answer.json()) == (200, {"challenge": "c1"})
