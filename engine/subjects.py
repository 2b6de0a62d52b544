"""Merge what a source or an effect says into its subject, and find the transitions by comparing with the stored state.

Rules (PROMISES, "State of a subject"): what a source says is ordered by its own time; an older event goes into the
record and changes no state, but the first of its kind still fires its trigger. Every field has one owner: the source
its own, the engine those in `domain.ENGINE_OWNED`, which change in the order of their commits. The first sight of a
subject counts as the transition its event names.

Everything here is part of a transaction, or of the draft of one.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from datetime import UTC, datetime
from typing import Any

from engine.domain import ENGINE_OWNED, FIELDS, SUBJECTS, Entry, Event
from engine.plugins import Fact
from engine.store.codec import decode, digest, dumps, encode, micros, plain_json
from engine.store.journal import Writing
from engine.store.lookups import OLDER
from engine.store.tables import events as events_table
from engine.store.tables import insert, upsert
from engine.store.tables import subjects as subjects_table

#: What is said of people who want to hear of an incident no longer.
UNSUBSCRIBED = "incident.unsubscribed"
#: Events may stand behind one another this deep (PROMISES 1.12).
MAX_DEPTH = 8

_STATUS_EVENT = {
    "declared": "incident.reopened",
    "acknowledged": "incident.acknowledged",
    "mitigated": "incident.mitigated",
    "resolved": "incident.resolved",
}
_ORDER = ("declared", "acknowledged", "mitigated", "resolved")
_TIMES = {"declared": "declared_at", "acknowledged": "acknowledged_at", "mitigated": "mitigated_at"}
_TIMES["resolved"] = "resolved_at"
#: What an event says of its subject by its name alone, where its sender gives no more.
_IMPLIED: Mapping[str, Mapping[str, Any]] = {
    "incident.declared": {"status": "declared"},
    "incident.reopened": {"status": "declared"},
    "incident.acknowledged": {"status": "acknowledged"},
    "incident.mitigated": {"status": "mitigated"},
    "incident.resolved": {"status": "resolved"},
    "ticket.closed": {"done": True},
    "ticket.reopened": {"done": False},
    "alert.firing": {"firing": True},
    "alert.resolved": {"firing": False},
    "document.published": {"published": True},
}
#: Fields that every record of a subject has.
_REQUIRED = {
    name: tuple(
        one.name for one in dataclasses.fields(cls) if one.default is MISSING and one.default_factory is MISSING
    )
    for name, cls in SUBJECTS.items()
}
_UPDATED = {name: f"{name}.updated" for name in SUBJECTS}
#: Fields whose change alone is not worth an `updated` event.
_QUIET = frozenset({"declared_at", "acknowledged_at", "mitigated_at", "resolved_at", "active_at", "closed_at"})
_QUIET |= {"status", "done", "firing", "ended_at", "started_at", "published", "content"}
_QUIET |= {"participants", "subscribers", "merged_into", "start", "end", "accepted", "declined"}


@dataclass(frozen=True, slots=True)
class Cause:
    """What of ours stands behind a fact: the effect's identity, its run, and how many runs stand behind that."""

    effect: str | None = None
    run: int | None = None
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a fact: the events that were written, or none because the delivery was known already."""

    events: tuple[int, ...] = ()
    duplicate: bool = False
    changed: str | None = None  #: the subject whose state changed although no event that is matched says so
    event: Event | None = None  #: the event, where there is one alone and it is to be matched
    state: Mapping[str, Any] | None = None  #: what the subject is now, as JSON
    first: bool = False  #: whether the subject was not known before
    private: bool = False  #: whether one of the events is about something private


#: An event's row; its id is given when it is written.
EVENT = insert(
    events_table,
    "id",
    "uid",
    "type",
    "source",
    "time",
    "received",
    "subject_type",
    "subject",
    "actor",
    "data",
    "before",
    "after",
    "note",
    "delivery",
    "caused_by",
    "cause_run",
    "own",
    "depth",
    "private",
    "state",
    "reason",
    "listeners",
)
_SUBJECT = upsert(
    subjects_table,
    "type",
    "id",
    "key",
    "connection",
    "state",
    "incident",
    "source_time",
    "engine_time",
    "first_seen",
    "refreshed",
    "changed_run",
    "event",
)


def record(tx: Writing, connection: str, fact: Fact, now: datetime, cause: Cause = Cause()) -> Recorded:
    """Write what `fact` means: its events, marked new for matching, and the subject's new state."""
    delivery = digest(connection, fact.id) if fact.id is not None else None
    if delivery is not None:
        about = ("delivery", delivery)
        if tx.one("SELECT 1 FROM events WHERE delivery = ?", (delivery,), about):
            return Recorded(duplicate=True)
        tx.touch(about)
    writer = _Writer(tx, connection, fact, now, cause, delivery)
    if fact.subject_type is None or fact.subject is None:
        number = writer.event(fact.type, None, None)
        return Recorded((number,), event=writer.made)
    return writer.merge()


def record_reading(tx: Writing, connection: str, fact: Fact, now: datetime) -> Recorded:
    """Write what reading a subject again gave; where nothing differs, only that its state is fresh."""
    return _Writer(tx, connection, fact, now, Cause(), None, reading=True).merge()


def read_fields(subject_type: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a reading says of its source's fields: what is empty there is empty, but instants may be unknown."""
    owned = ENGINE_OWNED[subject_type] - {"active_at"}
    instants = {name for name, one in FIELDS[subject_type].items() if one.kind == "instant"} | {"active_at"}
    return {
        name: value
        for name, value in known.items()
        if name not in owned and not (value is None and (name in instants or name in ("status", "content")))
    }


def record_ignored(tx: Writing, connection: str, reason: str, now: datetime) -> int:
    """Write down that a well-signed delivery was of a kind that nothing here uses."""
    fact = Fact("webhook.ignored", now)
    return _Writer(tx, connection, fact, now, Cause(), None).event(fact.type, None, None, reason=reason)


#: The text goes from the events that said an entry before; the one that is being written has a later time.
_FORGET_NOTE = """
UPDATE events SET note = json_set(note, '$."~entry".text', '')
WHERE subject = ? AND json_extract(note, '$."~entry".id') = ? AND time < ?
"""
_FORGET_DATA = """
UPDATE events SET data = json_set(data, '$.text', '') WHERE subject = ? AND json_extract(data, '$.entry') = ?
"""


@dataclass(slots=True)
class _Writer:
    tx: Writing
    connection: str
    fact: Fact
    now: datetime
    cause: Cause
    delivery: str | None
    reading: bool = False
    told: bool = False  #: whether an event was written already
    private: bool = False  #: whether one of them is about something private
    made: Event | None = None  #: the last event that was written to be matched
    _texts: dict[int, str] = field(default_factory=dict)  #: states as JSON: of one, the event and the subject keep it

    def event(
        self, kind: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, reason: str | None = None
    ) -> int:
        fact, cause = self.fact, self.cause
        delivery, note = (self.delivery, fact.note) if not self.told else (None, None)  # the first carries them
        self.told = True
        if note is not None and (note.edited is not None or note.withdrawn is not None):
            self._forget_former(note)
        private = self._is_private(after)
        self.private = self.private or private
        data, actor = encode(fact.data), encode(fact.actor) if fact.actor else None
        uid = new_id("evt", self.now)
        if not reason:
            self.made = Event(
                id=uid,
                type=kind,
                source=self.connection,
                time=fact.time.astimezone(UTC),
                subject_type=fact.subject_type,
                subject=fact.subject,
                actor=decode(actor),
                data=decode(data),
                before=before,
                after=after,
                caused_by=cause.effect,
                own=fact.own,
                depth=cause.depth,
                private=private,
            )
        return self.tx.insert(
            EVENT,
            (
                uid,
                kind,
                self.connection,
                micros(fact.time),
                micros(self.now),
                fact.subject_type,
                fact.subject,
                plain_json(actor) if actor is not None else None,
                plain_json(data),
                self._json(before),
                self._json(after),
                dumps(note) if note else None,
                delivery,
                cause.effect,
                cause.run,
                int(fact.own),
                cause.depth,
                int(private),
                "ignored" if reason else "new",
                reason,
                None,
            ),
        )

    def _forget_former(self, note: Entry) -> None:
        """Take the text of a captured entry that was edited or withdrawn out of what was said of it before."""
        self.tx.execute(_FORGET_NOTE, (self.fact.subject, note.id, micros(note.withdrawn or note.edited or note.at)))
        if note.withdrawn is not None:
            self.tx.execute(_FORGET_DATA, (self.fact.subject, note.id))

    def _is_private(self, state: Mapping[str, Any] | None) -> bool:
        """Whether a subject is private, or of an incident that is."""
        if state is None or state.get("private"):
            return state is not None
        incident = state.get("incident")
        if incident is None:
            return False
        row = self.tx.one(
            "SELECT json_extract(state, '$.private') AS private FROM subjects WHERE type = 'incident' AND id = ?",
            (incident,),
            ("subject", "incident", incident),
        )
        return row is not None and bool(row["private"])

    def _json(self, state: Mapping[str, Any] | None) -> str | None:
        if state is None:
            return None
        if id(state) not in self._texts:
            self._texts[id(state)] = plain_json(state)
        return self._texts[id(state)]

    def merge(self) -> Recorded:
        fact = self.fact
        about = ("subject", fact.subject_type, fact.subject)
        row = self.tx.one("SELECT * FROM subjects WHERE type = ? AND id = ?", (fact.subject_type, fact.subject), about)
        self.tx.touch(about)
        return self._first_sight() if row is None else self._next(row)

    def _fields(self) -> dict[str, Any]:
        implied = {} if self.fact.engine else _IMPLIED.get(self.fact.type, {})
        return {**implied, **{name: encode(value) for name, value in self.fact.fields.items()}}

    def _first_sight(self) -> Recorded:
        fact = self.fact
        state: dict[str, Any] = {"id": fact.subject, **_known(self._fields())}
        state.setdefault("key", str(fact.subject).partition(":")[2])
        for name in _REQUIRED[str(fact.subject_type)]:
            state.setdefault(name, state["key"])
        state.setdefault("title", state["key"])
        if fact.subject_type == "incident":
            state.setdefault("status", "declared")
            _stamp(state, fact)
            state |= self._acted(state)
        event = self.event(fact.type, None, state)
        self._put(state, None, event, changed=True)
        return Recorded((event,), event=self.made, state=state, first=True, private=self.private)

    def _next(self, row: Any) -> Recorded:
        fact = self.fact
        assert fact.subject_type is not None
        before: dict[str, Any] = json.loads(row["state"])
        if not fact.engine and self._older(row["source_time"]):
            return Recorded() if self.reading else Recorded((self._late(row, before),), private=self.private)
        after = _known(before | self._owned(before))
        if fact.subject_type == "incident":
            self._move(before, after)
        kinds = transitions(fact.subject_type, fact.type, before, after)
        changed = bool(_differing(before, after))
        if not kinds and (fact.note or _told(fact.type)):
            kinds = [fact.type]
        events: list[int] = []
        if kinds:
            events = [self.event(kind, before, after) for kind in kinds]
        elif not self.reading:
            reason = "it changes nothing that a trigger names" if changed else "the state was this already"
            events = [self.event(fact.type, before, after, reason=reason)]
        self._put(after, row, events[-1] if events else row["event"], changed=changed)
        silent = fact.subject if changed and not kinds else None
        alone = self.made if len(events) == 1 else None
        return Recorded(tuple(events), changed=silent, event=alone, state=after, private=self.private)

    def _move(self, before: Mapping[str, Any], after: dict[str, Any]) -> None:
        """Set what goes with an incident's change of status."""
        if after.get("status") != before.get("status"):
            _stamp(after, self.fact)
            if before.get("status") == "resolved":
                after.pop("merged_into", None)  # opened again, it is one of its own
        if _status(before) == "resolved" and _status(after) != "resolved":
            after["active_at"] = max(encode(self.fact.time), after.get("active_at"), key=_at)  # it was not idle before

    def _older(self, known: int | None) -> bool:
        """Whether the fact is older than what is known. What is known of the future, by a clock set back, is no bar."""
        return known is not None and micros(self.fact.time) < known <= micros(self.now)

    def _late(self, row: Any, before: dict[str, Any]) -> int:
        """Keep an event that is older than what is known: it fires as the first of its kind.

        It changes nothing, except that a person did something at that time.
        """
        fact = self.fact
        known = self.tx.one(
            "SELECT 1 FROM events WHERE subject = ? AND type = ? AND state != 'ignored' LIMIT 1",
            (fact.subject, fact.type),
            ("subject", fact.subject_type, fact.subject),
            own=True,  # it has written nothing yet
        )
        event = self.event(fact.type, before, before, reason=OLDER if known and not _told(fact.type) else None)
        acted = self._acted(before) if fact.subject_type == "incident" else {}
        if acted:
            self._put(before | acted, row, event, changed=False, late=True)
        return event

    def _acted(self, before: Mapping[str, Any]) -> dict[str, Any]:
        """Give the field that says when a person last did something about an incident, where this is newer."""
        fact = self.fact
        if fact.own or fact.actor is None:
            return {}
        at, known = encode(fact.time), before.get("active_at")
        return {"active_at": at} if known is None or _at(at) > _at(known) else {}

    def _owned(self, before: Mapping[str, Any]) -> dict[str, Any]:
        """Give the fields of the fact that its sender may set, as JSON."""
        fact = self.fact
        owned, required = ENGINE_OWNED[str(fact.subject_type)], _REQUIRED[str(fact.subject_type)]
        fields: dict[str, Any] = {}
        for name, value in self._fields().items():
            if value is None and name in required:
                continue
            if name == "active_at" or (name in owned) == fact.engine:
                fields[name] = value
        if "roles" in fields:  # they are given one at a time
            fields["roles"] = {**before.get("roles", {}), **fields["roles"]}
        for name in ("participants", "subscribers"):
            if name in fields:
                combine = _without if fact.type == UNSUBSCRIBED else _union
                fields[name] = combine(before.get(name, []), fields[name])
        if fact.subject_type == "incident":
            fields |= self._acted(before)
        return fields

    def _put(self, state: dict[str, Any], row: Any, event: int, *, changed: bool, late: bool = False) -> None:
        fact = self.fact
        source_time, engine_time = (row["source_time"], row["engine_time"]) if row else (None, None)
        if fact.engine:
            engine_time = micros(fact.time)
        elif not late:
            source_time = micros(min(fact.time, self.now))
        now = micros(self.now)
        self.tx.add(
            _SUBJECT,
            (
                fact.subject_type,
                fact.subject,
                state.get("key"),
                self.connection if row is None else row["connection"],
                self._json(state),
                state.get("incident") or state.get("merged_into"),
                source_time,
                engine_time,
                row["first_seen"] if row else now,
                (row["refreshed"] if row else now) if fact.engine else now,
                self.cause.run if changed or row is None else row["changed_run"],
                event,
            ),
        )


def new_id(prefix: str, now: datetime) -> str:
    """Give a new printable id: those of one time stand together in an index, which is what keeps writing fast."""
    return f"{prefix}_{micros(now) // 1000:011x}{secrets.token_hex(5)}"


#: Events that are told although they change no state.
_TOLD = frozenset({"ticket.commented", "ticket.stale", "incident.quiet", "incident.marked"})


def _told(kind: str) -> bool:
    """Whether an event is told even where it changes nothing: those few, and types of one's own (`event.emit`)."""
    return kind in _TOLD or kind.partition(".")[0] not in SUBJECTS


def transitions(subject_type: str, told: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Give the event types that lead from one state to another, the transition first."""
    kinds: list[str] = []
    if subject_type == "incident" and _status(before) != _status(after):
        kinds.append(_incident_transition(_status(before), str(_status(after))))
    elif subject_type == "ticket" and bool(before.get("done")) != bool(after.get("done")):
        kinds.append("ticket.closed" if after.get("done") else "ticket.reopened")
    elif subject_type == "alert" and _another_alert(before, after):
        kinds.append("alert.firing" if after.get("firing", True) else "alert.resolved")
    elif subject_type == "document" and _published_again(before, after):
        kinds.append("document.published")
    elif subject_type == "review":
        kinds += ["review.scheduled"] if _scheduled_again(before, after) else []
        kinds += ["review.declined"] if _declined_again(before, after) else []
    if _told(told) and told not in kinds:
        kinds.append(told)
    if _differing(before, after) - _QUIET and _UPDATED[subject_type] not in kinds:
        kinds.append(_UPDATED[subject_type])
    return kinds


def _known(state: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what says nothing."""
    return {name: value for name, value in state.items() if value is not None and value != [] and value != {}}


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """Give the fields that differ; one that is not there is the same as one that is empty or false."""
    return {name for name in before.keys() | after.keys() if (before.get(name) or None) != (after.get(name) or None)}


def _another_alert(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether an alert fires or is resolved anew: it turned, or it is another time that it began to fire."""
    turned = before.get("firing", True) != after.get("firing", True)
    return turned or before.get("started_at") != after.get("started_at")


def _status(incident: Mapping[str, Any]) -> Any:
    """Give how far an incident is; one that was merged into another is over."""
    return "resolved" if incident.get("merged_into") else incident.get("status")


def _incident_transition(before: Any, after: str) -> str:
    if before == "resolved" and after != "resolved":
        return "incident.reopened"
    if after == "declared":  # no longer acknowledged: the state went back, which is no transition of its own
        return "incident.updated"
    return _STATUS_EVENT[after]


def _published_again(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a document is published now with another content than it was last published with."""
    if not after.get("published"):
        return False
    if after.get("content") is None:
        return not before.get("published")
    return bool(after["content"] != before.get("content") or "content" not in before)


def _scheduled_again(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a review is on at another time, or on again after it was called off."""
    if after.get("cancelled") or not after.get("start"):
        return False
    return bool(before.get("cancelled")) or any(before.get(name) != after.get(name) for name in ("start", "end"))


def _declined_again(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether somebody who must come to a review that is on says only now that they will not."""
    if after.get("cancelled"):
        return False
    known = {_person_id(one) for one in (*before.get("declined", ()), *after.get("optional", ()))}
    return any(_person_id(one) not in known for one in after.get("declined", ()))


def _stamp(state: dict[str, Any], fact: Fact) -> None:
    """Fill in the instant that the event's name tells where none is known, and clear those that hold no more."""
    named = _TIMES.get(fact.type.partition(".")[2])
    if named is not None:
        state.setdefault(named, encode(fact.time))
    for later in _ORDER[_ORDER.index(state["status"]) + 1 :]:
        if _TIMES[later] not in fact.fields:
            state.pop(_TIMES[later], None)


def _at(value: Any) -> str:
    """Give an instant's text, which sorts as instants do: it is always in UTC. What is unknown comes first."""
    return value["~instant"] if value is not None else ""


def _union(known: list[Any], new: list[Any]) -> list[Any]:
    ids = {_person_id(item) for item in known}
    return known + [item for item in new if _person_id(item) not in ids]


def _without(known: list[Any], gone: list[Any]) -> list[Any]:
    ids = {_person_id(item) for item in gone}
    return [item for item in known if _person_id(item) not in ids]


def _person_id(item: Any) -> Any:
    return item.get("~person", {}).get("id") if isinstance(item, dict) else item
