"""Effects that were under way when their run ended: what became of them is found out all the same (PROMISES 1.4).

Another run with the same `once_per` may wait for them, and a person wants to know. Nothing is made for a run that has
ended: what can be looked for is looked for, what must not be repeated waits for a decision, and the rest is given up,
so that whoever needs it does it.
"""

from __future__ import annotations

import sqlite3

from engine.runs.active import Result
from engine.runs.state import IN_DOUBT, Leaf, Record
from engine.workflow.model import Step

#: An effect of which something is still to be found out, or a message about one that has not gone out yet.
_OPEN = f"(e.state IN ('intent', 'unknown') OR (e.state = 'held' AND e.path LIKE '{IN_DOUBT}%'))"


def left_open(reader: sqlite3.Connection) -> list[int]:
    """Give the runs that have ended and left effects open, oldest first."""
    rows = reader.execute(
        "SELECT DISTINCT e.run FROM effects e JOIN runs r ON r.id = e.run"
        " WHERE e.state IN ('intent', 'unknown') AND r.ended IS NOT NULL ORDER BY e.run"
    )
    return [int(row["run"]) for row in rows.fetchall()]


def is_left_open(reader: sqlite3.Connection, run: int) -> bool:
    """Whether a run that has ended left effects open."""
    return reader.execute(f"SELECT 1 FROM effects e WHERE e.run = ? AND {_OPEN} LIMIT 1", (run,)).fetchone() is not None


def given_up(path: str, leaf: Leaf, step: Step) -> Result:
    """Say of an effect that it does not count as done: it is not there, or doing it again does no harm."""
    message = "the run ended while it was under way: it does not count as done"
    error = {"message": message, "step": step.id, "code": "abandoned"}
    return Result([Record(path, "closed")], leaf.identity, "failed", error=error, attempt=leaf.attempt)
