"""Perform what the interpreter asks for, and write down everything before and after (PROMISES 1.4).

Each run that has something to do is an actor: results come into its inbox, the interpreter decides, one commit holds
the results, the decisions and the next intents, and only then is anything called. An effect that is only rows in our
own database is performed before that commit and is part of it. A run that only waits has no actor.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from engine import subjects
from engine.calendars import Duration, add
from engine.domain import Event
from engine.faults import masked
from engine.plugins import (
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
from engine.runs import digests, dry, operating
from engine.runs.active import (
    Active,
    Checked,
    Closing,
    Intent,
    Result,
    did,
    drop_outlived,
    find_step,
    folded,
    in_doubt,
    is_new,
    kept_records,
    outputs_of_result,
    summary,
    unknown,
)
from engine.runs.commands import MAX_OUTPUT, Held
from engine.runs.commit import LISTEN, Commit, Impossible, Overtaken
from engine.runs.context import ActionContext
from engine.runs.effects import on_connection
from engine.runs.holding import Holding
from engine.runs.hub import Hub
from engine.runs.interpreter import (
    ANSWERED,
    Call,
    Close,
    End,
    Judged,
    Listen,
    LookUp,
    Outcome,
    Perform,
    Refresh,
    advance,
    after_failed_attempt,
)
from engine.runs.limits import Limited, Limits
from engine.runs.manners import DIGEST, concerns
from engine.runs.rows import effect_row, load_state, run_of
from engine.runs.settling import given_up, is_left_open
from engine.runs.state import IN_DOUBT, OPERATION, Leaf, Record, Run, RunState
from engine.runs.view import FRESH, CommittedView, Snapshot, first_fault
from engine.store.codec import digest, dumps, instant, loads, micros
from engine.store.journal import StorageUnavailable, Work, Writing
from engine.store.lookups import Lookups, Uncommitted, Unsettled, lookup_key
from engine.workflow.model import Step, Workflow

T = TypeVar("T")

#: One attempt of an effect without a `timeout` of its own, in seconds.
ATTEMPT_TIMEOUT = 60.0
#: How long a run is left alone after the database could not be written.
PAUSE = timedelta(seconds=5)
#: A reading or a look that failed is tried again after this.
AGAIN = timedelta(minutes=1)
#: What is said of an effect whose call was under way when the engine ended.
CUT_OFF = "the engine ended while its call was under way"
#: Seconds by which the two scales of a clock may differ.
TICK = 0.001
#: What of a run has an instant at which it goes on.
_TIMED = frozenset({"held", "retry", "pending", "wait"})


def _comes_first(result: Result) -> bool:
    """Whether what came back is written before the run decides: subjects that it changes, an intent taken back."""
    emitted = result.effect is not None and result.effect.emitted
    return bool(result.readings or emitted or result.effect_state == "held")


@dataclass(frozen=True, slots=True)
class Begun:
    """A run whose first turn is part of the commit that starts it."""

    active: Active
    write: Commit


_is_async = cache(inspect.iscoroutinefunction)


class Executor:
    """Brings runs forward, one actor for each that has something to do."""

    #: At most this many calls at once on one connection: others do not wait for a service that hangs.
    max_calls = 64
    #: Runs that begin with their event's commit, unless so many are at work.
    max_begun = 192

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.born = hub.clock.now()  #: no call of an earlier process was made later
        self._awake = hub.clock.monotonic()  #: the same on the scale that nobody sets
        self._doubts: dict[str, float] = {}  #: by identity: when an attempt of this process broke off, on that scale
        self.active: dict[int, Active] = {}
        self.holding = Holding(hub)
        self.limits = Limits(hub)
        self.paused: dict[int, datetime] = {}  #: runs that wait for the database to be writable, and until when
        self._lines: dict[str | None, asyncio.Semaphore] = {}
        self._readings: dict[tuple[str, str], tuple[datetime, asyncio.Task[Fact | None]]] = {}
        self._showing: set[asyncio.Task[None]] = set()
        self.stopping = False

    # --- the actor ---------------------------------------------------------------------------------------------------

    def begin(self, tx: Writing, run: Run, workflow: Workflow, event: Event, world: Uncommitted) -> Begun | None:
        """Draft the first turn of a run with the event that starts it; None where it has to wait for the commit."""
        if self.stopping or len(self.active) >= self.max_begun:
            return None
        active = Active(run, RunState(run), workflow, event=event, written=run.state, new=True, fresh=True)
        view = CommittedView(self.hub, active, self.holding, world)
        try:
            outcome = advance(workflow, active.state, view)
        except Unsettled:
            return None
        intents = [self._intent(command) for command in outcome.commands if is_new(command)]
        if any(self._is_inline(active, one) for one in intents):
            return None  # they are performed before their commit
        if any(isinstance(command, Close | Call) for command in outcome.commands):
            return None
        write = Commit(self.hub, active, [], outcome, intents, [], 0, world.newest, [], [])
        write(tx)
        return Begun(active, write)

    async def run(self, number: int, begun: Begun | None = None) -> None:
        """Bring a run as far as it goes, and return when it only waits or has ended."""
        active = begun.active if begun is not None else self._load(number)
        if active is None:
            return
        self.active[number] = active
        try:
            again = begun is None or self._committed(active, begun.write)
            await self._live(active, again)
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
            active.woken = True
            active.changed.set()
        return active is not None

    def reread(self, number: int) -> bool:
        """Tell a run's actor that others wrote records of the run; False where it has none."""
        active = self.active.get(number)
        if active is not None:
            active.reread = True
        return self.poke(number)

    def reread_all(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.reread(number)

    async def _live(self, active: Active, again: bool = True) -> None:
        """Take turns until nothing is left but to wait; not `again`, it waits for what is under way first."""
        if not again and active.in_flight:
            await active.changed.wait()
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

    async def _keep_timers(self, active: Active) -> None:
        """See that what a run waits for is in the table: a clock that was set back may have woken it too early."""
        state, now, number = active.state, self.hub.clock.now(), active.run.id
        dues: dict[str, datetime | None] = {}
        if state.ended is None:
            dues = {path: leaf.due for path, leaf in state.leaves.items() if leaf.status in _TIMED}
            dues |= {path: pause.due for path, pause in state.pauses.items() if pause.done is None}
            dues |= {f"{path}!deadline": due for path, due in state.deadlines.items()}
        else:  # what is to be found out, and told to the owner, all the same
            told = [(path, leaf) for path, leaf in state.leaves.items() if path.startswith(IN_DOUBT)]
            dues = {path: leaf.due for path, leaf in told if leaf.status in _TIMED}
            dues.update({path: due for path, due in active.resting.items() if path in state.leaves})
            if not dues:
                return
        rows = self.hub.reader.execute("SELECT path FROM waits WHERE run = ? AND due IS NOT NULL", (number,))
        kept = {row["path"] for row in rows.fetchall()}
        lost = [(path, due) for path, due in dues.items() if due is not None and due > now and path not in kept]
        if not lost:
            return
        lines = [(number, path, "timer", micros(due), None, None, None) for path, due in lost]

        def write(cursor: sqlite3.Cursor) -> None:
            cursor.executemany(LISTEN, lines)

        await self.hub.journal.transact(write)
        self.hub.waits_written()

    async def _turn(self, active: Active, results: list[Result]) -> bool:
        """Take results in, decide, commit, perform; give whether there is at once more to do."""
        if active.reread or (active.state.ended is not None and self._taken_up(active)):
            self._reload(active)
        drop_outlived(active, results)
        if any(map(_comes_first, results)):
            await self._commit(active, results, Outcome((), ()), None)
            results.clear()
        for result in results:
            active.state.apply_all(kept_records(result.records))
        if self.stopping:
            await self._commit(active, results, Outcome((), ()), None, applied=len(results))
            results.clear()
            return False
        seen, outcome, looked = self._decide(active)
        intents = [self._intent(command) for command in outcome.commands if is_new(command)]
        inline = [await self._inline(active, one) for one in intents if self._is_inline(active, one)]
        try:
            again = await self._commit(
                active, results + inline, outcome, seen, applied=len(results), intents=intents, looked=looked
            )
        except Overtaken:
            active.inbox[:0] = results
            self._reload(active)
            return True
        except Impossible as clash:
            active.inbox[:0] = results
            self._reload(active)
            error = {"message": str(clash), "step": clash.path, "code": clash.code}
            active.deliver(Result([Record(clash.path, "failed", {"error": error})]))
            return True
        results.clear()
        self._perform(active, outcome, {result.identity for result in inline})
        self._recover(active)
        return bool(inline) or (active.state.ended is None and (again or active.woken))

    def _taken_up(self, active: Active) -> bool:
        row = self.hub.reader.execute("SELECT ended FROM runs WHERE id = ?", (active.run.id,)).fetchone()
        return row["ended"] is None

    def _decide(self, active: Active) -> tuple[int, Outcome, int | None]:
        """Advance on one snapshot of the database; give also how often it was woken and which events it looked at."""
        snapshot = Snapshot(self.hub.reader)
        world = Lookups(cast("sqlite3.Connection", snapshot), self.hub.directory, self.hub.clock.now())
        view = CommittedView(self.hub, active, self.holding, world)
        try:
            seen = 0
            if active.woken:
                active.woken = False
                seen = int(snapshot.execute("SELECT wake FROM runs WHERE id = ?", (active.run.id,)).fetchone()["wake"])
            active.over = active.state.ended is not None
            outcome = advance(active.workflow, active.state, view)
            listens = any(isinstance(one, Listen) and one.event_type is not None for one in outcome.commands)
            return seen, outcome, view.newest_event if listens else None
        finally:
            snapshot.end()

    # --- loading -----------------------------------------------------------------------------------------------------

    def _load(self, number: int) -> Active | None:
        row = self.hub.reader.execute("SELECT * FROM runs WHERE id = ?", (number,)).fetchone()
        if row is None or (row["ended"] is not None and not is_left_open(self.hub.reader, number)):
            return None
        run = run_of(row)
        workflow = self._workflow_of(run)
        active = Active(run, load_state(self.hub.reader, run), workflow, written=run.state, listened=True)
        active.woken = row["wake"] > 0
        rows = self.hub.reader.execute("SELECT path, due FROM waits WHERE run = ? AND kind = 'hold'", (number,))
        active.resting = {row["path"]: instant(row["due"]) for row in rows.fetchall()}
        return active

    def _reload(self, active: Active) -> None:
        active.reread = False
        row = self.hub.reader.execute("SELECT * FROM runs WHERE id = ?", (active.run.id,)).fetchone()
        active.run, active.event = run_of(row), None
        active.written, active.fresh, active.listened, active.woken = active.run.state, False, True, row["wake"] > 0
        active.workflow = self._workflow_of(active.run)
        active.state = load_state(self.hub.reader, active.run)

    def _workflow_of(self, run: Run) -> Workflow:
        if run.version == OPERATION:
            return operating.workflow_of(self.hub, run)
        return digests.workflow_of(self.hub, run) if run.version == DIGEST else self.hub.version(run)

    def _recover(self, active: Active) -> None:
        """Take up the effects that are written down as begun and of which no call is under way: it was cut off."""
        take_up = self._take_up if active.state.ended is None else self._settle
        begun = [(p, leaf) for p, leaf in active.state.leaves.items() if leaf.status == "intent" and leaf.identity]
        for path, leaf in begun:
            arrived = any(result.identity == leaf.identity for result in active.inbox)
            if leaf.identity not in active.in_flight and not arrived and not self._rests(active, path):
                self._spawn(active, str(leaf.identity), partial(take_up, active, path, leaf))

    async def _take_up(self, active: Active, path: str, leaf: Leaf, *, answered: bool = False) -> Result:
        """Find out what became of an effect whose call was cut off, or do it again, as its class allows.

        `answered` says that the call was not cut off but failed without it being known what it did.
        """
        identity = str(leaf.identity)
        row = effect_row(self.hub.reader, identity)
        step = self._step_of(active, path, row)
        if row is None or step is None:
            return self._failure(step, leaf, path, "what it was to do is not in the journal", "lost-intent", True)
        if self._finder(row) is not None:
            settled = await self._find(active, path, step, leaf, row)
            if settled is not None:
                return settled
        elif self._may_be_in_doubt(row) and not answered and step.on_unknown != "repeat":
            return unknown(step, path, identity, leaf.attempt, CUT_OFF)
        return await self._attempt(active, path, step, identity, leaf.attempt, fresh=False)

    async def _settle(self, active: Active, path: str, leaf: Leaf) -> Result:
        """Find out what became of an effect whose run has ended meanwhile; nothing is made any more."""
        identity = str(leaf.identity)
        row = effect_row(self.hub.reader, identity)
        step = self._step_of(active, path, row)
        if row is None or row["run"] != active.run.id or step is None:
            return Result([Record(path, "closed")])
        if self._finder(row) is not None:
            settled = await self._find(active, path, step, leaf, row)
            if settled is not None:
                return settled
        elif self._may_be_in_doubt(row) and step.on_unknown != "repeat":
            return unknown(step, path, identity, leaf.attempt, CUT_OFF)
        return given_up(path, leaf, step)

    def _step_of(self, active: Active, path: str, row: sqlite3.Row | None) -> Step | None:
        """Give the step that a path performs, on the connection that its effect was written down with."""
        step = find_step(active.workflow, self.hub, path)
        return on_connection(step, row["connection"]) if step is not None and row is not None else step

    def _finder(self, row: sqlite3.Row) -> Any | None:
        """Give the provider that can look for an effect; None where none can."""
        provider: Any = self.hub.provider(row["connection"]) if row["connection"] else None
        return provider if row["class"] == EffectClass.FINDABLE and hasattr(provider, "find") else None

    @staticmethod
    def _may_be_in_doubt(row: sqlite3.Row) -> bool:
        return row["class"] in (EffectClass.AT_MOST_ONCE, EffectClass.FINDABLE)

    async def _find(self, active: Active, path: str, step: Step, leaf: Leaf, row: sqlite3.Row) -> Result | None:
        """Look whether the effect is there; None where it is not. Neither too early nor a failed look decides."""
        identity = str(leaf.identity)
        visible = self._visible_at(active, path, step, leaf)
        if visible is not None and self.hub.clock.now() < visible:
            return self._rest(active, path, visible)
        if identity in self.limits.looked_for:  # in vain, and its call has been waiting for its turn since
            return None
        turn = await self._turn_of(row["connection"], f"{identity}?")
        if turn is not None:
            return self._rest(active, path, turn)
        effect = self._effect(active, path, identity, instant(row["created"]), leaf.attempt)
        effect.inputs = loads(row["inputs"])
        about = ActionContext(self.hub, active, step, effect).incident
        effect.incident = about.id if about is not None else None
        try:
            async with self._line(row["connection"]), asyncio.timeout(ATTEMPT_TIMEOUT):
                found = await self._finder(row).find(effect)  # type: ignore[union-attr]
        except Exception as error:  # noqa: BLE001  whatever the vendor's client raises, nothing is made on a guess
            self._tell(active, "effect.unseen", f"{identity}: it could not be looked for: {error}")
            return self._rest(active, path, await self._later(row["connection"], error))
        if found is not None:
            asks = step.action is not None and step.action.pending  # what was found is the question, not its answer
            outcome = Pending() if asks else found
            return self._success(active, path, identity, effect, step, outcome, leaf.timeout)
        self.limits.looked_for.add(identity)
        return None

    def _visible_at(self, active: Active, path: str, step: Step, leaf: Leaf) -> datetime | None:
        """Give from when a service shows what the call may have made; None where it shows it at once.

        A service that takes its time may also still be at work on a request that outlived us. A clock that was put
        forward meanwhile has given it none.
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
        last = max(instant(row["at"]), self.born)  # what was made again after a look has no record of its own
        pause = self._attempt_limit(active, step, leaf.timeout) + after
        left = self._doubts.get(str(leaf.identity), self._awake) + pause - self.hub.clock.monotonic()
        visible = last + timedelta(seconds=pause)
        return visible if left < TICK else max(visible, self.hub.clock.now() + timedelta(seconds=left))

    def _rest(self, active: Active, path: str, until: datetime) -> Result:
        """Leave something that was tried in vain for later, by a row that falls due."""
        active.resting[path] = until
        return Result([Record(path, "hold", {"due": until})])

    def _rests(self, active: Active, path: str) -> bool:
        until = active.resting.get(path)
        return until is not None and self.hub.clock.now() < until

    # --- performing --------------------------------------------------------------------------------------------------

    def _perform(self, active: Active, outcome: Outcome, done: set[str | None]) -> None:
        """Start what was asked for, after its commit."""
        for command in outcome.commands:
            match command:
                case Perform() if command.identity not in done and not command.earlier:
                    self._spawn(active, command.identity, partial(self._attempt_of, active, command))
                case LookUp() if not self._rests(active, command.path):
                    call = f"{command.path}?{lookup_key(command.name, command.args)}"
                    self._spawn(active, call, partial(self._look_up, active, command))
                case Refresh() if not self._rests(active, command.path):
                    self._spawn(active, command.path, partial(self._refresh, active, command))
                case _:  # what an earlier round began is taken up with what was cut off
                    pass

    def _spawn(self, active: Active, name: str, work: Callable[[], Awaitable[Result]]) -> None:
        """Run a call beside the actor, unless it is under way; its result comes into the inbox."""
        if name in active.in_flight:
            return
        round = active.run.round

        async def call() -> None:
            try:
                result = await work()
                result.round = round
                active.inbox.append(result)
            except Exception as error:  # noqa: BLE001  a fault of ours: the actor ends with it, and says so
                active.crash = error
            active.in_flight.pop(name, None)  # one that is cancelled, when the engine ends, stays: nobody takes it up
            active.changed.set()

        active.in_flight[name] = asyncio.create_task(call(), name=f"{active.run.uid} {name}")

    async def _attempt_of(self, active: Active, command: Perform) -> Result:
        leaf = active.state.leaves[command.path]
        if leaf.doubtful:  # the attempt before may have done it: we look before we make it again
            return await self._take_up(active, command.path, leaf, answered=True)
        work = (command.path, command.step, command.identity, command.attempt)
        return await self._attempt(active, *work, checked=command.checked, fresh=command.checked is not None)

    @staticmethod
    def _is_inline(active: Active, intent: Intent) -> bool:
        return intent.kind is EffectClass.OWN_ROWS or dry.is_left_out(active, intent)

    async def _inline(self, active: Active, intent: Intent) -> Result:
        """Perform an effect that is only rows of our own: its result is part of the commit of its intent."""
        command = intent.command
        if dry.is_left_out(active, intent):
            return dry.left_out(active, intent, self.hub.lookups(), await self._would_send(active, intent))
        if command.letter is not None:
            return folded(command, command.letter)
        work = (command.path, command.step, command.identity, command.attempt)
        return await self._attempt(active, *work, checked=command.checked, goes_out=False)

    async def _would_send(self, active: Active, intent: Intent) -> Mapping[str, Any] | None:
        """Give the request that a dry run spares, where its provider can show it."""
        command, connection = intent.command, intent.connection
        if connection is None or command.letter is not None or not dry.is_shown(intent, self.hub.provider(connection)):
            return None
        if connection in self.hub.connections.held:
            return {"why": self.hub.connections.held[connection].why}
        effect = self._effect(active, command.path, command.identity, self.hub.clock.now(), 1)
        leaf = active.state.leaves[command.path]
        return await dry.request_of(partial(self._call, active, command.step, effect, command.checked, leaf.timeout))

    def _intent(self, command: Perform) -> Intent:
        assert command.step.action is not None
        connection = self._connection_of(command.step.action, command.step)
        letter = command.letter is not None
        kind = EffectClass.OWN_ROWS if letter else self._class_of(command.step, command.checked.params)
        return Intent(command, connection, kind, command.checked.text)

    async def _attempt(
        self,
        active: Active,
        path: str,
        step: Step,
        identity: str,
        attempt: int,
        checked: Checked | None = None,
        fresh: bool = True,
        goes_out: bool = True,
    ) -> Result:
        """Call the action once with its stored inputs, and say what came of it.

        What is `fresh` and may not go out now is taken back, to be decided anew; else its stored inputs stay.
        """
        leaf = active.state.leaves[path]
        created = self.hub.clock.now()
        if checked is None:
            row = effect_row(self.hub.reader, identity)
            assert row is not None
            checked, created = Checked(row["inputs"], loads(row["inputs"]), None), instant(row["created"])
        assert step.action is not None
        connection = self._connection_of(step.action, step)
        hold = self.hub.connections.held.get(connection) if connection is not None else None
        held = await self._held(active, path, step, identity, checked) if goes_out else self.holding.connection(step)
        held = held or (self.holding.connection(step) if hold is not None else None)  # another may be trying by now
        if held is not None:
            return self._hold(active, path, leaf, step, held, fresh=fresh)
        self.limits.looked_for.discard(identity)
        if hold is not None:
            hold.probing = True
        effect = self._effect(active, path, identity, created, attempt)
        try:
            async with self._line(connection):
                outcome = await self._call(active, step, effect, checked, leaf.timeout)
        except ConnectionBroken as error:
            if connection is None:
                return self._failure(step, leaf, path, str(error), "connection-broken", False)
            await self.hub.connections.refused(connection, error)
            refused = Held(None, "connection-held", str(error), connection)
            return self._hold(active, path, leaf, step, refused, fresh=fresh)
        except Exception as error:  # noqa: BLE001  a plugin's bug is the run's failure, not the engine's
            if isinstance(error, RetryLater) and error.too_often and error.after:
                await self.limits.close(connection, error.after)
            if isinstance(error, ActionError) and self.hub.connections.is_doubted(connection):
                await self.hub.connections.works(str(connection))  # our credentials were taken
            return self._fault(active, path, step, identity, checked, error)
        finally:
            if hold is not None:
                hold.probing = False
        if self.hub.connections.is_doubted(connection):
            await self.hub.connections.works(str(connection))
        return self._success(active, path, identity, effect, step, outcome, leaf.timeout)

    async def _held(self, active: Active, path: str, step: Step, identity: str, checked: Checked) -> Held | None:
        """Give what keeps a call from being made now: what has come since it was decided, or its connection's rate."""
        workflow = active.workflow
        held = self.holding.at_all(workflow, step, path)
        if held is None and workflow.during is not None:
            held = self.holding.towards(workflow, step, path, self._params(step, checked))
        if held is not None or not self.hub.rates:
            return held
        connection = self._connection_of(step.action, step) if step.action is not None else None
        turn = await self.limits.turn(connection, identity)
        return Held(turn, "rate-limited", self.limits.why(connection)) if turn is not None else None

    def _fault(
        self, active: Active, path: str, step: Step, identity: str, checked: Checked, error: Exception
    ) -> Result:
        """Say what a failed attempt leads to: the end of it, another one, or that a person has to decide."""
        leaf = active.state.leaves[path]
        after, doubtful = None, True
        match error:
            case ActionError():
                return self._failure(step, leaf, path, str(error), error.code, True)
            case ValidationError():
                return self._failure(step, leaf, path, first_fault(error), "bad-input", True)
            case RetryLater():
                message, code, after, doubtful = str(error), "try-again", error.after, error.maybe_done
            case TimeoutError():
                message, code = "no answer within the time-out", "timeout"
            case _:
                message, code = masked(f"{type(error).__name__}: {error}"), "action-crashed"
                self._tell(active, "effect.crashed", f"{step.id}: {message}")
        kind = self._class_of(step, self._params(step, checked)) if doubtful else None
        if kind is EffectClass.AT_MOST_ONCE and step.on_unknown != "repeat":
            return unknown(step, path, identity, leaf.attempt, message)
        result = self._failure(step, leaf, path, message, code, False, after, doubtful)
        if doubtful and result.effect_state != "failed":
            self._doubts[identity] = self.hub.clock.monotonic()
        return result

    async def _call(
        self, active: Active, step: Step, effect: Effect, checked: Checked, timeout: Duration | None
    ) -> Any:
        action = step.action
        assert action is not None
        params = self._params(step, checked)
        context = ActionContext(self.hub, active, step, effect)
        async with asyncio.timeout(self._attempt_limit(active, step, timeout)):
            if _is_async(action.function):
                return await action.function(params, context)
            return await asyncio.to_thread(action.function, params, context)

    def _params(self, step: Step, checked: Checked) -> Any:
        """Give stored inputs as the action takes them."""
        assert step.action is not None
        if checked.params is not None:
            return checked.params
        context = {"people": self.hub.directory.people}
        return step.action.params.model_validate(dict(checked.stored), context=context)

    def _attempt_limit(self, active: Active, step: Step, timeout: Duration | None) -> float:
        """Give how long one attempt may take, in seconds; the time-out of a question is that of its answer."""
        if timeout is None or (step.action is not None and step.action.pending):
            return ATTEMPT_TIMEOUT
        now = self.hub.clock.now()
        return (self._after(active, now, timeout) - now).total_seconds()

    def _after(self, active: Active, now: datetime, length: Duration) -> datetime:
        return add(now, length, self.hub.directory.calendar_of(active.workflow.during))

    def _success(
        self,
        active: Active,
        path: str,
        identity: str,
        effect: Effect,
        step: Step,
        outcome: Any,
        timeout: Duration | None = None,
    ) -> Result:
        assert step.action is not None
        self._doubts.pop(identity, None)
        if isinstance(outcome, Pending):
            now = self.hub.clock.now()
            due = self._after(active, now, timeout) if timeout is not None else None
            pending = Record(path, "pending", {"outputs": dict(outcome.outputs), "due": due})
            did = (identity, "pending", step.action.name, outcome.outputs)
            return Result([pending], *did, attempt=effect.attempt, effect=effect)
        leaf = Leaf("intent", identity=identity, attempt=effect.attempt)
        try:
            outputs = outputs_of_result(step.action, outcome)
            whole = dumps(outputs)
            text = masked(whole)
            outputs = outputs if text == whole else loads(text)
        except (TypeError, ValueError, AttributeError) as error:
            return self._failure(step, leaf, path, f"its output cannot be kept: {error}", "bad-output", True)
        if len(text) > MAX_OUTPUT:
            message = f"its output is {len(text):,} bytes as JSON; at most {MAX_OUTPUT:,} are kept"
            return self._failure(step, leaf, path, message, "output-too-large", True)
        done = Record(path, "done", {"outputs": outputs})
        result = Result([done], identity, "done", step.action.name, outputs, attempt=effect.attempt, effect=effect)
        result.shared, result.text = bool(step.once_per), text
        return result

    def _failure(
        self,
        step: Step | None,
        leaf: Leaf,
        path: str,
        message: str,
        code: str,
        permanent: bool,
        after: float | None = None,
        doubtful: bool = False,
    ) -> Result:
        if step is None:
            error = {"message": message, "step": path, "code": code}
            return Result([Record(path, "failed", {"error": error})], leaf.identity, "failed", error=error)
        record = replace(
            after_failed_attempt(step, leaf, message, code, self.hub.clock.now(), permanent=permanent, after=after),
            path=path,
        )
        if doubtful is not leaf.doubtful:
            record = replace(record, data={**record.data, "doubtful": doubtful})
        state = "failed" if record.kind == "failed" else "intent"
        result = Result([record], leaf.identity, state, error=record.data["error"], attempt=leaf.attempt)
        result.uncounted = state == "failed" and not doubtful and concerns(step, path)
        return result

    def _hold(
        self,
        active: Active,
        path: str,
        leaf: Leaf,
        step: Step,
        held: Held,
        *,
        fresh: bool,
    ) -> Result:
        """Take the intent back: what is held is decided anew when it goes out. A further attempt keeps its inputs."""
        error = held.told(step.id)
        if leaf.attempt > 1 or not fresh:
            data = {"attempt": leaf.attempt, "due": held.until, "error": error}
            return Result([Record(path, "retry", data)], leaf.identity, "intent", error=error, attempt=leaf.attempt)
        active.fresh = False  # its row is there when it goes out
        record = Record(path, "held", {"due": held.until, "error": error})
        return Result([record], leaf.identity, "held", error=error, uncounted=concerns(step, path))

    def _effect(self, active: Active, path: str, identity: str, at: datetime, attempt: int) -> Effect:
        run = active.run
        actor = operating.actor_of(self.hub, run)
        return Effect(
            identity, digest(identity), at, run.workflow, run.uid, run.subject_type, run.subject, attempt, actor
        )

    def _connection_of(self, action: Action, step: Step) -> str | None:
        return self.hub.serve(action.capability, step.connection)[0] if action.capability else None

    def _class_of(self, step: Step, params: Any) -> EffectClass:
        """Give the class of an effect: the provider's for its method, or the action's own."""
        action = step.action
        assert action is not None
        if action.own_class is not None:
            declared = action.class_of(params)
            if declared is not None:
                return declared
        if action.capability is None:
            return EffectClass.AT_MOST_ONCE
        provider = self.hub.serve(action.capability, step.connection)[1]
        return effect_class(getattr(provider, action.method or "", None))

    # --- look-ups and re-reading -------------------------------------------------------------------------------------

    def _line(self, connection: str | None) -> asyncio.Semaphore:
        """Give what lets the calls on a connection in, a number at once."""
        if connection not in self._lines:
            self._lines[connection] = asyncio.Semaphore(self.max_calls)
        return self._lines[connection]

    async def let_end(self, connection: str) -> None:
        """Return when the calls on a connection that are under way have ended, or have taken long enough to."""
        line = self._lines.pop(connection, None)  # new ones have a line of their own
        if line is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(ATTEMPT_TIMEOUT):
                for _ in range(self.max_calls):
                    await line.acquire()

    async def _turn_of(self, connection: str, who: str) -> datetime | None:
        """Give until when a connection is not to be read from; None where it may be now."""
        if self.hub.connections.rests(connection):
            return self.hub.clock.now() + AGAIN  # a row of ours is looked at, not the vendor
        return await self.limits.turn(connection, who)

    async def _later(self, connection: str | None, error: Exception) -> datetime:
        """Give when a reading that failed is made again; where our credentials are refused, the connection is held."""
        if isinstance(error, ConnectionBroken) and connection is not None:
            await self.hub.connections.refused(connection, error)
        if isinstance(error, RetryLater) and error.too_often and error.after:
            await self.limits.close(connection, error.after)
        after = error.after if isinstance(error, RetryLater) and error.after else 0.0
        return self.hub.clock.now() + max(AGAIN, timedelta(seconds=after))

    async def _look_up(self, active: Active, command: LookUp) -> Result:
        call = lookup_key(command.name, command.args)
        connection = None
        try:
            connection, provider = self.hub.serve("on_call", None)
            turn = await self._turn_of(connection, f"{active.run.id} {command.path} {call}")
            if turn is not None:
                return self._rest(active, command.path, turn)
            target, at = (*command.args, None)[:2]
            ref = getattr(target, "id", target)
            async with self._line(connection), asyncio.timeout(ATTEMPT_TIMEOUT):
                answer = await provider.on_call(ref, at or self.hub.clock.now())
        except (RetryLater, ConnectionBroken, TimeoutError) as error:
            self.hub.tell("lookup.unanswered", f"{command.name}(): {error}", run=active.run.uid)
            return self._rest(active, command.path, await self._later(connection, error))
        except Exception as error:  # noqa: BLE001  whatever a vendor's client raises, the step fails with it
            fault = {"message": masked(f"{command.name}(): {error}"), "step": command.path, "code": "lookup-failed"}
            return Result([Record(command.path, "failed", {"error": fault})])
        return Result([Record(command.path, "lookup", {"call": call, "answer": answer})])

    async def _refresh(self, active: Active, command: Refresh) -> Result:
        """Read a subject again; reads of one subject are shared, one that fails holds the effect."""
        kind = str(command.subject_type or active.run.subject_type)
        ref = str(command.subject or active.run.subject)
        try:
            fact = await asyncio.shield(self._reading(kind, ref))
        except Limited as limited:
            self._readings.pop((kind, ref), None)
            return self._rest(active, command.path, limited.until)
        except Exception as error:  # noqa: BLE001  whatever the vendor's client raises, nothing goes out on stale state
            self.hub.discretion.tell_about(kind, ref, "subject.stale", f"{ref} could not be read again: {error}")
            return self._rest(active, command.path, await self._later(ref.partition(":")[0], error))
        if fact is None:
            self.hub.tell("subject.gone", f"{ref} is no longer there: nothing goes out about it", subject=ref)
            return self._rest(active, command.path, self.hub.clock.now() + FRESH)
        return Result(readings=[(ref.partition(":")[0], fact)])

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
        turn = await self._turn_of(connection, ref)
        if turn is not None:
            raise Limited(turn)
        provider = self.hub.provider(connection)
        async with self._line(connection), asyncio.timeout(ATTEMPT_TIMEOUT):
            found = await provider.get(ref)
        if found is None:
            return None
        names = [one.name for one in dataclasses.fields(found) if one.name != "id"]
        owned = getattr(provider, "owns", None)
        known = {name: getattr(found, name) for name in names if owned is None or name in owned}
        return Fact(f"{kind}.updated", self.hub.clock.now(), kind, ref, subjects.read_fields(kind, known))

    # --- the commit --------------------------------------------------------------------------------------------------

    async def _commit(
        self,
        active: Active,
        results: list[Result],
        outcome: Outcome,
        seen: int | None,
        applied: int | None = None,
        intents: Sequence[Intent] = (),
        looked: int | None = None,
    ) -> bool:
        """Write results, decisions and intents in one commit, then take the results in and pass the word on.

        Gives whether something came in meanwhile that the run has to look at.
        """
        fresh = results if applied is None else results[applied:]
        for result in fresh:
            active.state.apply_all(kept_records(result.records))
        inline = fresh if applied is not None else []
        doubtful = in_doubt(active) if outcome.asks_for(End) else []
        closings = self._closings(outcome)
        write = Commit(self.hub, active, results[:applied], outcome, intents, inline, seen, looked, closings, doubtful)
        told = seen is None or active.state.ended is not None or summary(active.state) == active.written
        if results or outcome.records or outcome.commands or seen or not told:
            await self.hub.journal.commit(write)
        self._pass_on(active, write)
        return write.again

    def _committed(self, active: Active, write: Commit) -> bool:
        """Begin what the first turn of a run asked for, after its commit; give whether to take another at once."""
        active.new = False
        self._pass_on(active, write)
        self._perform(active, write.outcome, set())
        return write.again or active.woken

    def _pass_on(self, active: Active, write: Commit) -> None:
        """Tell of what was committed, and wake whom it concerns."""
        active.written = write.state or active.written
        for result in (*write.results, *write.inline):
            self._report(active, result)
        for command in write.outcome.commands:
            if isinstance(command, End):
                self._report_end(active, command)
            elif isinstance(command, Judged) and command.kind == "start":
                run = active.run
                self.hub.tell("run.started", f"{run.workflow}: it gets its turn", run=run.uid, workflow=run.workflow)
        for closing in write.closings:
            self._show_closed(active, closing)
        if write.events:
            self.hub.events_written()
        if write.timed:
            self.hub.waits_written()
        for number in write.told:
            self.reread(number)
        if write.woken:
            self.hub.runs_woken(write.woken)

    def _closings(self, outcome: Outcome) -> list[Closing]:
        """Give the effects that are waited for no longer; of a question, also what the chat that asked keeps."""
        closings: list[Closing] = []
        if not outcome.asks_for(Close):
            return closings
        for command in outcome.commands:
            row = effect_row(self.hub.reader, command.identity) if isinstance(command, Close) else None
            if not isinstance(command, Close) or row is None:
                continue
            state = command.state or ("failed" if command.outputs is None else "done")
            result = Result(
                [], command.identity, state, outputs=command.outputs, error=command.error, attempt=command.attempt
            )
            closing = Closing(result, action=row["action"])
            provider: Any = self.hub.provider(row["connection"]) if row["connection"] else None
            if row["state"] == "pending" and hasattr(provider, "closing"):
                now, outputs = self.hub.clock.now(), command.outputs or {}
                by = outputs.get("by")
                answer = Fact(ANSWERED, now, data={"answer": outputs.get("answer")}, actor=by) if by else None
                key, kept = provider.closing(command.identity, now, answer)
                closing.kept = (row["connection"], key, kept)
            closings.append(closing)
        return closings

    def _show_closed(self, active: Active, closing: Closing) -> None:
        """Let the chat that asked show that a question is closed, where it can; nothing depends on it."""
        if closing.kept is None:
            return
        connection, _, row = closing.kept
        provider: Any = self.hub.provider(connection)
        if not hasattr(provider, "closed"):
            return

        async def show() -> None:
            try:
                await provider.closed(row)
            except Exception as error:  # noqa: BLE001  whatever the vendor's client raises, the answer counts
                sentence = f"{row['id']} still shows its buttons: {error}"
                self._tell(active, "question.shown-open", sentence, connection=connection)

        task = asyncio.create_task(show(), name=f"closed {row['id']}")
        self._showing.add(task)
        task.add_done_callback(self._showing.discard)

    def _report(self, active: Active, result: Result) -> None:
        said = result.identity
        match result.effect_state:
            case "done" | "pending":
                facts = {"identity": said, "action": result.action, "outputs": result.outputs}
                self._tell(active, "effect.done", did(result), **facts)
            case "dry_run":
                self._tell(active, "effect.dry_run", f"{did(result)}: not done, it is a dry run")
            case "unknown":
                sentence = f"{said}: it is not known whether it happened; decide with 'hotwash runs decide'"
                self._tell(active, "effect.unknown", sentence)
            case "skipped":
                sentence = f"{said}: it is not known whether it happened; it is passed over, as its step says"
                self._tell(active, "effect.skipped", sentence)
            case state if result.error is not None:
                kind = "effect.failed" if state == "failed" else "effect.retry"
                self._tell(active, kind, f"{said}: {result.error.get('message')}")

    def _report_end(self, active: Active, end: End) -> None:
        why = f": {(end.error or {}).get('message') or end.reason}" if end.error or end.reason else ""
        self._tell(active, f"run.{end.state}", f"{active.run.workflow} {active.run.uid} {end.state}{why}")

    def _tell(self, active: Active, event: str, sentence: str, **facts: Any) -> None:
        self.hub.discretion.tell_of(active.run.uid, active.run.workflow, event, sentence, **facts)
