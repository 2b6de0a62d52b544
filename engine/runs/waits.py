"""Waits: until when, for which event, and the look back over what has happened already (LANGUAGE 5)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from engine.domain import Event
from engine.matching import listener_of
from engine.runs.commands import Examined, Listen, StepError, Unlisten
from engine.runs.turn import Blocked, Env, Turn, empty_link, outputs_of, shown
from engine.store.codec import dumps
from engine.workflow.expressions import Equality, Expression
from engine.workflow.model import Step, Until, Wait

#: Names whose values stay as they are while a wait lasts.
_STEADY = frozenset({"steps", "vars", "item", "iteration", "run", "workflow", "inputs"})


def wait(turn: Turn, step: Step, path: str, env: Env) -> Mapping[str, Any]:
    """Give the outputs of a wait that has ended; blocks while it lasts."""
    assert step.wait is not None
    leaf = turn.state.leaves.get(path)
    if leaf is not None and leaf.status == "done":
        return outputs_of(leaf)
    if leaf is None:
        due = _due(turn, step, step.wait, path, env)
        turn.put(path, "wait", {"due": due})
        listen(turn, step, path, env, due, step.wait.until)
        leaf = turn.state.leaves[path]
    found = find_event(turn, step, step.wait.until, path, env)
    if found is not None:
        return _ended(turn, path, env, {"timed_out": False, "event": found[1]}, found[0])
    if holds(turn, step, step.wait.until, path, env):
        return _ended(turn, path, env, {"timed_out": False, "event": None})
    if leaf.due is not None and turn.view.now >= leaf.due:
        return _ended(turn, path, env, {"timed_out": True, "event": None})
    raise Blocked


def _ended(turn: Turn, path: str, env: Env, outputs: Mapping[str, Any], event: int | None = None) -> Mapping[str, Any]:
    taken = {"event_id": event, "branch": env.branch} if event is not None else {}
    turn.put(path, "done", {"outputs": outputs, **taken})
    turn.commands.append(Unlisten(path))
    return outputs_of(turn.state.leaves[path])


def _due(turn: Turn, step: Step, wait: Wait, path: str, env: Env) -> datetime | None:
    if wait.at is not None:
        with turn.evaluating(step.id, path):
            return _instant(turn, wait.at, path, env)
    return turn.due("for", wait.length, step.id, path, env) if wait.length is not None else None


def _instant(turn: Turn, at: Expression, path: str, env: Env) -> datetime:
    scope = turn.scope(path, env)
    value = at.evaluate(scope)
    if value is None:
        raise StepError(f"'at' is null: {empty_link(at, scope)}", "null-input")
    if isinstance(value, str):
        value = _read_instant(value)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise StepError(f"'at' must be an instant with its zone, not {shown(value)}", "no-instant")
    return value


def _read_instant(text: str) -> datetime | str:
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return text
    return read if read.tzinfo is not None else text


def holds(turn: Turn, step: Step, until: Until | None, path: str, env: Env) -> bool:
    """Whether `until` is a condition that is true now."""
    if until is None or until.condition is None:
        return False
    with turn.evaluating(step.id, path):
        return until.condition.holds(turn.scope(path, env))


# --- events ----------------------------------------------------------------------------------------------------------


def find_event(turn: Turn, step: Step, until: Until | None, path: str, env: Env) -> tuple[int, Event] | None:
    """Find the first event that ends a wait, or a repeat, looking back over its round.

    Events from before the round count where they are about something that this run made. Those that an earlier wait
    on the way here took do not.
    """
    if until is None or not until.events:
        return None
    run = turn.state.run
    since = turn.state.cursors.get(path, run.event)
    taken = turn.state.taken.get("", set()) | turn.state.taken.get(env.branch, set())
    for number, event, condition in _candidates(turn, step, until, path, env, since):
        if number in taken or (number <= turn.state.since and not turn.view.made_here(event)):
            continue
        if _fits(turn, step, path, env, event, condition):
            return number, event
    newest = turn.view.newest_event
    if newest > since:
        turn.state.cursors[path] = newest
        turn.commands.append(Examined(path, newest))
    return None


def _candidates(
    turn: Turn, step: Step, until: Until, path: str, env: Env, since: int
) -> list[tuple[int, Event, Expression | None]]:
    found = [
        (number, event, condition)
        for kind, condition in until.events
        for number, event in turn.view.events(kind, since, _subjects(turn, step, path, env, kind, condition))
        if kind not in until.found or _found_for(turn, event)
    ]
    return sorted(found, key=lambda entry: entry[0])


def _found_for(turn: Turn, event: Event) -> bool:
    """Whether a check found an event for this workflow, by the inputs of its own trigger."""
    name = (listener_of(event) or "").partition("/")[0]
    return name in (turn.workflow.id, *turn.view.former_names)


def _subjects(turn: Turn, step: Step, path: str, env: Env, kind: str, condition: Expression | None) -> Sequence[str]:
    """Give the ids of the subjects that an event of a type must be about; none where it may be about any."""
    own = ("event.subject", f"event.{kind.partition('.')[0]}.id")
    found = [json.loads(key) if field in own else None for field, key in _index(turn, step, path, env, condition)]
    ids = [one for one in found if isinstance(one, str)]
    return ids if len(ids) == len(found) else ()


def _fits(turn: Turn, step: Step, path: str, env: Env, event: Event, condition: Expression | None) -> bool:
    if condition is None:
        return event.subject is not None and event.subject == turn.state.run.subject
    with turn.evaluating(step.id, path):
        return condition.holds(turn.scope(path, env.naming(arriving=event)))


# --- listening -------------------------------------------------------------------------------------------------------


def listen(turn: Turn, step: Step, path: str, env: Env, due: datetime | None, until: Until | None) -> None:
    """Ask to be woken at an instant, and when an event arrives that may end the wait."""
    if due is not None and due > turn.view.now:
        turn.commands.append(Listen(path, "timer", due))
    for kind, condition in until.events if until else ():
        for field, value in _index(turn, step, path, env, condition):
            turn.commands.append(Listen(path, "event", None, kind, field, value))


def _index(turn: Turn, step: Step, path: str, env: Env, condition: Expression | None) -> list[tuple[str, str]]:
    """Give the equalities one of which an arriving event must meet, so that no other event wakes the run.

    Without one that can be held against rows, every event of the type does.
    """
    if condition is None:
        return [("event.subject", dumps(turn.state.run.subject))]
    with turn.evaluating(step.id, path):
        scope = turn.scope(path, env)
        for equality in _equalities(condition):
            if not equality.path.startswith("event."):
                continue
            if not all(_is_steady(turn, value) for value in equality.values):
                continue
            values = [v.evaluate(scope) if isinstance(v, Expression) else v for v in equality.values]
            keys = [_index_key(value) for value in values]
            if None not in keys:
                return [(equality.path, key) for key in keys if key is not None]
    return [("", "")]


@lru_cache(maxsize=4096)
def _equalities(condition: Expression) -> list[Equality]:
    return condition.equalities(lambda root: root != "event")


def _is_steady(turn: Turn, value: Any) -> bool:
    """Whether what an event is compared with stays the same while the wait lasts."""
    if not isinstance(value, Expression):
        return True
    subject = turn.state.run.subject_type
    return all(name.partition(".")[0] in _STEADY or name in (subject, f"{subject}.id") for name in value.reads)


def _index_key(value: Any) -> str | None:
    """Give the text of a value as arriving events are asked for it; None where equal values may read differently."""
    if value is None or isinstance(value, str | bool):
        return dumps(value)
    own = getattr(value, "id", None)
    return dumps(own) if isinstance(own, str) else None
