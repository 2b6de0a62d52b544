"""What came in or was derived, and what each event led to."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from engine.matching import LISTENER, sentence
from engine.reports.runs import held
from engine.reports.values import cut, iso, label, plain, read
from engine.reports.veil import Veil
from engine.runs.interpreter import ANSWERED
from engine.store.codec import decode
from engine.store.naming import find


def list_events(
    reader: sqlite3.Connection,
    type: str | None = None,
    subject: str | None = None,
    limit: int = 50,
    *,
    private: bool = False,
) -> list[dict[str, Any]]:
    """Give events, newest first, each with the verdicts that were written about it.

    Args:
        reader: the database.
        type: of this type; a subject's type (`incident`) stands for all of its events.
        subject: about this subject, by its id or key.
        limit: at most so many.
        private: name what is private too.
    """
    where, arguments = ["1"], list[Any]()
    if type is not None:
        where.append("(type = ? OR substr(type, 1, length(?)) = ?)")
        arguments += [type, type + ".", type + "."]
    if subject is not None:
        where.append("subject IN (SELECT ? UNION SELECT id FROM subjects WHERE key = ?)")
        arguments += [subject, subject]
    rows = reader.execute(
        f"SELECT * FROM events WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?", (*arguments, limit)
    ).fetchall()
    found = [{**event(row), "verdicts": _verdicts(reader, row["id"])} for row in rows]
    return Veil(reader, private or subject is not None).over(found, subject=None, actor=None, verdicts=_kinds)


def _kinds(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the verdicts about an event without the values that they met."""
    return [{**one, "detail": {}, "sentence": sentence(one["kind"])} for one in entry["verdicts"]]


def show_event(reader: sqlite3.Connection, ref: str) -> dict[str, Any]:
    """Give an event with all that is known of it; instants are ISO 8601 in UTC.

    `changes` is what differs between the subject's state before and after it; `runs` what it did to runs: `started`,
    `taken_up`, `woken` (with the step that had waited for it) or `stopped`.

    Args:
        reader: the database.
        ref: the event's id, a unique beginning or end of it, or its number.

    Raises:
        NotFound: there is no such event, or there are several.
    """
    row = find(reader, "events", ref)
    return {
        **event(row),
        "data": said(row),
        "note": read(row["note"]),
        "caused_by": _cause(reader, row),
        "first_sight": row["before"] is None and row["after"] is not None,
        "changes": changes(_state(row["before"]), _state(row["after"])),
        "verdicts": verdicts(reader, row["id"]),
        "runs": _runs(reader, row),
    }


def event(row: sqlite3.Row) -> dict[str, Any]:
    """Give a row of `events` as JSON, without its payload."""
    state = _state(row["after"])
    about = None
    if row["subject"] is not None:
        about = {
            "type": row["subject_type"],
            "id": row["subject"],
            "key": state.get("key"),
            "title": state.get("title") or state.get("name"),
        }
    actor = read(row["actor"])
    return {
        "id": row["uid"],
        "number": row["id"],
        "type": row["type"],
        "source": row["source"],
        "time": iso(row["time"]),
        "received": iso(row["received"]),
        "subject": about,
        "actor": {"id": actor.get("id"), "name": actor.get("name")} if actor else None,
        "own": bool(row["own"]),
        "private": bool(row["private"]),
        "state": row["state"],
        "reason": row["reason"],
    }


def said(row: sqlite3.Row) -> dict[str, Any]:
    """Give what the source said beside the subject; long texts are cut."""
    data = read(row["data"]) or {}
    return {name: cut(value) for name, value in data.items() if name != LISTENER}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the fields that differ between two plain states, by name."""
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return [{"field": name, "before": cut(before.get(name)), "after": cut(after.get(name))} for name in names]


def verdicts(reader: sqlite3.Connection, number: int, workflow: str | None = None) -> list[dict[str, Any]]:
    """Give the verdicts that were written about an event, oldest first, each with its run and what that is held by."""
    found = _verdicts(reader, number, workflow)
    for one in found:
        if one["run"] is not None and one["run"]["state"] == "held":
            row = reader.execute("SELECT * FROM runs WHERE id = ?", (one["run"]["number"],)).fetchone()
            one["run"]["held"] = held(reader, row)
    return found


def _verdicts(reader: sqlite3.Connection, number: int, workflow: str | None = None) -> list[dict[str, Any]]:
    rows = reader.execute(
        "SELECT v.*, r.uid AS run_uid, r.state AS run_state, r.dry FROM verdicts v LEFT JOIN runs r ON r.id = v.run"
        " WHERE v.event = :event AND (:workflow IS NULL OR v.workflow = :workflow) ORDER BY v.id",
        {"event": number, "workflow": workflow},
    ).fetchall()
    return [_verdict(row) for row in rows]


def _verdict(row: sqlite3.Row) -> dict[str, Any]:
    detail = json.loads(row["detail"]) if row["detail"] else {}
    run = {"id": row["run_uid"], "number": row["run"], "state": row["run_state"], "dry_run": bool(row["dry"])}
    return {
        "workflow": row["workflow"],
        "kind": row["kind"],
        "sentence": say(row["kind"], detail),
        "at": iso(row["at"]),
        "detail": cut(plain(detail)),
        "run": run if row["run_uid"] else None,
        "computed": False,
    }


def say(kind: str, detail: Mapping[str, Any]) -> str:
    """Say a verdict in words; `detail` as stored. People and other records are called by their names."""
    told = {name: decode(value) for name, value in detail.items() if name != "values"}
    values = {name: _named(value) for name, value in (detail.get("values") or {}).items()}
    return sentence(kind, {**told, "values": values} if values else told)


def _named(encoded: Any) -> Any:
    value = plain(encoded)
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [label(item) for item in value]
    return label(value) if isinstance(value, dict) else value


def _state(text: str | None) -> dict[str, Any]:
    return read(text) or {}


def _cause(reader: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any] | None:
    if row["cause_run"] is None and row["caused_by"] is None:
        return None
    run = reader.execute("SELECT uid, workflow FROM runs WHERE id = ?", (row["cause_run"],)).fetchone()
    known = {"run": run["uid"], "workflow": run["workflow"]} if run is not None else {"run": None, "workflow": None}
    return {"effect": row["caused_by"], **known, "depth": row["depth"]}


def _runs(reader: sqlite3.Connection, row: sqlite3.Row) -> list[dict[str, Any]]:
    found = [
        {"what": what, **_run(one), "path": None}
        for what, kind in (("started", "start"), ("taken_up", "taken_up"))
        for one in _of_verdict(reader, row["id"], kind)
    ]
    woken = reader.execute(
        "SELECT DISTINCT r.uid, r.workflow, r.state, r.dry, s.path FROM runs r JOIN steps s ON s.run = r.id"
        " WHERE (r.ended IS NULL OR r.ended >= ?) AND s.kind IN ('done', 'repeated')"
        " AND json_extract(s.data, '$.event_id') = ?",
        (row["received"], row["id"]),
    ).fetchall()
    found += [{"what": "woken", **_run(one), "path": one["path"]} for one in (*woken, *_answered(reader, row))]
    return found + [{"what": "stopped", **_run(one), "path": None} for one in _stopped(reader, row)]


def _answered(reader: sqlite3.Connection, row: sqlite3.Row) -> Sequence[sqlite3.Row]:
    """Give the step whose question an event answered: the first answer counts."""
    if row["type"] != ANSWERED:
        return ()
    return reader.execute(
        "SELECT r.uid, r.workflow, r.state, r.dry, s.path FROM effects e JOIN runs r ON r.id = e.run"
        " JOIN steps s ON s.run = e.run AND s.path = e.path AND s.kind = 'done'"
        " WHERE e.identity = json_extract(:data, '$.question') AND s.at >= :received"
        " AND json_extract(s.data, '$.outputs.answer') = json_extract(:data, '$.answer')"
        " AND json_extract(s.data, '$.outputs.by') IS json_extract(:actor, '$')",
        {"data": row["data"], "received": row["received"], "actor": row["actor"] or "null"},
    ).fetchall()


def _run(row: sqlite3.Row) -> dict[str, Any]:
    return {"run": row["uid"], "workflow": row["workflow"], "state": row["state"], "dry_run": bool(row["dry"])}


def _of_verdict(reader: sqlite3.Connection, number: int, kind: str) -> Sequence[sqlite3.Row]:
    return reader.execute(
        "SELECT r.uid, r.workflow, r.state, r.dry FROM verdicts v JOIN runs r ON r.id = v.run"
        " WHERE v.event = ? AND v.kind = ? ORDER BY v.id",
        (number, kind),
    ).fetchall()


def _stopped(reader: sqlite3.Connection, row: sqlite3.Row) -> Sequence[sqlite3.Row]:
    """Give the runs about the event's subject that ended by `stop_when` while it was the newest about it."""
    if row["subject"] is None:
        return ()
    following = reader.execute(
        "SELECT min(received) AS at FROM events WHERE subject = ? AND id > ?", (row["subject"], row["id"])
    ).fetchone()["at"]
    return reader.execute(
        "SELECT DISTINCT r.uid, r.workflow, r.state, r.dry FROM runs r JOIN steps s ON s.run = r.id"
        " WHERE r.subject = :subject AND r.created <= :at AND s.kind = 'ended'"
        " AND json_extract(s.data, '$.state') = 'stopped' AND s.at >= :at AND (:next IS NULL OR s.at < :next)",
        {"subject": row["subject"], "at": row["received"], "next": following},
    ).fetchall()
