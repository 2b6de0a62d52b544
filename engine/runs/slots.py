"""Slots: which runs of a workflow must not go on at the same time (`concurrency`, LANGUAGE 7).

A run that goes on in a slot, or waits for its turn there, has the slot in its row. One that waits has a row in `waits`
of the kind `turn` and does nothing until that is gone; turns come in the order of the events. Slots are entered and
left in transactions, never in drafts: whoever comes sees who is there, and two never pass at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from engine.runs.hub import Hub
from engine.runs.rows import RECORD, wake
from engine.runs.state import Run
from engine.store.codec import dumps, micros
from engine.store.journal import Undrafted, Writing
from engine.workflow.model import Concurrency

TURN = "turn"
#: The limit of a file that no longer has one.
UNLIMITED = 1 << 30
#: So many of those ahead are named.
NAMED = 3
#: Those in a slot, first who goes on, then who waits; each by its event.
_AHEAD = """
SELECT r.id, r.uid, r.round_event, w.id AS waits, w.field AS most
FROM runs r LEFT JOIN waits w ON w.run = r.id AND w.kind = 'turn'
WHERE r.workflow = ? AND r.slot = ? AND r.dry = ? AND r.ended IS NULL
ORDER BY w.id IS NOT NULL, r.round_event, r.id
"""
_QUEUES = """
SELECT DISTINCT r.workflow, r.slot, r.dry FROM waits w JOIN runs r ON r.id = w.run WHERE w.kind = 'turn'
"""


@dataclass(frozen=True, slots=True)
class Slot:
    """What at most `limit` runs of a workflow are in at the same time; dry runs have slots of their own."""

    workflow: str
    name: str
    dry: bool

    @classmethod
    def of_run(cls, run: Run) -> Slot | None:
        """Give the slot of a run; None where its file knows none."""
        return cls(run.workflow, run.slot, run.dry) if run.slot is not None else None

    @classmethod
    def of(cls, row: sqlite3.Row) -> Slot | None:
        """Give the slot of a run's row; None where its file knows none."""
        return cls(row["workflow"], row["slot"], bool(row["dry"])) if row["slot"] is not None else None


def ahead(tx: Writing, slot: Slot) -> list[sqlite3.Row]:
    """Give the runs in a slot that have not ended: those that go on, then those that wait, in their order.

    Raises:
        Undrafted: this is asked in a transaction only.
    """
    if tx.drafted:
        raise Undrafted
    return tx.all(_AHEAD, (slot.workflow, slot.name, slot.dry), None)


def wait(
    tx: Writing, run: int, slot: Slot, before: Sequence[sqlite3.Row], limit: int, now: datetime, *, begins: bool
) -> None:
    """Let a run wait for its turn behind others; one that `begins` with it decides its `if` then."""
    tx.execute(
        "INSERT INTO waits (run, path, kind, workflow, field, value) VALUES (?, '', ?, ?, ?, ?)",
        (run, TURN, slot.workflow, str(limit), slot.name),
    )
    record = {"behind": named(before), "begins": begins}
    tx.add(RECORD, (run, "", "queued", dumps(record), micros(now)))


def enter_again(tx: Writing, hub: Hub, row: sqlite3.Row, now: datetime) -> Sequence[str]:
    """Let a run that was over and goes on again wait for its turn where there is no room; give whom it waits behind.

    It comes before those that wait: its event is older. Whatever `on_conflict` says, a person has asked for it.
    """
    slot = Slot.of(row)
    before = [one for one in ahead(tx, slot) if one["id"] != row["id"]] if slot is not None else []
    going = [one for one in before if one["waits"] is None]
    if slot is None or len(going) < _limit(hub, slot, None):
        return ()
    wait(tx, row["id"], slot, going, _limit(hub, slot, None), now, begins=False)
    tx.execute("UPDATE runs SET state = 'waiting' WHERE id = ?", (row["id"],))
    return named(going)


def named(before: Sequence[sqlite3.Row]) -> list[str]:
    """Name the runs that others wait behind: the first few of them, and how many more."""
    more = [f"{len(before) - NAMED} more"] if len(before) > NAMED else []
    return [*(row["uid"] for row in before[:NAMED]), *more]


def enter_called(tx: Writing, run: int, uid: str, slot: Slot, concurrency: Concurrency, now: datetime) -> list[int]:
    """Let a run that another calls wait for its turn where there is no room; give those that are to end for it.

    Where others would be skipped it waits: whoever called it waits for what it gives.
    """
    before = [one for one in ahead(tx, slot) if one["id"] != run]
    if len(before) < concurrency.limit:
        return []
    wait(tx, run, slot, before, concurrency.limit, now, begins=False)
    tx.execute("UPDATE runs SET state = 'waiting' WHERE id = ?", (run,))
    return replace(tx, before, concurrency, uid, now) if concurrency.on_conflict == "replace" else []


def replace(tx: Writing, before: Sequence[sqlite3.Row], concurrency: Concurrency, uid: str, now: datetime) -> list[int]:
    """Ask the oldest runs of a slot to end as cancelled, so that there is room for another, and wake them.

    They write down what is under way, and close their questions.
    """
    numbers = [int(row["id"]) for row in before[: len(before) - concurrency.limit + 1]]
    data = dumps({"state": "cancelled", "reason": f"replaced by {uid}", "replaced": True})
    for number in numbers:
        tx.add(RECORD, (number, "", "stopping", data, micros(now)))
    wake(tx, numbers)
    return numbers


def release(tx: Writing, hub: Hub, slot: Slot, now: datetime) -> list[int]:
    """Give those their turn for whom there is room, and wake them; where a run has left, or the limit has changed."""
    rows = ahead(tx, slot)
    waiting = [row for row in rows if row["waits"] is not None]
    going = len(rows) - len(waiting)
    turned = [row["id"] for place, row in enumerate(waiting) if going + place < _limit(hub, slot, row)]
    for number in turned:
        tx.execute("DELETE FROM waits WHERE run = ? AND kind = ?", (number, TURN))
        tx.add(RECORD, (number, "", "turn", "{}", micros(now)))
    wake(tx, turned)
    return turned


def release_all(tx: Writing, hub: Hub, now: datetime) -> list[int]:
    """Do so for every slot where somebody waits: limits may have changed."""
    queues = [Slot.of(row) for row in tx.all(_QUEUES, (), None)]
    return [number for slot in queues if slot is not None for number in release(tx, hub, slot, now)]


def behind(reader: sqlite3.Connection, row: sqlite3.Row) -> list[str]:
    """Name the runs that a run waits behind for its turn; none where it does not."""
    slot = Slot.of(row) if row["ended"] is None else None
    if slot is None:
        return []
    rows = reader.execute(_AHEAD, (slot.workflow, slot.name, slot.dry)).fetchall()
    place = next((place for place, one in enumerate(rows) if one["id"] == row["id"]), 0)
    return named(rows[:place]) if rows and rows[place]["waits"] is not None else []


def anybody_waits(reader: sqlite3.Connection) -> bool:
    """Whether a run waits for its turn anywhere."""
    return reader.execute("SELECT 1 FROM waits WHERE kind = 'turn' LIMIT 1").fetchone() is not None


def _limit(hub: Hub, slot: Slot, waiting: sqlite3.Row | None) -> int:
    """Give the limit of the file as it is now; of one that is gone, as it was when the run began to wait."""
    workflow = hub.library.current.get(slot.workflow)
    if workflow is None:
        return int(waiting["most"]) if waiting is not None else 1
    return workflow.concurrency.limit if workflow.concurrency is not None else UNLIMITED
