"""What is said and done in the channel of an incident, as entries of its timeline.

An entry is known by its channel and time stamp, so that it is there once, whether an event told of it, an event that
Slack sent again, or the channel's history. Of files and links, names and addresses are kept, not their content.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from engine.capabilities import Said
from engine.domain import Entry, Incident, Person
from engine.plugins import Connection, Fact
from triggers.sources import payload
from triggers.sources.slack_vendor import Vendor

Mark = Literal["timeline", "opportunity", "action_item"]

#: What kind of entry a message is, by its subtype; others are no entries.
_KINDS = {
    "message": "message",
    "bot_message": "message",
    "file_share": "message",
    "me_message": "message",
    "thread_broadcast": "message",
    "channel_join": "join",
    "group_join": "join",
    "channel_leave": "leave",
    "group_leave": "leave",
    **dict.fromkeys(
        [f"{kind}_{what}" for kind in ("channel", "group") for what in ("topic", "purpose", "name", "archive")]
        + ["channel_unarchive", "group_unarchive"],
        "channel",
    ),
}
_CAME_AND_WENT = {"join": "joined the channel", "leave": "left the channel"}
_STAMP = re.compile(r"\d{1,10}\.\d{1,6}", re.ASCII)
_LONGEST = 40_000


@dataclass(frozen=True, slots=True)
class Capture:
    """Turns what comes in from a channel into facts about its incident."""

    vendor: Vendor
    connection: Connection
    marks: Mapping[str, Mark]  #: by the emoji's name

    def event(
        self, event: Mapping[str, Any], channel: str, incident: Incident, id: str, ours: Iterable[str]
    ) -> list[Fact] | str:
        """Give the facts of an event, or why it is none for the timeline.

        Args:
            event: what Slack says happened.
            channel: where.
            incident: whose channel it is.
            id: the id of its delivery.
            ours: the ids of our own users and app.

        Raises:
            ValueError: it is not what Slack documents.
        """
        kind = event["type"]
        if kind == "message":
            return self._message(event, channel, incident, frozenset(ours))
        user = payload.text(event.get("user"), "'event.user'")
        if user in ours:
            return "we did it ourselves"
        by = self.vendor.user(user)
        at = stamp(event.get("event_ts"), "'event.event_ts'")
        if kind in ("reaction_added", "reaction_removed"):
            name = payload.text(event.get("reaction"), "'event.reaction'").partition("::")[0]
            message = message_of(event.get("item"))
            if kind == "reaction_removed":
                return [self.reaction(incident, message, name, by, at, id, withdrawn=at)]
            return [self.reaction(incident, message, name, by, at, id), *self.mark(incident, message, name, by, at)]
        if kind in ("pin_added", "pin_removed"):
            message = message_of(event.get("item"))
            return [self.pin(incident, message, by, at, id, withdrawn=at if kind == "pin_removed" else None)]
        word = "join" if kind == "member_joined_channel" else "leave"
        return [self._came_or_went(incident, channel, word, by, at)]

    def said(self, said: Said, incident: Incident) -> Fact | None:
        """Give the fact of a message as it is now; None for what is no entry."""
        kind = _KINDS.get(said.kind)
        if kind is None or said.own:
            return None
        channel = said.id.partition("/")[0]
        if kind in _CAME_AND_WENT:
            return self._came_or_went(incident, channel, kind, said.by, said.at)
        entry = self._entry(said, kind)
        id = said.id if entry.edited is None else f"{said.id}/edited/{entry.edited.isoformat()}"
        return _fact(incident, entry, None if said.kind == "bot_message" else said.by, id)

    def deleted(self, incident: Incident, entry: Entry, at: datetime) -> Fact:
        """Give the fact that a message is there no more."""
        gone = replace(entry, text="", url=None, edited=None, withdrawn=at, marks=())
        return _fact(incident, gone, None, f"{entry.id}/deleted")

    def reaction(
        self,
        incident: Incident,
        message: str,
        name: str,
        by: Person | None,
        at: datetime,
        id: str | None,
        *,
        withdrawn: datetime | None = None,
    ) -> Fact:
        """Give the fact that somebody reacted to a message, or took that back."""
        marks = (self.marks[name],) if name in self.marks else ()
        key = reaction_key(message, name, by)
        entry = Entry(at, f"reacted with :{name}:", "reaction", by, None, key, message, None, withdrawn, marks)
        return _fact(incident, entry, by, id)

    def pin(
        self,
        incident: Incident,
        message: str,
        by: Person | None,
        at: datetime,
        id: str | None,
        *,
        withdrawn: datetime | None = None,
    ) -> Fact:
        """Give the fact that somebody pinned a message, or took that back."""
        url, key = self.vendor.link(message), pin_key(message)
        return _fact(incident, Entry(at, "pinned a message", "pin", by, url, key, message, withdrawn=withdrawn), by, id)

    def mark(
        self, incident: Incident, message: str, name: str, by: Person | None, at: datetime, entry: Entry | None = None
    ) -> list[Fact]:
        """Give the fact that a reaction marks a message, if it does. The first one counts, whoever marks it again."""
        mark = self.marks.get(name)
        if mark is None:
            return []
        entry = entry or self._known(incident, message)
        data = {
            "mark": mark,
            "entry": message,
            "text": entry.text if entry is not None else None,
            "author": entry.by if entry is not None else None,
            "url": self.vendor.link(message, entry.about if entry is not None else None),
        }
        about = ("incident.marked", at, "incident", incident.id)
        return [Fact(*about, data=data, actor=by, id=f"{message}/mark/{mark}", engine=True)]

    def _known(self, incident: Incident, message: str) -> Entry | None:
        return next(iter(self.connection.record.captured(incident.id, message)), None)

    def _message(
        self, event: Mapping[str, Any], channel: str, incident: Incident, ours: frozenset[str]
    ) -> list[Fact] | str:
        kind = event.get("subtype")
        if kind == "message_deleted":
            return self._deleted(event, channel, incident)
        if kind == "message_changed":
            raw = payload.mapping(event.get("message"), "'event.message'")
            if raw.get("subtype") == "tombstone":  # the first message of a thread was deleted
                return self._deleted({**event, "deleted_ts": raw.get("ts"), "previous_message": raw}, channel, incident)
            if raw.get("edited") is None:
                return "only how the message is shown has changed"
        else:
            raw = event
        if _is_ours(raw, ours):
            return "it is our own message"
        stamp(raw.get("ts"), "'event.ts'")
        if isinstance(raw.get("edited"), Mapping):
            stamp(raw["edited"].get("ts"), "'event.message.edited.ts'")
        said = self.vendor.read(raw, channel)
        fact = self.said(said, incident)
        if fact is None:
            return "it is our own message" if said.own else f"messages of the kind '{said.kind[:80]}' are not kept"
        return [fact]

    def _deleted(self, event: Mapping[str, Any], channel: str, incident: Incident) -> list[Fact]:
        posted = stamp(event.get("deleted_ts"), "'event.deleted_ts'")
        message = f"{channel}/{event['deleted_ts']}"
        known = self._known(incident, message)
        if known is None:
            was = event.get("previous_message")
            by = self.vendor.user(was.get("user")) if isinstance(was, Mapping) else None
            known = Entry(posted, "", "message", by, id=message)
        at = stamp(event.get("event_ts") or event.get("ts"), "'event.ts'")
        return [self.deleted(incident, known, at)]

    def _came_or_went(self, incident: Incident, channel: str, kind: str, by: Person | None, at: datetime) -> Fact:
        """Both an event and a message tell of it, at times that may differ: the first time each counts."""
        key = f"{channel}/{kind}/{name_of(by)}"
        return _fact(incident, Entry(at, _CAME_AND_WENT[kind], kind, by, id=key), by, key)

    def _entry(self, said: Said, kind: str) -> Entry:
        files = [f"[{one.name}]" + (f" {one.url}" if one.url else "") for one in said.files]
        text = "\n".join([said.text, *files] if said.text else files)[:_LONGEST]
        url = self.vendor.link(said.id, said.thread)
        return Entry(said.at, text, kind, said.by, url, said.id, said.thread, said.edited_at)


def channel_of(event: Mapping[str, Any]) -> str | None:
    """Give the channel that an event happened in; None where it says none."""
    item = event.get("item")
    within = item.get("channel") if isinstance(item, Mapping) else None
    found = event.get("channel") or event.get("channel_id") or within
    return found if isinstance(found, str) else None


def message_of(item: Any) -> str:
    """Give the id of the message that a reaction or a pin is on."""
    found = payload.mapping(item, "'event.item'")
    message = found.get("message")
    ts = message.get("ts") if isinstance(message, Mapping) else found.get("ts")
    stamp(ts, "'event.item.ts'")
    channel = payload.text(found.get("channel"), "'event.item.channel'")
    return f"{channel}/{ts}"


def stamp(value: Any, what: str) -> datetime:
    """Give the instant of one of Slack's time stamps, which are texts such as 1772442000.000100.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str) or _STAMP.fullmatch(value) is None:
        raise ValueError(f"{what} must be a time stamp such as 1772442000.000100, not {payload.shown(value)}")
    whole, _, fraction = value.partition(".")
    return datetime.fromtimestamp(int(whole), UTC).replace(microsecond=int(f"{fraction:0<6}"))


def reaction_key(message: str, name: str, by: Person | None) -> str:
    """Give the id of a reaction's entry."""
    return f"{message}/{name}/{name_of(by)}"


def pin_key(message: str) -> str:
    """Give the id of a pin's entry."""
    return f"{message}/pin"


def name_of(person: Person | None) -> str:
    """Give what somebody is called in ids."""
    return person.ids.get("slack", person.id) if person is not None else "?"


def _fact(incident: Incident, entry: Entry, by: Person | None, id: str | None) -> Fact:
    at = entry.withdrawn or entry.edited or entry.at
    return Fact("incident.captured", at, "incident", incident.id, actor=by, id=id, engine=True, note=entry)


def _is_ours(raw: Mapping[str, Any], ours: frozenset[str]) -> bool:
    profile = raw.get("bot_profile")
    app = profile.get("app_id") if isinstance(profile, Mapping) else None
    return any(isinstance(one, str) and one in ours for one in (raw.get("user"), raw.get("app_id"), app))
