"""What is captured of a chat: an entry of the timeline that may be said again, edited, or withdrawn."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta

import pytest

from engine.domain import Entry, Person
from engine.plugins import Fact
from engine.store.record import Record

ADA = Person("ada", "Ada", known=True)
POSTED, EDITED, DELETED = timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=3)


def said(start, text="drained the queue", *, id="C1/1.0", edited=None, withdrawn=None, **more):
    when = {name: start + at for name, at in (("edited", edited), ("withdrawn", withdrawn)) if at is not None}
    entry = Entry(start + POSTED, text, more.pop("kind", "message"), ADA, id=id, **when, **more)
    at = when.get("withdrawn") or when.get("edited") or entry.at
    about = ("incident.captured", at, "incident", "pager:P1")
    return Fact(*about, actor=ADA, engine=True, note=entry, id=f"{id}/{at}")


def timeline(world):
    incident = world.subjects("incident")[0]
    return [entry for entry in world.application.hub.lookups().field(incident, "timeline") if entry.id]


def stored(world):
    """Give all that the database holds of events, as text."""
    rows = world.application.reader.execute("SELECT * FROM events").fetchall()
    return json.dumps([tuple(row) for row in rows])


async def test_what_was_said_is_a_line_of_the_timeline_and_something_that_a_person_did(engine):
    async with engine() as world:
        await world.declared()
        await world.move("5m")
        await world.happens("chat", said(world.now))
        (entry,) = timeline(world)
        assert (entry.text, entry.by.id, entry.kind) == ("drained the queue", "ada", "message")
        assert world.subjects("incident")[0].active_at == world.now + POSTED


async def test_what_is_said_again_under_the_same_id_is_there_once(engine):
    async with engine() as world:
        await world.declared()
        await world.happens("chat", said(world.now))
        await world.happens("chat", said(world.now))
        assert len(timeline(world)) == 1


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_an_entry_is_what_was_said_last_whatever_comes_in_first(engine, order):
    async with engine() as world:
        await world.declared()
        start = world.now
        versions = [
            said(start),
            said(start, "drained it", edited=EDITED),
            said(start, "drained it all", edited=DELETED),
        ]
        for number in order:
            await world.happens("chat", versions[number])
        assert [entry.text for entry in timeline(world)] == ["drained it all (edited)"]


async def test_the_text_of_an_edited_message_is_kept_nowhere(engine):
    async with engine() as world:
        await world.declared()
        await world.happens("chat", said(world.now, "the password is hunter2"))
        await world.happens("chat", said(world.now, "the password is gone", edited=EDITED))
        assert "hunter2" not in stored(world)
        assert [entry.text for entry in timeline(world)] == ["the password is gone (edited)"]


async def test_a_deleted_message_is_told_without_its_text(engine):
    async with engine() as world:
        await world.declared()
        await world.happens("chat", said(world.now, "the password is hunter2"))
        marked = {"entry": "C1/1.0", "text": "the password is hunter2", "mark": "timeline"}
        about = ("incident.marked", world.now, "incident", "pager:P1")
        await world.happens("chat", Fact(*about, data=marked, engine=True))
        await world.happens("chat", said(world.now, "", withdrawn=DELETED))
        assert "hunter2" not in stored(world)
        assert [(entry.text, entry.by.id) for entry in timeline(world)] == [("(a message that was deleted)", "ada")]


async def test_an_entry_says_what_people_marked_it_as_until_they_take_it_back(engine):
    async with engine() as world:
        await world.declared()
        mark = {"id": "C1/1.0/bulb/ada", "about": "C1/1.0", "kind": "reaction", "marks": ("opportunity",)}
        await world.happens("chat", said(world.now), said(world.now, "reacted", **mark))
        assert timeline(world)[0].marks == ("opportunity",)
        await world.happens("chat", said(world.now, "reacted", withdrawn=DELETED, **mark))
        assert [(entry.text, entry.marks) for entry in timeline(world)] == [
            ("drained the queue", ()),
            ("reacted to “drained the queue” (taken back)", ("opportunity",)),
        ]


# --- whose channel is whose ---


def in_channel(world, channel, ref="pager:P1"):
    fields = {"channel": channel}
    return Fact("incident.updated", world.now, "incident", ref, fields, engine=True, own=True)


async def test_a_channel_is_that_of_the_incident_that_has_it_now(engine):
    async with engine() as world:
        await world.declared()
        record = record_of(world)
        assert record.incident_in("C1") is None
        await world.happens("chat", in_channel(world, "C1"))
        assert record.incident_in("C1").id == "pager:P1"
        await world.happens("chat", in_channel(world, "C2"))
        assert (record.incident_in("C1"), record.incident_in("C2").id) == (None, "pager:P1")


def record_of(world):
    return Record(world.application.reader, world.application.hub.lookups)


async def test_of_several_incidents_in_a_channel_the_open_one_counts(engine):
    async with engine() as world:
        for name in ("P1", "P2"):
            await world.incident("declared", f"pager:{name}")
            await world.happens("chat", in_channel(world, "C1", f"pager:{name}"))
            await world.move("1m")
        record = record_of(world)
        assert record.incident_in("C1").id == "pager:P2"
        await world.incident("resolved", "pager:P2")
        assert record.incident_in("C1").id == "pager:P1"


async def test_incidents_are_followed_while_open_and_for_a_while_after(engine):
    async with engine() as world:
        await world.declared()
        await world.happens("chat", in_channel(world, "C1"))
        record = record_of(world)
        assert [one.id for one in record.followed(world.now)] == ["pager:P1"]
        await world.incident("resolved")
        await world.move("2d")
        day = timedelta(days=1)
        assert [len(record.followed(world.now - days * day)) for days in (1, 3)] == [0, 1]


async def test_what_was_captured_is_given_by_its_id_with_what_it_was_marked_as(engine):
    async with engine() as world:
        await world.declared()
        mark = {"id": "C1/1.0/bulb/ada", "about": "C1/1.0", "kind": "reaction", "marks": ("opportunity",)}
        await world.happens("chat", said(world.now), said(world.now, "other", id="C1/2.0"))
        await world.happens("chat", said(world.now, "reacted", **mark))
        record = record_of(world)
        assert [one.marks for one in record.captured("pager:P1", "C1/1.0")] == [("opportunity",)]
        assert len(record.captured("pager:P1")) == 3
