"""Rows of runs that other runs call: begun, taken up, retried, ended, and whom their end concerns."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from engine import subjects
from engine.plugins import EffectClass
from engine.runs import slots
from engine.runs.commands import Call, Called, KnownCall
from engine.runs.hub import Hub
from engine.runs.rows import EFFECT, RECORD, RUN, run_of, wake
from engine.runs.slots import Slot
from engine.runs.state import Run
from engine.store.codec import dumps, fingerprint, loads, micros
from engine.store.journal import Undrafted, Writing
from engine.workflow.calling import CALL

#: What the row of such a run says under `trigger`.
CALLED = "workflow.called"

#: Of a workflow that was renamed since it was called, the run has the new name.
_RUN_OF = "SELECT * FROM runs WHERE workflow IN (?1, (SELECT new FROM moves WHERE old = ?1)) AND key = ?2"


class Impossible(Exception):
    """The run of a call cannot begin or go on; the text says why."""


class Changed(Exception):
    """What is there is not what was decided on."""


def begin(tx: Writing, hub: Hub, run: Run, command: Call, now: datetime) -> list[int]:
    """Write a call and see that its run goes on; give its number, and those of runs that are to end for it.

    None are given where it has finished already. Where there is no room for it, it waits for its turn.

    A run that is not there begins. One that was stopped or cancelled is taken up in a new round of the present file,
    one that failed goes on at its failed step.

    Raises:
        Undrafted: it is written in a transaction.
        Impossible: another run has the key, or nothing is left of what the run did.
        Changed: it has to be decided anew.
    """
    if tx.drafted:
        raise Undrafted  # what is there has to be read after all that was drafted
    at = micros(now)
    _write_effect(tx, run, command, at)
    key = (command.workflow, command.identity)
    row = tx.one(f"{_RUN_OF} ORDER BY trigger = '{CALLED}' DESC", key, None)
    if row is None:
        return _new(tx, run, command, now)
    if row["trigger"] != CALLED:
        raise Impossible(f"{row['uid']} has the key '{command.identity}', and no call has begun it")
    if row["state"] == "finished":
        return []
    stopped: list[int] = []
    if row["state"] == "failed":
        _retry(tx, run, row, at)
        slots.enter_again(tx, hub, row, now)
    elif row["ended"] is not None:
        stopped = _take_up(tx, run, command.called, row, now)
    return [int(row["id"]), *stopped]


def _write_effect(tx: Writing, run: Run, command: Call, at: int) -> None:
    """Write the call among the effects, in the place of one that failed or was stopped."""
    identity, action = command.identity, CALL + command.workflow
    row = tx.one("SELECT run, state, inputs FROM effects WHERE identity = ?", (identity,), None)
    if row is not None and row["run"] != run.id and row["state"] not in ("failed", "stopped"):
        raise Changed
    inputs = row["inputs"] if row is not None and command.called is None else None
    inputs = dumps(command.called.inputs if command.called is not None else {}) if inputs is None else inputs
    tx.execute("DELETE FROM effects WHERE identity = ?", (identity,))
    kind = EffectClass.OWN_ROWS.value
    values = (identity, run.id, command.path, action, None, kind, inputs, fingerprint(inputs), "pending", 1, at)
    tx.add(EFFECT, values)


def _new(tx: Writing, run: Run, command: Call, now: datetime) -> list[int]:
    called, at = command.called, micros(now)
    if called is None:
        raise Changed
    _keep_version(tx, called, at)
    values = (subjects.new_id("run", now), called.workflow.id, command.identity, called.workflow.version, 1)
    number = tx.insert(
        RUN,
        (
            *(*values, run.round_event, run.round_event, CALLED, *_about(called)),
            *("running", run.depth + 1, 1, at, at, called.slot, int(called.dry)),
        ),
    )
    _begin_round(tx, number, 1, run, called, at)
    return [number, *_enter(tx, number, values[0], called, now)]


def _about(called: Called) -> tuple[str | None, str | None]:
    return (called.workflow.subject, called.subject) if called.subject is not None else (None, None)


def _enter(tx: Writing, number: int, uid: str, called: Called, now: datetime) -> list[int]:
    """Let the run of a call wait for its turn where there is no room; give the runs that are to end for it."""
    if called.slot is None or called.workflow.concurrency is None:
        return []
    slot = Slot(called.workflow.id, called.slot, called.dry)
    return slots.enter_called(tx, number, uid, slot, called.workflow.concurrency, now)


def _take_up(tx: Writing, run: Run, called: Called | None, row: sqlite3.Row, now: datetime) -> list[int]:
    if called is None:
        raise Changed
    at = micros(now)
    _keep_version(tx, called, at)
    tx.execute(
        "UPDATE runs SET round = round + 1, round_event = ?, version = ?, subject_type = ?, subject = ?, slot = ?"
        " WHERE id = ?",
        (run.round_event, called.workflow.version, *_about(called), called.slot, row["id"]),
    )
    _set_going(tx, row["id"], at)
    _begin_round(tx, row["id"], row["round"] + 1, run, called, at)
    return _enter(tx, row["id"], row["uid"], called, now)


def _retry(tx: Writing, run: Run, row: sqlite3.Row, at: int) -> None:
    kept = tx.one("SELECT 1 FROM steps WHERE run = ? AND kind = 'failing' LIMIT 1", (row["id"],), None)
    if kept is None:
        raise Impossible(f"{row['uid']} failed so long ago that what it did is not kept any more")
    _record(tx, row["id"], "retried", {"caller": run.uid}, at)
    _set_going(tx, row["id"], at)


def _keep_version(tx: Writing, called: Called, at: int) -> None:
    """Keep the version, which may have been loaded just now."""
    one = called.workflow
    tx.execute(
        "INSERT OR IGNORE INTO workflow_versions (hash, workflow, source, templates, loaded) VALUES (?, ?, ?, ?, ?)",
        (one.version, one.id, one.source, json.dumps(dict(one.templates)), at),
    )


def _begin_round(tx: Writing, number: int, round_: int, run: Run, called: Called, at: int) -> None:
    data = {"n": round_, "caller": run.uid, "since": tx.newest("events"), "inputs": called.inputs}
    _record(tx, number, "round", data, at)


def _set_going(tx: Writing, number: int, at: int) -> None:
    tx.execute(
        "UPDATE runs SET state = 'running', reason = NULL, error = NULL, ended = NULL, wake = wake + 1, updated = ?"
        " WHERE id = ?",
        (at, number),
    )


def _record(tx: Writing, number: int, kind: str, data: Mapping[str, Any], at: int) -> None:
    tx.add(RECORD, (number, "", kind, dumps(dict(data)), at))


# --- the end of either -----------------------------------------------------------------------------------------------


def stop(tx: Writing, action: str, identity: str, state: str, reason: str, now: datetime) -> list[int]:
    """Ask the run of a call to end as `stopped` or `cancelled`, where it goes on; give its number.

    It ends itself, by a record that it finds: whatever it has under way is written down first.
    """
    if not action.startswith(CALL):
        return []
    if tx.drafted:
        raise Undrafted
    key = (action.removeprefix(CALL), identity)
    row = tx.one(f"{_RUN_OF} AND trigger = '{CALLED}' AND ended IS NULL", key, None)
    if row is None:
        return []
    _record(tx, row["id"], "stopping", {"state": state, "reason": reason}, micros(now))
    wake(tx, [row["id"]])
    return [int(row["id"])]


def wake_caller(tx: Writing, trigger: str, key: str) -> list[int]:
    """Wake the run that waits for the end of one that it called."""
    if trigger != CALLED:
        return []
    row = tx.one("SELECT run FROM effects WHERE identity = ? AND state = 'pending'", (key,), ("effect", key))
    found = [int(row["run"])] if row is not None else []
    wake(tx, found)
    return found


# --- reading ---------------------------------------------------------------------------------------------------------


def find(reader: Any, workflow: str, key: str) -> KnownCall | None:
    """Give how far the run of a call has come; None where there is none."""
    row = reader.execute(f"{_RUN_OF} AND trigger = '{CALLED}'", (workflow, key)).fetchone()
    if row is None:
        return None
    if row["ended"] is None:
        return KnownCall(row["uid"], "going")
    last = reader.execute(
        "SELECT data FROM steps WHERE run = ? AND kind = 'ended' ORDER BY id DESC LIMIT 1", (row["id"],)
    ).fetchone()
    ended = loads(last["data"]) if last is not None else {}
    outputs, by_caller = ended.get("outputs") or {}, bool(ended.get("by_caller"))
    return KnownCall(row["uid"], row["state"], outputs, loads(row["error"]), row["reason"], by_caller)


def waiting_for(reader: Any, run: Run) -> list[Run]:
    """Give the runs that wait for the end of a run: the one that called it, the one that waits for that, and so on."""
    found: list[Run] = []
    while run.trigger == CALLED:
        row = reader.execute(
            "SELECT r.* FROM effects e JOIN runs r ON r.id = e.run"
            " WHERE e.identity = ? AND e.state = 'pending' AND r.ended IS NULL",
            (run.key,),
        ).fetchone()
        if row is None:
            break
        run = run_of(row)
        found.append(run)
    return found


def callers(reader: Any, run: Run) -> list[str]:
    """Give the workflows that stand behind a run: its own, the one that called it, and so on."""
    found, trigger, key = [run.workflow], run.trigger, run.key
    while trigger == CALLED:
        row = reader.execute(
            "SELECT r.workflow, r.trigger, r.key FROM effects e JOIN runs r ON r.id = e.run WHERE e.identity = ?",
            (key,),
        ).fetchone()
        if row is None:
            break
        found.append(row["workflow"])
        trigger, key = row["trigger"], row["key"]
    return found
