"""Effects: their identity, their inputs, what is known of them already, and their attempts."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from engine.domain import Person
from engine.runs import calls
from engine.runs.commands import (
    ANSWERED,
    Close,
    Counted,
    Courtesy,
    Held,
    Listen,
    Perform,
    Refresh,
    StepError,
    Unlisten,
)
from engine.runs.manners import concerns, recipients
from engine.runs.state import DRY, IN_DOUBT, Leaf, Record, escaped, within
from engine.runs.stopping import stops
from engine.runs.turn import Blocked, Env, Stopped, Turn, empty_link, outputs_of, shown
from engine.store.codec import dumps, encode
from engine.workflow.expressions import Scope
from engine.workflow.model import Retry, Step, TemplateUse

#: Gives the inputs of an effect that are not those of its step.
Compose = Callable[[], Mapping[str, Any]]


def effect(turn: Turn, step: Step, path: str, env: Env, compose: Compose | None = None) -> Mapping[str, Any]:
    """Give the outputs of an effect that is done; asks for what brings it there, and blocks until then."""
    leaf = turn.state.leaves.get(path)
    due = leaf is None or leaf.due is None or turn.view.now >= leaf.due
    match leaf.status if leaf is not None else "held":
        case "done":
            assert leaf is not None
            return outputs_of(leaf)
        case "pending" if step.calls is not None:
            assert leaf is not None
            if not calls.was_ended_by_us(turn, step, leaf):
                return calls.outcome(turn, step, path, leaf)
            turn.put(path, "closed")
            return _new(turn, step, path, env, compose)
        case "pending":
            assert leaf is not None
            return _answer(turn, path, leaf)
        case "held" if due:
            return _new(turn, step, path, env, compose)
        case "retry" if due:
            assert leaf is not None
            step = on_connection(step, leaf.connection)
            _hold_back(turn, step, path, env, leaf)
            inputs = _stored_inputs(turn, step, path, leaf)
            if inputs is not None:
                _hold_for(turn, step, path, inputs, leaf)
            counted = _count_again(turn, step, path, leaf, inputs)
            turn.commands.append(Unlisten(path))
            if step.action is not None and step.action.pending:
                turn.commands.append(_answer_to(path, str(leaf.identity)))
            turn.commands.append(Perform(path, step, str(leaf.identity), leaf.attempt, counted=counted))
            turn.put(path, "intent", {"attempt": leaf.attempt})
        case _:
            pass
    raise Blocked


def _new(turn: Turn, step: Step, path: str, env: Env, compose: Compose | None) -> Mapping[str, Any]:
    """Begin an effect, or take over what is recorded under its identity."""
    assert step.action is not None
    with turn.evaluating(step.id, path):
        identity = _identity(turn, step, path, env)
    if step.action.lasts or step.once_per:
        identity = _as_recorded(turn, identity)
        kept = _known(turn, step, path, identity)
        if kept is not None:
            return kept
    step = _choose_connection(turn, step, path, env)
    assert step.action is not None
    _hold_back(turn, step, path, env)
    with turn.evaluating(step.id, path):
        inputs = dict(compose()) if compose is not None else _inputs(turn, step, path, env)
        timeout = None if step.timeout is None else turn.length("timeout", step.timeout, turn.scope(path, env))
        if step.calls is not None:
            calls.begin(turn, step, path, identity, inputs, timeout)
        checked = turn.view.check_inputs(step, inputs)
    _hold_for(turn, step, path, checked)
    if _is_paused(turn.state.leaves.get(path)):
        turn.commands.append(Unlisten(path))
    owed = _NOTHING_OWED
    if concerns(step, path) and not turn.state.run.dry:
        with turn.evaluating(step.id, path):
            owed = turn.view.courtesy(step, identity, checked)
    if owed.unsent is not None:
        return _unsent(turn, step, path, owed.unsent)
    hold(turn, step, path, owed.held)
    if owed.spared:
        with turn.evaluating(step.id, path):
            inputs = {**inputs, "to": [one for one in recipients(checked.params) if one.id not in owed.spared]}
            checked = turn.view.check_inputs(step, inputs)
    intent: dict[str, Any] = {"identity": identity, "attempt": 1}
    if timeout is not None:
        intent["timeout"] = timeout
    if step.connecting is not None:
        intent["connection"] = step.connection
    if step.action.pending and not turn.state.run.dry:
        intent["since"] = turn.view.newest_event
        intent["asked"] = _asked(turn, inputs)
        turn.commands.append(_answer_to(path, identity))
    turn.put(path, "intent", intent)
    perform = Perform(path, step, identity, 1, inputs, checked=checked, counted=owed.counted, letter=owed.letter)
    turn.commands.append(perform)
    raise Blocked


def _known(turn: Turn, step: Step, path: str, identity: str) -> Mapping[str, Any] | None:
    """Give the recorded outputs of an identity; None where it is to be done. Blocks while another sees to it."""
    twin = next((leaf for p, leaf in turn.state.leaves.items() if p != path and leaf.identity == identity), None)
    if twin is not None and twin.status == "done":
        return _keep(turn, path, identity, twin.outputs)
    if twin is not None and twin.status != "failed":
        raise Blocked  # another item of this run has begun it
    known = turn.view.effect(identity)
    if known is None or known.state in ("failed", "stopped"):
        return None
    if known.state in ("done", "skipped", "dry_run"):  # passed over by a person: it is not done again
        return _keep(turn, path, identity, known.outputs or {})
    if known.run != turn.state.run.id:
        turn.ask(Listen(path, "effect", None, "effect", "identity", identity))
        raise Blocked
    if known.state == "held" or step.calls is not None:  # the run of a call is found by its key
        return None
    chosen = {"connection": known.connection} if step.connecting is not None else {}
    turn.put(path, "intent", {"identity": identity, "attempt": 1, **chosen})
    turn.commands.append(Perform(path, step, identity, 1, earlier=True))
    raise Blocked


def _keep(turn: Turn, path: str, identity: str, outputs: Mapping[str, Any]) -> Mapping[str, Any]:
    turn.put(path, "done", {"outputs": dict(outputs), "identity": identity, "kept": True})
    return outputs_of(turn.state.leaves[path])


def _hold_back(turn: Turn, step: Step, path: str, env: Env, leaf: Leaf | None = None) -> None:
    """Block where nothing may go out: after a time-out around it, while something holds it, on stale state."""
    if env.deadline is not None and turn.view.now >= env.deadline:
        raise Blocked
    if turn.state.failing is None and not path.startswith(IN_DOUBT) and stops(turn):
        raise Stopped
    with turn.evaluating(step.id, path):
        held = turn.view.held(step, path)
    hold(turn, step, path, held, leaf)
    if turn.view.stale and turn.state.failing is None and not path.startswith(IN_DOUBT):
        turn.ask(Refresh())
        raise Blocked


def _hold_for(turn: Turn, step: Step, path: str, inputs: Any, leaf: Leaf | None = None) -> None:
    with turn.evaluating(step.id, path):
        held = turn.view.held_for(step, path, inputs)
    hold(turn, step, path, held, leaf)


def hold(turn: Turn, step: Step, path: str, held: Held | None, leaf: Leaf | None = None) -> None:
    """Record why an effect is held, once for as long as that lasts, and block."""
    if held is None:
        return
    error = held.told(step.id)
    known = turn.state.leaves.get(path)
    was_paused = _is_paused(known)
    if known is None or (known.due, known.error) != (held.until, error):
        turn.put(path, "held" if leaf is None else "retry", {"due": held.until, "error": error})
        if leaf is not None or was_paused:
            turn.commands.append(Unlisten(path))
        turn.commands.append(Listen(path, waits_for(error, held.until), held.until, value=held.connection))
    raise Blocked


def waits_for(error: Mapping[str, Any], until: datetime | None) -> str:
    """Give the kind of row that wakes what is held for a reason."""
    if until is not None:
        return "timer"
    return "connection" if error.get("connection") is not None else "pause"


def _is_paused(leaf: Leaf | None) -> bool:
    return leaf is not None and leaf.status == "held" and leaf.due is None and leaf.error is not None


# --- whom it goes to -------------------------------------------------------------------------------------------------

_NOTHING_OWED = Courtesy()


def _unsent(turn: Turn, step: Step, path: str, why: str) -> Mapping[str, Any]:
    """Go on without a message that nobody is to get."""
    assert step.action is not None
    outputs = dict.fromkeys(step.action.outputs) | {"digested": False, "muted": True}
    turn.put(path, "done", {"outputs": outputs, "action": step.action.name, "unsent": why})
    return outputs_of(turn.state.leaves[path])


def _stored_inputs(turn: Turn, step: Step, path: str, leaf: Leaf) -> Any:
    """Give the inputs that a further attempt sends, where it depends on them whether it may; else None."""
    if turn.workflow.during is None and not concerns(step, path):
        return None
    with turn.evaluating(step.id, path):
        return turn.view.intended(step, str(leaf.identity))


def _count_again(turn: Turn, step: Step, path: str, leaf: Leaf, inputs: Any) -> tuple[Counted, ...]:
    """Count a further attempt to the day on which it is made."""
    if not concerns(step, path):
        return ()
    with turn.evaluating(step.id, path):
        owed = turn.view.courtesy_again(str(leaf.identity), inputs)
    hold(turn, step, path, owed.held, leaf)
    return owed.counted


# --- identity and inputs ---------------------------------------------------------------------------------------------


def _identity(turn: Turn, step: Step, path: str, env: Env) -> str:
    assert step.action is not None
    run = turn.state.run
    flow = DRY + turn.workflow.id if run.dry else turn.workflow.id
    if not step.once_per:
        rounds = [] if step.action.lasts else [str(run.round)]
        return "/".join([flow, run.key, *rounds, step.id + env.marks])
    scope = turn.scope(path, env)
    values = [part.evaluate(scope) for part in step.once_per]
    if all(value is None for value in values):
        raise StepError(f"'once_per' is null: {empty_link(step.once_per[0], scope)}", "null-input")
    return "/".join([flow, step.id, *(escaped(text_key(value)) for value in values)])


def _as_recorded(turn: Turn, identity: str) -> str:
    """Give the identity under which an effect is recorded: from before its workflow was renamed, where it is."""
    for name in turn.view.former_names:
        before = identity.replace(turn.workflow.id, name, 1)
        if turn.view.effect(before) is not None:
            return before
    return identity


def on_connection(step: Step, chosen: str | None) -> Step:
    """Give a step with the connection that was chosen for it, where the file does not name one."""
    return step if step.connecting is None else replace(step, connection=chosen)


def _choose_connection(turn: Turn, step: Step, path: str, env: Env) -> Step:
    """Evaluate which connection a step is for; it fails where that is none, or cannot do it."""
    if step.connecting is None:
        return step
    with turn.evaluating(step.id, path):
        scope = turn.scope(path, env)
        name = step.connecting.evaluate(scope)
        if name is None:
            raise StepError(f"'connection' is null: {empty_link(step.connecting, scope)}", "null-input")
        if not isinstance(name, str):
            raise StepError(f"'connection' must be the name of a connection, not {shown(name)}", "no-connection")
        turn.view.check_connection(step, name)
    return on_connection(step, name)


def text_key(value: Any) -> str:
    """Give a value as part of an identity."""
    if value is None:
        return "none"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, str):
        return value
    if (own := getattr(value, "id", None)) is not None:
        return str(own)
    encoded = encode(value)
    if isinstance(encoded, dict) and len(encoded) == 1:
        return str(next(iter(encoded.values())))
    raise StepError(f"must be a text, a number or a record, not {shown(value)}", "no-key")


def _inputs(turn: Turn, step: Step, path: str, env: Env) -> dict[str, Any]:
    """Render the inputs; a template becomes its text."""
    assert step.action is not None
    scope = turn.scope(path, env)
    if step.action.capability == "chat" and "to" in step.inputs:
        scope = _as_read_by(turn, turn.render(step.inputs["to"], scope, markdown=False), scope)
    fields = {(f.alias or name): f for name, f in step.action.params.model_fields.items()}
    inputs: dict[str, Any] = {}
    for name, tree in step.inputs.items():
        value = turn.render(tree, scope, markdown=name in step.markdown)
        if value is not None:
            inputs[name] = value
        elif name in fields and fields[name].is_required():
            raise StepError(f"'{name}' is null: {empty_link(getattr(tree, 'whole', None), scope)}", "null-input")
    if step.template is not None:
        inputs[step.template.into] = _template(turn, step.template, scope)
    return inputs


def _as_read_by(turn: Turn, to: Any, scope: Scope) -> Scope:
    """Let times be shown in the zone of the one person whom a message goes to."""
    people = turn.view.world.directory.people
    someone = to[0] if isinstance(to, list | tuple) and len(to) == 1 else to
    person = people.person(someone) if isinstance(someone, str) else someone
    zone = people.join(person).timezone if isinstance(person, Person) else None
    return scope if zone is None else replace(scope, zone=zone)


def _template(turn: Turn, use: TemplateUse, scope: Scope) -> Any:
    name = str(use.name.evaluate(scope))
    data = {key: turn.render(tree, scope, markdown=False) for key, tree in use.data.items()}
    text = turn.view.render_template(name, scope, data)
    return {"name": name, "text": text} if use.whole else text


# --- questions -------------------------------------------------------------------------------------------------------


def _asked(turn: Turn, inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the ids of those who may answer; empty where an action asks nobody in particular."""
    to = inputs.get("to")
    asked: Sequence[Any] = to if isinstance(to, list | tuple) else [to]
    people = turn.view.world.directory.people
    found = [people.join(one) if isinstance(one, Person) else people.person(str(one)) for one in asked if one]
    return tuple(person.id for person in found if person is not None)


def _answer_to(path: str, question: str) -> Listen:
    return Listen(path, "event", None, ANSWERED, "event.data.question", dumps(question))


def _answer(turn: Turn, path: str, leaf: Leaf) -> Mapping[str, Any]:
    """Look for the answer to a question: the first by somebody who was asked counts."""
    people = turn.view.world.directory.people
    for _, event in turn.view.events(ANSWERED, leaf.since):
        if event.data.get("question") != leaf.identity:
            continue
        if leaf.asked and (event.actor is None or people.join(event.actor).id not in leaf.asked):
            continue
        by = people.join(event.actor) if event.actor is not None else None
        return _closed(turn, path, leaf, {"answer": event.data.get("answer"), "by": by, "timed_out": False})
    if leaf.due is not None and turn.view.now >= leaf.due:
        return _closed(turn, path, leaf, {"answer": None, "by": None, "timed_out": True})
    raise Blocked


def _closed(turn: Turn, path: str, leaf: Leaf, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    outputs = {**leaf.outputs, **answer}
    turn.put(path, "done", {"outputs": outputs})
    turn.commands += [Unlisten(path), Close(path, str(leaf.identity), leaf.attempt, outputs)]
    return outputs_of(turn.state.leaves[path])


def abandon(turn: Turn, around: str) -> None:
    """Close what is waited for at a path and under it: what is held, questions without an answer, further attempts."""
    for path, leaf in list(turn.state.leaves.items()):
        if path.startswith(IN_DOUBT) and path != around:  # the owner is told whatever becomes of the run
            continue
        if leaf.status not in ("pending", "retry", "held") or not (path == around or within(path, around)):
            continue
        if leaf.identity:
            error = {"message": "nobody waits for it any more", "step": path, "code": "abandoned"}
            turn.commands.append(Close(path, leaf.identity, leaf.attempt, error=leaf.error or error))
        turn.put(path, "closed")


# --- attempts --------------------------------------------------------------------------------------------------------


def after_failed_attempt(
    step: Step, leaf: Leaf, message: str, code: str, now: datetime, *, permanent: bool, after: float | None
) -> Record:
    """Give the record that a failed attempt leaves: another one due later, or the end of the effect.

    The pause doubles from `every` up to `at_most`. A jitter of up to a fifth lengthens it between those two; it
    follows from the identity, so that the same attempt always gets the same pause. A `Retry-After` counts where it is
    longer.
    """
    retry: Retry = step.retry
    error = {"message": message, "step": step.id, "code": code}
    if permanent or leaf.attempt >= retry.max:
        return Record("", "failed", {"error": error, "attempt": leaf.attempt})
    jitter = 1 + 0.2 * zlib.crc32(f"{leaf.identity}/{leaf.attempt}".encode()) / 0xFFFFFFFF
    pause = min(retry.every.seconds * 2 ** (leaf.attempt - 1) * jitter, retry.at_most.seconds)
    due = now + timedelta(seconds=max(pause, after or 0.0))
    return Record("", "retry", {"attempt": leaf.attempt + 1, "due": due, "error": error})
