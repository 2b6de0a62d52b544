"""What runs did, do and wait for."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from engine.reports.values import CUT, cut, iso, plain, read, subject, subject_names
from engine.reports.veil import Veil, without_details
from engine.runs import slots
from engine.runs.active import is_held
from engine.runs.children import CALLED
from engine.runs.rows import load_state, run_of
from engine.store.codec import micros
from engine.store.naming import find
from engine.workflow.calling import CALL

#: The states a run may be in, those that go on first.
STATES = ("running", "waiting", "held", "needs_decision", "finished", "failed", "stopped", "cancelled")

#: Texts that a dry run would have sent are cut to this many characters.
THOUGHT_OF = 20_000


def list_runs(
    reader: sqlite3.Connection,
    workflow: str | None = None,
    state: str | None = None,
    limit: int = 50,
    *,
    private: bool = False,
) -> list[dict[str, Any]]:
    """Give runs, newest first: what each is about, its state, until when it waits at most, and behind which runs.

    What is private is named only with `private`.
    """
    rows = reader.execute(
        "SELECT r.*, e.uid AS event_uid, e.type AS event_type,"
        " (SELECT min(due) FROM waits w WHERE w.run = r.id AND w.due IS NOT NULL) AS due"
        " FROM runs r LEFT JOIN events e ON e.id = r.round_event"
        " WHERE (:workflow IS NULL OR r.workflow = :workflow) AND (:state IS NULL OR r.state = :state)"
        " ORDER BY r.id DESC LIMIT :limit",
        {"workflow": workflow, "state": state, "limit": limit},
    ).fetchall()
    names = subject_names(reader, rows)
    found = [
        {
            **_row(row),
            "subject": subject(names, row),
            "event": row["event_uid"] and {"id": row["event_uid"], "type": row["event_type"]},
            "due": iso(row["due"]),
            "behind": slots.behind(reader, row),
        }
        for row in rows
    ]
    return Veil(reader, private).over(found, "id", subject=None, key=None, reason=None, error=without_details)


def show_run(reader: sqlite3.Connection, ref: str) -> dict[str, Any]:
    """Give a run with its whole history; instants are ISO 8601 in UTC, long texts are cut.

    `history` has every record, oldest first: `at round path kind data`, and `action` and `identity` where it belongs
    to an effect. `effects` are those it intended, `waits` what it waits for now, `behind` the runs before whose end its
    turn does not come, `held` what does not go out now and why, `caused` the events it caused, `caller` the run that
    called it and `calls` those it called (`run workflow state path`).

    Args:
        reader: the database.
        ref: the run's id, a unique beginning or end of it, or its number.

    Raises:
        NotFound: there is no such run, or there are several.
    """
    row = find(reader, "runs", ref)
    return {
        **_row(row),
        "version": row["version"],
        "trigger": row["trigger"],
        "depth": row["depth"],
        "subject": subject(subject_names(reader, [row]), row),
        "event": _event(reader, row["event"]),
        "round_event": _event(reader, row["round_event"]),
        "history": _history(reader, row["id"]),
        "effects": _effects(reader, row["id"]),
        "waits": _waits(reader, row["id"]),
        "behind": slots.behind(reader, row),
        "held": held(reader, row),
        "caused": _caused(reader, row),
        "caller": _caller(reader, row),
        "calls": _calls(reader, row["id"]),
    }


def _caller(reader: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any] | None:
    """Give the run that called this one, and at which step."""
    if row["trigger"] != CALLED:
        return None
    found = reader.execute(
        "SELECT r.uid, r.workflow, r.state, e.path FROM effects e JOIN runs r ON r.id = e.run WHERE e.identity = ?",
        (row["key"],),
    ).fetchone()
    return _other(found) if found is not None else None


def _calls(reader: sqlite3.Connection, run: int) -> list[dict[str, Any]]:
    """Give the runs that this one called, oldest call first."""
    rows = reader.execute(
        "SELECT r.uid, r.workflow, r.state, e.path FROM effects e"
        " JOIN runs r ON r.key = e.identity AND r.workflow = substr(e.action, ?) AND r.trigger = ?"
        " WHERE e.run = ? AND e.action LIKE ? ORDER BY e.id",
        (len(CALL) + 1, CALLED, run, f"{CALL}%"),
    )
    return [_other(row) for row in rows.fetchall()]


def _other(row: sqlite3.Row) -> dict[str, Any]:
    return {"run": row["uid"], "workflow": row["workflow"], "state": row["state"], "path": row["path"]}


def _row(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "id": row["uid"],
        "number": row["id"],
        "workflow": row["workflow"],
        "key": row["key"],
        "state": row["state"],
        "dry_run": bool(row["dry"]),
        "round": row["round"],
        "reason": row["reason"],
        "error": read(row["error"]),
        "created": iso(row["created"]),
        "updated": iso(row["updated"]),
        "ended": iso(row["ended"]),
    }


def _event(reader: sqlite3.Connection, number: int) -> dict[str, Any] | None:
    row = reader.execute("SELECT uid, id, type, source, time, actor FROM events WHERE id = ?", (number,)).fetchone()
    if row is None:
        return None
    return {
        "id": row["uid"],
        "number": row["id"],
        "type": row["type"],
        "source": row["source"],
        "time": iso(row["time"]),
        "actor": read(row["actor"]),
    }


def _history(reader: sqlite3.Connection, run: int) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = []
    round_, identities = 1, dict[str, str]()
    for row in reader.execute("SELECT path, kind, data, at FROM steps WHERE run = ? ORDER BY id", (run,)).fetchall():
        data = cut(plain(json.loads(row["data"])))
        if row["kind"] == "round":
            round_ = int(data["n"])
            identities.clear()
        identity = data.get("identity") or identities.get(row["path"])
        entry = {"at": iso(row["at"]), "round": round_, "path": row["path"], "kind": row["kind"], "data": data}
        if identity is not None:
            identities[row["path"]] = identity
            entry |= {"identity": identity, "action": _action(reader, identity)}
        if data.get("event_id") is not None:
            entry["event"] = _event(reader, data["event_id"])
        history.append(entry)
    return history


def _action(reader: sqlite3.Connection, identity: str) -> str | None:
    row = reader.execute("SELECT action FROM effects WHERE identity = ?", (identity,)).fetchone()
    return str(row["action"]) if row is not None else None


def _effects(reader: sqlite3.Connection, run: int) -> list[dict[str, Any]]:
    return [effect(row) for row in reader.execute("SELECT * FROM effects WHERE run = ? ORDER BY id", (run,)).fetchall()]


def effect(row: sqlite3.Row) -> dict[str, Any]:
    """Give a row of `effects` as JSON; long texts of its inputs and result are cut, what a dry run left out less so."""
    return {
        "identity": row["identity"],
        "path": row["path"],
        "action": row["action"],
        "connection": row["connection"],
        "class": row["class"],
        "state": row["state"],
        "attempts": row["attempts"],
        "inputs": cut(read(row["inputs"]), THOUGHT_OF if row["state"] == "dry_run" else CUT) or {},  # None: pruned
        "result": _result(cut(read(row["result"]))),
        "error": read(row["error"]),
        "created": iso(row["created"]),
        "ended": iso(row["ended"]),
    }


def _result(outputs: Any) -> Any:
    """Leave out the record that repeats its own fields."""
    return {name: value for name, value in outputs.items() if name != "record"} if isinstance(outputs, dict) else None


def _waits(reader: sqlite3.Connection, run: int) -> list[dict[str, Any]]:
    rows = reader.execute(
        "SELECT * FROM waits WHERE run = ? ORDER BY coalesce(due, 9223372036854775807), id", (run,)
    ).fetchall()
    return [
        {
            "path": row["path"],
            "kind": row["kind"],
            "due": iso(row["due"]),
            "event": row["event_type"] if row["kind"] != "effect" else None,
            "field": (row["field"] or None) if row["kind"] != "turn" else None,
            "value": _value(row),
        }
        for row in rows
    ]


def held(reader: sqlite3.Connection, row: sqlite3.Row) -> list[dict[str, Any]]:
    """Give the effects of a run (its whole row) that something holds: `path until code why`, the earliest first.

    `until` is None where somebody has to let them go.
    """
    if row["ended"] is not None or row["state"] not in ("held", "running", "needs_decision"):
        return []
    leaves = load_state(reader, run_of(row)).leaves
    errors = [(path, leaf, leaf.error or {}) for path, leaf in leaves.items() if is_held(leaf)]
    errors.sort(key=lambda one: (one[1].due is None, one[1].due or one[0]))
    return [
        {
            "path": path,
            "until": iso(micros(leaf.due)) if leaf.due is not None else None,
            "code": error.get("code"),
            "why": error.get("message"),
        }
        for path, leaf, error in errors
    ]


def _value(row: sqlite3.Row) -> Any:
    if not row["value"]:
        return None
    return row["value"] if row["kind"] in ("effect", "turn", "connection") else read(row["value"])


def _caused(reader: sqlite3.Connection, run: sqlite3.Row) -> list[dict[str, Any]]:
    rows = reader.execute(
        "SELECT uid, id, type, subject_type, subject, received FROM events WHERE id > ? AND cause_run = ? ORDER BY id",
        (run["event"], run["id"]),
    ).fetchall()
    return [
        {
            "id": row["uid"],
            "number": row["id"],
            "type": row["type"],
            "subject": row["subject"],
            "at": iso(row["received"]),
        }
        for row in rows
    ]
