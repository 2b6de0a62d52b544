"""Dry runs: what stands in the place of an effect's outputs, and what is asked for all the same.

Nothing is sent or written. What an action would have given is made from what it says it returns: its inputs where they
have a field's name, else a value of the field's kind that shows what it is. What only reads is done, unless its inputs
name something that a dry run would have made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any, get_type_hints

from engine.calendars import Duration
from engine.domain import RECORDS, Kind, Person, kind_of
from engine.faults import masked
from engine.plugins import Action, EffectClass, NotSent, thinking
from engine.runs.active import Active, Intent, Result, outputs_of_result
from engine.runs.state import DRY, Record, Run
from engine.store.codec import digest, dumps
from engine.store.lookups import Lookups

#: What placeholders are found by in the inputs of later steps.
_PLACEHOLDER = re.compile(r"dry-run:[a-z2-7]{8}|dry-run\.invalid/")
#: Fields that are filled although they may be empty: what people look at first.
_SHOWN = frozenset({"url", "start", "end"})


def is_left_out(active: Active, intent: Intent) -> bool:
    """Whether an effect of this run is only thought of."""
    if not active.run.dry:
        return False
    return intent.kind is not EffectClass.READ or _PLACEHOLDER.search(intent.inputs) is not None


def left_out(active: Active, intent: Intent, world: Lookups, request: Mapping[str, Any] | None = None) -> Result:
    """Give the result of an effect that is only thought of: its placeholder outputs, and the request that it spares."""
    command = intent.command
    action = command.step.action
    assert action is not None
    outputs = placeholder(action, command.checked.params, command.identity, world, active.run)
    shown = {"request": request} if request is not None else {}
    record = Record(command.path, "done", {"outputs": outputs, **shown})
    result = Result([record], command.identity, "dry_run", action.name, outputs)
    result.shared, result.text = bool(command.step.once_per), dumps(outputs)
    return result


def is_shown(intent: Intent, provider: Any) -> bool:
    """Whether a dry run can ask a provider what it would send, which tells us before it sends anything."""
    return intent.kind not in (EffectClass.READ, EffectClass.OWN_ROWS) and getattr(provider, "announces", False) is True


async def request_of(perform: Callable[[], Awaitable[Any]]) -> dict[str, Any]:
    """Give the first request of an effect that would change something, `method target body`, without sending it.

    What it reads beforehand is read. Where that fails, `why` says so.
    """
    try:
        with thinking():
            await perform()
    except NotSent as request:
        body = json.loads(masked(dumps(request.body)))
        return {"method": request.method, "target": masked(request.target), "body": body}
    except Exception as error:  # noqa: BLE001  whatever a vendor's client raises, the dry run goes on without it
        return {"why": masked(str(error) or type(error).__name__)}
    return {"why": "it would change nothing"}


def placeholder(action: Action, params: Any, identity: str, world: Lookups, run: Run) -> dict[str, Any]:
    """Give outputs of an action that was not performed.

    An action that changes a subject gives it as it stands: the one that its inputs name, else the run's own.
    """
    kind = kind_of(action.returns)
    made = _Maker(params, digest(identity)[:8], action.name, world.now, run)
    if kind in RECORDS:
        known = _named(kind, params, world, run) if kind in type(params).model_fields else None
        return outputs_of_result(action, known if known is not None else RECORDS[kind](**made.fields(RECORDS[kind])))
    if not isinstance(action.returns, type) or not is_dataclass(action.returns):
        return {}
    outputs = made.fields(action.returns)
    return outputs | {"timed_out": True} if action.pending and "timed_out" in outputs else outputs


def _named(kind: Kind, params: Any, world: Lookups, run: Run) -> Any | None:
    """Give the subject that an action's inputs name, else the one that the run is about or that its subject is of."""
    ref = getattr(params, kind)
    if ref is None and run.subject_type is not None and run.subject is not None:
        about = run.subject_type == kind
        ref = run.subject if about else getattr(world.subject(run.subject_type, run.subject), kind, None)
    return world.subject(kind, ref) if isinstance(ref, str) else ref


@dataclass(frozen=True, slots=True)
class _Maker:
    """Gives records their fields: from the action's inputs of the same name, by default, or by their kinds."""

    params: Any
    mark: str
    action: str
    now: datetime
    run: Run

    def fields(self, cls: type[Any]) -> dict[str, Any]:
        hints = get_type_hints(cls)
        return {one.name: self._field(one, kind_of(hints[one.name])) for one in fields(cls)}

    def _field(self, one: Field[Any], kind: Kind) -> Any:
        given = getattr(self.params, one.name, None)
        if given is None and one.name == self.run.subject_type:
            given = self.run.subject
        if kind == "text" and isinstance(getattr(given, "id", None), str):
            given = given.id  # type: ignore[union-attr]
        if given is not None and _is_of(kind, given):
            return tuple(given) if isinstance(given, list) else given
        if one.name in _SHOWN or (one.default is MISSING and one.default_factory is MISSING):
            return self._value(one.name, kind)
        return one.default_factory() if one.default_factory is not MISSING else one.default

    def _value(self, name: str, kind: Kind) -> Any:
        if kind.startswith(("list[", "map[")):
            return () if kind.startswith("list[") else {}
        if kind == "text":
            return f"https://dry-run.invalid/{self.action}/{self.mark}" if name == "url" else DRY + self.mark
        if kind in RECORDS and kind != "person":
            return RECORDS[kind](**self.fields(RECORDS[kind]))
        values: Mapping[str, Any] = {
            "number": 200 if name == "status" else 0,
            "boolean": False,
            "instant": self.now + (self._length() if name == "end" else timedelta()),
            "duration": Duration(),
            "person": Person("dry-run", "Dry Run"),
        }
        return values.get(kind)

    def _length(self) -> timedelta:
        length = getattr(self.params, "duration", None)
        return timedelta(seconds=length.seconds) if isinstance(length, Duration) else timedelta()


def _is_of(kind: Kind, value: Any) -> bool:
    """Whether an input of the same name may stand for a field."""
    if kind.startswith("list["):
        return isinstance(value, list | tuple)
    if kind.startswith("map["):
        return isinstance(value, Mapping)
    return kind == "any" or kind_of(type(value)) == kind
