"""Perform what the interpreter asks for, and write down everything before and after (PROMISES 1.4).

Each run that has something to do is an actor: results come into its inbox, the interpreter decides, one commit holds
the results, the decisions and the next intents, and only then is anything called. An effect that is only rows in our
own database is performed before that commit and is part of it. A run that only waits has no actor.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Any, TypeGuard, TypeVar

from pydantic import ValidationError

from engine import subjects
from engine.calendars import Calendar, Duration
from engine.clock import Clock
from engine.domain import FIELDS, Event, Incident, Person, kind_of
from engine.log import Tell
from engine.plugins import (
    OURSELVES,
    Action,
    ActionError,
    ConnectionBroken,
    Effect,
    EffectClass,
    Fact,
    Pending,
    RetryLater,
    effect_class,
)
from engine.runs.interpreter import (
    ANSWERED,
    Close,
    Command,
    End,
    Examined,
    KnownEffect,
    Listen,
    LookUp,
    Outcome,
    Perform,
    Refresh,
    StepError,
    Unlisten,
    advance,
    after_failed_attempt,
)
from engine.runs.state import Leaf, Record, Run, RunState
from engine.store.codec import decode, digest, dumps, encode, instant, loads, micros
from engine.store.journal import Journal, StorageUnavailable, Work
from engine.store.lookups import Directory, Lookups, event_of, lookup_key, subject_of
from engine.store.tables import effects as effects_table
from engine.store.tables import insert
from engine.store.tables import steps as steps_table
from engine.store.tables import waits as waits_table
from engine.workflow.expressions import Scope
from engine.workflow.library import WorkflowLibrary
from engine.workflow.model import Step, Workflow
from engine.workflow.templates import TemplateProblem, compile_template

T = TypeVar("T")

#: Output of one step, as JSON.
MAX_OUTPUT = 256 * 1024
#: One attempt of an effect without a `timeout` of its own, in seconds.
ATTEMPT_TIMEOUT = 60.0
#: How long a connection that refuses our credentials is left alone before it is tried again.
HOLD = timedelta(minutes=5)
#: What else goes out on it waits this long while one call tries whether it works again.
PROBE = timedelta(seconds=15)
#: How long a run is left alone after the database could not be written.
PAUSE = timedelta(seconds=5)
#: A reading or a look that failed is tried again after this.
AGAIN = timedelta(minutes=1)
#: Path of the reading of a run's subject.
REFRESH = "!refresh"
#: Stored state that is older than this is read again before an effect, where its provider can.
FRESH = timedelta(minutes=5)

_RECORD = insert(steps_table, "run", "path", "kind", "data", "at")
_LISTEN = insert(waits_table, "run", "path", "kind", "due", "event_type", "field", "value")
#: Kinds of record that leave something for later: `due` says when.
_LATER = frozenset({"held", "retry", "pending", "hold"})
#: What of a run has an instant at which it goes on.
_TIMED = frozenset({"held", "retry", "pending", "wait"})
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


#: Last words of the actions that make a subject.
_MAKING = frozenset({"create", "declare", "schedule"})


class IdentityClash(Exception):
    """Two different effects would have one identity: a `once_per` that does not tell them apart."""

    def __init__(self, identity: str, path: str) -> None:
        super().__init__(f"'{identity}' stands for two different effects: make 'once_per' tell them apart")
        self.path = path


class _Overtaken(Exception):
    """Another run wrote the same identity first, or a person ended this run: decide again, on what was written."""


@dataclass(slots=True)
class Hub:
    """What the executor works with, handed in by wiring."""

    journal: Journal
    reader: sqlite3.Connection
    clock: Clock
    directory: Directory
    library: WorkflowLibrary
    #: capability and the step's `connection` (or None) → the connection's name and its provider
    serve: Callable[[str, str | None], tuple[str, Any]]
    #: a connection's provider, or None
    provider: Callable[[str], Any]
    hours_of: Callable[[Person | None], Calendar]
    owner_of: Callable[[str | None], Person | None]
    notice: Callable[[Person], Step | None]
    #: current text of the project's templates by name
    templates: Callable[[], Mapping[str, str]]
    tell: Tell
    #: called after a commit that wrote events
    events_written: Callable[[], None] = lambda: None
    #: called after a commit that wrote something that falls due
    waits_written: Callable[[], None] = lambda: None
    #: called after a commit that woke other runs
    runs_woken: Callable[[Sequence[int]], None] = lambda runs: None

    def lookups(self, answers: Mapping[str, Any] | None = None) -> Lookups:
        return Lookups(self.reader, self.directory, self.clock.now(), answers or {})


@dataclass(slots=True)
class _Result:
    """What came back for a path: records to take in, and what is to be committed with them."""

    records: list[Record] = field(default_factory=list)
    identity: str | None = None
    effect_state: str | None = None
    action: str | None = None
    outputs: Any = None
    error: Mapping[str, Any] | None = None
    attempt: int = 1
    effect: Effect | None = None
    readings: list[tuple[str, Fact]] = field(default_factory=list)  #: what subjects are, by their connections
    round: int | None = None  #: the round it was asked for in


@dataclass(frozen=True, slots=True)
class _Intent:
    """A new effect as it is written down: its command, connection, class, and inputs as JSON."""

    command: Perform
    connection: str | None
    kind: EffectClass
    inputs: str


@dataclass(slots=True)
class _Hold:
    """A connection that refuses our credentials."""

    until: datetime
    why: str
    probing: bool = False  #: whether a call is trying if it works again


@dataclass(slots=True)
class _Closing:
    """An effect that ended without a call, and of a question the row that the chat keeps of it."""

    result: _Result
    kept: tuple[str, str, Mapping[str, Any]] | None = None


@dataclass(slots=True)
class _Active:
    """A run while it has something to do."""

    run: Run
    state: RunState
    workflow: Workflow
    inbox: list[_Result] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    in_flight: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    resting: dict[str, datetime] = field(default_factory=dict)  #: paths of what failed, and when it is tried again
    reread: bool = False  #: somebody else has written records of it
    crash: Exception | None = None

    def deliver(self, result: _Result) -> None:
        self.inbox.append(result)
        self.changed.set()


class Executor:
    """Brings runs forward, one actor for each that has something to do."""

    #: At most this many calls to providers at once.
    max_calls = 64

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.active: dict[int, _Active] = {}
        self.held: dict[str, _Hold] = {}  #: by connection
        self.paused: dict[int, datetime] = {}  #: runs that wait for the database to be writable, and until when
        self._calls = asyncio.Semaphore(self.max_calls)
        self._readings: dict[tuple[str, str], tuple[datetime, asyncio.Task[Fact | None]]] = {}
        self.stopping = False

    # --- the actor ---------------------------------------------------------------------------------------------------

    async def run(self, number: int) -> None:
        """Bring a run as far as it goes, and return when it only waits or has ended."""
        active = self._load(number)
        if active is None:
            return
        self.active[number] = active
        try:
            await self._live(active)
        finally:
            del self.active[number]

    async def write(self, number: int, work: Work[T]) -> T:
        """Write about a run; while the database cannot be written, the run pauses."""
        while True:
            try:
                return await self.hub.journal.transact(work)
            except StorageUnavailable as error:
                await self._pause(number, error)

    async def _pause(self, number: int, error: StorageUnavailable) -> None:
        if self.stopping:
            raise error
        self.hub.tell("storage.unavailable", f"the database cannot be written: {error}", run=number)
        self.paused[number] = self.hub.clock.now() + PAUSE
        try:
            await self.hub.clock.wait_until(self.paused[number], asyncio.Event())
        finally:
            del self.paused[number]

    def poke(self, number: int) -> bool:
        """Tell a run's actor to look again; False where it has none."""
        active = self.active.get(number)
        if active is not None:
            active.changed.set()
        return active is not None

    def reread(self, number: int) -> bool:
        """Tell a run's actor that others wrote records of the run; False where it has none."""
        active = self.active.get(number)
        if active is not None:
            active.reread = True
        return self.poke(number)

    async def _live(self, active: _Active) -> None:
        while True:
            active.changed.clear()
            if active.crash is not None:
                raise active.crash
            results, active.inbox = active.inbox, []
            try:
                again = await self._turn(active, results)
                if again or active.inbox:
                    continue
                if not active.in_flight:
                    await self._keep_timers(active)
                    return
            except StorageUnavailable as error:
                active.inbox[:0] = results  # what came back is kept until it can be written
                await self._pause(active.run.id, error)
                self._reload(active)
                continue
            await active.changed.wait()

    async def _keep_timers(self, active: _Active) -> None:
        """See that what a run waits for is in the table: a clock that was set back may have woken it too early."""
        state, now, number = active.state, self.hub.clock.now(), active.run.id
        if state.ended is not None:
            return
        dues = {path: leaf.due for path, leaf in state.leaves.items() if leaf.status in _TIMED}
        dues |= {path: pause.due for path, pause in state.pauses.items() if pause.done is None}
        dues |= {f"{path}!deadline": due for path, due in state.deadlines.items()}
        rows = self.hub.reader.execute("SELECT path FROM waits WHERE run = ? AND due IS NOT NULL", (number,))
        kept = {row["path"] for row in rows.fetchall()}
        lost = [(path, due) for path, due in dues.items() if due is not None and due > now and path not in kept]
        if not lost:
            return
        lines = [(number, path, "timer", micros(due), None, None, None) for path, due in lost]

        def write(cursor: sqlite3.Cursor) -> None:
            cursor.executemany(_LISTEN, lines)

        await self.hub.journal.transact(write)
        self.hub.waits_written()

    async def _turn(self, active: _Active, results: list[_Result]) -> bool:
        """Take results in, decide, commit, perform; give whether there is at once more to do."""
        if active.reread or (active.state.ended is not None and self._taken_up(active)):
            self._reload(active)
        _drop_outlived(active, results)
        if any(result.readings or (result.effect and result.effect.emitted) for result in results):
            await self._commit(active, results, Outcome((), ()), None)
            results.clear()
        for result in results:
            active.state.apply_all(_kept(result.records))
        if self.stopping:
            await self._commit(active, results, Outcome((), ()), None, applied=len(results))
            results.clear()
            return False
        seen, outcome = self._decide(active)
        intents = [self._intent(command) for command in outcome.commands if _is_new(command)]
        inline = [await self._inline(active, one) for one in intents if one.kind is EffectClass.OWN_ROWS]
        try:
            await self._commit(active, results + inline, outcome, seen, applied=len(results), intents=intents)
        except _Overtaken:
            active.inbox[:0] = results
            self._reload(active)
            return True
        except IdentityClash as clash:
            active.inbox[:0] = results
            self._reload(active)
            error = {"message": str(clash), "step": clash.path, "code": "identity-clash"}
            active.deliver(_Result([Record(clash.path, "failed", {"error": error})]))
            return True
        results.clear()
        self._perform(active, outcome, {result.identity for result in inline})
        self._recover(active)
        return bool(inline) or (active.state.ended is None and self._wake_of(active.run.id) > 0)

    def _taken_up(self, active: _Active) -> bool:
        row = self.hub.reader.execute("SELECT ended FROM runs WHERE id = ?", (active.run.id,)).fetchone()
        return row["ended"] is None

    def _decide(self, active: _Active) -> tuple[int, Outcome]:
        """Advance on one snapshot of the database."""
        reader = self.hub.reader
        reader.execute("BEGIN")
        try:
            seen = self._wake_of(active.run.id)
            return seen, advance(active.workflow, active.state, _View(self, active))
        finally:
            reader.execute("COMMIT")

    def _wake_of(self, number: int) -> int:
        row = self.hub.reader.execute("SELECT wake FROM runs WHERE id = ?", (number,)).fetchone()
        return int(row["wake"]) if row else 0

    # --- loading -----------------------------------------------------------------------------------------------------

    def _load(self, number: int) -> _Active | None:
        row = self.hub.reader.execute("SELECT * FROM runs WHERE id = ?", (number,)).fetchone()
        if row is None or row["ended"] is not None:
            return None
        run = run_of(row)
        workflow = self.hub.library.version(run.version, self._stored_version)
        active = _Active(run, load_state(self.hub.reader, run), workflow)
        rows = self.hub.reader.execute("SELECT path, due FROM waits WHERE run = ? AND kind = 'hold'", (number,))
        active.resting = {row["path"]: instant(row["due"]) for row in rows.fetchall()}
        return active

    def _reload(self, active: _Active) -> None:
        active.reread = False
        row = self.hub.reader.execute("SELECT * FROM runs WHERE id = ?", (active.run.id,)).fetchone()
        active.run = run_of(row)
        active.workflow = self.hub.library.version(active.run.version, self._stored_version)
        active.state = load_state(self.hub.reader, active.run)

    def _stored_version(self, hash: str) -> tuple[str, str, Mapping[str, str]]:
        row = self.hub.reader.execute("SELECT * FROM workflow_versions WHERE hash = ?", (hash,)).fetchone()
        return row["workflow"], row["source"], json.loads(row["templates"])

    def _recover(self, active: _Active) -> None:
        """Take up the effects that are written down as begun and of which no call is under way: it was cut off."""
        if active.state.ended is not None:
            return
        arrived = {result.identity for result in active.inbox}
        for path, leaf in list(active.state.leaves.items()):
            waits = leaf.identity in arrived or self._rests(active, path)
            if leaf.status == "intent" and leaf.identity is not None and not waits:
                self._spawn(active, leaf.identity, partial(self._take_up, active, path, leaf))

    async def _take_up(self, active: _Active, path: str, leaf: Leaf) -> _Result:
        """Find out what became of an effect whose call was cut off, or do it again, as its class allows."""
        identity = str(leaf.identity)
        row = self._effect_row(identity)
        step = find_step(active.workflow, self.hub, path)
        if row is None or step is None:
            return self._failure(step, leaf, path, "what it was to do is not in the journal", "lost-intent", True)
        kind = EffectClass(row["class"])
        provider: Any = self.hub.provider(row["connection"]) if row["connection"] else None
        if kind is EffectClass.FINDABLE and hasattr(provider, "find"):
            settled = await self._find(active, path, step, leaf, row, provider)
            if settled is not None:
                return settled
        elif kind in (EffectClass.AT_MOST_ONCE, EffectClass.FINDABLE):
            return _unknown(path, identity, leaf.attempt)
        return await self._attempt(active, path, step, identity, leaf.attempt)

    async def _find(
        self, active: _Active, path: str, step: Step, leaf: Leaf, row: sqlite3.Row, provider: Any
    ) -> _Result | None:
        """Look whether the effect is there; None where it is not. Neither too early nor a failed look decides."""
        identity = str(leaf.identity)
        visible = self._visible_at(active, path, step, leaf)
        if visible is not None and self.hub.clock.now() < visible:
            return self._rest(active, path, visible)
        effect = self._effect(active, path, identity, instant(row["created"]), leaf.attempt)
        try:
            found = await provider.find(effect)
        except Exception as error:  # noqa: BLE001  whatever the vendor's client raises, nothing is made on a guess
            self.hub.tell("effect.unseen", f"{identity}: it could not be looked for: {error}", run=active.run.uid)
            return self._rest(active, path, self.hub.clock.now() + AGAIN)
        return self._success(path, identity, effect, step, found) if found is not None else None

    def _visible_at(self, active: _Active, path: str, step: Step, leaf: Leaf) -> datetime | None:
        """Give from when a service shows what the call may have made; None where it shows it at once.

        A service that takes its time may also still be at work on a request that outlived us.
        """
        assert step.action is not None
        method = getattr(
            self.hub.serve(str(step.action.capability), step.connection)[1], step.action.method or "", None
        )
        after = float(getattr(method, "__effect_options__", {}).get("visible_after") or 0.0)
        row = self.hub.reader.execute(
            "SELECT max(at) AS at FROM steps WHERE run = ? AND path = ? AND kind = 'intent'", (active.run.id, path)
        ).fetchone()
        if not after or row["at"] is None:
            return None
        return instant(row["at"]) + timedelta(seconds=self._attempt_limit(step, leaf.timeout) + after)

    def _rest(self, active: _Active, path: str, until: datetime) -> _Result:
        """Leave something that was tried in vain for later, by a row that falls due."""
        active.resting[path] = until
        return _Result([Record(path, "hold", {"due": until})])

    def _rests(self, active: _Active, path: str) -> bool:
        until = active.resting.get(path)
        return until is not None and self.hub.clock.now() < until

    def _effect_row(self, identity: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self.hub.reader.execute(
            "SELECT * FROM effects WHERE identity = ?", (identity,)
        ).fetchone()
        return row

    # --- performing --------------------------------------------------------------------------------------------------

    def _perform(self, active: _Active, outcome: Outcome, done: set[str | None]) -> None:
        """Start what was asked for, after its commit."""
        for command in outcome.commands:
            match command:
                case Perform() if command.identity not in done and not command.earlier:
                    self._spawn(active, command.identity, partial(self._attempt_of, active, command))
                case LookUp():
                    call = f"{command.path}?{lookup_key(command.name, command.args)}"
                    self._spawn(active, call, partial(self._look_up, command))
                case Refresh() if not self._rests(active, REFRESH):
                    self._spawn(active, REFRESH, partial(self._refresh, active))
                case _:  # what an earlier round began is taken up with what was cut off
                    pass

    def _spawn(self, active: _Active, name: str, work: Callable[[], Awaitable[_Result]]) -> None:
        """Run a call beside the actor, unless it is under way; its result comes into the inbox."""
        if name in active.in_flight:
            return
        round = active.run.round

        async def call() -> None:
            try:
                async with self._calls:
                    result = await work()
                result.round = round
                active.inbox.append(result)
            except Exception as error:  # noqa: BLE001  a fault of ours: the actor ends with it, and says so
                active.crash = error
            active.in_flight.pop(name, None)  # one that is cancelled, when the engine ends, stays: nobody takes it up
            active.changed.set()

        active.in_flight[name] = asyncio.create_task(call(), name=f"{active.run.uid} {name}")

    async def _attempt_of(self, active: _Active, command: Perform) -> _Result:
        return await self._attempt(active, command.path, command.step, command.identity, command.attempt)

    async def _inline(self, active: _Active, intent: _Intent) -> _Result:
        """Perform an effect that is only rows of our own: its result is part of the commit of its intent."""
        command = intent.command
        work = (command.path, command.step, command.identity, command.attempt)
        return await self._attempt(active, *work, inputs=command.inputs)

    def _intent(self, command: Perform) -> _Intent:
        inputs = command.inputs or {}
        assert command.step.action is not None
        connection = self._connection_of(command.step.action, command.step)
        return _Intent(command, connection, self._class_of(command.step, inputs), dumps(dict(inputs)))

    async def _attempt(
        self,
        active: _Active,
        path: str,
        step: Step,
        identity: str,
        attempt: int,
        inputs: Mapping[str, Any] | None = None,
    ) -> _Result:
        """Call the action once with its stored inputs, and say what came of it."""
        leaf = active.state.leaves[path]
        created = self.hub.clock.now()
        if inputs is None:
            row = self._effect_row(identity)
            assert row is not None
            inputs, created = loads(row["inputs"]), instant(row["created"])
        assert step.action is not None
        connection = self._connection_of(step.action, step)
        hold = self.held.get(connection) if connection is not None else None
        if hold is not None:
            until = self._left_alone(hold)
            if until is not None:
                return self._hold(path, leaf, step, until, hold.why)
            hold.probing = True
        effect = self._effect(active, path, identity, created, attempt)
        try:
            outcome = await self._call(active, step, effect, inputs, leaf.timeout)
        except ConnectionBroken as error:
            if connection is None:
                return self._failure(step, leaf, path, str(error), "connection-broken", False)
            hold = self.held[connection] = _Hold(self.hub.clock.now() + HOLD, str(error))
            self.hub.tell("connection.held", f"{connection} is held: {error}", connection=connection, until=hold.until)
            return self._hold(path, leaf, step, hold.until, hold.why)
        except Exception as error:  # noqa: BLE001  a plugin's bug is the run's failure, not the engine's
            return self._fault(active, path, step, identity, inputs, error)
        finally:
            if hold is not None:
                hold.probing = False
        if connection is not None and self.held.pop(connection, None) is not None:
            self.hub.tell("connection.works", f"{connection} works again", connection=connection)
        return self._success(path, identity, effect, step, outcome, leaf.timeout)

    def _fault(
        self, active: _Active, path: str, step: Step, identity: str, inputs: Mapping[str, Any], error: Exception
    ) -> _Result:
        """Say what a failed attempt leads to: the end of it, another one, or that a person has to decide."""
        leaf = active.state.leaves[path]
        after, doubtful = None, True
        match error:
            case ActionError():
                return self._failure(step, leaf, path, str(error), error.code, True)
            case ValidationError():
                return self._failure(step, leaf, path, _first_fault(error), "bad-input", True)
            case RetryLater():
                message, code, after, doubtful = str(error), "try-again", error.after, error.maybe_done
            case TimeoutError():
                message, code = "no answer within the time-out", "timeout"
            case _:
                message, code = f"{type(error).__name__}: {error}", "action-crashed"
                self.hub.tell("effect.crashed", f"{step.id}: {message}", run=active.run.uid)
        if doubtful and self._class_of(step, inputs) is EffectClass.AT_MOST_ONCE:
            return _unknown(path, identity, leaf.attempt)
        return self._failure(step, leaf, path, message, code, False, after)

    async def _call(
        self, active: _Active, step: Step, effect: Effect, inputs: Mapping[str, Any], timeout: Duration | None
    ) -> Any:
        action = step.action
        assert action is not None
        params = action.params.model_validate(dict(inputs), context={"people": self.hub.directory.people})
        context = _Context(self, active, step, effect)
        async with asyncio.timeout(self._attempt_limit(step, timeout)):
            if inspect.iscoroutinefunction(action.function):
                return await action.function(params, context)
            return await asyncio.to_thread(action.function, params, context)

    def _attempt_limit(self, step: Step, timeout: Duration | None) -> float:
        """Give how long one attempt may take, in seconds; the time-out of a question is that of its answer."""
        if timeout is None or (step.action is not None and step.action.pending):
            return ATTEMPT_TIMEOUT
        now = self.hub.clock.now()
        return (self.hub.lookups().add(now, timeout) - now).total_seconds()

    def _success(
        self, path: str, identity: str, effect: Effect, step: Step, outcome: Any, timeout: Duration | None = None
    ) -> _Result:
        assert step.action is not None
        if isinstance(outcome, Pending):
            now = self.hub.clock.now()
            due = self.hub.lookups().add(now, timeout) if timeout is not None else None
            pending = Record(path, "pending", {"outputs": dict(outcome.outputs), "due": due})
            did = (identity, "pending", step.action.name, outcome.outputs)
            return _Result([pending], *did, attempt=effect.attempt, effect=effect)
        leaf = Leaf("intent", identity=identity, attempt=effect.attempt)
        try:
            outputs = outputs_of_result(step.action, outcome)
            size = len(dumps(outputs))
        except (TypeError, ValueError, AttributeError) as error:
            return self._failure(step, leaf, path, f"its output cannot be kept: {error}", "bad-output", True)
        if size > MAX_OUTPUT:
            text = f"its output is {size:,} bytes as JSON; at most {MAX_OUTPUT:,} are kept"
            return self._failure(step, leaf, path, text, "output-too-large", True)
        done = Record(path, "done", {"outputs": outputs})
        return _Result([done], identity, "done", step.action.name, outputs, attempt=effect.attempt, effect=effect)

    def _failure(
        self,
        step: Step | None,
        leaf: Leaf,
        path: str,
        message: str,
        code: str,
        permanent: bool,
        after: float | None = None,
    ) -> _Result:
        if step is None:
            error = {"message": message, "step": path, "code": code}
            return _Result([Record(path, "failed", {"error": error})], leaf.identity, "failed", error=error)
        record = replace(
            after_failed_attempt(step, leaf, message, code, self.hub.clock.now(), permanent=permanent, after=after),
            path=path,
        )
        state = "failed" if record.kind == "failed" else "intent"
        return _Result([record], leaf.identity, state, error=record.data["error"], attempt=leaf.attempt)

    def _hold(self, path: str, leaf: Leaf, step: Step, until: datetime, why: str) -> _Result:
        """Take the intent back: what is held is decided anew when it goes out. A further attempt keeps its inputs."""
        error = {"message": why, "step": step.id, "code": "connection-held"}
        if leaf.attempt > 1:
            data = {"attempt": leaf.attempt, "due": until, "error": error}
            return _Result([Record(path, "retry", data)], leaf.identity, "intent", error=error, attempt=leaf.attempt)
        held = Record(path, "held", {"due": until, "error": error})
        return _Result([held], leaf.identity, "held", error=error)

    def held_until(self, step: Step) -> datetime | None:
        """Give until when the connection of a step is left alone, None where it is not."""
        assert step.action is not None
        try:
            hold = self.held[self._connection_of(step.action, step) or ""]
        except (KeyError, ActionError):  # what is not configured fails when it is performed
            return None
        return self._left_alone(hold)

    def _left_alone(self, hold: _Hold) -> datetime | None:
        """Give until when nothing goes out on a held connection; None where a call may try it."""
        now = self.hub.clock.now()
        if now < hold.until:
            return hold.until
        return now + PROBE if hold.probing else None

    def _effect(self, active: _Active, path: str, identity: str, at: datetime, attempt: int) -> Effect:
        run = active.run
        return Effect(identity, digest(identity), at, run.workflow, run.uid, run.subject_type, run.subject, attempt)

    def _connection_of(self, action: Action, step: Step) -> str | None:
        return self.hub.serve(action.capability, step.connection)[0] if action.capability else None

    def _class_of(self, step: Step, inputs: Mapping[str, Any]) -> EffectClass:
        """Give the class of an effect: the provider's for its method, or the action's own."""
        action = step.action
        assert action is not None
        if action.own_class is not None:
            context = {"people": self.hub.directory.people}
            declared = action.class_of(action.params.model_validate(dict(inputs), context=context))
            if declared is not None:
                return declared
        if action.capability is None:
            return EffectClass.AT_MOST_ONCE
        provider = self.hub.serve(action.capability, step.connection)[1]
        return effect_class(getattr(provider, action.method or "", None))

    # --- look-ups and re-reading -------------------------------------------------------------------------------------

    async def _look_up(self, command: LookUp) -> _Result:
        call = lookup_key(command.name, command.args)
        try:
            provider = self.hub.serve("on_call", None)[1]
            target, at = (*command.args, None)[:2]
            ref = getattr(target, "id", target)
            answer = await provider.on_call(ref, at or self.hub.clock.now())
        except Exception as error:  # noqa: BLE001  whatever a vendor's client raises, the step fails with it
            fault = {"message": f"{command.name}(): {error}", "step": command.path, "code": "lookup-failed"}
            return _Result([Record(command.path, "failed", {"error": fault})])
        return _Result([Record(command.path, "lookup", {"call": call, "answer": answer})])

    def can_reread(self, connection: str) -> bool:
        """Whether a subject of this connection can be read again from a system that is not our own database."""
        provider = self.hub.provider(connection)
        return hasattr(provider, "get") and not getattr(provider, "own_store", False)

    async def _refresh(self, active: _Active) -> _Result:
        """Read the run's subject again; reads of one subject are shared, one that fails holds the effect."""
        kind, ref = str(active.run.subject_type), str(active.run.subject)
        try:
            fact = await asyncio.shield(self._reading(kind, ref))
        except Exception as error:  # noqa: BLE001  whatever the vendor's client raises, nothing goes out on stale state
            self.hub.tell("subject.stale", f"{ref} could not be read again: {error}", subject=ref)
            return self._rest(active, REFRESH, self.hub.clock.now() + AGAIN)
        if fact is None:
            self.hub.tell("subject.gone", f"{ref} is no longer there: nothing goes out about it", subject=ref)
            return self._rest(active, REFRESH, self.hub.clock.now() + FRESH)
        return _Result(readings=[(ref.partition(":")[0], fact)])

    def _reading(self, kind: str, ref: str) -> asyncio.Task[Fact | None]:
        """Give the reading of a subject that is under way, or has just been made and may not be committed yet."""
        now = self.hub.clock.now()
        self._readings = {key: one for key, one in self._readings.items() if not one[1].done() or now - one[0] < AGAIN}
        known = self._readings.get((kind, ref))
        if known is None:
            known = self._readings[kind, ref] = (now, asyncio.create_task(self._reread(kind, ref)))
        return known[1]

    async def _reread(self, kind: str, ref: str) -> Fact | None:
        connection = ref.partition(":")[0]
        found = await self.hub.provider(connection).get(ref)
        if found is None:
            return None
        known = {one.name: getattr(found, one.name) for one in dataclasses.fields(found) if one.name != "id"}
        return Fact(f"{kind}.updated", self.hub.clock.now(), kind, ref, subjects.read_fields(kind, known))

    # --- the commit --------------------------------------------------------------------------------------------------

    async def _commit(
        self,
        active: _Active,
        results: list[_Result],
        outcome: Outcome,
        seen: int | None,
        applied: int | None = None,
        intents: Sequence[_Intent] = (),
    ) -> None:
        """Write results, decisions and intents in one commit, then take the results in and pass the word on."""
        fresh = results if applied is None else results[applied:]
        for result in fresh:
            active.state.apply_all(_kept(result.records))
        inline = fresh if applied is not None else []
        closings, in_doubt = self._closings(outcome), _in_doubt(active)
        write = _Write(self, active, results[:applied], outcome, intents, inline, seen, closings, in_doubt)
        await self.hub.journal.transact(write)
        for result in results:
            self._report(active, result)
        for command in outcome.commands:
            if isinstance(command, End):
                self._report_end(active, command)
        if write.events:
            self.hub.events_written()
        if any(isinstance(command, Listen) for command in outcome.commands) or results:
            self.hub.waits_written()
        if write.woken:
            self.hub.runs_woken(write.woken)

    def _closings(self, outcome: Outcome) -> list[_Closing]:
        """Give the effects that are waited for no longer; of a question, also what the chat that asked keeps."""
        closings = []
        for command in outcome.commands:
            row = self._effect_row(command.identity) if isinstance(command, Close) else None
            if not isinstance(command, Close) or row is None:
                continue
            state = "failed" if command.outputs is None else "done"
            result = _Result(
                [], command.identity, state, outputs=command.outputs, error=command.error, attempt=command.attempt
            )
            closing = _Closing(result)
            provider: Any = self.hub.provider(row["connection"]) if row["connection"] else None
            if row["state"] == "pending" and hasattr(provider, "closing"):
                now, outputs = self.hub.clock.now(), command.outputs or {}
                by = outputs.get("by")
                answer = Fact(ANSWERED, now, data={"answer": outputs.get("answer")}, actor=by) if by else None
                key, kept = provider.closing(command.identity, now, answer)
                closing.kept = (row["connection"], key, kept)
            closings.append(closing)
        return closings

    def _report(self, active: _Active, result: _Result) -> None:
        if result.effect_state in ("done", "pending"):
            self.hub.tell(
                "effect.done",
                _did(result),
                run=active.run.uid,
                workflow=active.run.workflow,
                identity=result.identity,
                action=result.action,
                outputs=result.outputs,
            )
        elif result.error is not None:
            kind = "effect.failed" if result.effect_state == "failed" else "effect.retry"
            message = result.error.get("message")
            self.hub.tell(kind, f"{result.identity}: {message}", run=active.run.uid, workflow=active.run.workflow)
        elif result.effect_state == "unknown":
            sentence = f"{result.identity}: it is not known whether it happened; decide with 'hotwash runs decide'"
            self.hub.tell("effect.unknown", sentence, run=active.run.uid, workflow=active.run.workflow)

    def _report_end(self, active: _Active, end: End) -> None:
        why = f": {(end.error or {}).get('message') or end.reason}" if end.error or end.reason else ""
        sentence = f"{active.run.workflow} {active.run.uid} {end.state}{why}"
        self.hub.tell(f"run.{end.state}", sentence, run=active.run.uid, workflow=active.run.workflow)


@dataclass(slots=True)
class _Write:
    """One commit of a run, performed in the writer's thread."""

    executor: Executor
    active: _Active
    results: list[_Result]  #: came back before the decisions
    outcome: Outcome
    intents: Sequence[_Intent]
    inline: list[_Result]  #: of effects that are part of this commit
    seen: int | None
    closings: list[_Closing]
    in_doubt: Sequence[str]  #: effects of which it is not known at the run's end whether they happened
    events: list[int] = field(default_factory=list)  #: that were written
    woken: list[int] = field(default_factory=list)  #: other runs

    def __call__(self, cursor: sqlite3.Cursor) -> None:
        now = self.executor.hub.clock.now()
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
        if self.outcome.records or self.outcome.commands:
            row = cursor.execute("SELECT ended FROM runs WHERE id = ?", (self.active.run.id,)).fetchone()
            if row["ended"] is not None:
                raise _Overtaken

    def _records(self, cursor: sqlite3.Cursor, records: Sequence[Record], now: datetime) -> None:
        run, at = self.active.run.id, micros(now)
        listening = self.active.state.ended is None
        for record in records:
            if listening and record.kind in _LATER and record.data.get("due") is not None:
                kind = "hold" if record.kind == "hold" else "timer"
                cursor.execute("DELETE FROM waits WHERE run = ? AND path = ? AND kind = ?", (run, record.path, kind))
                cursor.execute(_LISTEN, (run, record.path, kind, micros(record.data["due"]), None, None, None))
        lines = [(run, record.path, record.kind, dumps(dict(record.data)), at) for record in _kept(records)]
        cursor.executemany(_RECORD, lines)

    def _intend(self, cursor: sqlite3.Cursor, intent: _Intent, now: datetime) -> None:
        run, command, hash = self.active.run, intent.command, digest(intent.inputs)
        action = command.step.action
        assert action is not None
        known = cursor.execute("SELECT * FROM effects WHERE identity = ?", (command.identity,)).fetchone()
        if known is not None:
            if known["state"] != "failed" and known["run"] != run.id:
                if not (action.lasts or command.step.once_per):
                    raise IdentityClash(command.identity, command.path)
                raise _Overtaken
            if known["state"] not in ("failed", "skipped", "held") and known["inputs_hash"] != hash:
                raise IdentityClash(command.identity, command.path)
            cursor.execute("DELETE FROM effects WHERE id = ?", (known["id"],))
        values = (command.identity, run.id, command.path, action.name, intent.connection, intent.kind.value)
        cursor.execute(_INTENT, (*values, intent.inputs, hash, "intent", 1, micros(now)))

    def _result(self, cursor: sqlite3.Cursor, result: _Result, now: datetime) -> None:
        if result.identity is not None and result.effect_state is not None:
            ended = micros(now) if result.effect_state in ("done", "failed") else None
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

    def _release(self, cursor: sqlite3.Cursor, result: _Result) -> None:
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
                cursor.execute(_LISTEN, values)
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
            if isinstance(command, LookUp):
                return "running"
            if isinstance(command, Refresh):
                resting = self.active.resting.get(REFRESH)
                return "held" if resting is not None and now < resting else "running"
        return summary(self.active.state)


def wake(cursor: sqlite3.Cursor, runs: Sequence[int]) -> None:
    """Mark runs as having something to look at."""
    cursor.executemany("UPDATE runs SET wake = wake + 1 WHERE id = ?", [(number,) for number in runs])


def wake_about(cursor: sqlite3.Cursor, recorded: Iterable[subjects.Recorded]) -> list[int]:
    """Wake the runs about subjects whose state changed without an event that is matched, which would wake them."""
    woken: list[int] = []
    for one in recorded:
        if one.changed is not None:
            rows = cursor.execute("SELECT id FROM runs WHERE subject = ? AND ended IS NULL", (one.changed,)).fetchall()
            woken += [row["id"] for row in rows]
    wake(cursor, woken)
    return woken


def forget_waits(cursor: sqlite3.Cursor, run: int, path: str) -> None:
    """Remove what a run listens for at a path and under it; the empty path is everything."""
    if not path:
        cursor.execute("DELETE FROM waits WHERE run = ?", (run,))
        return
    own = (run, path, *(f"{path}{mark}" for mark in ("/", "#", "[", "!")))
    cursor.execute(
        "DELETE FROM waits WHERE run = ? AND (path = ?" + " OR substr(path, 1, length(?)) = ?" * 4 + ")",
        (own[0], own[1], *(text for mark in own[2:] for text in (mark, mark))),
    )


def save_row(cursor: sqlite3.Cursor, connection: str, key: str, row: Mapping[str, Any] | None) -> None:
    """Keep a provider's row, or delete it."""
    if row is None:
        cursor.execute("DELETE FROM rows WHERE connection = ? AND key = ?", (connection, key))
    else:
        cursor.execute(
            "INSERT OR REPLACE INTO rows (connection, key, data) VALUES (?, ?, ?)", (connection, key, dumps(row))
        )


def summary(state: RunState) -> str:
    """Give the run state of a run that has not ended."""
    leaves = list(state.leaves.values())
    if any(leaf.status == "parked" for leaf in leaves):
        return "needs_decision"
    if any(leaf.status == "intent" for leaf in leaves):
        return "running"
    if any(_waits_for_connection(leaf) for leaf in leaves):
        return "held"
    return "waiting"


def _waits_for_connection(leaf: Leaf) -> bool:
    return leaf.status == "held" or (leaf.status == "retry" and (leaf.error or {}).get("code") == "connection-held")


def run_of(row: sqlite3.Row) -> Run:
    """Make the record of a run's row."""
    names = ("id", "uid", "workflow", "key", "version", "round", "round_event", "event", "trigger")
    more = ("subject_type", "subject", "depth", "state")
    return Run(**{name: row[name] for name in (*names, *more)}, created=instant(row["created"]))


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


def find_step(workflow: Workflow, hub: Hub, path: str) -> Step | None:
    """Give the step that a path performs."""
    from engine.workflow.model import walk

    name = path.rpartition("/")[2]
    if path.startswith("owner/"):
        owner = hub.owner_of(workflow.owner)
        return hub.notice(owner) if owner is not None else None
    steps = {step.id: step for step in walk((*workflow.steps, *workflow.on_failure))}
    candidates = [step for key, step in steps.items() if name == key or name.startswith((key + "[", key + "#"))]
    return max(candidates, key=lambda step: len(step.id), default=None)


def outputs_of_result(action: Action, result: Any) -> dict[str, Any]:
    """Give an action's result as the outputs of its step."""
    if result is None:
        return {}
    if isinstance(result, Mapping):
        return dict(result)
    kind = kind_of(action.returns)
    if kind in FIELDS and not isinstance(result, str):
        names = [name for name in FIELDS[kind] if hasattr(result, name)]
        return {**{name: getattr(result, name) for name in names}, "record": result}
    return {name: getattr(result, name) for name in action.outputs}


def _kept(records: Iterable[Record]) -> list[Record]:
    """Leave out what only makes a timer."""
    return [record for record in records if record.kind != "hold"]


def _is_new(command: Command) -> TypeGuard[Perform]:
    return isinstance(command, Perform) and command.inputs is not None


def _unknown(path: str, identity: str, attempt: int) -> _Result:
    """Say that it is not known whether an effect happened that must not be repeated."""
    return _Result([Record(path, "parked", {})], identity=identity, effect_state="unknown", attempt=attempt)


def _drop_outlived(active: _Active, results: Iterable[_Result]) -> None:
    """Take nothing into a round that an earlier one asked for, but for effects that both have."""
    for result in results:
        if result.round not in (None, active.run.round):
            mine = {leaf.identity for leaf in active.state.leaves.values()} if result.identity is not None else set()
            result.records = result.records if result.identity in mine else []


def _in_doubt(active: _Active) -> list[str]:
    """Give the effects that are written down as begun, with no call under way and no result that has arrived."""
    coming = {*active.in_flight, *(result.identity for result in active.inbox)}
    leaves = active.state.leaves.values()
    return [
        leaf.identity for leaf in leaves if leaf.status == "intent" and leaf.identity and leaf.identity not in coming
    ]


def _did(result: _Result) -> str:
    outputs = result.outputs or {}
    what = outputs.get("url") or outputs.get("key") or outputs.get("title") or ""
    return f"{result.identity}" + (f" → {what}" if what else "")


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    place = ".".join(str(part) for part in fault["loc"])
    text = fault["msg"].removeprefix("Value error, ")
    return f"'{place}': {text}" if place else text


# --- what the interpreter sees, and what an action gets ------------------------------------------------------------


class _View:
    """The world as committed when a step is decided (`interpreter.View`)."""

    def __init__(self, executor: Executor, active: _Active) -> None:
        self._executor, self._hub, self._active = executor, executor.hub, active
        self.world = executor.hub.lookups()
        self.now = self.world.now

    @cached_property
    def event(self) -> Event:
        return event_of(
            self._hub.reader.execute("SELECT * FROM events WHERE id = ?", (self._active.run.round_event,)).fetchone()
        )

    @cached_property
    def _row(self) -> sqlite3.Row | None:
        run = self._active.run
        row: sqlite3.Row | None = self._hub.reader.execute(
            "SELECT * FROM subjects WHERE type = ? AND id = ?", (run.subject_type, run.subject)
        ).fetchone()
        return row

    @cached_property
    def subject(self) -> Any | None:
        row = self._row
        return subject_of(row["type"], json.loads(row["state"])) if row is not None else None

    @property
    def subject_changed_by_run(self) -> bool:
        return self._row is not None and self._row["changed_run"] == self._active.run.id

    @property
    def stale(self) -> bool:
        row = self._row
        if row is None or not self._executor.can_reread(row["connection"]):
            return False
        return self.now - instant(row["refreshed"]) > FRESH

    @cached_property
    def newest_event(self) -> int:
        return int(self._hub.reader.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0])

    @property
    def owner(self) -> Person | None:
        return self._hub.owner_of(self._active.workflow.owner)

    def effect(self, identity: str) -> KnownEffect | None:
        row = self._executor._effect_row(identity)
        if row is None:
            return None
        return KnownEffect(row["state"], row["run"], loads(row["result"]))

    def held(self, step: Step) -> datetime | None:
        return self._executor.held_until(step)

    def events(self, event_type: str, after: int, subjects: Sequence[str] = ()) -> Sequence[tuple[int, Event]]:
        about = f" AND subject IN ({', '.join('?' * len(subjects))})" if subjects else ""
        rows = self._hub.reader.execute(
            f"SELECT * FROM events WHERE type = ? AND id > ? AND state != 'ignored'{about} ORDER BY id",
            (event_type, after, *subjects),
        )
        return [(row["id"], event_of(row)) for row in rows]

    def made_here(self, event: Event) -> bool:
        row = self._hub.reader.execute(
            "SELECT cause_run FROM events WHERE subject = ? ORDER BY id LIMIT 1", (event.subject,)
        ).fetchone()
        if row is not None and row["cause_run"] == self._active.run.id:
            return True
        made = self._hub.reader.execute(  # at a vendor that tells of it only when something happens to it
            "SELECT action FROM effects WHERE run = ? AND state = 'done' AND json_extract(result, '$.id') = ?",
            (self._active.run.id, event.subject),
        )
        return any(row["action"].rpartition(".")[2] in _MAKING for row in made.fetchall())

    def check_inputs(self, step: Step, inputs: Mapping[str, Any]) -> None:
        assert step.action is not None
        try:
            stored = decode(encode(dict(inputs)))
            step.action.params.model_validate(stored, context={"people": self._hub.directory.people})
        except ValidationError as error:
            raise StepError(_first_fault(error), "bad-input") from None

    def render_template(self, name: str, scope: Scope, data: Mapping[str, Any]) -> str:
        sources = self._active.workflow.templates
        if name not in sources:
            sources = self._hub.templates()
        try:
            return str(compile_template(name, sources).render(scope, data))
        except TemplateProblem as problem:
            raise StepError(f"template '{name}': {problem}", "template") from None

    def notice(self) -> Step | None:
        owner = self.owner
        return self._hub.notice(owner) if owner is not None else None


class _Context:
    """What an action may use (`plugins.Context`)."""

    def __init__(self, executor: Executor, active: _Active, step: Step, effect: Effect) -> None:
        self._executor, self._active, self._step = executor, active, step
        self.effect = effect
        self.now = executor.hub.clock.now()
        self.zone = executor.hub.directory.zone

    def _serve(self, capability: str) -> Any:
        assert self._step.action is not None
        named = self._step.connection if self._step.action.capability == capability else None
        return self._executor.hub.serve(capability, named)[1]

    @property
    def incident(self) -> Incident | None:
        world = self._executor.hub.lookups()
        run = self._active.run
        if run.subject_type is None or run.subject is None:
            return None
        subject = world.subject(run.subject_type, run.subject)
        if isinstance(subject, Incident) or subject is None:
            return subject
        ref = getattr(subject, "incident", None)
        return world.subject("incident", ref) if ref else None

    documents = property(lambda self: self._serve("document"))
    chat = property(lambda self: self._serve("chat"))
    tickets = property(lambda self: self._serve("ticket"))
    calendar = property(lambda self: self._serve("calendar"))
    incidents = property(lambda self: self._serve("incident"))
    on_call = property(lambda self: self._serve("on_call"))
    people = property(lambda self: self._executor.hub.directory.people)
    http = property(lambda self: self._serve("http"))

    @property
    def owner(self) -> Person | None:
        return self._executor.hub.owner_of(self._active.workflow.owner)

    def hours_of(self, person: Person | None) -> Calendar:
        return self._executor.hub.hours_of(person)
