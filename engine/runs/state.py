"""What is known of a run: its append-only records, and the state they add up to.

A *path* names one performance of a step: the ids of the groups around it and its own, each followed by `[item]` inside
a loop and `#n` inside a repeat: `ladder#2/ask`, `file[ab12]/make`. The empty path is the run itself.

Kinds of record: `round vars deadline decided items lookup intent retry pending done failed skipped wait iterated
repeated failing told retried parked begun ended`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

LeafStatus = Literal["intent", "retry", "pending", "parked", "wait", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a run's history. `data` holds values that `engine.store.codec` can write."""

    path: str
    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """The row of a run."""

    id: int
    uid: str
    workflow: str
    key: str
    version: str
    round: int
    round_event: int  #: the newest event when the round began
    event: int  #: the event that started it
    trigger: str
    subject_type: str | None
    subject: str | None
    depth: int
    created: datetime
    state: str = "running"


@dataclass(slots=True)
class Leaf:
    """An effect or a wait, as far as it has come."""

    status: LeafStatus
    outputs: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    identity: str | None = None
    attempt: int = 1
    due: datetime | None = None
    since: int = 0
    asked: tuple[str, ...] = ()


@dataclass(slots=True)
class Pause:
    """A repeat between two iterations, or at its end."""

    count: int
    due: datetime | None = None
    running: bool = False  #: whether the next iteration has begun
    done: bool | None = None  #: whether `until` came true; None while it goes on


@dataclass(slots=True)
class RunState:
    """The present round of a run. Built by applying its records in order."""

    run: Run
    vars: Mapping[str, Any] | None = None
    decided: dict[str, bool] = field(default_factory=dict)
    items: dict[str, list[tuple[str, Any]]] = field(default_factory=dict)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    leaves: dict[str, Leaf] = field(default_factory=dict)
    pauses: dict[str, Pause] = field(default_factory=dict)
    deadlines: dict[str, datetime] = field(default_factory=dict)
    cursors: dict[str, int] = field(default_factory=dict)
    taken: dict[str, set[int]] = field(default_factory=dict)
    failing: Mapping[str, Any] | None = None
    told: bool = False
    ended: str | None = None

    def apply_all(self, records: Iterable[Record]) -> None:
        for record in records:
            self.apply(record)

    def apply(self, record: Record) -> None:
        """Take one record in."""
        _APPLY[record.kind](self, record.path, record.data)

    def _round(self, _path: str, _data: Mapping[str, Any]) -> None:
        fresh = RunState(self.run)
        for name in ("vars", "decided", "items", "answers", "leaves", "pauses", "deadlines", "cursors", "taken"):
            setattr(self, name, getattr(fresh, name))
        self.failing, self.told, self.ended = None, False, None

    def _leaf(self, path: str, status: LeafStatus, data: Mapping[str, Any]) -> None:
        leaf = self.leaves.get(path) or Leaf(status)
        leaf.status = status
        leaf.outputs = data.get("outputs", leaf.outputs)
        leaf.error = data.get("error", leaf.error if status != "done" else None)
        leaf.identity = data.get("identity", leaf.identity)
        leaf.attempt = data.get("attempt", leaf.attempt)
        leaf.due = data.get("due")
        leaf.since = data.get("since", leaf.since)
        leaf.asked = tuple(data.get("asked", leaf.asked))
        self.leaves[path] = leaf
        if data.get("event_id") is not None:
            self.taken.setdefault(data["place"], set()).add(data["event_id"])

    def _retried(self, _path: str, _data: Mapping[str, Any]) -> None:
        for path in (self.failing or {}).get("paths", ()):
            self.leaves.pop(path, None)
            for inside in [p for p in self.deadlines if p == path or p.startswith(path + "/")]:
                del self.deadlines[inside]
        for path in [p for p, leaf in self.leaves.items() if leaf.status == "failed" and p.startswith("on_failure/")]:
            del self.leaves[path]
        self.deadlines.pop("", None)
        self.failing, self.told, self.ended = None, False, None


_APPLY: dict[str, Callable[[RunState, str, Mapping[str, Any]], None]] = {
    "round": RunState._round,
    "vars": lambda s, p, d: setattr(s, "vars", d["values"]),
    "deadline": lambda s, p, d: s.deadlines.__setitem__(p, d["at"]),
    "decided": lambda s, p, d: s.decided.__setitem__(p, bool(d["value"])),
    "items": lambda s, p, d: s.items.__setitem__(p, [(str(key), value) for key, value in d["items"]]),
    "lookup": lambda s, p, d: s.answers.setdefault(p, {}).__setitem__(d["call"], d["answer"]),
    "intent": lambda s, p, d: s._leaf(p, "intent", d),
    "retry": lambda s, p, d: s._leaf(p, "retry", d),
    "pending": lambda s, p, d: s._leaf(p, "pending", d),
    "parked": lambda s, p, d: s._leaf(p, "parked", d),
    "wait": lambda s, p, d: s._leaf(p, "wait", d),
    "done": lambda s, p, d: s._leaf(p, "done", d),
    "failed": lambda s, p, d: s._leaf(p, "failed", d),
    "skipped": lambda s, p, d: None,
    "iterated": lambda s, p, d: s.pauses.__setitem__(p, Pause(d["n"], d.get("due"))),
    "begun": lambda s, p, d: s.pauses.__setitem__(p, Pause(d["n"], running=True)),
    "repeated": lambda s, p, d: _repeated(s, p, d),
    "failing": lambda s, p, d: setattr(s, "failing", d),
    "told": lambda s, p, d: setattr(s, "told", True),
    "retried": RunState._retried,
    "ended": lambda s, p, d: setattr(s, "ended", d["state"]),
}


def _repeated(state: RunState, path: str, data: Mapping[str, Any]) -> None:
    state.pauses[path] = Pause(data["n"], done=bool(data["done"]))
    if data.get("event_id") is not None:
        state.taken.setdefault(data["place"], set()).add(data["event_id"])
