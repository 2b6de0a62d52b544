"""One commit of a run: results, decisions, intents and whom they wake, in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from engine import subjects
from engine.plugins import (
    OURSELVES,
    Fact,
)
from engine.runs.active import REFRESH, Active, Closing, Intent, Result, kept_records, summary
from engine.runs.hub import Hub
from engine.runs.interpreter import (
    Command,
    End,
    Examined,
    Listen,
    LookUp,
    Outcome,
    Refresh,
    Unlisten,
)
from engine.runs.rows import forget_waits, save_row, wake, wake_about
from engine.runs.state import IN_DOUBT, Record
from engine.store.codec import digest, dumps, micros
from engine.store.tables import effects as effects_table
from engine.store.tables import insert
from engine.store.tables import steps as steps_table
from engine.store.tables import waits as waits_table

_RECORD = insert(steps_table, "run", "path", "kind", "data", "at")
LISTEN = insert(waits_table, "run", "path", "kind", "due", "event_type", "field", "value")
#: Kinds of record that leave something for later: `due` says when.
_LATER = frozenset({"held", "retry", "pending", "hold"})
#: States of an effect that has a result.
_OVER = frozenset({"done", "failed", "skipped"})
_INTENT = insert(
    effects_table,
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


class IdentityClash(Exception):
    """Two different effects would have one identity: a `once_per` that does not tell them apart."""

    def __init__(self, identity: str, path: str) -> None:
        super().__init__(f"'{identity}' stands for two different effects: make 'once_per' tell them apart")
        self.path = path


class Overtaken(Exception):
    """Another run wrote the same identity first, or a person ended this run: decide again, on what was written."""


@dataclass(slots=True)
class Commit:
    """One commit of a run, performed in the writer's thread."""

    hub: Hub
    active: Active
    results: list[Result]  #: came back before the decisions
    outcome: Outcome
    intents: Sequence[Intent]
    inline: list[Result]  #: of effects that are part of this commit
    seen: int | None
    closings: list[Closing]
    in_doubt: Sequence[str]  #: effects of which it is not known at the run's end whether they happened
    events: list[int] = field(default_factory=list)  #: that were written
    woken: list[int] = field(default_factory=list)  #: other runs

    def __call__(self, cursor: sqlite3.Cursor) -> None:
        now = self.hub.clock.now()
        self.events.clear()
        self.woken.clear()
        self._hold_to_the_row(cursor)
        for intent in self.intents:
            self._intend(cursor, intent, now)
        for result in self.results:
            self._records(cursor, result.records, now)
        self._records(cursor, self.outcome.records, now)
        for command in self.outcome.commands:
            self._listen(cursor, command)
        for result in self.inline:  # after what was decided before them: their timers must not be forgotten with it
            self._records(cursor, result.records, now)
        for result in (*self.results, *self.inline):
            self._result(cursor, result, now)
        for command in self.outcome.commands:
            if isinstance(command, End):
                self._end(cursor, command, now)
        for closing in self.closings:
            self._result(cursor, closing.result, now)
            if closing.kept is not None:
                save_row(cursor, *closing.kept)
        self._run(cursor, now)

    def _hold_to_the_row(self, cursor: sqlite3.Cursor) -> None:
        """Decide nothing for a run that a person has ended in the meantime."""
        if (self.outcome.records or self.outcome.commands) and not self.active.over:
            row = cursor.execute("SELECT ended FROM runs WHERE id = ?", (self.active.run.id,)).fetchone()
            if row["ended"] is not None:
                raise Overtaken

    def _records(self, cursor: sqlite3.Cursor, records: Sequence[Record], now: datetime) -> None:
        run, at = self.active.run.id, micros(now)
        listening = self.active.state.ended is None
        for record in records:
            after_all = record.kind == "hold" or record.path.startswith(IN_DOUBT)  # goes on when the run has ended
            if (listening or after_all) and record.kind in _LATER and record.data.get("due") is not None:
                kind = "hold" if record.kind == "hold" else "timer"
                cursor.execute("DELETE FROM waits WHERE run = ? AND path = ? AND kind = ?", (run, record.path, kind))
                cursor.execute(LISTEN, (run, record.path, kind, micros(record.data["due"]), None, None, None))
        lines = [(run, record.path, record.kind, dumps(dict(record.data)), at) for record in kept_records(records)]
        cursor.executemany(_RECORD, lines)

    def _intend(self, cursor: sqlite3.Cursor, intent: Intent, now: datetime) -> None:
        run, command, hash = self.active.run, intent.command, digest(intent.inputs)
        action = command.step.action
        assert action is not None
        known = cursor.execute("SELECT * FROM effects WHERE identity = ?", (command.identity,)).fetchone()
        if known is not None:
            if known["state"] != "failed" and known["run"] != run.id:
                if not (action.lasts or command.step.once_per):
                    raise IdentityClash(command.identity, command.path)
                raise Overtaken
            if known["state"] not in ("failed", "skipped", "held") and known["inputs_hash"] != hash:
                raise IdentityClash(command.identity, command.path)
            cursor.execute("DELETE FROM effects WHERE id = ?", (known["id"],))
        values = (command.identity, run.id, command.path, action.name, intent.connection, intent.kind.value)
        cursor.execute(_INTENT, (*values, intent.inputs, hash, "intent", 1, micros(now)))

    def _result(self, cursor: sqlite3.Cursor, result: Result, now: datetime) -> None:
        if result.identity is not None and result.effect_state is not None:
            ended = micros(now) if result.effect_state in _OVER else None
            outputs = dumps(result.outputs) if result.outputs is not None else None
            error = dumps(dict(result.error)) if result.error is not None else None
            cursor.execute(
                "UPDATE effects SET state = ?, result = ?, error = ?, attempts = ?, ended = ? WHERE identity = ?",
                (result.effect_state, outputs, error, result.attempt, ended, result.identity),
            )
        cause = subjects.Cause(result.identity, self.active.run.id, self.active.run.depth + 1)
        emitted = list(result.effect.emitted) if result.effect is not None else []
        said = [subjects.record(cursor, connection, fact, now, cause) for connection, fact in emitted]
        said += [subjects.record_reading(cursor, connection, fact, now) for connection, fact in result.readings]
        self.events += [number for one in said for number in one.events]
        self.woken += wake_about(cursor, said)
        for connection, key, row in result.effect.saved if result.effect is not None else ():
            save_row(cursor, connection, key, row)
        if result.effect_state in _OVER:
            self._release(cursor, result)

    def _release(self, cursor: sqlite3.Cursor, result: Result) -> None:
        """Wake the runs that wait for this effect's result."""
        rows = cursor.execute("SELECT run FROM waits WHERE kind = 'effect' AND value = ?", (result.identity,))
        numbers = [row["run"] for row in rows.fetchall()]
        wake(cursor, numbers)
        cursor.execute("DELETE FROM waits WHERE kind = 'effect' AND value = ?", (result.identity,))
        self.woken += numbers

    def _listen(self, cursor: sqlite3.Cursor, command: Command) -> None:
        run = self.active.run.id
        match command:
            case Listen():
                due = micros(command.due) if command.due is not None else None
                if command.kind == "effect":
                    self._listen_for_effect(cursor, command)
                values = (run, command.path, command.kind, due, command.event_type, command.field, command.value)
                cursor.execute(LISTEN, values)
            case Unlisten():
                forget_waits(cursor, run, command.path)
            case Examined():
                cursor.execute(
                    "UPDATE waits SET cursor = ? WHERE run = ? AND path = ?", (command.cursor, run, command.path)
                )
            case _:
                pass

    def _listen_for_effect(self, cursor: sqlite3.Cursor, command: Listen) -> None:
        """Look again at once where the result has come between the decision and this commit."""
        run = self.active.run.id
        cursor.execute("DELETE FROM waits WHERE run = ? AND path = ? AND kind = 'effect'", (run, command.path))
        known = cursor.execute("SELECT state FROM effects WHERE identity = ?", (command.value,)).fetchone()
        if known is None or known["state"] in _OVER:
            wake(cursor, [run])

    def _end(self, cursor: sqlite3.Cursor, end: End, now: datetime) -> None:
        run = self.active.run
        forget_waits(cursor, run.id, "")
        for path, leaf in self.active.state.leaves.items():
            until = self.active.resting.get(path)
            if leaf.status == "intent" and until is not None and until > now:  # it is looked for all the same
                cursor.execute(LISTEN, (run.id, path, "hold", micros(until), None, None, None))
        cursor.executemany(
            "UPDATE effects SET state = 'unknown' WHERE identity = ?", [(identity,) for identity in self.in_doubt]
        )
        error = dumps(dict(end.error)) if end.error else None
        cursor.execute(
            "UPDATE runs SET state = ?, reason = ?, error = ?, ended = ? WHERE id = ?",
            (end.state, end.reason, error, micros(now), run.id),
        )
        if end.state != "failed":
            return
        fault = dict(end.error or {})
        data = {"workflow": run.workflow, "run": run.uid, "step": fault.get("step"), "error": fault}
        fact = Fact("workflow.failed", now, data=data)
        cause = subjects.Cause(f"{run.workflow}/{run.key}", run.id, run.depth + 1)
        self.events += subjects.record(cursor, OURSELVES, fact, now, cause).events

    def _run(self, cursor: sqlite3.Cursor, now: datetime) -> None:
        run = self.active.run
        cursor.execute("UPDATE runs SET updated = ? WHERE id = ?", (micros(now), run.id))
        if self.seen is not None:
            cursor.execute("UPDATE runs SET wake = 0 WHERE id = ? AND wake = ?", (run.id, self.seen))
            if self.active.state.ended is None:
                cursor.execute("UPDATE runs SET state = ? WHERE id = ?", (self._state(now), run.id))

    def _state(self, now: datetime) -> str:
        for command in self.outcome.commands:
            if isinstance(command, LookUp | Refresh):
                resting = self.active.resting.get(command.path if isinstance(command, LookUp) else REFRESH)
                return "held" if resting is not None and now < resting else "running"
        return summary(self.active.state)
