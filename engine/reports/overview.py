"""How things stand: what runs, waits, is late, needs somebody, or cannot go on."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from engine.problems import Problem
from engine.reports.runs import STATES, held
from engine.reports.values import cut, iso, read
from engine.reports.veil import Veil, without_details
from engine.runs import slots
from engine.runs.state import DIGESTS, OPERATION
from engine.store.codec import micros

#: What is due for longer than this is late.
LATE = timedelta(minutes=1)
#: How far back failed runs are told.
RECENT = timedelta(days=7)
#: Rows of each kind that are told; the counts are of all.
MOST = 10

_GOING_ON = "'running', 'waiting', 'held', 'needs_decision'"

#: Runs that failed. What a person asked for is left out where the refusal was the answer: then nobody was told besides.
_FAILED = (
    f"state = 'failed' AND ended >= ? AND (version != '{OPERATION}' OR EXISTS"
    " (SELECT 1 FROM effects e WHERE e.run = runs.id AND e.path != e.action))"
)


def status(
    reader: sqlite3.Connection,
    now: datetime,
    *,
    connections: Mapping[str, str | None] | None = None,
    problems: Sequence[Problem] = (),
    engine: Mapping[str, Any] | None = None,
    private: bool = False,
) -> dict[str, Any]:
    """Say how things stand at `now`; instants are ISO 8601 in UTC. Lists hold at most `MOST`, counts are of all.

    Args:
        reader: the database.
        now: the present instant.
        connections: why a connection is disabled, or None where it is not, by name.
        problems: of the project's files, as records.
        engine: what is known of a running engine.
        private: name what is private too.
    """
    veil = Veil(reader, private)
    return {
        "at": now.isoformat(),
        "engine": dict(engine or {}),
        "runs": _by_state(reader, dry=False),
        "dry_runs": _by_state(reader, dry=True),
        "next": veil.over(_due(reader, "due > ? AND w.kind != 'digest'", micros(now)), subject=None),
        "late": veil.over(_due(reader, "due <= ?", micros(now - LATE)), subject=None),
        "late_count": _count(reader, "SELECT count(*) FROM waits WHERE due <= ?", micros(now - LATE)),
        "unmatched": _count(reader, "SELECT count(*) FROM events WHERE state = 'new'"),
        "schedules": _schedules(reader),
        "needs_decision": veil.over(_parked(reader, micros(now - RECENT)), inputs={}),
        "paused": _pauses(reader),
        "held": veil.over(_held_runs(reader), reason=None),
        "queued": veil.over(_queued(reader), subject=None),
        "queued_count": _count(reader, "SELECT count(*) FROM waits WHERE kind = 'turn'"),
        "held_count": _count(reader, "SELECT count(*) FROM runs WHERE state = 'held'"),
        "failed": veil.over(_failed(reader, micros(now - RECENT)), subject=None, error=without_details),
        "failed_count": _count(reader, f"SELECT count(*) FROM runs WHERE {_FAILED}", micros(now - RECENT)),
        "questions": veil.over(_questions(reader), text=None),
        "digests": _digests(reader),
        "connections": _connections(reader, connections or {}),
        "sources": _sources(reader),
        "problems": [problem.as_record() for problem in problems],
    }


def _count(reader: sqlite3.Connection, sql: str, *arguments: Any) -> int:
    return int(reader.execute(sql, arguments).fetchone()[0])


def _by_state(reader: sqlite3.Connection, *, dry: bool) -> dict[str, int]:
    rows = reader.execute("SELECT state, count(*) AS n FROM runs WHERE dry = ? GROUP BY state", (dry,))
    counts = {row["state"]: row["n"] for row in rows}
    return {state: counts.get(state, 0) for state in STATES}


def _due(reader: sqlite3.Connection, which: str, at: int) -> list[dict[str, Any]]:
    """Give what falls due, earliest first: waits of runs and settle times."""
    rows = reader.execute(
        "SELECT w.kind, w.path, w.due, w.subject, coalesce(r.workflow, w.workflow) AS workflow, r.uid AS run,"
        " r.subject AS run_subject, r.dry, e.uid AS event FROM waits w LEFT JOIN runs r ON r.id = w.run"
        f" LEFT JOIN events e ON e.id = w.event WHERE w.{which} ORDER BY w.due, w.id LIMIT ?",
        (at, MOST),
    ).fetchall()
    return [
        {
            "due": iso(row["due"]),
            "kind": row["kind"],
            "workflow": row["workflow"],
            "run": row["run"],
            "dry_run": bool(row["dry"]),
            "path": row["path"] or None,
            "subject": row["run_subject"] or row["subject"],
            "event": row["event"],
        }
        for row in rows
    ]


def _schedules(reader: sqlite3.Connection) -> list[dict[str, Any]]:
    rows = reader.execute(
        "SELECT id, due FROM schedules WHERE due IS NOT NULL AND id NOT LIKE 'connection/%' ORDER BY due LIMIT ?",
        (MOST,),
    ).fetchall()
    return [{"trigger": row["id"], "due": iso(row["due"])} for row in rows]


def _digests(reader: sqlite3.Connection) -> list[dict[str, Any]]:
    """Give how many messages wait for whom, and until when; `run` is the digest that is held with them, if one is."""
    rows = reader.execute(
        "SELECT o.connection, o.person, o.channel, count(*) AS n, min(o.at) AS since,"
        " (SELECT min(w.due) FROM waits w WHERE w.kind = 'digest' AND w.value = o.place) AS due,"
        " (SELECT min(r.id) FROM runs r WHERE r.ended IS NULL AND r.workflow = ?"
        "  AND substr(r.key, 1, length(o.place) + 1) = o.place || '/') AS run"
        " FROM outbox o WHERE o.state = 'waiting' GROUP BY o.place ORDER BY o.place",
        (DIGESTS,),
    ).fetchall()
    return [_digest(reader, row) for row in rows]


def _digest(reader: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
    due, uid = iso(row["due"]), None
    if row["run"] is not None:
        run = reader.execute("SELECT * FROM runs WHERE id = ?", (row["run"],)).fetchone()
        uid, due = run["uid"], next((one["until"] for one in held(reader, run)), due)
    person = read(row["person"])
    whom = {"person": person["id"] if person else None, "channel": row["channel"], "connection": row["connection"]}
    return {**whom, "messages": row["n"], "since": iso(row["since"]), "due": due, "run": uid}


def mutes(
    reader: sqlite3.Connection, now: datetime, person: str | None = None, *, private: bool = False
) -> list[dict[str, Any]]:
    """Give the mutes that last, the one that ends first before the others; of one person, or of all.

    Args:
        reader: the database.
        now: the present instant.
        person: the id of somebody in the roster.
        private: name what is private too.
    """
    rows = reader.execute(
        "SELECT m.*, s.key, s.state FROM mutes m LEFT JOIN subjects s ON s.type = m.subject_type AND s.id = m.subject"
        " WHERE m.ended IS NULL AND m.until > :now AND (:person IS NULL OR m.person = :person) ORDER BY m.until, m.id",
        {"now": micros(now), "person": person},
    ).fetchall()
    found = [
        {
            "person": row["person"],
            "subject": {"type": row["subject_type"], "id": row["subject"], "key": row["key"], "title": _title(row)},
            "until": iso(row["until"]),
            "since": iso(row["at"]),
            "by": read(row["by"]),
        }
        for row in rows
    ]
    return Veil(reader, private).over(found, subject=_kind_alone)


def _kind_alone(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": entry["subject"]["type"], "id": None, "key": None, "title": None}


def _title(row: sqlite3.Row) -> str | None:
    state = json.loads(row["state"]) if row["state"] is not None else {}
    return None if state.get("private") else state.get("title")


def _parked(reader: sqlite3.Connection, since: int) -> list[dict[str, Any]]:
    """Give the effects of which it is not known whether they happened.

    Those of runs that are over are among them for a while, and as long as other runs wait for them.
    """
    rows = reader.execute(
        "SELECT e.*, r.uid, r.workflow, r.state AS run_state, r.ended AS run_ended,"
        " (SELECT count(*) FROM waits w WHERE w.kind = 'effect' AND w.value = e.identity) AS waiting"
        " FROM effects e JOIN runs r ON r.id = e.run"
        " WHERE e.state = 'unknown' AND (r.ended IS NULL OR r.ended >= ? OR waiting > 0) ORDER BY e.id",
        (since,),
    ).fetchall()
    return [
        {
            "run": row["uid"],
            "workflow": row["workflow"],
            "path": row["path"],
            "identity": row["identity"],
            "action": row["action"],
            "connection": row["connection"],
            "over": row["run_state"] if row["run_ended"] is not None else None,
            "waiting": row["waiting"],
            "tried": iso(row["created"]),
            "inputs": cut(read(row["inputs"]), 80),
        }
        for row in rows
    ]


def _queued(reader: sqlite3.Connection) -> list[dict[str, Any]]:
    """Give the runs that wait for their turn, by their events."""
    rows = reader.execute(
        "SELECT r.* FROM waits w JOIN runs r ON r.id = w.run WHERE w.kind = 'turn'"
        " ORDER BY r.round_event, r.id LIMIT ?",
        (MOST,),
    ).fetchall()
    return [
        {
            "run": row["uid"],
            "workflow": row["workflow"],
            "dry_run": bool(row["dry"]),
            "subject": row["subject"],
            "since": iso(row["updated"]),
            "behind": slots.behind(reader, row),
        }
        for row in rows
    ]


def _held_runs(reader: sqlite3.Connection) -> list[dict[str, Any]]:
    rows = reader.execute("SELECT * FROM runs WHERE state = 'held' ORDER BY id LIMIT ?", (MOST,)).fetchall()
    return [_held(reader, row) for row in rows]


def _held(reader: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
    first = next(iter(held(reader, row)), {"path": None, "until": None, "why": row["reason"]})
    told = {"path": first["path"], "until": first["until"], "reason": row["reason"] or first["why"]}
    about = {"run": row["uid"], "workflow": row["workflow"], "dry_run": bool(row["dry"])}
    return {**about, "since": iso(row["updated"]), **told}


def _pauses(reader: sqlite3.Connection) -> list[dict[str, Any]]:
    """Give the pauses that go on; `workflow` is None for that of all."""
    rows = reader.execute("SELECT * FROM pauses WHERE until IS NULL ORDER BY workflow").fetchall()
    return [{"workflow": row["workflow"] or None, "since": iso(row["since"]), "by": row["by"]} for row in rows]


def _failed(reader: sqlite3.Connection, since: int) -> list[dict[str, Any]]:
    rows = reader.execute(
        f"SELECT uid, workflow, dry, subject, error, ended FROM runs WHERE {_FAILED} ORDER BY ended DESC LIMIT ?",
        (since, MOST),
    ).fetchall()
    return [
        {
            "run": row["uid"],
            "workflow": row["workflow"],
            "dry_run": bool(row["dry"]),
            "subject": row["subject"],
            "error": read(row["error"]),
            "ended": iso(row["ended"]),
        }
        for row in rows
    ]


def _questions(reader: sqlite3.Connection) -> list[dict[str, Any]]:
    """Give the questions that nobody has answered yet, oldest first; `name` is the one they have in an inbox.

    A call of another workflow is pending as well, but waits for no answer.
    """
    rows = reader.execute(
        "SELECT e.identity, e.path, e.inputs, e.created, r.uid, r.workflow,"
        " (SELECT substr(q.key, 10) FROM rows q WHERE q.connection = e.connection AND q.key LIKE 'question/%'"
        "  AND json_extract(q.data, '$.id') = e.identity) AS name,"
        " (SELECT min(w.due) FROM waits w WHERE w.run = e.run AND w.path = e.path AND w.due IS NOT NULL) AS due"
        " FROM runs r JOIN effects e ON e.run = r.id"
        f" WHERE r.state IN ({_GOING_ON}) AND e.state = 'pending' AND e.action NOT LIKE 'workflow.%' ORDER BY e.id"
    ).fetchall()
    return [_question(row) for row in rows]


def _question(row: sqlite3.Row) -> dict[str, Any]:
    inputs = read(row["inputs"])
    return {
        "name": row["name"],
        "identity": row["identity"],
        "run": row["uid"],
        "workflow": row["workflow"],
        "path": row["path"],
        "to": inputs.get("to"),
        "text": cut(inputs.get("text")),
        "choices": inputs.get("choices"),
        "asked": iso(row["created"]),
        "due": iso(row["due"]),
    }


def _connections(reader: sqlite3.Connection, known: Mapping[str, str | None]) -> list[dict[str, Any]]:
    """Give the connections that do not work: disabled by the configuration, or held because they refuse us."""
    told = [{"connection": name, "state": "disabled", "why": why} for name, why in known.items() if why is not None]
    rows = reader.execute(
        "SELECT substr(s.id, 12, length(s.id) - 16) AS name, s.first, s.due, s.cursor, (SELECT count(*) FROM waits w"
        " WHERE w.kind = 'connection' AND w.value = substr(s.id, 12, length(s.id) - 16)) AS effects"
        " FROM schedules s WHERE s.id LIKE 'connection/%/held' ORDER BY s.first"
    ).fetchall()
    return told + [
        {
            "connection": row["name"],
            "state": "held",
            "effects": row["effects"],
            "why": json.loads(row["cursor"])["why"],
            "since": iso(row["first"]),
            "until": iso(row["due"]),
        }
        for row in rows
    ]


def _sources(reader: sqlite3.Connection) -> list[dict[str, Any]]:
    rows = reader.execute(
        "SELECT e.source, e.type, e.uid, e.received, e.state, e.reason FROM events e"
        " JOIN (SELECT source, max(id) AS last FROM events GROUP BY source) l ON e.id = l.last ORDER BY e.id DESC"
    ).fetchall()
    return [
        {
            "source": row["source"],
            "event": row["uid"],
            "type": row["type"],
            "received": iso(row["received"]),
            "state": row["state"],
            "reason": row["reason"],
        }
        for row in rows
    ]
