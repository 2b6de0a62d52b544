"""What is known of a run: its append-only records, and the state they add up to.

A *path* names one performance of a step: the ids of the groups around it and its own, each followed by `[item]` inside
a loop and `#n` inside a repeat: `ladder#2/ask`, `file[ab12]/make`; signs of an item's key that would be read as part
of the path are written `%2F`. The empty path is the run itself, `!vars` its variables.

Kinds of record: of the run `round queued turn vars stopping failing retried ended`; of a step `decided items asking
lookup deadline failed`; of an effect or a wait `held intent retry pending parked closed wait done failed`; of a message
that waited for a digest `digested dropped`; of a repeat `begun iterated repeated`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from engine.calendars import Duration

#: Paths of the messages that tell the owner of effects in doubt begin so.
IN_DOUBT = "!in-doubt/"

#: How the identities of effects of dry runs begin: they spend none of the others.
DRY = "dry-run:"

#: What the workflow of digests is called; its runs are listed under it.
DIGESTS = "hotwash.digest"

#: What the workflow is called that does what people ask of vendors, and its version: no hash of a file is like it.
OPERATIONS, OPERATION = "hotwash.operation", "operation"

LeafStatus = Literal["held", "intent", "retry", "pending", "parked", "wait", "done", "failed"]


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
    round_event: int  #: the event that the round began with
    event: int  #: the event that started it
    trigger: str
    subject_type: str | None
    subject: str | None
    depth: int
    created: datetime
    state: str = "running"
    slot: str | None = None  #: what it shares with the runs that it may not go on beside
    dry: bool = False  #: whether nothing of it goes out


@dataclass(slots=True)
class Leaf:
    """An effect or a wait, as far as it has come. One that is held has no intent yet."""

    status: LeafStatus
    outputs: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    identity: str | None = None
    attempt: int = 1
    due: datetime | None = None
    since: int = 0
    asked: tuple[str, ...] = ()  #: ids of those who may answer
    timeout: Duration | None = None  #: of one attempt, or from delivery to the answer
    doubtful: bool = False  #: whether the last attempt may have done it although it failed
    connection: str | None = None  #: that was chosen for it, where the file does not name one


#: What a record says of a leaf.
_LEAF = frozenset(
    {"outputs", "error", "identity", "attempt", "due", "since", "asked", "timeout", "doubtful", "connection"}
)


@dataclass(slots=True)
class Pause:
    """A repeat between two iterations, or at its end."""

    count: int
    due: datetime | None = None
    running: bool = False  #: whether the next iteration has begun
    listens: bool = False  #: whether it listens for `until` although that has begun, because something holds it
    done: bool | None = None  #: whether `until` came true; None while it goes on


@dataclass(slots=True)
class RunState:
    """The present round of a run. Built by applying its records in order."""

    run: Run
    since: int = field(init=False)  #: the newest event when the round began
    inputs: Mapping[str, Any] | None = None  #: what somebody gave; None where an event started it
    vars: Mapping[str, Any] | None = None
    decided: dict[str, bool] = field(default_factory=dict)
    items: dict[str, list[tuple[str, Any]]] = field(default_factory=dict)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    leaves: dict[str, Leaf] = field(default_factory=dict)
    pauses: dict[str, Pause] = field(default_factory=dict)
    asking: dict[str, datetime] = field(default_factory=dict)  #: the instant that look-ups at a path were asked with
    deadlines: dict[str, datetime | None] = field(default_factory=dict)  #: None where the group has ended
    cursors: dict[str, int] = field(default_factory=dict)
    taken: dict[str, set[int]] = field(default_factory=dict)  #: events that ended waits, by the item around them
    retries: int = 0  #: how often a person let it go on after it had failed
    stopping: Mapping[str, Any] | None = None  #: another run wants it ended: `state` and `reason`
    failing: Mapping[str, Any] | None = None
    queued: bool = False  #: whether it waits for its turn among others
    in_turn: bool = False  #: whether it began when its turn came
    ended: str | None = None

    def __post_init__(self) -> None:
        self.since = self.run.round_event

    def apply_all(self, records: Iterable[Record]) -> None:
        for record in records:
            self.apply(record)

    def apply(self, record: Record) -> None:
        """Take one record in."""
        _APPLY[record.kind](self, record.path, record.data)

    def _round(self, _path: str, data: Mapping[str, Any]) -> None:
        fresh = RunState(self.run)
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))
        self.since = data.get("since", self.run.round_event)
        self.inputs = data.get("inputs")

    def _queued(self, _path: str, data: Mapping[str, Any]) -> None:
        self.queued, self.in_turn = True, self.in_turn or bool(data["begins"])

    def _leaf(self, path: str, status: LeafStatus, data: Mapping[str, Any]) -> None:
        leaf = self.leaves.get(path)
        if leaf is None:
            leaf = self.leaves[path] = Leaf(status)
        leaf.status, leaf.due = status, None
        if status == "done":
            leaf.error = None
        for name in _LEAF & data.keys():
            setattr(leaf, name, data[name])
        leaf.asked = tuple(leaf.asked)
        self._take(data)
        if status == "held":  # its inputs are evaluated anew when it goes out, and a vendor is asked anew for them
            self.answers.pop(path, None)
            self.asking.pop(path, None)

    def _closed(self, path: str, _data: Mapping[str, Any]) -> None:
        self.leaves.pop(path, None)

    def _take(self, data: Mapping[str, Any]) -> None:
        if data.get("event_id") is not None:
            self.taken.setdefault(data["branch"], set()).add(data["event_id"])

    def _repeated(self, path: str, data: Mapping[str, Any]) -> None:
        self.pauses[path] = Pause(data["n"], done=bool(data["done"]))
        self._take(data)

    def _retried(self, _path: str, data: Mapping[str, Any]) -> None:
        """Begin what failed anew; what `on_failure` did was about that failure and is forgotten.

        In another version of the file, the `if` of what failed and the `vars` are what they are there.
        """
        latest = data.get("version") is not None
        tables: list[dict[str, Any]] = [self.leaves, self.answers, self.asking]
        for path in (self.failing or {}).get("paths", ()):
            for table in (*tables, self.decided) if latest else tables:
                table.pop(path, None)
            for near in [p for p in self.deadlines if p == path or within(p, path) or within(path, p)]:
                del self.deadlines[near]
        self._begin_again()
        for table in self._by_path():
            for path in [p for p in table if within(p, "on_failure") or within(p, "owner")]:
                del table[path]
        self.retries += 1
        self.vars = None if latest else self.vars
        self.failing, self.stopping, self.ended = None, None, None

    def _begin_again(self) -> None:
        """Let what a time-out cut off go on: waits begin anew, attempts and iterations that were due later come now."""
        for path, leaf in list(self.leaves.items()):
            if leaf.status == "wait":
                del self.leaves[path]
            elif leaf.status == "retry":
                leaf.due = None
        for pause in self.pauses.values():
            pause.due, pause.listens = None, False

    def _by_path(self) -> tuple[dict[str, Any], ...]:
        return (
            self.decided,
            self.items,
            self.answers,
            self.leaves,
            self.pauses,
            self.asking,
            self.deadlines,
            self.cursors,
        )


def within(path: str, around: str) -> bool:
    """Whether a path lies inside that of a group, a loop or a repeat; everything lies inside the empty one."""
    return path.startswith((f"{around}/", f"{around}[", f"{around}#")) if around else path != ""


def escaped(key: str) -> str:
    """Give a key so that it is one part of a path or an identity, whatever is in it."""
    for sign in "%/[]#":
        key = key.replace(sign, f"%{ord(sign):02X}")
    return key


_APPLY: dict[str, Callable[[RunState, str, Mapping[str, Any]], None]] = {
    "round": RunState._round,
    "queued": RunState._queued,
    "turn": lambda s, p, d: setattr(s, "queued", False),
    "vars": lambda s, p, d: setattr(s, "vars", d["values"]),
    "deadline": lambda s, p, d: s.deadlines.__setitem__(p, d["at"]),
    "decided": lambda s, p, d: s.decided.__setitem__(p, bool(d["value"])),
    "items": lambda s, p, d: s.items.__setitem__(p, [(str(key), value) for key, value in d["items"]]),
    "asking": lambda s, p, d: s.asking.__setitem__(p, d["at"]),
    "lookup": lambda s, p, d: s.answers.setdefault(p, {}).__setitem__(d["call"], d["answer"]),
    "held": lambda s, p, d: s._leaf(p, "held", d),
    "intent": lambda s, p, d: s._leaf(p, "intent", d),
    "retry": lambda s, p, d: s._leaf(p, "retry", d),
    "pending": lambda s, p, d: s._leaf(p, "pending", d),
    "parked": lambda s, p, d: s._leaf(p, "parked", d),
    "closed": RunState._closed,
    "digested": lambda s, p, d: None,  # what became of a letter changes nothing for the run that wrote it
    "dropped": lambda s, p, d: None,
    "wait": lambda s, p, d: s._leaf(p, "wait", d),
    "done": lambda s, p, d: s._leaf(p, "done", d),
    "failed": lambda s, p, d: s._leaf(p, "failed", d),
    "iterated": lambda s, p, d: s.pauses.__setitem__(p, Pause(d["n"], d.get("due"))),
    "begun": lambda s, p, d: s.pauses.__setitem__(p, Pause(d["n"], None, True, d.get("listens", False))),
    "repeated": RunState._repeated,
    "stopping": lambda s, p, d: setattr(s, "stopping", d),
    "failing": lambda s, p, d: setattr(s, "failing", d),
    "retried": RunState._retried,
    "ended": lambda s, p, d: setattr(s, "ended", d["state"]),
}
