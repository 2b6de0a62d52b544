"""A run while it has something to do: its inbox, its calls, and what comes back from them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, TypeGuard

from engine.domain import FIELDS, Event, kind_of, outputs_of
from engine.plugins import (
    Action,
    Effect,
    EffectClass,
    Fact,
)
from engine.runs.commands import Letter
from engine.runs.hub import Hub
from engine.runs.interpreter import (
    Command,
    Perform,
)
from engine.runs.state import IN_DOUBT, Leaf, Record, Run, RunState
from engine.workflow.model import Step, Workflow


@dataclass(slots=True)
class Result:
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
    shared: bool = True  #: whether other runs may wait for it
    letter: Letter | None = None  #: what waits for a digest in place of a message that was sent
    uncounted: bool = False  #: nothing went out to the people whom its intent was counted for
    text: str | None = None  #: the outputs as JSON, where they were written already


@dataclass(frozen=True, slots=True)
class Intent:
    """A new effect as it is written down: its command, connection, class, and inputs as JSON."""

    command: Perform
    connection: str | None
    kind: EffectClass
    inputs: str


@dataclass(frozen=True, slots=True)
class Checked:
    """Inputs as they are stored: as JSON, as a restart reads them, and as the action takes them."""

    text: str
    stored: Mapping[str, Any]
    params: Any


@dataclass(slots=True)
class Closing:
    """An effect that ended without a call, and of a question the row that the chat keeps of it."""

    result: Result
    action: str
    kept: tuple[str, str, Mapping[str, Any]] | None = None


@dataclass(slots=True)
class Active:
    """A run while it has something to do."""

    run: Run
    state: RunState
    workflow: Workflow
    inbox: list[Result] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    in_flight: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    resting: dict[str, datetime] = field(default_factory=dict)  #: paths of what failed, and when it is tried again
    reread: bool = False  #: somebody else has written records of it
    over: bool = False  #: the run had ended before it was decided about last
    crash: Exception | None = None
    event: Event | None = None  #: the event that its round began with, once it was read
    woken: bool = False  #: whether its row may say that something happened
    written: str = ""  #: the state that its row says
    works: int = -1  #: how many transactions of others there had been when its row was read (`Journal.works`)
    new: bool = False  #: its row is written by the commit that is being drafted
    fresh: bool = False  #: it began in this process and has never been read: nothing of it is unknown
    listened: bool = False  #: whether it may have rows among the waits

    def deliver(self, result: Result) -> None:
        self.inbox.append(result)
        self.changed.set()


#: Codes of what holds an effect, and is no failure of it.
_HOLDING = frozenset({"connection-held", "rate-limited", "closed", "paused", "daily-limit", "muted"})


def summary(state: RunState) -> str:
    """Give the run state of a run that has not ended."""
    statuses = {leaf.status for leaf in state.leaves.values()}
    if "parked" in statuses:
        return "needs_decision"
    if "intent" in statuses:
        return "running"
    waits = "held" in statuses or "retry" in statuses
    return "held" if waits and any(map(is_held, state.leaves.values())) else "waiting"


def is_held(leaf: Leaf) -> bool:
    """Whether something holds an effect, so that it does not go out now."""
    return leaf.status == "held" or (leaf.status == "retry" and (leaf.error or {}).get("code") in _HOLDING)


def find_step(workflow: Workflow, hub: Hub, path: str) -> Step | None:
    """Give the step that a path performs."""
    from engine.workflow.model import walk

    name = path.rpartition("/")[2]
    if path.startswith(("owner/", IN_DOUBT)):
        owner = hub.owner_of(workflow.owner)
        return hub.notice(owner) if owner is not None else None
    steps = {step.id: step for step in walk((*workflow.steps, *workflow.on_failure))}
    candidates = [step for key, step in steps.items() if name == key or name.startswith((key + "[", key + "#"))]
    return max(candidates, key=lambda step: len(step.id), default=None)


_kind_of = cache(kind_of)


@cache
def _outputs_of(returns: Any) -> tuple[str, ...]:
    return tuple(outputs_of(returns))


def outputs_of_result(action: Action, result: Any) -> dict[str, Any]:
    """Give an action's result as the outputs of its step."""
    if result is None:
        return {}
    if isinstance(result, Mapping):
        return dict(result)
    kind = _kind_of(action.returns)
    if kind in FIELDS and not isinstance(result, str):
        names = [name for name in FIELDS[kind] if hasattr(result, name)]
        return {**{name: getattr(result, name) for name in names}, "record": result}
    return {name: getattr(result, name) for name in _outputs_of(action.returns)}


def kept_records(records: Iterable[Record]) -> list[Record]:
    """Leave out what only makes a timer."""
    return [record for record in records if record.kind != "hold"]


def is_new(command: Command) -> TypeGuard[Perform]:
    return isinstance(command, Perform) and command.inputs is not None


def unknown(step: Step, path: str, identity: str, attempt: int, why: str) -> Result:
    """Say that it is not known whether an effect happened that must not be repeated, and do as the step's `on_unknown`.

    It is parked until a person decides, or passed over; a step that wants it repeated does not come here.
    """
    error = {"message": why, "step": step.id, "code": "unknown"}
    if step.on_unknown == "skip":
        passed = Record(path, "done", {"outputs": {}, "decided": "skip"})
        return Result([passed], identity, "skipped", error=error, attempt=attempt)
    return Result([Record(path, "parked", {"error": error})], identity, "unknown", error=error, attempt=attempt)


def drop_outlived(active: Active, results: Iterable[Result]) -> None:
    """Take nothing into a round that an earlier one asked for, but for effects that both have."""
    for result in results:
        if result.round not in (None, active.run.round):
            mine = {leaf.identity for leaf in active.state.leaves.values()} if result.identity is not None else set()
            result.records = result.records if result.identity in mine else []


def in_doubt(active: Active) -> list[str]:
    """Give the effects that are written down as begun, with no call under way and no result that has arrived."""
    coming = {*active.in_flight, *(result.identity for result in active.inbox)}
    leaves = active.state.leaves.values()
    return [
        leaf.identity for leaf in leaves if leaf.status == "intent" and leaf.identity and leaf.identity not in coming
    ]


def folded(command: Perform, letter: Letter) -> Result:
    """Give the result of a message that waits for a digest."""
    action = command.step.action
    assert action is not None
    outputs = dict.fromkeys(action.outputs) | {"digested": True, "muted": False}
    record = Record(command.path, "done", {"outputs": outputs, "until": letter.due, "because": letter.because})
    result = Result([record], command.identity, "done", action.name, outputs, letter=letter)
    result.shared = bool(command.step.once_per)
    return result


def did(result: Result) -> str:
    outputs = result.outputs or {}
    what = outputs.get("url") or outputs.get("key") or outputs.get("title") or ""
    return f"{result.identity}" + (f" → {what}" if what else "")
