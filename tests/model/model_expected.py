"""A simple model of the engine: what a user may expect of the workflows in `model_project`, kept in memory.

A workflow is a generator that yields what it wants next; a run is that generator with how far it has come. Where a
promise leaves more than one outcome (the pause before another attempt, what a crash cut off), the model is told which
it was and checks that it is one of those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from model_project import WINDOW, Services

MINUTE = timedelta(minutes=1)
#: Attempts of an effect, and the shortest and longest pause before the second and third.
ATTEMPTS, PAUSES = 3, {2: (5 * MINUTE, 6 * MINUTE), 3: (10 * MINUTE, 12 * MINUTE)}
#: From when on what a call may have made can be looked for: a request's time-out, and until the service shows it.
LOOK_AFTER = timedelta(seconds=90)
SETTLES = 15 * MINUTE
STATUS = {"declared": "declared", "reopened": "declared", "acknowledged": "acknowledged", "mitigated": "mitigated"}
STATUS["resolved"] = "resolved"
ENDED = frozenset({"finished", "failed", "stopped", "cancelled"})
Kind = Literal["once", "native", "idem", "found"]


class Witness(Protocol):
    """Who says what happened where a promise leaves it open."""

    def pause(self, identity: str) -> datetime:
        """Give when the next attempt is due."""

    def cut_off(self, identity: str) -> bool:
        """Whether the call was under way in the last crash and is in doubt after it."""

    def was_made(self, identity: str) -> bool:
        """Whether the service had made it at the last crash."""

    def has_looked(self, workflow: str, key: str, step: str, now: datetime) -> bool:
        """Whether a look that an earlier round left was over when the new one came to the step, both at one instant."""

    def state_of(self, workflow: str, key: str) -> str | None:
        """Give the state of a run, where what came first of two things is left open; None where there is none."""


@dataclass(eq=False)
class Happened:
    """An event that is matched."""

    type: str
    subject: str | None
    time: datetime
    data: dict[str, Any] = field(default_factory=dict)
    uid: str = ""


# --- what a script may want -------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Call:
    """An effect."""

    step: str
    kind: Kind
    text: Callable[[], str]
    marks: str = ""
    lasts: bool = False
    shared: str | None = None
    goes_on: bool = False  #: continue_on_error
    question: bool = False
    unless: Callable[[], bool] | None = None  #: what ends a repeat while the next iteration is held; it is `OVER` then
    status: str = "new"  #: new held cut waits retry looking parked pending done failed
    attempt: int = 1
    due: datetime | None = None
    kept_back: bool = False  #: whether it waits for a pause to end or a calendar to open
    begun: datetime | None = None  #: when its last attempt was written down
    since: int = 0
    doubtful: bool = False  #: whether the last attempt may have made it
    value: Any = None


@dataclass(eq=False)
class Sub(Call):
    """A call of another workflow."""

    workflow: str = ""
    child: Run | None = None


@dataclass(eq=False)
class Letter(Call):
    """A message that waits for a digest."""


@dataclass(eq=False)
class Wait:
    """An instant, an event or a condition, whichever is first."""

    length: timedelta | None = None
    event: Callable[[Happened], bool] | None = None
    holds: Callable[[], bool] | None = None
    due: datetime | None = None
    begun: bool = False


@dataclass(eq=False)
class Look:
    """Whether an event that would end a wait is there."""

    event: Callable[[Happened], bool]


@dataclass(eq=False)
class Each:
    """Several scripts side by side."""

    tasks: list[Task]


Script = Generator[Call | Wait | Look | Each, Any, None]


@dataclass(eq=False)
class Task:
    script: Script
    wants: Call | Wait | Look | Each | None = None
    over: bool = False


#: What a call gives that was held and is wanted no more.
OVER = object()


class Blocked(Exception):
    """It goes on when something happens."""


class Failed(Exception):
    """A step failed."""


class Stopped(Exception):
    """`stop_when` holds."""


@dataclass(eq=False)
class Run:
    workflow: str
    key: str
    subject: str
    first: int  #: the event that it began with
    round: int = 0
    since: int = 0  #: events after this one belong to the round
    state: str = "waiting"
    more: bool = True  #: whether effects may follow the one that is wanted now
    task: Task | None = None
    made: set[str] = field(default_factory=set)
    taken: set[int] = field(default_factory=set)
    failures: int = 0
    queued: bool = False  #: whether it waits for its turn
    decides: bool = False  #: whether its condition is decided when the turn comes
    asked: bool = False  #: whether it is to end, for another takes its place
    fresh: bool = True  #: whether nothing was settled since it began
    late: bool = False  #: whether its wait was over when another took its place
    given: str = ""  #: by whoever called it
    caller: Sub | None = None  #: who waits for its end
    ends: str | None = None  #: the state that whoever called it wants it to end in
    by_caller: bool = False  #: whether it ended so


@dataclass(eq=False)
class Settling:
    subject: str
    event: int
    due: datetime


# --- the model --------------------------------------------------------------------------------------------------------


class Model:
    """What should be so. `now` is the engine's clock."""

    def __init__(self, now: datetime, services: Services, witness: Witness) -> None:
        self.now, self.services, self.witness = now, services, witness
        self.born = now  #: when the engine was started
        self.events: list[Happened] = []
        self.ignored = 0  #: what was said that changed nothing
        self.subjects: dict[str, dict[str, Any]] = {}
        self.runs: dict[tuple[str, str], Run] = {}
        self.settling: dict[str, Settling] = {}
        self.reopened: dict[str, list[datetime]] = {}  #: when sources said so, whether it was news or not
        self.effects: dict[str, tuple[Run, Call]] = {}
        self.doubts: set[tuple[Any, ...]] = set()  #: attempts of which somebody had to say what became of them
        self.least: Counter[str] = Counter()  #: calls by identity
        self.most: Counter[str] = Counter()
        self.texts: dict[str, set[str]] = {}
        self.crashing = False  #: whether calls may have been cut off in what is settled now
        self.hanging: Literal["before", "after"] | None = None  #: where calls stand still, and are cut off
        self.made: set[str] = set()  #: what the services have made
        self.paused: set[str] = set()  #: workflows; the empty name is all
        self.letters: dict[str, datetime] = {}  #: what is told in digests, and when at the latest

    # --- what happens ------------------------------------------------------------------------------------------------

    def fact(self, kind: str, subject: str, time: datetime, fields: dict[str, Any]) -> list[Happened]:
        """Take a fact in and give its events; `accepted` goes on when they have their ids."""
        named = f"{subject_type(subject)}.{kind}"
        known = self.subjects.get(subject)
        if known is not None and time < known["source_time"] <= self.now:
            first = all((event.subject, event.type) != (subject, named) for event in self.events)
            return self._add([named] if first else [], named, subject, time)
        implied = implied_by(kind, subject)
        if known is None:
            state = {**starting(subject), **implied, **fields}
            kinds = [named]
        else:
            state = {**known, **implied, **fields}
            kinds = transitions(subject, known, state)
        self.subjects[subject] = {**state, "source_time": min(time, self.now)}
        return self._add(kinds, named, subject, time)

    def answered(self, question: str, answer: str, by: str, time: datetime) -> list[Happened]:
        """Take an answer in."""
        happened = Happened("chat.answered", None, time, {"question": question, "answer": answer, "by": by})
        self.events.append(happened)
        return [happened]

    def _add(self, kinds: list[str], named: str, subject: str, time: datetime) -> list[Happened]:
        if "incident.reopened" in (kinds or [named]):
            self.reopened.setdefault(subject, []).append(time)
        found = [Happened(kind, subject, time, dict(self.subjects[subject])) for kind in kinds]
        self.events += found
        self.ignored += not found
        return found

    def match(self, events: list[Happened]) -> None:
        """Let events start what listens to them."""
        for event in events:
            number = self.events.index(event)
            for workflow, kinds in LISTENING.items():
                if event.type in kinds:
                    self._occasion(workflow, event, number)
            self._settle_time(event, number)

    def _occasion(self, workflow: str, event: Happened, number: int, since: int | None = None) -> None:
        subject = str(event.subject)
        key = subject if workflow in ONCE_PER_SUBJECT else event.uid
        mode = CONCURRENCY.get(workflow)
        self._let_go(workflow, subject, key)
        crowd = self._crowd(workflow, subject)
        decides = bool(crowd) and mode == "queue"
        if not decides and not CONDITION.get(workflow, always)(self.subjects[subject]):
            return
        if STOP.get(workflow, never)(self.subjects[subject]):
            return
        run = self.runs.get((workflow, key))
        if run is not None and run.state != "stopped":
            return
        if crowd and mode == "skip":
            return
        for other in crowd if mode == "replace" else ():
            other.asked = True
        if run is None:
            run = self.runs[workflow, key] = Run(workflow, key, subject, number)
        run.queued, run.decides = bool(crowd), decides
        run.round += 1
        run.since = number if since is None else since
        run.state, run.more, run.taken = "waiting", True, set()
        run.task = Task(SCRIPTS[workflow](run, self))

    def _crowd(self, workflow: str, subject: str, besides: Run | None = None) -> list[Run]:
        """Give the runs that a new one may not go on beside."""
        if workflow not in CONCURRENCY:
            return []
        mates = (one for one in self.runs.values() if one.workflow == workflow and one.state not in ENDED)
        shared = workflow not in BY_SUBJECT
        return [one for one in mates if one is not besides and (shared or one.subject == subject)]

    def _let_go(self, workflow: str, subject: str, key: str) -> None:
        """Let those go on whose wait was over while the engine was down, where it took them up before the event."""
        for one in self._crowd(workflow, subject):
            if not any(isinstance(what, Wait) and what.due and what.due <= self.now for what in wishes(one.task)):
                continue
            match CONCURRENCY[workflow]:
                case "replace":
                    one.late = self.witness.state_of(one.workflow, one.key) == "cancelled"
                    first = not one.late
                case "skip":
                    first = self.witness.state_of(workflow, key) is not None
                case _:  # in a queue it makes a difference only to what is not wanted
                    first = self.witness.state_of(workflow, key) is None
            if first:
                self._bring_forward(one)

    def _settle_time(self, event: Happened, number: int) -> None:
        subject = str(event.subject)
        if event.type == "incident.resolved":
            if not any(time > event.time for time in self.reopened.get(subject, ())):  # it comes late
                self.settling[subject] = Settling(subject, number, event.time + SETTLES)
        elif leaves(event):
            known = self.settling.get(subject)
            if known is not None and self.events[known.event].time <= event.time:
                del self.settling[subject]

    # --- letting everything happen that can --------------------------------------------------------------------------

    def settle(self) -> None:
        """Bring everything as far as it goes."""
        for subject, one in sorted(self.settling.items(), key=lambda entry: entry[1].due):
            if one.due <= self.now:
                del self.settling[subject]
                self._occasion("settle", self.events[one.event], one.event, since=len(self.events) - 1)
        self._find_out()
        moved = True
        while moved:  # an effect that another run waits for may end in any round
            before = [(run.state, run.round) for run in self.runs.values()]
            calls = {identity: call.status for identity, (_, call) in self.effects.items()}
            for run in list(self.runs.values()):
                if run.state not in ENDED:
                    self._bring_forward(run)
            moved = before != [(run.state, run.round) for run in self.runs.values()]
            moved |= calls != {identity: call.status for identity, (_, call) in self.effects.items()}
        for run in self.runs.values():
            run.fresh = False

    def _find_out(self) -> None:
        """Look for what the calls of runs that have ended may have made; nothing is made any more."""
        for identity, (run, call) in self.effects.items():
            if run.state in ENDED and call.status == "looking" and self.now >= self._due(call):
                self._look_later(call)
                if self.now >= self._due(call):
                    call.status = "done" if identity in self.made else "failed"

    def _bring_forward(self, run: Run) -> None:
        assert run.task is not None
        if run.asked:
            self._make_room(run)
            return
        if run.ends is not None:
            self._end_for_caller(run)
            return
        if run.queued and not self._takes_turn(run):
            return
        try:
            self._look_at_stop(run)
            self._go(run, run.task)
            run.state = "finished"
        except Blocked:
            run.state = self._state_of(run)
        except Stopped:
            self._close(run)
            run.state = "stopped"
        except Failed:
            self._close(run)
            run.state = "failed"
            run.failures += run.caller is None  # whoever waits for it tells of it

    def _end_for_caller(self, run: Run) -> None:
        """End a run that nobody waits for any more, when what it has under way is known."""
        for call in calls_of(run.task):
            if call.status == "looking":
                with suppress(Blocked, Failed):
                    self._effect(run, call)
        run.state = self._state_of(run)
        if all(call.status not in ("looking", "cut") for call in calls_of(run.task)):
            self._close(run)
            run.state, run.ends, run.by_caller = str(run.ends), None, True

    def _make_room(self, run: Run) -> None:
        """End a run whose place another takes; one that had only just begun may have come to its first call."""
        run.state = "cancelled"
        if run.fresh or run.late:
            state = self.witness.state_of(run.workflow, run.key)
            assert state in ("cancelled", "failed"), f"{run.workflow} {run.key} is {state}"
            run.state = state
            run.failures += state == "failed"
            identity = f"{run.workflow}/{run.key}/{run.round}/{'ins_end' if run.late else 'ins_post'}"
            self.texts.setdefault(identity, set()).add(str(self.subjects[run.subject]["severity"]))
            self._expect(identity, 0, 1)
        self._close(run)

    def _takes_turn(self, run: Run) -> bool:
        """Whether a run gets its turn, and goes on with it."""
        others = self._crowd(run.workflow, run.subject, besides=run)
        if any(not one.queued or one.first < run.first for one in others):
            return False
        run.queued = False
        if run.decides and not CONDITION.get(run.workflow, always)(self.subjects[run.subject]):
            run.state = "stopped"
            return False
        return True

    def _look_at_stop(self, run: Run) -> None:
        if STOP.get(run.workflow, never)(self.subjects[run.subject]):
            waiting = any(call.status in ("new", "held", "retry", "pending", "waits") for call in calls_of(run.task))
            if run.more or waiting:
                raise Stopped

    def _go(self, run: Run, task: Task) -> None:
        while not task.over:
            if task.wants is None:
                self._send(task, None)
            else:
                self._send(task, self._answer(run, task.wants))

    def _send(self, task: Task, value: Any) -> None:
        try:
            task.wants = task.script.send(value)
        except StopIteration:
            task.over, task.wants = True, None

    def _answer(self, run: Run, wants: Call | Wait | Look | Each) -> Any:
        match wants:
            case Sub():
                return self._called(run, wants)
            case Call():
                return self._effect(run, wants)
            case Wait():
                return self._waited(run, wants)
            case Look():
                return self.find(run, wants.event)
            case Each():
                return self._each(run, wants)

    def _each(self, run: Run, each: Each) -> None:
        outcomes = set()
        for task in each.tasks:
            try:
                self._go(run, task)
            except (Blocked, Failed) as outcome:
                outcomes.add(type(outcome))
        if Blocked in outcomes:
            raise Blocked
        if Failed in outcomes:
            raise Failed

    # --- waits -------------------------------------------------------------------------------------------------------

    def _waited(self, run: Run, wait: Wait) -> bool:
        """Give whether a wait timed out."""
        if not wait.begun:
            wait.begun = True
            wait.due = self.now + wait.length if wait.length is not None else None
        if wait.event is not None and self.find(run, wait.event):
            return False
        if wait.holds is not None and wait.holds():
            return False
        if wait.due is not None and self.now >= wait.due:
            return True
        raise Blocked

    def find(self, run: Run, fits: Callable[[Happened], bool]) -> bool:
        """Look back for the first event that fits; one that is found is taken."""
        for number, event in enumerate(self.events):
            in_round = number > run.since or (number > run.first and event.subject in run.made)
            if in_round and number not in run.taken and fits(event):
                run.taken.add(number)
                return True
        return False

    # --- calls -------------------------------------------------------------------------------------------------------

    def _called(self, run: Run, sub: Sub) -> Run:
        """Give the run of a call when it has ended."""
        if sub.child is not None and sub.child.by_caller and sub.child.state in ENDED:
            sub.status = "new"  # it was still ending for an earlier round
        if sub.status in ("new", "held"):
            if self._is_kept_back(run, sub, "held"):
                raise Blocked
            self._begin_call(run, sub)
        child = sub.child
        assert child is not None
        if sub.status == "failed":
            raise Failed
        if child.state not in ENDED:
            raise Blocked
        child.caller = None
        sub.status = "done" if child.state in ("finished", "stopped") else "failed"
        if sub.status == "failed":
            raise Failed
        return child

    def _begin_call(self, run: Run, sub: Sub) -> None:
        """Let the run of a call begin or go on; one that has finished is kept."""
        key = (sub.workflow, self.identity(run, sub))
        child = self.runs.get(key)
        if child is None:
            child = self.runs[key] = Run(*key, run.subject, len(self.events) - 1)
        sub.status, sub.child, child.caller = "pending", child, sub
        if child.state == "failed":
            self.retry(child)
        elif child.round == 0 or child.state in ("stopped", "cancelled"):
            child.round += 1
            child.since = len(self.events) - 1
            child.state, child.more, child.taken, child.by_caller = "waiting", True, set(), False
            child.given = sub.text()
            child.task = Task(SCRIPTS[sub.workflow](child, self))

    # --- effects -----------------------------------------------------------------------------------------------------

    def identity(self, run: Run, call: Call) -> str:
        if call.shared is not None:
            return f"{run.workflow}/{call.step}/{call.shared}"
        rounds = "" if call.lasts else f"{run.round}/"
        return f"{run.workflow}/{run.key}/{rounds}{call.step}{call.marks}"

    def _effect(self, run: Run, call: Call) -> Any:
        identity = self.identity(run, call)
        if call.status == "held" and call.unless is not None and call.unless():
            call.status, call.kept_back, call.due = "done", False, None
            return OVER
        if call.status in ("new", "waits") or (call.status == "held" and self._is_due(call)):
            known = self.effects.get(identity)
            mine = known is None or known[1] is call or known[1].status == "failed"
            if known is not None and not mine and (call.lasts or call.shared):
                return self._known(run, call, identity, *known)
            if self._is_kept_back(run, call, "held"):
                raise Blocked
            if isinstance(call, Letter):
                self.letters[call.text()], call.status = self.now + WINDOW, "done"
                return None
            self.effects[identity] = (run, call)
            call.attempt, call.begun, call.doubtful = 1, self.now, False
            self.texts.setdefault(identity, set()).add(call.text())
            call.since = len(self.events) - 1
            self._call(call, identity)
        elif call.status == "retry" and self._is_due(call) and not self._is_kept_back(run, call, "retry"):
            call.begun = self.now
            if call.kind == "found" and call.doubtful:
                self._look_later(call)
            else:
                self._call(call, identity)
        elif call.status == "looking" and self.now >= self._due(call):
            self._look_later(call)
            if self.now >= self._due(call):
                self._found(call, identity)
        if call.status == "pending":
            self._hear(call, identity)
        return self._outcome(run, call)

    def _is_due(self, call: Call) -> bool:
        return call.due is None or self.now >= call.due

    def _is_kept_back(self, run: Run, call: Call, status: str) -> bool:
        """Whether nothing of a run may go out now: the call then waits for a pause to end, or for the tide."""
        call.kept_back, call.due = True, None
        if self.paused & {"", run.workflow}:
            call.status = status
        elif run.workflow == "tide" and self.now.hour % 4 >= 2:
            hour = self.now.replace(minute=0, second=0, microsecond=0)
            call.status, call.due = status, hour + timedelta(hours=4 - hour.hour % 4)
        else:
            call.kept_back = False
        return call.kept_back

    def _look_later(self, call: Call) -> None:
        """Look for what a call may have made, when it can be seen whatever call of it was the last before a crash."""
        call.status, call.due = "looking", self._look_from(call)

    def _look_from(self, call: Call) -> datetime:
        return max(call.begun or self.now, self.born) + LOOK_AFTER

    def _found(self, call: Call, identity: str) -> None:
        if identity in self.made:
            call.status = "done"
        else:
            self._call(call, identity)

    def _outcome(self, run: Run, call: Call) -> Any:
        if call.status == "done":
            if call.step in ("bra_doc", "set_doc", "tid_doc") and call.value is None:
                run.made.add("docs:" + run.subject.partition(":")[2])
            return call.value
        if call.status == "failed":
            if call.goes_on:
                return None
            raise Failed
        if call.status == "parked":
            self.doubts.add((run.workflow, run.key, run.round, call.step + call.marks, call.attempt))
        raise Blocked

    def _known(self, run: Run, call: Call, identity: str, owner: Run, earlier: Call) -> Any:
        """Take over what is known under an identity, or wait for it."""
        if earlier.status == "done":
            call.status, call.value = "done", earlier.value
        elif owner is not run:
            call.status = "waits"
        elif earlier.status == "looking" and self.witness.has_looked(run.workflow, run.key, call.step, self.now):
            assert self.now >= self._look_from(earlier), f"{identity} was looked for too early"
            earlier.status = "done" if identity in self.made else "failed"
            return self._effect(run, call)
        elif earlier.status in ("parked", "looking", "cut"):
            self.effects[identity] = (run, call)
            call.attempt, call.begun = 1, self.now
            self.cut(call, identity)
            return self._effect(run, call)
        else:
            raise AssertionError(f"{identity}: an earlier round left it {earlier.status}")
        return self._outcome(run, call)

    def _call(self, call: Call, identity: str) -> None:
        """Let the service be called, and take in what came of it."""
        if self._is_kept_back(self.effects[identity][0], call, "retry"):
            return
        if self.hanging:
            call.status = "cut"
            self._expect(identity, 1, 1)
            self.made |= {identity} if self.hanging == "after" else set()
            return
        if self.crashing and self.witness.cut_off(identity):
            self.made |= {identity} if self.witness.was_made(identity) else set()
            self._expect(identity, 0, 1)
            self.cut(call, identity)
            return
        # a call that may be repeated may have been made before the crash as well
        self._expect(identity, 1, 2 if self.crashing and call.kind != "once" else 1)
        fault = self.services.faults.get(call.step)
        if fault in (None, "lost"):
            self.made.add(identity)
        match fault:
            case None:
                self._delivered(call)
            case "refused":
                call.status = "failed"
            case "lost" | "cut" if call.kind == "once":
                call.status = "parked"
            case _ if call.attempt >= ATTEMPTS:
                call.status = "failed"
            case _:
                call.attempt += 1
                call.status, call.due = "retry", self.witness.pause(identity)
                call.doubtful = fault in ("lost", "cut")
                least, most = PAUSES[call.attempt]
                assert self.now + least <= call.due <= self.now + most, f"{identity} is tried again at {call.due}"

    def cut(self, call: Call, identity: str) -> None:
        """Say what becomes of a call that was cut off."""
        match call.kind:
            case "once":
                call.status = "parked"
            case "found":
                self._look_later(call)
            case _:
                self._call(call, identity)

    def _delivered(self, call: Call) -> None:
        call.status = "done"
        if call.question:
            call.status, call.due = "pending", self.now + 120 * MINUTE

    def _hear(self, call: Call, identity: str) -> None:
        for event in self.events[call.since + 1 :]:
            if event.data.get("question") == identity and event.data["by"] == "ada":
                call.status, call.value = "done", event.data["answer"]
                return
        if self.now >= self._due(call):
            call.status = "done"

    def _due(self, call: Call) -> datetime:
        assert call.due is not None
        return call.due

    def _expect(self, identity: str, least: int, most: int) -> None:
        self.least[identity] += least
        self.most[identity] += most

    def _close(self, run: Run) -> None:
        """Wait for nothing any more: attempts that were to come, questions and calls are given up."""
        for call in calls_of(run.task):
            if isinstance(call, Sub) and call.status == "pending" and call.child is not None:
                call.child.caller = None
                if call.child.state not in ENDED:
                    call.child.ends = "cancelled" if run.state == "cancelled" else "stopped"
            if call.status in ("retry", "pending"):
                call.status = "failed"

    # --- what people do ----------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Take up the calls that hung when the engine was killed."""
        for identity, (_, call) in list(self.effects.items()):
            if call.status == "cut":
                self.cut(call, identity)

    def retry(self, run: Run) -> None:
        """Let a failed run go on at its failed steps, when there is room for it."""
        run.queued, run.decides = any(not one.queued for one in self._crowd(run.workflow, run.subject)), False
        run.state = "waiting"
        for call in wanted(run.task):
            if call.status == "failed":
                call.status = "new"

    def cancel(self, run: Run) -> None:
        """End a run."""
        run.state = "cancelled"
        self._close(run)

    def decide(self, identity: str, decision: str) -> None:
        """Say what became of a call in doubt."""
        _, call = self.effects[identity]
        if decision == "repeat":
            call.status, call.due, call.attempt = "retry", self.now, call.attempt + 1
        else:
            call.status, call.value = "done", "nothing"

    # --- what is compared --------------------------------------------------------------------------------------------

    def _state_of(self, run: Run) -> str:
        found = {call.status for call in calls_of(run.task)}
        if "parked" in found:
            return "needs_decision"
        if found & {"looking", "cut"}:
            return "running"
        return (
            "held"
            if any(call.kept_back and call.status in ("held", "retry") for call in calls_of(run.task))
            else "waiting"
        )

    def dues(self) -> list[datetime]:
        """Give the instants at which something falls due."""
        found = [one.due for one in self.settling.values()]
        for run in self.runs.values():
            if run.state in ENDED:
                continue
            for wants in wishes(run.task):
                due = wants.due if isinstance(wants, Call | Wait) else None
                if due is None or (
                    isinstance(wants, Call) and wants.status not in ("held", "retry", "looking", "pending")
                ):
                    continue
                found.append(due)
        return sorted(found)

    def parked(self) -> list[str]:
        """Give the effects of going runs that a person has to decide."""
        return sorted(
            identity
            for identity, (run, call) in self.effects.items()
            if run.state not in ENDED and call.status == "parked" and call in calls_of(run.task)
        )

    def questions(self) -> list[str]:
        """Give the questions that were put."""
        return sorted(identity for identity, (_, call) in self.effects.items() if call.question)


def wishes(task: Task | None) -> Iterator[Call | Wait | Look | Each]:
    """Give what a task and those in it want."""
    if task is None or task.wants is None:
        return
    yield task.wants
    if isinstance(task.wants, Each):
        for inner in task.wants.tasks:
            yield from wishes(inner)


def wanted(task: Task | None) -> list[Call]:
    """Give the calls that have not let their task go on."""
    return [one for one in wishes(task) if isinstance(one, Call)]


calls_of = wanted


# --- the workflows, as a reader understands them ----------------------------------------------------------------------


def linear(run: Run, model: Model) -> Script:
    severity = severity_of(run, model)
    yield Call("lin_once", "once", severity)
    yield Call("lin_native", "native", severity, goes_on=True)
    yield Call("lin_idem", "idem", severity)
    yield Call("lin_found", "found", severity)


def branch(run: Run, model: Model) -> Script:
    severity = severity_of(run, model)
    yield Call("bra_doc", "once", lambda: "a", lasts=True)
    yield Call("bra_first", "once", severity)
    yield Wait(60 * MINUTE)
    worst = severity() == "sev1"
    run.more = False
    yield Call("bra_one", "idem", severity) if worst else Call("bra_other", "once", severity)


def settle(run: Run, model: Model) -> Script:
    severity = severity_of(run, model)
    document = "docs:" + run.subject.partition(":")[2]

    def published(event: Happened) -> bool:
        return event.type == "document.published" and event.subject == document

    yield Call("set_doc", "found", lambda: "b", lasts=True)
    yield Call("set_post", "native", severity)
    if not (yield Wait(120 * MINUTE, published)):
        return
    for count in (1, 2, 3):
        if (yield Look(published)):
            return
        run.more = count < 3
        nudge = Call("set_nudge", "once", severity, marks=f"#{count}", unless=lambda: model.find(run, published))
        if (yield nudge) is OVER or (yield Look(published)) or count == 3 or not (yield Wait(30 * MINUTE, published)):
            return


def ask(run: Run, model: Model) -> Script:
    severity = severity_of(run, model)
    answer = yield Call("ask_q", "native", severity, question=True)
    if answer == "no":
        yield Call("ask_no", "idem", severity)
    yield Call("ask_end", "once", severity)


def look(run: Run, model: Model) -> Script:
    def published(event: Happened) -> bool:
        return event.type == "document.published" and event.data["title"] == run.subject.partition(":")[2]

    yield Call("loo_a", "idem", lambda: "begun")
    yield Wait(30 * MINUTE)
    late = yield Wait(180 * MINUTE, published)
    yield Call("loo_b", "native", lambda: str(late).lower())
    again = yield Wait(60 * MINUTE, published)
    run.more = False
    yield Call("loo_c", "once", lambda: str(again).lower())


def each(run: Run, model: Model) -> Script:
    def item(name: str) -> Script:
        yield Call("eac_post", "once", lambda: name, marks=f"[{name}]")
        if name == "a":
            yield Wait(20 * MINUTE)
        yield Call("eac_again", "native", lambda: name, marks=f"[{name}]")

    yield Each([Task(item(name)) for name in "abc"])
    yield Call("eac_end", "idem", lambda: model.subjects[run.subject]["title"])


def shared(run: Run, model: Model) -> Script:
    yield Call("sha_once", "once", lambda: "shared", shared=run.subject)
    yield Call("sha_end", "idem", severity_of(run, model))


def again(run: Run, model: Model) -> Script:
    severity = severity_of(run, model)

    def low() -> bool:
        return severity() == "sev3"

    for count in (1, 2, 3):
        post = Call("aga_post", "once", severity, marks=f"#{count}", unless=low if count > 1 else None)
        if (yield post) is OVER or low() or count == 3 or not (yield Wait(10 * MINUTE, holds=low)):
            break
    yield Call("aga_end", "found", severity)


def tide(run: Run, model: Model) -> Script:
    def item(name: str) -> Script:
        if name == "a":
            yield Wait(90 * MINUTE)
        yield Call("tid_each", "idem", lambda: name, marks=f"[{name}]")

    yield Call("tid_once", "once", severity_of(run, model))
    yield Each([Task(item(name)) for name in "ab"])
    yield Call("tid_doc", "found", lambda: "b", lasts=True)
    run.more = False
    yield Call("tid_end", "native", severity_of(run, model))


def turns(run: Run, model: Model) -> Script:
    yield Call("tur_post", "idem", lambda: model.subjects[run.subject]["title"])
    yield Wait(25 * MINUTE)
    yield Call("tur_end", "once", lambda: "over")


def instead(run: Run, model: Model) -> Script:
    severity = severity_of(run, model)
    yield Call("ins_post", "native", severity)
    yield Wait(45 * MINUTE)
    yield Call("ins_end", "native", severity)


def alone(run: Run, model: Model) -> Script:
    yield Call("alo_post", "idem", lambda: "published")
    yield Wait(20 * MINUTE)
    yield Call("alo_end", "native", lambda: "over")


def caller(run: Run, model: Model) -> Script:
    yield Call("cal_post", "idem", lambda: "begun")
    child = yield Sub("cal_call", "once", severity_of(run, model), lasts=True, workflow="callee")
    stopped = child.state == "stopped"
    word = "" if stopped else child.given
    run.more = False
    yield Call("cal_end", "native", lambda: f"{word} {str(stopped).lower()}")


def callee(run: Run, model: Model) -> Script:
    yield Call("cee_post", "once", lambda: run.given)
    yield Wait(40 * MINUTE)
    run.more = False
    yield Call("cee_end", "found", severity_of(run, model))


def letter(run: Run, model: Model) -> Script:
    run.more = False
    yield Letter("let_tell", "native", lambda: run.key[4:])


def severity_of(run: Run, model: Model) -> Callable[[], str]:
    return lambda: str(model.subjects[run.subject]["severity"])


SCRIPTS: dict[str, Callable[[Run, Model], Script]] = {
    one.__name__: one
    for one in (
        *(linear, branch, settle, ask, look, each, shared, again, tide),
        *(turns, instead, alone, caller, callee, letter),
    )
}
LISTENING = {
    "ask": ("incident.acknowledged",),
    "branch": ("incident.declared", "incident.reopened"),
    "linear": ("incident.declared",),
    "look": ("ticket.created", "ticket.reopened"),
    "each": ("ticket.updated",),
    "shared": ("incident.updated",),
    "again": ("incident.mitigated",),
    "tide": ("incident.declared", "incident.mitigated"),
    "turns": ("ticket.closed",),
    "instead": ("incident.resolved",),
    "alone": ("document.published",),
    "caller": ("incident.acknowledged", "incident.reopened"),
    "letter": ("incident.updated",),
}
CONCURRENCY = {"turns": "queue", "instead": "replace", "alone": "skip"}
#: Those whose limit is for each subject.
BY_SUBJECT = frozenset({"alone"})
ONCE_PER_SUBJECT = frozenset({"linear", "branch", "settle", "ask", "look", "again", "tide", "caller"})
State = dict[str, Any]
CONDITION: dict[str, Callable[[State], bool]] = {
    "branch": lambda state: state["severity"] in ("sev1", "sev2"),
    "turns": lambda state: bool(state["title"] != "y"),
}
STOP: dict[str, Callable[[State], bool]] = {
    "branch": lambda state: bool(state["severity"] == "sev4"),
    "tide": lambda state: bool(state["severity"] == "sev4"),
    "settle": lambda state: bool(state["status"] != "resolved"),
    "look": lambda state: bool(state["done"]),
    "caller": lambda state: bool(state["severity"] == "sev4"),
    "callee": lambda state: bool(state["severity"] == "sev3"),
}


def always(_state: State) -> bool:
    return True


def never(_state: State) -> bool:
    return False


# --- subjects ---------------------------------------------------------------------------------------------------------


def subject_type(subject: str) -> str:
    return {"pager": "incident", "tracker": "ticket", "docs": "document"}[subject.partition(":")[0]]


def starting(subject: str) -> State:
    match subject_type(subject):
        case "incident":
            return {"status": "declared", "severity": "sev2"}
        case "ticket":
            return {"done": False, "title": ""}
        case _:
            return {}


def implied_by(kind: str, subject: str) -> State:
    match subject_type(subject), kind:
        case "incident", _ if kind in STATUS:
            return {"status": STATUS[kind]}
        case "ticket", "closed":
            return {"done": True}
        case "ticket", "reopened":
            return {"done": False}
    return {}


def transitions(subject: str, before: State, after: State) -> list[str]:
    """Give the events between two states, the transition first."""
    kinds = []
    match subject_type(subject):
        case "incident":
            if before["status"] != after["status"]:
                kinds.append(_turned(before["status"], after["status"]))
            if before["severity"] != after["severity"]:
                kinds.append("incident.updated")
        case "ticket":
            if before["done"] != after["done"]:
                kinds.append("ticket.closed" if after["done"] else "ticket.reopened")
            if before["title"] != after["title"]:
                kinds.append("ticket.updated")
        case _:
            kinds.append("document.published")  # each time with another content
    return list(dict.fromkeys(kinds))


def _turned(before: str, after: str) -> str:
    if before == "resolved":
        return "incident.reopened"
    return "incident.updated" if after == "declared" else f"incident.{after}"


def leaves(event: Happened) -> bool:
    """Whether an event says that an incident is no longer resolved."""
    return event.type == "incident.reopened"
