"""Decide about runs: retry one that failed, cancel those that go on, say what became of an effect in doubt.

Each writes what it decides into the run's records; the run's actor, if it has one, reads them again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from engine.application import Application
from engine.domain import Person
from engine.operations.base import MOST_NAMED, Done, Inputs, NotFound, Refused
from engine.operations.workflows import current_workflow
from engine.runs import children, slots
from engine.runs.latest import missing
from engine.runs.manners import DIGEST
from engine.runs.rows import RECORD, forget_waits, load_state, run_of, save_row, wake
from engine.runs.slots import Slot
from engine.runs.state import OPERATION, Leaf, Record, RunState
from engine.store import naming
from engine.store.codec import dumps, micros
from engine.store.journal import Direct
from engine.workflow.model import Workflow

Decision = Literal["repeat", "skip", "done"]

_WORDS: Mapping[str, str] = {
    "repeat": "is done once more",
    "skip": "is passed over",
    "done": "counts as done",
}
#: What a run is that no file describes, by what stands for its version.
_WITHOUT_FILE: Mapping[str, str] = {DIGEST: "a digest", OPERATION: "what somebody asked for"}
_GIVEN_BACK = "does not count as done: the run is over, whoever needs it next does it"


class RetryRun(Inputs):
    """A run that failed."""

    run: str = Field(min_length=1, max_length=300, description="Its id, a beginning or an end of it, or its number.")
    latest: bool = Field(default=False, description="Go on with the current file, not with the run's own version.")


class CancelRun(Inputs):
    """A run that goes on, or all of a workflow's."""

    run: str | None = Field(
        default=None, max_length=300, description="The run's id, a beginning or an end of it, or its number."
    )
    workflow: str | None = Field(default=None, max_length=300, description="Every run of this workflow that goes on.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.run is None) == (self.workflow is None):
            raise ValueError("name a run or a workflow, and not both")
        return self


class DecideRun(Inputs):
    """What became of an effect of which it is not known whether it happened."""

    run: str = Field(
        min_length=1, max_length=300, description="The run's id, a beginning or an end of it, or its number."
    )
    decision: Decision = Field(
        description="repeat: do it once more; done: it happened, go on; skip: it did not, go on without it."
    )
    step: str | None = Field(default=None, description="Which step, where several of the run's are in doubt.")


async def retry_run(application: Application, actor: Person, params: RetryRun) -> Done:
    """Let a failed run go on at the step that failed, in the run's own version.

    With `latest` it goes on with the current file, if every step that it has behind it is still there with the same id
    and action; its `vars` are then evaluated anew.
    """
    number = _find(application, params.run)
    latest = await _current_file(application, number) if params.latest else None
    now = application.clock.now()

    def write(cursor: Direct) -> tuple[str, Sequence[str]]:
        row = _row(cursor, number)
        is_shelved = row["state"] == "held" and row["reason"] is not None  # put aside: it could not be advanced
        if not is_shelved and row["state"] != "failed":
            raise Refused(f"{row['uid']} is {_shown(row['state'])}: only a run that failed can be retried")
        retried: dict[str, Any] = {"by": actor}
        if not is_shelved:
            _refuse_forgotten(cursor, row)
        if latest is not None:
            retried["version"] = latest.version
            _refuse_missing(cursor, row, latest, retried)
            cursor.execute("UPDATE runs SET version = ? WHERE id = ?", (latest.version, number))
        if not is_shelved:
            _record(cursor, number, "", "retried", retried, now)
        _set_going(cursor, number, now)
        behind = slots.enter_again(cursor, application.hub, row, now) if not is_shelved else ()
        return str(row["uid"]), behind

    uid, behind = await application.hub.journal.transact(write)
    where = "with the current file" if latest is not None else "at the step that failed"
    goes_on = f"waits for its turn behind {', '.join(behind)}, and then goes on" if behind else "goes on"
    application.tell("run.retried", f"{uid} {goes_on} {where}: retried by {actor.name}", run=uid)
    pass_on(application, [number])
    return Done(f"{uid} {goes_on} {where}", {"run": uid})


async def _current_file(application: Application, number: int) -> Workflow:
    """Give the workflow of a run as its file says now."""
    run = application.reader.execute("SELECT uid, workflow, version FROM runs WHERE id = ?", (number,)).fetchone()
    if run["version"] in _WITHOUT_FILE:
        what = _WITHOUT_FILE[run["version"]]
        raise Refused(f"{run['uid']} is {what}, of which no file says what it does: retry it without 'latest'")
    return await current_workflow(application, run["workflow"])


async def cancel_run(application: Application, actor: Person, params: CancelRun) -> Done:
    """End runs where they are. Calls that are under way end, and what they gave is written down."""
    numbers = _going_on(application, params.workflow) if params.workflow else [_find(application, str(params.run))]
    now = application.clock.now()
    writes = [_Cancel(application, number, actor, now, _closings(application, number, now)) for number in numbers]
    if params.run is None:
        writes = [one for one in writes if one.goes_on]
    cancelled: list[str] = []
    for write in writes:
        uid, woken = await application.hub.journal.transact(write)
        cancelled.append(uid)
        application.tell("run.cancelled", f"{uid} cancelled by {actor.name}", run=uid)
        pass_on(application, [write.number, *woken])
    return Done(_cancelled(cancelled, params.workflow), {"runs": cancelled})


async def decide_run(application: Application, actor: Person, params: DecideRun) -> Done:
    """Say what became of an effect in doubt, so that its run goes on."""
    number = _find(application, params.run)
    now = application.clock.now()

    def write(cursor: Direct) -> tuple[str, str, list[int], str]:
        row = _row(cursor, number)
        path, leaf = _parked(row, load_state(cursor.connection, run_of(row)), params.step)
        if row["ended"] is not None and params.decision == "repeat":
            return str(row["uid"]), path, _give_back(cursor, number, path, leaf, actor, now), _GIVEN_BACK
        woken = _decide(cursor, number, path, leaf, params.decision, actor, now)
        if row["ended"] is None:
            _set_going(cursor, number, now)
        return str(row["uid"]), path, woken, _WORDS[params.decision]

    uid, path, woken, words = await application.hub.journal.transact(write)
    message = f"'{path}' of {uid} {words}"
    application.tell("run.decided", f"{message}: decided by {actor.name}", run=uid, step=path)
    pass_on(application, [number, *woken])
    return Done(message, {"run": uid, "step": path, "decision": params.decision})


# --- finding runs ----------------------------------------------------------------------------------------------------


def _find(application: Application, ref: str) -> int:
    """Give the number of the run that a text names (`engine.store.naming`)."""
    try:
        return int(naming.find(application.reader, "runs", ref)["id"])
    except naming.Ambiguous as several:
        raise NotFound(str(several)) from None
    except naming.NotFound:
        newest = application.reader.execute("SELECT uid FROM runs ORDER BY id DESC LIMIT 3").fetchall()
        there = f"the newest are {', '.join(row['uid'] for row in newest)}" if newest else "there are none yet"
        raise NotFound(f"no run is called '{ref}'; {there}") from None


def _going_on(application: Application, workflow: str) -> list[int]:
    rows = application.reader.execute("SELECT id, ended FROM runs WHERE workflow = ?", (workflow,)).fetchall()
    if not rows and workflow not in application.library.current:
        known = application.reader.execute("SELECT DISTINCT workflow FROM runs ORDER BY workflow").fetchall()
        names = sorted({*application.library.current, *(row["workflow"] for row in known)})
        there = f"there are {', '.join(names)}" if names else "there are none yet"
        raise NotFound(f"no workflow is called '{workflow}'; {there}")
    return [int(row["id"]) for row in rows if row["ended"] is None]


def _cancelled(uids: Sequence[str], workflow: str | None) -> str:
    if len(uids) == 1:
        return f"{uids[0]} is cancelled"
    return f"{len(uids)} runs of '{workflow}' are cancelled" if uids else f"no run of '{workflow}' goes on"


def _refuse_forgotten(cursor: Direct, row: sqlite3.Row) -> None:
    """Refuse to go on without the records, or without the event, that say what has been done and what for."""
    kept = cursor.execute(
        "SELECT 1 FROM steps JOIN events ON events.id = ? AND events.data IS NOT NULL"
        " WHERE steps.run = ? AND steps.kind = 'failing' LIMIT 1",
        (row["round_event"], row["id"]),
    ).fetchone()
    if kept is None:
        raise Refused(f"{row['uid']} failed so long ago that what it did is not kept any more: it cannot go on")


def _refuse_missing(cursor: Direct, row: sqlite3.Row, latest: Workflow, retried: Mapping[str, Any]) -> None:
    """Refuse to go on in a version that does not have what the run has behind it."""
    state = load_state(cursor.connection, run_of(row))
    if state.failing is not None:
        state.apply(Record("", "retried", retried))
    wrong = missing(cursor.connection, latest, state)
    if wrong:
        shown = "; ".join(wrong[:MOST_NAMED]) + ("; …" if len(wrong) > MOST_NAMED else "")
        raise Refused(f"{row['uid']} cannot go on with the current '{latest.id}': {shown}")


def _row(cursor: Direct, number: int) -> sqlite3.Row:
    row: sqlite3.Row = cursor.execute("SELECT * FROM runs WHERE id = ?", (number,)).fetchone()
    return row


def _shown(state: str) -> str:
    return state.replace("_", " ")


# --- writing ---------------------------------------------------------------------------------------------------------


def _record(cursor: Direct, number: int, path: str, kind: str, data: Mapping[str, Any], now: datetime) -> None:
    cursor.add(RECORD, (number, path, kind, dumps(dict(data)), micros(now)))


def _set_going(cursor: Direct, number: int, now: datetime) -> None:
    cursor.execute(
        "UPDATE runs SET state = 'running', reason = NULL, error = NULL, ended = NULL, wake = wake + 1, updated = ?"
        " WHERE id = ?",
        (micros(now), number),
    )


def pass_on(application: Application, numbers: Iterable[int]) -> None:
    """Let runs look at what was written about them; without a running engine they do at its next start."""
    if application.started:
        for number in numbers:
            application.executor.reread(number)
        application.dispatcher.notify(numbers)


def _parked(row: sqlite3.Row, state: RunState, step: str | None) -> tuple[str, Leaf]:
    """Give the effect in doubt that is meant."""
    found = {path: leaf for path, leaf in state.leaves.items() if leaf.status == "parked"}
    if not found:
        raise Refused(f"{row['uid']} is {_shown(row['state'])}: none of its effects is in doubt")
    if step is not None and step not in found:
        raise NotFound(f"no step of {row['uid']} in doubt is called '{step}'; there are {', '.join(found)}")
    if step is None and len(found) > 1:
        raise Refused(f"several steps of {row['uid']} are in doubt, name one of them: {', '.join(found)}")
    path = step if step is not None else next(iter(found))
    return path, found[path]


def _decide(
    cursor: Direct, number: int, path: str, leaf: Leaf, decision: Decision, actor: Person, now: datetime
) -> list[int]:
    if decision == "repeat":
        error = {"message": "it was not known whether it happened", "step": path, "code": "repeated"}
        data = {"attempt": leaf.attempt + 1, "due": now, "error": error, "by": actor}
        _record(cursor, number, path, "retry", data, now)
        cursor.execute("UPDATE effects SET state = 'intent' WHERE identity = ?", (leaf.identity,))
        return []
    _record(cursor, number, path, "done", {"outputs": {}, "decided": decision, "by": actor}, now)
    return _settle(cursor, leaf.identity, "done" if decision == "done" else "skipped", None, now)


def _give_back(cursor: Direct, number: int, path: str, leaf: Leaf, actor: Person, now: datetime) -> list[int]:
    """Let an effect of a run that is over count as not done; a run that waits for it does it."""
    _record(cursor, number, path, "closed", {"by": actor}, now)
    error = {"message": f"to be done again, says {actor.name}", "step": path, "code": "repeated"}
    return _settle(cursor, leaf.identity, "failed", error, now)


def _settle(
    cursor: Direct, identity: str | None, state: str, error: Mapping[str, Any] | None, now: datetime
) -> list[int]:
    """Write what became of an effect, and wake the runs that wait for it."""
    cursor.execute(
        "UPDATE effects SET state = ?, error = ?, ended = ? WHERE identity = ?",
        (state, dumps(dict(error)) if error else None, micros(now), identity),
    )
    rows = cursor.execute("SELECT run FROM waits WHERE kind = 'effect' AND value = ?", (identity,)).fetchall()
    waiting = [int(row["run"]) for row in rows]
    wake(cursor, waiting)
    cursor.execute("DELETE FROM waits WHERE kind = 'effect' AND value = ?", (identity,))
    return waiting


def _closings(application: Application, number: int, now: datetime) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Give what the chats keep of a run's open questions once nobody waits for the answers: connection, key, row."""
    rows = application.reader.execute(
        "SELECT identity, connection FROM effects WHERE run = ? AND state = 'pending'", (number,)
    ).fetchall()
    asked = [(row["identity"], row["connection"], application.providers.get(row["connection"])) for row in rows]
    return [
        (connection, *provider.closing(identity, now))
        for identity, connection, provider in asked
        if provider is not None and hasattr(provider, "closing")
    ]


@dataclass(slots=True)
class _Cancel:
    """The end of one run by hand, performed in the writer's thread; gives its id, and the runs that it wakes."""

    application: Application
    number: int
    actor: Person
    now: datetime
    closings: list[tuple[str, str, Mapping[str, Any]]]

    @property
    def goes_on(self) -> bool:
        row = self.application.reader.execute("SELECT ended FROM runs WHERE id = ?", (self.number,)).fetchone()
        return row["ended"] is None

    def __call__(self, cursor: Direct) -> tuple[str, list[int]]:
        row = _row(cursor, self.number)
        if row["ended"] is not None:
            raise Refused(f"{row['uid']} is {_shown(row['state'])} already")
        state = load_state(cursor.connection, run_of(row))
        reason = f"by {self.actor.name}"
        woken = self._give_up_effects(cursor, state)
        woken += children.wake_caller(cursor, row["trigger"], row["key"])
        ended = {"state": "cancelled", "reason": reason, "error": None, "by": self.actor}
        _record(cursor, self.number, "", "ended", ended, self.now)
        forget_waits(cursor, self.number, "")
        for connection, key, kept in self.closings:
            save_row(cursor, connection, key, kept)
        cursor.execute(
            "UPDATE runs SET state = 'cancelled', reason = ?, wake = 0, ended = ?, updated = ? WHERE id = ?",
            (reason, micros(self.now), micros(self.now), self.number),
        )
        slot = Slot.of(row)
        if slot is not None:
            woken += slots.release(cursor, self.application.hub, slot, self.now)
        return str(row["uid"]), woken

    def _give_up_effects(self, cursor: Direct, state: RunState) -> list[int]:
        """Say of each effect without a result what is known of it, so that nobody waits for it in vain."""
        woken: list[int] = []
        error = {"message": f"the run was cancelled by {self.actor.name}", "code": "cancelled"}
        for leaf in state.leaves.values():
            if leaf.status in ("retry", "pending", "held") and leaf.identity is not None:
                woken += self._cancel_call(cursor, leaf.identity)
                woken += _settle(cursor, leaf.identity, "failed", error, self.now)
            elif leaf.status == "intent" and self.number not in self.application.executor.active:
                cursor.execute("UPDATE effects SET state = 'unknown' WHERE identity = ?", (leaf.identity,))
        return woken

    def _cancel_call(self, cursor: Direct, identity: str) -> list[int]:
        """Have the run end that an effect calls, where it is a call."""
        row = cursor.execute("SELECT action FROM effects WHERE identity = ?", (identity,)).fetchone()
        reason = f"the run that called it was cancelled by {self.actor.name}"
        return children.stop(cursor, row["action"], identity, "cancelled", reason, self.now) if row is not None else []
