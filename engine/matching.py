"""Decide for an event which workflows it starts, which settle, and why the others do not (PROMISES 1.2, 1.11).

Nothing is written here: a `Match` says what intake shall write. The same functions answer `hotwash explain` for
events that left no row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from engine.domain import FIELDS, Event
from engine.plugins import Trigger
from engine.store.codec import digest, dumps, encode
from engine.store.lookups import Lookups, Uncommitted
from engine.subjects import MAX_DEPTH
from engine.workflow import inputs
from engine.workflow.expressions import EvaluationError, Expression, Scope, Verdict, compile_expression, index_key
from engine.workflow.listening import compared, varies
from engine.workflow.model import Concurrency, TriggerUse, Workflow
from engine.workflow.scope import Names

Kind = Literal[
    "start",
    "settling",
    "condition_false",
    "inputs_differ",
    "own",
    "cut",
    "private",
    "merged",
    "off",
    "stopped_already",
    "failed",
    "already_ran",
    "folded",
    "left",
    "limited",
    "queued",
    "skipped",
]

#: Verdicts that always leave a row; a false condition does where it cannot be computed again.
KEPT = frozenset(
    {"start", "settling", "failed", "already_ran", "folded", "cut", "stopped_already", "left", "limited"}
    | {"queued", "skipped"}
)


@dataclass(frozen=True, slots=True)
class Match:
    """What one event means to one trigger of one workflow."""

    workflow: Workflow
    use: TriggerUse
    index: int
    kind: Kind
    key: str | None = None
    due: datetime | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    keep: bool = False
    inputs: Mapping[str, Any] | None = None  #: that a person gave
    dry: bool = False  #: whether a person asked for a dry run
    slot: str | None = None  #: what it shares with the runs that it may not go on beside (`concurrency`)


class Listeners:
    """The loaded workflows by the event types that their triggers listen to."""

    def __init__(self, workflows: Iterable[Workflow]) -> None:
        self._by_event: dict[str, list[tuple[Workflow, TriggerUse, int]]] = {}
        self._leaving: dict[str, list[tuple[Workflow, TriggerUse, int]]] = {}
        for workflow in workflows:
            for index, use in enumerate(workflow.triggers):
                self._by_event.setdefault(use.trigger.event, []).append((workflow, use, index))
                if use.settle is not None:
                    for left in use.trigger.left_by:
                        self._leaving.setdefault(left, []).append((workflow, use, index))
        self._hashes: dict[str, tuple[str, list[list[str]]]] = {}

        self._indexes = {event_type: _Index(listeners) for event_type, listeners in self._by_event.items()}

    def of(self, event_type: str) -> Sequence[tuple[Workflow, TriggerUse, int]]:
        return self._by_event.get(event_type, ())

    def candidates(self, event: Event, world: Lookups) -> Sequence[tuple[Workflow, TriggerUse, int]]:
        """Give those of the listeners to an event's type that it may mean something to, in the same order.

        The others have a condition that compares something with a constant, which is not what it is now.
        """
        index = self._indexes.get(event.type)
        return index.candidates(event, world) if index is not None else ()

    @property
    def evaluated(self) -> Sequence[Workflow]:
        """The workflows whose conditions are evaluated for every event of their type."""
        found = {workflow.id: workflow for index in self._indexes.values() for workflow in index.evaluated}
        return list(found.values())

    def left_by(self, event_type: str) -> Sequence[tuple[Workflow, TriggerUse, int]]:
        """Give the triggers with a settle time whose state an event of this type leaves."""
        return self._leaving.get(event_type, ())

    def set_of(self, event_type: str) -> tuple[str, list[list[str]]]:
        """Give the hash of the versions that listen to a type, and the versions."""
        known = self._hashes.get(event_type)
        if known is None:
            versions = sorted({(w.id, w.version) for w, _, _ in self.of(event_type)})
            known = (digest(dumps(versions)), [list(pair) for pair in versions])
            self._hashes[event_type] = known
        return known


class _Index:
    """The listeners to one type by what their conditions compare with a constant.

    Each stands at the equality that the fewest share; those without one, or whose false condition leaves a verdict,
    are evaluated for every event.
    """

    def __init__(self, listeners: Sequence[tuple[Workflow, TriggerUse, int]]) -> None:
        self._all = listeners
        self._named = {f"{workflow.id}/{use.name}": position for position, (workflow, use, _) in enumerate(listeners)}
        self._rest: list[int] = []
        self._places: dict[tuple[str, bool], _Place] = {}
        equalities = [compared(workflow, use) for workflow, use, _ in listeners]
        shared = Counter(entry for found in equalities for one in found for entry in one.entries)
        for position, found in enumerate(equalities):
            best = min(found, key=lambda one: sum(shared[entry] for entry in one.entries), default=None)
            if best is None:
                self._rest.append(position)
                continue
            place = self._places.setdefault((best.path, best.member), _Place(best.path, best.member))
            place.positions.append(position)
            for _, _, key in best.entries:
                place.by_key.setdefault(key, []).append(position)

    @property
    def evaluated(self) -> list[Workflow]:
        return [self._all[position][0] for position in self._rest]

    def candidates(self, event: Event, world: Lookups) -> Sequence[tuple[Workflow, TriggerUse, int]]:
        addressed = listener_of(event)
        if addressed is not None:
            position = self._named.get(addressed)
            return [self._all[position]] if position is not None else ()
        if not self._places or event.depth > MAX_DEPTH:  # a chain that is cut leaves a verdict everywhere
            return self._all
        found = list(self._rest)
        scope = scope_of(self._all[0][0], event, world)
        for place in self._places.values():
            found += place.candidates(event, world, scope)
        return [self._all[position] for position in sorted(set(found))]


class _Place:
    """The listeners that compare what is at one path, by the constants that they compare it with."""

    def __init__(self, path: str, member: bool) -> None:
        self.expression, self.member = compile_expression(path), member
        self.positions: list[int] = []
        self.by_key: dict[Hashable, list[int]] = {}
        kind, _, name = path.partition(".")
        known = FIELDS.get(kind, {}).get(name)
        #: the field that a path is to, where its text is stored as it stands: it is read without making the record
        self.stored = (kind, name) if known is not None and known.kind == "text" and not known.derived else None

    def _value(self, event: Event, world: Lookups, scope: Scope) -> Any:
        if self.stored is not None and event.subject_type == self.stored[0] and isinstance(world, Uncommitted):
            state = world.known.get((event.subject_type, str(event.subject)), {})
            if (text := state.get(self.stored[1])) is not None:
                return text
        return self.expression.evaluate(scope)

    def candidates(self, event: Event, world: Lookups, scope: Scope) -> Iterable[int]:
        try:
            value = self._value(event, world, scope)
        except Exception:  # noqa: BLE001  each of them says for itself what cannot be read
            return self.positions
        if self.member and not isinstance(value, list | tuple):
            return self.positions
        keys = [index_key(one) for one in value] if self.member else [index_key(value)]
        if None in keys:
            return self.positions
        return [position for key in keys for position in self.by_key.get(key, ())]


#: Where an event that a due check found keeps the one trigger it was looked for.
LISTENER = "~listener"


def listener_of(event: Event) -> str | None:
    """Give the one trigger that a due check spoke for, as `workflow/trigger`; None for an event for all."""
    value = event.data.get(LISTENER)
    return str(value) if value is not None else None


def match(workflow: Workflow, use: TriggerUse, index: int, event: Event, world: Lookups) -> Match | None:
    """Say what an event means to a trigger; None where it does not concern it at all."""
    try:
        return _match(workflow, use, index, event, world)
    except Exception as error:  # noqa: BLE001  what a trigger of a plugin raises must not keep the event from others
        return _failed(workflow, use, index, error)


def settled(workflow: Workflow, use: TriggerUse, index: int, event: Event, world: Lookups) -> Match:
    """Say what the end of a settle time means: conditions are evaluated on the state as it is now."""
    if workflow.mode == "off":
        return Match(workflow, use, index, "off")
    incident = world.subject("incident", str(event.subject)) if event.subject_type == "incident" else None
    if incident is not None and incident.merged_into:
        return Match(workflow, use, index, "merged")
    if _asked(use) == "no" and world.is_private(event.subject_type, event.subject):
        return Match(workflow, use, index, "private", keep=True)
    return evaluate(workflow, use, index, event, world)


def _asked(use: TriggerUse) -> str:
    """Give how private a subject may be that starts the workflow: `no`, `only` or `both`."""
    return getattr(use.params, "private", "no")


def _failed(workflow: Workflow, use: TriggerUse, index: int, error: Exception) -> Match:
    expected = isinstance(error, EvaluationError | ValueError)
    message = str(error) if expected else f"{type(error).__name__}: {error}"
    return Match(workflow, use, index, "failed", detail={"message": message})


def _match(workflow: Workflow, use: TriggerUse, index: int, event: Event, world: Lookups) -> Match | None:
    def said(kind: Kind, **more: Any) -> Match:
        return Match(workflow, use, index, kind, **more)

    addressed = listener_of(event)
    if addressed is not None and addressed != f"{workflow.id}/{use.name}":
        return None
    if addressed is not None:
        event = replace(event, data={name: value for name, value in event.data.items() if name != LISTENER})
    if use.connection is not None and use.connection != event.source:
        return said("inputs_differ")
    if event.private and _asked(use) == "no":
        return said("private")
    if _asked(use) == "only" and not event.private:
        return said("inputs_differ")
    if use.trigger.matches is not None and not use.trigger.matches(use.params, event):
        return said("inputs_differ")
    refused = _refused(workflow, use, event)
    if refused is not None:
        return said(refused)
    if use.settle is not None:
        return said("settling", due=world.counting_in(workflow.during).add(event.time, use.settle))
    return evaluate(workflow, use, index, event, world)


def _refused(workflow: Workflow, use: TriggerUse, event: Event) -> Kind | None:
    if workflow.mode == "off":
        return "off"
    if (event.after or {}).get("merged_into"):
        return "merged"
    if event.own and not use.own and not use.trigger.own_may_start:
        return "own"
    if event.depth > MAX_DEPTH:
        return "cut"
    return None


def evaluate(workflow: Workflow, use: TriggerUse, index: int, event: Event, world: Lookups) -> Match:
    """Evaluate `if`, `stop_when`, `once_per` and `concurrency` on the state as it is now."""
    scope = scope_of(workflow, event, world.counting_in(workflow.during))
    found = _evaluate(workflow, use, index, event, scope)
    return found if workflow.concurrency is None else _in_slot(found, workflow.concurrency, event, scope)


def _in_slot(found: Match, concurrency: Concurrency, event: Event, scope: Scope) -> Match:
    """Add what an occasion shares with others, where it starts a run, or might: in a queue `if` is decided later."""
    if found.kind != "start" and not (found.kind == "condition_false" and concurrency.on_conflict == "queue"):
        return found
    try:
        key = found.key
        if key is None:
            key = key_of(found.workflow, found.use.trigger, found.use.params, event, scope)
        return replace(found, key=key, slot=slot_of(concurrency, scope))
    except Exception as error:  # noqa: BLE001  a plugin's key may raise anything
        return _failed(found.workflow, found.use, found.index, error)


def slot_of(concurrency: Concurrency, scope: Scope) -> str:
    """Give what a run shares with those that it may not go on beside."""
    return _joined([part.evaluate(scope) for part in concurrency.key])


def _evaluate(workflow: Workflow, use: TriggerUse, index: int, event: Event, scope: Scope) -> Match:
    def said(kind: Kind, **more: Any) -> Match:
        return Match(workflow, use, index, kind, **more)

    try:
        if workflow.condition is not None:
            verdict = workflow.condition.test(scope)
            if not verdict.value:
                return said("condition_false", detail=_why(verdict), keep=varies(workflow.condition))
        if workflow.stop_when is not None and _stopped_already(workflow, workflow.stop_when, scope):
            return said("stopped_already", detail={"stop_when": workflow.stop_when.text})
        return said("start", key=key_of(workflow, use.trigger, use.params, event, scope))
    except Exception as error:  # noqa: BLE001  a plugin's key may raise anything
        return _failed(workflow, use, index, error)


def by_hand(
    workflow: Workflow,
    use: TriggerUse,
    index: int,
    event: Event,
    world: Lookups,
    given: Mapping[str, Any],
    *,
    again: bool = False,
    dry: bool = False,
) -> Match:
    """Say what it means that a person starts a workflow: `if` is not looked at, for they have decided."""

    def said(kind: Kind, **more: Any) -> Match:
        return Match(workflow, use, index, kind, **more)

    scope = scope_of(workflow, event, world.counting_in(workflow.during), given)
    try:
        if workflow.stop_when is not None and _stopped_already(workflow, workflow.stop_when, scope):
            return said("stopped_already", detail={"stop_when": workflow.stop_when.text})
        key = key_of(workflow, use.trigger, use.params, event, scope)
    except Exception as error:  # noqa: BLE001  a plugin's key may raise anything
        return _failed(workflow, use, index, error)
    found = said("start", key=f"{key}/again/{event.id}" if again else key, inputs=given, dry=dry)
    return found if workflow.concurrency is None else _in_slot(found, workflow.concurrency, event, scope)


def _stopped_already(workflow: Workflow, condition: Expression, scope: Scope) -> bool:
    """Whether `stop_when` holds; one that reads what only a run knows is left to the run."""
    if condition.names & {"steps", "run"}:
        return False
    own = {f"vars.{name}" for name, _ in workflow.vars}
    if any(read == "vars" or ".".join(read.split(".")[:2]) in own for read in condition.reads):
        return False
    return condition.holds(scope)


def scope_of(workflow: Workflow, event: Event, world: Lookups, given: Mapping[str, Any] | None = None) -> Scope:
    """Give the names that `if`, `once_per` and `stop_when` of a file may read; `given` are inputs a person gave."""
    kind, ref = event.subject_type, event.subject
    later: dict[str, Callable[[], Any]] = {
        "vars": lambda: dict(world.directory.vars),
        "workflow": lambda: {"id": workflow.id, "name": workflow.name, "owner": workflow.owner},
        "inputs": lambda: inputs.resolve(workflow, _inputs(workflow, event, given), world),
    }
    if kind is not None and ref is not None:
        later[kind] = lambda: world.subject(kind, ref)
    elif workflow.subject is not None:
        later[workflow.subject] = lambda: None
    names = Names({"event": event, "steps": {}, "run": {}}, later)
    return Scope(names, world, world.now, world.directory.zone, world.working)


def _inputs(workflow: Workflow, event: Event, given: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return given if given is not None else inputs.of_event(workflow, event.subject)


def key_of(workflow: Workflow, trigger: Trigger, params: Any, event: Event, scope: Scope) -> str:
    """Give the key of the run that an event starts: the file's `once_per`, else the trigger's default."""
    if workflow.once_per is not None:
        values: Sequence[Any] = [part.evaluate(scope) for part in workflow.once_per]
    elif trigger.key is not None:
        values = trigger.key(params, event)
    else:
        values = (event.id,)
    return _joined(values)


def _joined(values: Sequence[Any]) -> str:
    *first, last = [_text(value) for value in values] or [""]
    return "/".join([*(text.replace("/", "%2F") for text in first), last])  # a/b and c differ from a and b/c


def _text(value: Any) -> str:
    plain = getattr(value, "id", value) if not isinstance(value, str) else value
    encoded = encode(plain)
    if isinstance(encoded, dict) and len(encoded) == 1:
        encoded = next(iter(encoded.values()))
    return encoded if isinstance(encoded, str) else dumps(encoded)


def _why(verdict: Verdict) -> dict[str, Any]:
    return {"failed": verdict.failed, "values": dict(verdict.values), "nulls": list(verdict.nulls)}


_SAID: Mapping[str, str] = {
    "start": "started",
    "settling": "settling",
    "condition_false": "its condition was false",
    "inputs_differ": "the trigger's inputs do not fit",
    "own": "our own account did it, and the trigger does not say 'own: true'",
    "cut": f"more than {MAX_DEPTH} runs stand behind this event, the chain was cut",
    "private": "it is about something private, and the trigger does not ask for that (private: both)",
    "merged": "the incident was merged into another, and only that one starts workflows",
    "off": "the workflow is off",
    "stopped_already": "'stop_when' holds already",
    "failed": "its condition could not be evaluated",
    "already_ran": "it already ran for this key",
    "folded": "a run for the same subject is still going",
    "left": "the state was left again",
    "limited": "held for a later check",
    "taken_up": "taken up in a new round",
    "queued": "waits for its turn",
    "skipped": "skipped: there is no room",
}


def sentence(kind: str, detail: Mapping[str, Any] | None = None) -> str:
    """Say a verdict in words."""
    text = _SAID.get(kind, kind)
    detail = detail or {}
    if kind == "condition_false" and detail.get("failed"):
        met = ", ".join(f"{name} was {_shown(value)}" for name, value in (detail.get("values") or {}).items())
        text = f"false at: {detail['failed']}" + (f"  ({met})" if met else "")
        empty = detail.get("nulls")
        if empty:
            text += f"; empty: {', '.join(empty)}"
    elif kind == "settling" and detail.get("until"):
        text = f"settling until {detail['until']}"
    elif kind == "failed" and detail.get("message"):
        text += f": {detail['message']}"
    elif kind in ("start", "taken_up") and detail.get("dry_run"):
        text += ", as a dry run"
    elif kind == "stopped_already" and detail.get("stop_when"):
        text += f": {detail['stop_when']}"
    if detail.get("behind"):
        text += f" behind {', '.join(detail['behind'])}" + (", of which it takes the place" * ("replaces" in detail))
    if detail.get("beside"):
        text += f" beside {', '.join(detail['beside'])}"
    if detail.get("by"):
        text += f" by hand, by {detail['by']}: 'if' was not looked at"
    if detail.get("replayed"):
        text += f"; replayed by {detail['replayed']}"
    return text


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"'{value}'"
    encoded = encode(value)
    if isinstance(encoded, dict) and len(encoded) == 1:
        encoded = next(iter(encoded.values()))
    text = dumps(encoded) if not isinstance(encoded, str) else encoded
    return text if len(text) < 80 else text[:77] + "…"
