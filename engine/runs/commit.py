"""One commit of a run: results, decisions, intents and whom they wake, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from engine import subjects
from engine.plugins import (
    OURSELVES,
    Fact,
)
from engine.runs import children, outbox, slots
from engine.runs.active import Active, Closing, Intent, Result, summary
from engine.runs.commands import Take
from engine.runs.effects import waits_for
from engine.runs.hub import Hub
from engine.runs.interpreter import (
    Call,
    Command,
    End,
    Examined,
    Judged,
    Listen,
    LookUp,
    Outcome,
    Perform,
    Refresh,
    Unlisten,
)
from engine.runs.rows import EFFECT, RECORD, VERDICT, forget_waits, save_row, wake, wake_about
from engine.runs.slots import Slot
from engine.runs.state import IN_DOUBT, OPERATION, Record
from engine.store.codec import dumps, fingerprint, micros
from engine.store.journal import Undrafted, Writing
from engine.store.tables import effects as effects_table
from engine.store.tables import insert, update
from engine.store.tables import runs as runs_table
from engine.store.tables import waits as waits_table

LISTEN = insert(waits_table, "run", "path", "kind", "due", "event_type", "field", "value").single
#: Kinds of record that leave something for later: `due` says when.
_LATER = frozenset({"held", "retry", "pending", "hold"})
#: States of an effect that has a result.
_OVER = frozenset({"done", "failed", "skipped", "stopped", "dry_run"})
_RESULT = update(effects_table, "identity", "state", "result", "error", "attempts", "ended")
_END = update(runs_table, "id", "state", "reason", "error", "ended", "updated")
_STATE = update(runs_table, "id", "state", "updated")


class Impossible(Exception):
    """What is there already forbids an effect; its step fails with the text."""

    def __init__(self, message: str, path: str, code: str) -> None:
        super().__init__(message)
        self.path, self.code = path, code


class IdentityClash(Impossible):
    """Two different effects would have one identity: a `once_per` that does not tell them apart."""

    def __init__(self, identity: str, path: str) -> None:
        message = f"'{identity}' stands for two different effects: make 'once_per' tell them apart"
        super().__init__(message, path, "identity-clash")


class Overtaken(Exception):
    """Another run wrote first what this one would have: an identity, a message to somebody, a letter that it took.

    So it is where a person ended this run. It decides again, on what was written.
    """


@dataclass(slots=True)
class Commit:
    """One commit of a run, drafted or performed in the writer's thread; it does the same each time it is called."""

    hub: Hub
    active: Active
    results: list[Result]  #: came back before the decisions
    outcome: Outcome
    intents: Sequence[Intent]
    inline: list[Result]  #: of effects that are part of this commit
    seen: int | None  #: how often the run had been woken when it decided; None where it decided nothing
    looked: int | None  #: the newest event that was looked at for what it listens for, where it began to listen
    closings: list[Closing]
    in_doubt: Sequence[str]  #: effects of which it is not known at the run's end whether they happened
    events: list[int] = field(default_factory=list)  #: that were written
    woken: list[int] = field(default_factory=list)  #: other runs
    told: list[int] = field(default_factory=list)  #: runs of which this one wrote a record
    again: bool = False  #: whether something came in meanwhile that it has to look at
    timed: bool = False  #: whether something falls due
    state: str | None = None  #: what the run's row says afterwards

    def __call__(self, tx: Writing) -> None:
        now = self.hub.clock.now()
        at = micros(now)
        self.events.clear()
        self.woken.clear()
        self.told.clear()
        self.again = False
        self._hold_to_the_row(tx)
        for intent in self.intents:
            self._intend(tx, intent, at)
        for result in self.results:
            self._records(tx, result.records, at, result.text)
        self._records(tx, self.outcome.records, at, listens=False)  # its commands say what it listens for
        for command in self.outcome.commands:
            self._listen(tx, command)
            self._be_polite(tx, command, now)
        for result in self.inline:  # after what was decided before them: their timers must not be forgotten with it
            self._records(tx, result.records, at, result.text)
        for result in (*self.results, *self.inline):
            self._result(tx, result, now)
        for command in self.outcome.commands:
            if type(command) is End:
                self._end(tx, command, now)
            elif type(command) is Judged:
                run = self.active.run
                tx.add(VERDICT, (run.round_event, run.workflow, command.kind, run.id, dumps(command.detail), at))
        for closing in self.closings:
            self._result(tx, closing.result, now)
            if closing.kept is not None:
                save_row(tx, *closing.kept)
            self._stop_call(tx, closing, now)
        if self.seen is not None:
            self._run(tx, now)

    def _hold_to_the_row(self, tx: Writing) -> None:
        """Decide nothing for a run that a person has ended in the meantime, or whose workflow was renamed."""
        if not (self.outcome.records or self.outcome.commands) or self.active.new or self.active.over:
            return
        if tx.drafted and self.active.works == self.hub.journal.works:
            return  # nobody but the run itself has written since its row was read
        works = self.hub.journal.works
        run = self.active.run.id
        row = tx.one("SELECT ended, workflow FROM runs WHERE id = ?", (run,), ("run", run))
        if row["ended"] is not None or row["workflow"] != self.active.run.workflow:
            raise Overtaken
        if tx.drafted:
            self.active.works = works

    def _records(
        self, tx: Writing, records: Sequence[Record], at: int, outputs: str | None = None, *, listens: bool = True
    ) -> None:
        run = self.active.run.id
        for record in records:
            if listens:
                self._fall_due(tx, record)
            if record.kind != "hold":  # that only makes a timer
                whole = outputs is not None and record.kind == "done" and len(record.data) == 1
                data = f'{{"outputs":{outputs}}}' if whole else dumps(record.data)
                tx.add(RECORD, (run, record.path, record.kind, data, at))

    def _fall_due(self, tx: Writing, record: Record) -> None:
        """Have what came back wake the run when it is due, or when a pause ends."""
        if record.kind not in _LATER:
            return
        run = self.active.run.id
        after_all = record.kind == "hold" or record.path.startswith(IN_DOUBT)  # goes on when the run has ended
        if self.active.state.ended is not None and not after_all:
            return
        if record.data.get("due") is not None:
            kind = "hold" if record.kind == "hold" else "timer"
            self.active.listened = self.timed = True
            tx.execute("DELETE FROM waits WHERE run = ? AND path = ? AND kind = ?", (run, record.path, kind))
            tx.execute(LISTEN, (run, record.path, kind, micros(record.data["due"]), None, None, None))
        elif record.kind != "pending":
            error = record.data.get("error") or {}
            self._listen(tx, Listen(record.path, waits_for(error, None), value=error.get("connection")))

    def _intend(self, tx: Writing, intent: Intent, at: int) -> None:
        run, command, hash = self.active.run, intent.command, fingerprint(intent.inputs)
        self.hub.discretion.heed(getattr(command.checked.params, "private", False) is True)
        action = command.step.action
        assert action is not None
        if not self.active.fresh or command.step.once_per:
            self._replace(tx, intent, hash)
        values = (command.identity, run.id, command.path, action.name, intent.connection, intent.kind.value)
        tx.add(EFFECT, (*values, intent.inputs, hash, "intent", 1, at))

    def _replace(self, tx: Writing, intent: Intent, hash: str) -> None:
        """Make room for an effect whose identity is known already, where it may be done anew."""
        command, action, about = intent.command, intent.command.step.action, ("effect", intent.command.identity)
        assert action is not None
        known = tx.one("SELECT * FROM effects WHERE identity = ?", (command.identity,), about)
        tx.touch(about)
        if known is None:
            return
        if known["state"] != "failed" and known["run"] != self.active.run.id:
            if not (action.lasts or command.step.once_per):
                raise IdentityClash(command.identity, command.path)
            raise Overtaken
        if known["state"] not in ("failed", "skipped", "held") and known["inputs_hash"] != hash:
            raise IdentityClash(command.identity, command.path)
        if tx.drafted:
            raise Undrafted  # its row goes before the new one comes
        tx.execute("DELETE FROM effects WHERE id = ?", (known["id"],))

    def _result(self, tx: Writing, result: Result, now: datetime) -> None:
        if result.identity is not None and result.effect_state is not None:
            ended = micros(now) if result.effect_state in _OVER else None
            outputs = result.text or (dumps(result.outputs) if result.outputs is not None else None)
            error = dumps(dict(result.error)) if result.error is not None else None
            tx.add(_RESULT, (result.identity, result.effect_state, outputs, error, result.attempt, ended))
        if (result.effect is not None and result.effect.emitted) or result.readings:
            self._say(tx, result, now)
        for connection, key, row in result.effect.saved if result.effect is not None else ():
            save_row(tx, connection, key, row)
        if result.letter is not None:
            path = result.records[0].path
            outbox.put(tx, self.active.run, path, str(result.action), result.letter, now)
            self.timed = True
        if result.uncounted:
            outbox.uncount(tx, str(result.identity))
        if result.effect_state in _OVER and result.shared:
            self._release(tx, result)

    def _say(self, tx: Writing, result: Result, now: datetime) -> None:
        """Write what an effect did to subjects, or what reading them again gave."""
        cause = subjects.Cause(result.identity, self.active.run.id, self.active.run.depth + 1)
        emitted = list(result.effect.emitted) if result.effect is not None else []
        said = [subjects.record(tx, connection, fact, now, cause) for connection, fact in emitted]
        said += [subjects.record_reading(tx, connection, fact, now) for connection, fact in result.readings]
        self.events += [number for one in said for number in one.events]
        self.woken += wake_about(tx, said)
        self.hub.discretion.heed(any(one.private for one in said))

    def _release(self, tx: Writing, result: Result) -> None:
        """Wake the runs that wait for this effect's result."""
        if tx.drafted:
            raise Undrafted  # one may begin to wait beside this draft
        rows = tx.all("SELECT run FROM waits WHERE kind = 'effect' AND value = ?", (result.identity,), None)
        numbers = [row["run"] for row in rows]
        wake(tx, numbers)
        tx.execute("DELETE FROM waits WHERE kind = 'effect' AND value = ?", (result.identity,))
        self.woken += numbers

    def _be_polite(self, tx: Writing, command: Command, now: datetime) -> None:
        """Count what goes out to people, and take what a digest sends; what others wrote first is decided on anew."""
        match command:
            case Perform() if command.counted and not outbox.count(tx, command.identity, command.counted, now):
                raise Overtaken
            case Take() if not outbox.take(tx, self.active.run, command, now):
                raise Overtaken
            case Take():
                self.timed = True
            case _:
                pass

    def _stop_call(self, tx: Writing, closing: Closing, now: datetime) -> None:
        """End the run of a call that nobody waits for any more."""
        ends = next((one.state for one in self.outcome.commands if type(one) is End), "stopped")
        state = "cancelled" if ends == "cancelled" else "stopped"
        run = self.active.run
        reason = f"{run.uid} of '{run.workflow}' waits for it no longer"
        told = children.stop(tx, closing.action, str(closing.result.identity), state, reason, now)
        self.told += told
        self.woken += told

    def _call(self, tx: Writing, command: Call) -> None:
        try:
            begun = children.begin(tx, self.hub, self.active.run, command, self.hub.clock.now())
        except children.Impossible as error:
            raise Impossible(str(error), command.path, "call-impossible") from None
        except children.Changed:
            raise Overtaken from None
        if not begun:
            self._look_again(tx)
        self.woken += begun
        self.told += begun[1:]

    def _listen(self, tx: Writing, command: Command) -> None:
        run = self.active.run.id
        match command:
            case Listen():
                self.active.listened = True
                due = micros(command.due) if command.due is not None else None
                self.timed = self.timed or due is not None
                if command.kind == "effect":
                    self._listen_for_effect(tx, command)
                if command.kind in ("pause", "connection"):
                    self._listen_for_resumption(tx, command)
                if command.event_type is not None:
                    self._listen_for_event(tx, command.event_type)
                values = (run, command.path, command.kind, due, command.event_type, command.field, command.value)
                tx.execute(LISTEN, values)
            case Call():
                self._call(tx, command)
            case Unlisten():
                forget_waits(tx, run, command.path)
            case Examined():
                tx.execute(
                    "UPDATE waits SET cursor = ? WHERE run = ? AND path = ?", (command.cursor, run, command.path)
                )
            case _:
                pass

    def _listen_for_event(self, tx: Writing, event_type: str) -> None:
        """Look again where events came between the decision and this commit: they did not wake it."""
        self.hub.awaited.add(event_type)
        tx.touch(("waits", event_type))
        if self.looked is not None and not self.again and tx.newest("events") > self.looked:
            self._look_again(tx)

    def _listen_for_resumption(self, tx: Writing, command: Listen) -> None:
        """Look again at once where the pause has ended, or the connection works, since this was decided."""
        run = self.active.run
        tx.execute(
            "DELETE FROM waits WHERE run = ? AND path = ? AND kind IN ('pause', 'connection')", (run.id, command.path)
        )
        paused = self.hub.pauses.of(run.workflow) is not None
        if not (paused if command.kind == "pause" else command.value in self.hub.connections.held):
            self._look_again(tx)

    def _look_again(self, tx: Writing) -> None:
        wake(tx, [self.active.run.id])
        self.again = True

    def _listen_for_effect(self, tx: Writing, command: Listen) -> None:
        """Look again at once where the result has come between the decision and this commit."""
        if tx.drafted:
            raise Undrafted
        run = self.active.run.id
        tx.execute("DELETE FROM waits WHERE run = ? AND path = ? AND kind = 'effect'", (run, command.path))
        known = tx.one("SELECT state FROM effects WHERE identity = ?", (command.value,), None)
        if known is None or known["state"] in _OVER:
            self._look_again(tx)

    def _end(self, tx: Writing, end: End, now: datetime) -> None:
        run = self.active.run
        if not self.active.fresh or self.active.listened:
            forget_waits(tx, run.id, "")
        for identity in self.in_doubt:
            tx.execute("UPDATE effects SET state = 'unknown' WHERE identity = ?", (identity,))
        error = dumps(dict(end.error)) if end.error else None
        tx.add(_END, (run.id, end.state, end.reason, error, micros(now), micros(now)))
        tx.touch(("run", run.id), ("runs about", run.subject))
        self.woken += children.wake_caller(tx, run.trigger, run.key)
        slot = Slot.of_run(run)
        if slot is not None:
            self.woken += slots.release(tx, self.hub, slot, now)
        if end.state != "failed" or run.dry or run.version == OPERATION:  # whoever asked is told
            return
        fault = dict(end.error or {})
        data = {"workflow": run.workflow, "run": run.uid, "step": fault.get("step"), "error": fault}
        fact = Fact("workflow.failed", now, data=data)
        cause = subjects.Cause(f"{run.workflow}/{run.key}", run.id, run.depth + 1)
        self.events += subjects.record(tx, OURSELVES, fact, now, cause).events

    def _run(self, tx: Writing, now: datetime) -> None:
        run = self.active.run
        if self.seen:
            tx.execute("UPDATE runs SET wake = 0 WHERE id = ? AND wake = ?", (run.id, self.seen))
        if self.active.state.ended is not None:
            return
        self.state = self._state(now)
        if self.state != self.active.written:
            tx.add(_STATE, (run.id, self.state, micros(now)))

    def _state(self, now: datetime) -> str:
        if self.inline:
            return "running"  # what follows from their results is not decided yet
        for command in self.outcome.commands:
            if isinstance(command, LookUp | Refresh):
                resting = self.active.resting.get(command.path)
                return "held" if resting is not None and now < resting else "running"
        return summary(self.active.state)
