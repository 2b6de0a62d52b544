"""Rows of runs: read into records, woken, and what they listen for."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from engine import subjects
from engine.runs.state import Record, Run, RunState
from engine.store.codec import dumps, instant, loads
from engine.store.journal import Writing
from engine.store.tables import Rows, effects, insert, steps, verdicts
from engine.store.tables import runs as runs_table

#: A line of a run's history.
RECORD = insert(steps, "run", "path", "kind", "data", "at")
#: A run's row; its id is given when it is written.
RUN = insert(
    runs_table,
    "id",
    "uid",
    "workflow",
    "key",
    "version",
    "round",
    "round_event",
    "event",
    "trigger",
    "subject_type",
    "subject",
    "state",
    "depth",
    "wake",
    "created",
    "updated",
    "slot",
    "dry",
)
#: An effect as it is written down before it is tried; a call has no connection.
EFFECT = insert(
    effects,
    "identity",
    "run",
    "path",
    "action",
    "connection",
    "class",
    "inputs",
    "inputs_hash",
    "state",
    "attempts",
    "created",
)
#: What became of an event in a workflow.
VERDICT = insert(verdicts, "event", "workflow", "kind", "run", "detail", "at")
_WAKE = Rows("runs", "UPDATE runs SET wake = wake + 1 FROM (", ("id",), ") AS v WHERE runs.id = v.column1")


def wake(tx: Writing, runs: Iterable[int]) -> None:
    """Mark runs as having something to look at."""
    for number in runs:
        tx.add(_WAKE, (number,))


def going_about(tx: Writing, subject: str) -> list[int]:
    """Give the runs about a subject that have not ended."""
    rows = tx.all(
        "SELECT id FROM runs WHERE subject = ? AND ended IS NULL", (subject,), ("runs about", subject), own=True
    )
    return [row["id"] for row in rows]


def wake_about(tx: Writing, recorded: Iterable[subjects.Recorded]) -> list[int]:
    """Wake the runs about subjects whose state changed without an event that is matched, which would wake them."""
    woken: list[int] = []
    for one in recorded:
        if one.changed is not None:
            woken += going_about(tx, one.changed)
    wake(tx, woken)
    return woken


def forget_waits(tx: Writing, run: int, path: str) -> None:
    """Remove what a run listens for at a path and under it; the empty path is everything."""
    if not path:
        tx.execute("DELETE FROM waits WHERE run = ?", (run,))
        return
    own = (run, path, *(f"{path}{mark}" for mark in ("/", "#", "[", "!")))
    tx.execute(
        "DELETE FROM waits WHERE run = ? AND (path = ?" + " OR substr(path, 1, length(?)) = ?" * 4 + ")",
        (own[0], own[1], *(text for mark in own[2:] for text in (mark, mark))),
    )


def save_row(tx: Writing, connection: str, key: str, row: Mapping[str, Any] | None) -> None:
    """Keep a provider's row, or delete it."""
    if row is None:
        tx.execute("DELETE FROM rows WHERE connection = ? AND key = ?", (connection, key))
    else:
        tx.execute(
            "INSERT OR REPLACE INTO rows (connection, key, data) VALUES (?, ?, ?)", (connection, key, dumps(row))
        )


def run_of(row: sqlite3.Row) -> Run:
    """Make the record of a run's row."""
    names = ("id", "uid", "workflow", "key", "version", "round", "round_event", "event", "trigger")
    more = ("subject_type", "subject", "depth", "state", "slot")
    values = {name: row[name] for name in (*names, *more)}
    return Run(**values, created=instant(row["created"]), dry=bool(row["dry"]))


def load_state(reader: sqlite3.Connection, run: Run) -> RunState:
    """Build a run's state from its records, with how far its waits have looked."""
    state = RunState(run)
    for row in reader.execute("SELECT path, kind, data FROM steps WHERE run = ? ORDER BY id", (run.id,)):
        state.apply(Record(row["path"], row["kind"], loads(row["data"])))
    for row in reader.execute(
        "SELECT path, max(cursor) AS cursor FROM waits WHERE run = ? AND cursor IS NOT NULL GROUP BY path", (run.id,)
    ):
        state.cursors[row["path"]] = row["cursor"]
    return state


def effect_row(reader: sqlite3.Connection, identity: str) -> sqlite3.Row | None:
    """Give the row of the effect that has an identity."""
    row: sqlite3.Row | None = reader.execute("SELECT * FROM effects WHERE identity = ?", (identity,)).fetchone()
    return row
