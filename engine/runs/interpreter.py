"""Decide what a run does next: a pure function of the workflow, the run's state and a view of the world.

`advance` goes as far as it can: it decides conditions, lists and waits, writes down what it decided as records, and
asks for what it cannot do itself as commands (perform an effect, look something up at a vendor, listen for an event or
an instant, end the run). What it has asked for comes back as records of others; then it is called again. Several
commands at once are normal: the items of a loop are independent. It never waits, reads no clock and makes no call.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from engine.calendars import Duration
from engine.domain import Event, Person
from engine.runs.state import Leaf, Pause, Record, RunState
from engine.store.codec import dumps, encode
from engine.store.lookups import Lookups, lookup_key
from engine.workflow.expressions import EvaluationError, Expression, NeedLookup, Scope, Text
from engine.workflow.model import Length, Retry, Step, TemplateUse, Until, Workflow, walk

Status = Literal["done", "blocked"]

#: Event type of an answer to a question; `data.question` is the effect's identity.
ANSWERED = "chat.answered"


# --- commands ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Perform:
    """Do an effect. `inputs` are rendered for a new one and None for a further attempt, which sends the stored ones."""

    path: str
    step: Step
    identity: str
    attempt: int
    inputs: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class LookUp:
    """Ask a vendor, and record the answer at `path`."""

    path: str
    name: str
    args: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Listen:
    """Wake the run when `due` has come, or when an event of a type arrives whose `field` has `value`."""

    path: str
    kind: str
    due: datetime | None = None
    event_type: str | None = None
    field: str | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Unlisten:
    """Forget what was listened for at a path, and under it."""

    path: str


@dataclass(frozen=True, slots=True)
class Examined:
    """Every event up to `cursor` was looked at for the wait at `path`."""

    path: str
    cursor: int


@dataclass(frozen=True, slots=True)
class Refresh:
    """Read the subject from its provider again before anything goes out."""


@dataclass(frozen=True, slots=True)
class End:
    """The run is over."""

    state: Literal["finished", "failed", "stopped"]
    reason: str | None = None
    error: Mapping[str, Any] | None = None


Command = Perform | LookUp | Listen | Unlisten | Examined | Refresh | End


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `advance` decided."""

    records: tuple[Record, ...]
    commands: tuple[Command, ...]


# --- what it is told -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KnownEffect:
    """An effect of this or another run under an identity."""

    state: str
    run: int
    outputs: Mapping[str, Any] | None


class View(Protocol):
    """The world as committed when a step is decided."""

    @property
    def now(self) -> datetime: ...
    @property
    def world(self) -> Lookups: ...
    @property
    def event(self) -> Event:
        """The event that started the run."""

    @property
    def subject(self) -> Any | None: ...
    @property
    def subject_changed_by_run(self) -> bool:
        """Whether the newest change of the subject was caused by this run."""

    @property
    def stale(self) -> bool:
        """Whether the subject must be read again from its provider before an effect goes out."""

    @property
    def newest_event(self) -> int: ...
    @property
    def owner(self) -> Person | None: ...
    def effect(self, identity: str) -> KnownEffect | None: ...
    def events(self, event_type: str, after: int) -> Sequence[tuple[int, Event]]:
        """Give the events of a type after a row, oldest first."""

    def made_here(self, event: Event) -> bool:
        """Whether the event's subject is one that this run made."""

    def check_inputs(self, step: Step, inputs: Mapping[str, Any]) -> None:
        """Hold rendered inputs against the action's; raises `StepError` with the fault."""

    def render_template(self, name: str, scope: Scope, data: Mapping[str, Any]) -> str: ...

    def notice(self) -> Step | None:
        """The step that tells the owner of a failure, where there is a chat to tell it in."""


# --- control flow --------------------------------------------------------------------------------------------------


class StepError(Exception):
    """A step cannot go on; `code` is a stable name of the kind."""

    def __init__(self, message: str, code: str = "step-failed") -> None:
        super().__init__(message)
        self.code = code


class _Failed(Exception):
    def __init__(self, path: str, step: str, error: Mapping[str, Any]) -> None:
        super().__init__(str(error.get("message")))
        self.paths, self.step, self.error = [path], step, error


class _Blocked(Exception):
    """Nothing further can be decided here until something comes back."""


class _Finished(Exception):
    def __init__(self, reason: str, failed: bool) -> None:
        super().__init__(reason)
        self.reason, self.failed = reason, failed


class _Stopped(Exception):
    pass


@dataclass(frozen=True, slots=True)
class _Env:
    """What steps at one place see: outputs by step id, the names of loops, and the marks of an effect's identity."""

    outputs: dict[str, Any]
    names: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    place: str = ""  #: the prefix without iterations
    marks: str = ""
    deadline: datetime | None = None  #: the nearest `timeout` around

    def inside(self, path: str, place: str) -> _Env:
        return replace(self, prefix=path + "/", place=place + "/")


def advance(workflow: Workflow, state: RunState, view: View) -> Outcome:
    """Decide all that can be decided now; `state` takes the new records in."""
    return _Walk(workflow, state, view).go()


class _Walk:
    def __init__(self, workflow: Workflow, state: RunState, view: View) -> None:
        self.workflow, self.state, self.view = workflow, state, view
        self.records: list[Record] = []
        self.commands: list[Command] = []
        self.stop_checked = False

    # --- the run -----------------------------------------------------------------------------------------------------

    def go(self) -> Outcome:
        if self.state.ended is None:
            try:
                self._run()
            except _Blocked:
                pass
            except _Stopped:
                self._end(End("stopped", self.workflow.stop_when.text if self.workflow.stop_when else None))
        return Outcome(tuple(self.records), tuple(self.commands))

    def _run(self) -> None:
        if self.state.failing is None:
            try:
                self._main(_Env({}))
                self._end(End("finished"))
                return
            except _Finished as finished:
                if not finished.failed:
                    self._end(End("finished", finished.reason))
                    return
                self._fail({"message": finished.reason, "step": "finish", "code": "finished-as-failed"}, [])
            except _Failed as failure:
                self._fail(failure.error, failure.paths)
        self._after_failure(_Env(self._visible()))

    def _main(self, env: _Env) -> None:
        if self._stops():
            raise _Stopped
        if self.state.vars is None:
            self._evaluate_vars(env)
        with self._within("", "", self.workflow.timeout, env) as inner:
            self._block(self.workflow.steps, inner)

    def _after_failure(self, env: _Env) -> None:
        failing = dict(self.state.failing or {})
        error = failing["error"]
        inner = replace(env, names={"run_error": error}, prefix="on_failure/", place="on_failure/")
        trouble: Mapping[str, Any] | None = None
        try:
            self._block(self.workflow.on_failure, inner)
        except _Failed as second:
            trouble = second.error
        except _Finished:
            pass
        if not self.state.told:
            self._tell(error, trouble)
        reason = f"on_failure failed as well: {trouble['message']}" if trouble else None
        self._end(End("failed", reason, error))

    def _tell(self, error: Mapping[str, Any], trouble: Mapping[str, Any] | None) -> None:
        """Tell the owner once, as an effect like any other; a failure of it is recorded and ends there."""
        notice = self.view.notice()
        if notice is not None:
            text = (
                f"{self.workflow.name} failed at {error.get('step')}: {error.get('message')} (run {self.state.run.uid})"
            )
            if trouble:
                text += f"; on_failure failed as well: {trouble.get('message')}"
            step = replace(notice, inputs={**notice.inputs, "text": text})
            with suppress(_Failed):
                self._step(step, _Env({}, prefix="owner/", place="owner/"))
        self._put("", "told")

    def _fail(self, error: Mapping[str, Any], paths: Sequence[str]) -> None:
        self._put("", "failing", {"error": dict(error), "paths": list(paths)})
        self.commands.append(Unlisten(""))

    def _end(self, end: End) -> None:
        self._put("", "ended", {"state": end.state, "reason": end.reason, "error": end.error})
        self.commands.append(end)

    def _stops(self) -> bool:
        """Whether `stop_when` holds; a state whose newest change this run caused does not stop it."""
        condition = self.workflow.stop_when
        if condition is None or self.state.failing is not None or self.view.subject_changed_by_run:
            return False
        try:
            verdict = condition.test(self._scope("", _Env({})))
        except EvaluationError as error:
            raise _Failed("", "stop_when", _error(error, "stop_when", "evaluation")) from None
        return verdict.value and self._effects_left()

    def _effects_left(self) -> bool:
        """Whether a step that performs something may still come; what is over-estimated is only what runs now."""
        for step in reversed(self.workflow.steps):
            if self._over(step):
                return False
            if _performs(step):
                return True
        return False

    def _over(self, step: Step) -> bool:
        """Whether a top-level step is behind the run."""
        path = step.id
        if self.state.decided.get(path) is False and not step.otherwise:
            return True
        leaf = self.state.leaves.get(path)
        pause = self.state.pauses.get(path)
        return (leaf is not None and leaf.status == "done") or (pause is not None and pause.done is not None)

    def _evaluate_vars(self, env: _Env) -> None:
        values: dict[str, Any] = {}
        inner = replace(env, names={**env.names, "vars_so_far": values})
        try:
            for name, tree in self.workflow.vars:
                values[name] = self._render(tree, self._scope("", inner), markdown=False)
        except NeedLookup as need:
            self.commands.append(LookUp("", need.name, need.args))
            raise _Blocked from None
        except EvaluationError as error:
            raise _Failed("", "vars", _error(error, "vars", "evaluation")) from None
        self._put("", "vars", {"values": values})

    def _visible(self) -> dict[str, Any]:
        """Give the outputs that are readable when the run has failed: those of every step outside loops that ended."""
        ids = {step.id for step in walk(self.workflow.steps)}
        found: dict[str, Any] = {}
        for path, leaf in self.state.leaves.items():
            name = path.rpartition("/")[2]
            name = name if name in ids else name.rpartition("#")[0]
            if "[" not in path and name in ids and leaf.status in ("done", "failed"):
                found[name] = _outputs(leaf)
        return found

    # --- blocks and steps --------------------------------------------------------------------------------------------

    def _block(self, steps: Sequence[Step], env: _Env) -> None:
        for step in steps:
            self._step(step, env)

    def _step(self, step: Step, env: _Env) -> None:
        """Bring one step to its end, with its outputs in `env`; raises where it is not there yet."""
        path, place = env.prefix + step.id, env.place + step.id
        try:
            self._raise_if_failed(path, step)
            if step.for_each is not None:
                outputs = self._loop(step, path, place, env)
            elif step.condition is not None and not self._decide(step, path, env):
                outputs = self._otherwise(step, path, place, env)
            else:
                outputs = self._repeat(step, path, place, env)
        except _Failed as failure:
            if not step.continue_on_error:
                raise
            outputs = {"failed": True, "error": failure.error}
        env.outputs[step.id] = outputs

    def _otherwise(self, step: Step, path: str, place: str, env: _Env) -> Any:
        if not step.otherwise:
            return None
        self._block(step.otherwise, env.inside(path, place))
        return {"failed": False, "error": None}

    def _loop(self, step: Step, path: str, place: str, env: _Env) -> Any:
        """Run the items side by side; the step ends when all have."""
        results: list[dict[str, Any]] = []
        failed: list[_Failed] = []
        blocked = False
        for key, value in self._items(step, path, env):
            inner = replace(
                env, outputs=dict(env.outputs), names={**env.names, "item": value}, marks=f"{env.marks}[{key}]"
            )
            result: dict[str, Any] = {"item": value, "key": key, "failed": False, "error": None}
            try:
                outputs = self._item(step, f"{path}[{key}]", f"{place}[{key}]", inner)
                results.append(_item_result(step, result, outputs, inner.outputs))
            except _Blocked:
                blocked = True
            except _Failed as failure:
                failed.append(failure)
                results.append({**result, "failed": True, "error": failure.error})
        if blocked:
            raise _Blocked
        if failed and not step.continue_on_error:
            first = failed[0]
            first.paths = [path for failure in failed for path in failure.paths]
            raise first
        error = failed[0].error if failed else None
        return {"results": results, "failed": bool(failed), "error": error}

    def _item(self, step: Step, path: str, place: str, env: _Env) -> Any:
        if step.condition is not None and not self._decide(step, path, env):
            return self._otherwise(step, path, place, env)
        return self._repeat(step, path, place, env)

    def _items(self, step: Step, path: str, env: _Env) -> list[tuple[str, Any]]:
        known = self.state.items.get(path)
        if known is not None:
            return known
        assert step.for_each is not None
        with self._evaluating(step, path):
            found = step.for_each.evaluate(self._scope(path, env))
            if found is not None and not isinstance(found, list | tuple):
                raise StepError(f"'for_each' must be a list, not {_shown(found)}", "for-each-no-list")
            items = [(self._item_key(step, path, env, value), value) for value in found or ()]
            keys = [key for key, _ in items]
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                raise StepError(f"two items of 'for_each' have the key '{twice}'", "for-each-duplicate")
        self._put(path, "items", {"items": [[key, value] for key, value in items]})
        return items

    def _item_key(self, step: Step, path: str, env: _Env, value: Any) -> str:
        if step.item_key is not None:
            key = step.item_key.evaluate(self._scope(path, replace(env, names={**env.names, "item": value})))
        elif isinstance(value, Mapping):
            key = value.get("id", value.get("key"))
            if key is None:
                raise StepError("an item without 'id' or 'key' needs 'item_key'", "for-each-no-key")
        else:
            key = getattr(value, "id", getattr(value, "key", value))
        return _text_key(key)

    def _decide(self, step: Step, path: str, env: _Env) -> bool:
        """Evaluate a step's `if`, once."""
        if path not in self.state.decided:
            assert step.condition is not None
            with self._evaluating(step, path):
                verdict = step.condition.test(self._scope(path, env))
            told = {} if verdict.value else {"failed": verdict.failed, "nulls": list(verdict.nulls)}
            self._put(path, "decided", {"value": verdict.value, **told})
        return self.state.decided[path]

    def _raise_if_failed(self, path: str, step: Step) -> None:
        leaf = self.state.leaves.get(path)
        if leaf is not None and leaf.status == "failed":
            raise _Failed(path, step.id, leaf.error or {})

    def _repeat(self, step: Step, path: str, place: str, env: _Env) -> Any:
        """Run iterations until `until` comes true or there were `max`, as far as the records and the clock allow."""
        if step.repeat is None:
            return self._once(step, path, place, env)
        while True:
            pause = self.state.pauses.get(path) or Pause(0)
            outputs = self._iteration(step, path, place, env, pause.count)  # what the last one gave, from its records
            if pause.done is None and not pause.running:
                self._begin_iteration(step, path, place, env, pause)
                pause = self.state.pauses[path]
            if pause.done is not None:
                return {"failed": False, "error": None, **(outputs or {}), "done": pause.done}
            self._iteration(step, path, place, env, pause.count + 1)
            self._after_iteration(step, path, place, env, pause.count + 1)

    def _iteration(self, step: Step, path: str, place: str, env: _Env, count: int) -> Any:
        if count == 0:
            return None
        inner = replace(env, names={**env.names, "iteration": count}, marks=f"{env.marks}#{count}")
        outputs = self._once(step, f"{path}#{count}", place, inner)
        env.outputs[step.id] = outputs
        return outputs

    def _begin_iteration(self, step: Step, path: str, place: str, env: _Env, pause: Pause) -> None:
        """Go on to the next iteration, or to the end where `until` came true in the pause; blocks while it lasts."""
        assert step.repeat is not None
        until = step.repeat.until
        found = self._find_event(step, until, path, place, env)
        if found is not None:
            self._put(path, "repeated", {"n": pause.count, "done": True, "event_id": found[0], "place": place})
        elif pause.count and self._until_condition(step, until, path, env, pause.count):
            self._put(path, "repeated", {"n": pause.count, "done": True})
        elif pause.due is not None and self.view.now < pause.due:
            raise _Blocked
        else:
            self._put(path, "begun", {"n": pause.count})
        self.commands.append(Unlisten(path))

    def _after_iteration(self, step: Step, path: str, place: str, env: _Env, count: int) -> None:
        repeat = step.repeat
        assert repeat is not None
        if self._until_condition(step, repeat.until, path, env, count):
            self._put(path, "repeated", {"n": count, "done": True})
        elif count >= repeat.max:
            self._put(path, "repeated", {"n": count, "done": False})
        else:
            due = self._due(repeat.every, path, env) if repeat.every is not None else self.view.now
            self._put(path, "iterated", {"n": count, "due": due})
            if due > self.view.now:
                self._listen(step, path, env, due, repeat.until)

    def _until_condition(self, step: Step, until: Until | None, path: str, env: _Env, count: int) -> bool:
        if until is None or until.condition is None:
            return False
        inner = replace(env, names={**env.names, "iteration": count})
        with self._evaluating(step, path):
            return until.condition.test(self._scope(path, inner)).value

    def _once(self, step: Step, path: str, place: str, env: _Env) -> Any:
        self._raise_if_failed(path, step)
        match step.kind:
            case "uses":
                return self._effect(step, path, place, env)
            case "wait":
                return self._wait(step, path, place, env)
            case "finish":
                assert step.finish is not None
                with self._evaluating(step, path):
                    reason = step.finish.reason.evaluate(self._scope(path, env))
                raise _Finished(str(reason), step.finish.failed)
            case _:
                with self._within(path, step.id, step.timeout, env) as inner:
                    self._block(step.steps, inner.inside(path, place))
                return {"failed": False, "error": None}

    # --- effects -----------------------------------------------------------------------------------------------------

    def _effect(self, step: Step, path: str, place: str, env: _Env) -> Any:
        leaf = self.state.leaves.get(path)
        if leaf is None:
            return self._new_effect(step, path, env)
        match leaf.status:
            case "done":
                return _outputs(leaf)
            case "retry":
                if leaf.due is None or self.view.now >= leaf.due:
                    self._before_effect(env)
                    self.commands.append(Unlisten(path))
                    self.commands.append(Perform(path, step, str(leaf.identity), leaf.attempt))
                    self._put(path, "intent", {"attempt": leaf.attempt})
            case "pending":
                return self._answer(step, path, place, leaf)
            case _:
                pass
        raise _Blocked

    def _new_effect(self, step: Step, path: str, env: _Env) -> Any:
        assert step.action is not None
        with self._evaluating(step, path):
            identity = self._identity(step, path, env)
        known = self.view.effect(identity) if step.action.lasts or step.once_per else None
        if known is not None and known.state == "done":
            self._put(path, "done", {"outputs": dict(known.outputs or {}), "identity": identity, "kept": True})
            return _outputs(self.state.leaves[path])
        if known is not None and known.state != "failed":
            if known.run != self.state.run.id:
                self.commands.append(Listen(path, "effect", None, "effect", "identity", identity))
            else:  # of an earlier round: what became of it is not known yet
                self._put(path, "intent", {"identity": identity, "attempt": 1})
                self.commands.append(Perform(path, step, identity, 1))
            raise _Blocked
        self._before_effect(env)
        with self._evaluating(step, path):
            inputs = self._inputs(step, path, env)
            self.view.check_inputs(step, inputs)
        asked = _asked(inputs) if step.action.pending else ()
        since = self.view.newest_event
        self._put(path, "intent", {"identity": identity, "attempt": 1, "since": since, "asked": asked})
        if step.action.pending:
            self.commands.append(Listen(path, "event", None, ANSWERED, "event.data.question", dumps(identity)))
        self.commands.append(Perform(path, step, identity, 1, inputs))
        raise _Blocked

    def _before_effect(self, env: _Env) -> None:
        """Nothing goes out on stale state, nor after a time-out around it."""
        if env.deadline is not None and self.view.now >= env.deadline:
            raise _Blocked
        if self.workflow.stop_when is not None and self.view.stale and self.state.failing is None:
            if not any(isinstance(command, Refresh) for command in self.commands):
                self.commands.append(Refresh())
            raise _Blocked

    def _identity(self, step: Step, path: str, env: _Env) -> str:
        if step.once_per:
            scope = self._scope(path, env)
            values = [_text_key(part.evaluate(scope)) for part in step.once_per]
            return "/".join([self.workflow.id, step.id, *values])
        assert step.action is not None
        rounds = [] if step.action.lasts else [str(self.state.run.round)]
        return "/".join([self.workflow.id, self.state.run.key, *rounds, step.id + env.marks])

    def _inputs(self, step: Step, path: str, env: _Env) -> dict[str, Any]:
        """Render the inputs; a template becomes its text."""
        assert step.action is not None
        scope = self._scope(path, env)
        fields = {(f.alias or name): f for name, f in step.action.params.model_fields.items()}
        inputs: dict[str, Any] = {}
        for name, tree in step.inputs.items():
            value = self._render(tree, scope, markdown=name in step.markdown)
            if value is None and name in fields and fields[name].is_required():
                raise StepError(f"'{name}' is null: {self._empty_link(tree, scope)}", "null-input")
            if value is not None:
                inputs[name] = value
        if step.template is not None:
            inputs[step.template.into] = self._template(step.template, scope)
        return inputs

    def _template(self, use: TemplateUse, scope: Scope) -> Any:
        name = str(use.name.evaluate(scope))
        data = {key: self._render(tree, scope, markdown=False) for key, tree in use.data.items()}
        text = self.view.render_template(name, scope, data)
        return {"name": name, "text": text} if use.whole else text

    @staticmethod
    def _empty_link(tree: Any, scope: Scope) -> str:
        """Name the part of an expression that has no value."""
        if not isinstance(tree, Text) or tree.whole is None:
            return "it has no value"
        for name in sorted(tree.whole.reads, key=len):
            value: Any = scope.names
            for part in name.split("."):
                value = scope.names.get(part) if value is scope.names else _read(scope, value, part)
                if value is None:
                    return f"{name.partition(part)[0]}{part} has no value"
        return f"{tree.whole.text} has no value"

    def _answer(self, step: Step, path: str, place: str, leaf: Leaf) -> Any:
        """Look for the answer to a question: the first by somebody who was asked counts."""
        for number, event in self.view.events(ANSWERED, leaf.since):
            if event.data.get("question") != leaf.identity:
                continue
            if leaf.asked and (event.actor is None or self._joined(event.actor) not in leaf.asked):
                continue
            outputs = {**leaf.outputs, "answer": event.data.get("answer"), "by": event.actor, "timed_out": False}
            self._put(path, "done", {"outputs": outputs, "event_id": number, "place": place})
            self.commands.append(Unlisten(path))
            return _outputs(self.state.leaves[path])
        if leaf.due is not None and self.view.now >= leaf.due:
            outputs = {**leaf.outputs, "answer": None, "by": None, "timed_out": True}
            self._put(path, "done", {"outputs": outputs})
            self.commands.append(Unlisten(path))
            return _outputs(self.state.leaves[path])
        raise _Blocked

    def _joined(self, person: Person) -> str:
        return self.view.world.directory.people.join(person).id

    # --- waits -------------------------------------------------------------------------------------------------------

    def _wait(self, step: Step, path: str, place: str, env: _Env) -> Any:
        wait = step.wait
        assert wait is not None
        leaf = self.state.leaves.get(path)
        if leaf is not None and leaf.status == "done":
            return _outputs(leaf)
        if leaf is None:
            due = self._wait_due(step, path, env)
            self._put(path, "wait", {"due": due})
            leaf = self.state.leaves[path]
            self._listen(step, path, env, due, wait.until)
        found = self._find_event(step, wait.until, path, place, env)
        if found is not None:
            number, event = found
            return self._woken(path, {"timed_out": False, "event": event}, number, place)
        if self._until_condition(step, wait.until, path, env, int(env.names.get("iteration", 0))):
            return self._woken(path, {"timed_out": False, "event": None})
        if leaf.due is not None and self.view.now >= leaf.due:
            return self._woken(path, {"timed_out": True, "event": None})
        raise _Blocked

    def _woken(self, path: str, outputs: Mapping[str, Any], event: int | None = None, place: str = "") -> Any:
        known = {"event_id": event, "place": place} if event is not None else {}
        self._put(path, "done", {"outputs": outputs, **known})
        self.commands.append(Unlisten(path))
        return _outputs(self.state.leaves[path])

    def _wait_due(self, step: Step, path: str, env: _Env) -> datetime | None:
        wait = step.wait
        assert wait is not None
        with self._evaluating(step, path):
            if wait.at is not None:
                at = wait.at.evaluate(self._scope(path, env))
                if not isinstance(at, datetime):
                    raise StepError(f"'at' must be an instant, not {_shown(at)}", "no-instant")
                return at
            return self._due(wait.length, path, env) if wait.length is not None else None

    def _due(self, length: Length, path: str, env: _Env) -> datetime:
        """Give the instant that lies `length` from now."""
        if isinstance(length, Text):
            value = length.evaluate(self._scope(path, env))
            if isinstance(value, str):
                from engine.calendars import parse_duration

                value = parse_duration(value)
            if not isinstance(value, Duration):
                raise StepError(f"must be a duration such as 7d or 3bd, not {_shown(value)}", "no-duration")
            length = value
        return self.view.world.add(self.view.now, length)

    def _listen(self, step: Step, path: str, env: _Env, due: datetime | None, until: Until | None) -> None:
        if due is not None and due > self.view.now:
            self.commands.append(Listen(path, "timer", due))
        for kind, condition in until.events if until else ():
            for field_, value in self._index(step, path, env, condition):
                self.commands.append(Listen(path, "event", None, kind, field_, value))

    def _index(self, step: Step, path: str, env: _Env, condition: Expression | None) -> list[tuple[str, str]]:
        """Give the equalities an arriving event must meet, to find the waits it may wake without asking each."""
        if condition is None:
            return [("event.subject", dumps(self.state.run.subject))]
        with self._evaluating(step, path):
            scope = self._scope(path, env)
            for equality in condition.equalities(lambda root: root != "event"):
                if not equality.path.startswith("event."):
                    continue
                values = [v.evaluate(scope) if isinstance(v, Expression) else v for v in equality.values]
                return [(equality.path, dumps(_plain(value))) for value in values]
        return [("", "")]

    def _find_event(
        self, step: Step, until: Until | None, path: str, place: str, env: _Env
    ) -> tuple[int, Event] | None:
        """Find the first event that ends a wait, looking back over its round (LANGUAGE 5)."""
        if until is None or not until.events:
            return None
        run = self.state.run
        since = self.state.cursors.get(path, run.event)
        taken = self.state.taken.get(place, set())
        for number, event, condition in self._candidates(until, since):
            if number in taken or (number <= run.round_event and not self.view.made_here(event)):
                continue
            if condition is None:
                if event.subject is not None and event.subject == run.subject:
                    return number, event
                continue
            inner = replace(env, names={**env.names, "arriving": event})
            with self._evaluating(step, path):
                if condition.test(self._scope(path, inner)).value:
                    return number, event
        newest = self.view.newest_event
        if newest > since:
            self.state.cursors[path] = newest
            self.commands.append(Examined(path, newest))
        return None

    def _candidates(self, until: Until, since: int) -> Iterator[tuple[int, Event, Expression | None]]:
        found = [
            (number, event, condition)
            for kind, condition in until.events
            for number, event in self.view.events(kind, since)
        ]
        return iter(sorted(found, key=lambda entry: entry[0]))

    # --- deadlines ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _within(self, path: str, step: str, length: Length | None, env: _Env) -> Iterator[_Env]:
        """Hold what is inside to a `timeout`, waits included: what has not ended when it comes fails."""
        if length is None:
            yield env
            return
        deadline = self.state.deadlines.get(path)
        if deadline is None:
            deadline = self._due(length, path, env)
            self._put(path, "deadline", {"at": deadline})
            self.commands.append(Listen(path + "!deadline", "deadline", deadline))
        nearest = min(deadline, env.deadline) if env.deadline else deadline
        try:
            yield replace(env, deadline=nearest)
        except _Blocked:
            if self.view.now < deadline:
                raise
            self.commands.append(Unlisten(path))
            what = f"'{step}'" if step else "the workflow"
            error = {"message": f"{what} did not end within its 'timeout'", "step": step, "code": "timeout"}
            self._put(path, "failed", {"error": error})
            raise _Failed(path, step, error) from None
        if path:
            self.commands.append(Unlisten(path + "!deadline"))

    # --- evaluation --------------------------------------------------------------------------------------------------

    @contextmanager
    def _evaluating(self, step: Step, path: str) -> Iterator[None]:
        """Turn what may happen while an expression is evaluated into what the run does about it."""
        try:
            yield
        except NeedLookup as need:
            command = LookUp(path, need.name, need.args)
            if command not in self.commands:
                self.commands.append(command)
            raise _Blocked from None
        except (EvaluationError, StepError, ValueError) as error:
            code = error.code if isinstance(error, StepError) else "evaluation"
            failed = _error(error, step.id, code)
            self._put(path, "failed", {"error": failed})
            raise _Failed(path, step.id, failed) from None

    def _scope(self, path: str, env: _Env) -> Scope:
        state, view = self.state, self.view
        view.world.answers = state.answers.get(path, {})
        names: dict[str, Any] = {
            "event": env.names.get("arriving", view.event),
            "vars": {**view.world.directory.vars, **(state.vars or env.names.get("vars_so_far") or {})},
            "steps": env.outputs,
            "item": env.names.get("item"),
            "iteration": env.names.get("iteration"),
            "inputs": {},
            "run": {
                "id": state.run.uid,
                "key": state.run.key,
                "round": state.run.round,
                "event": view.event,
                "started_at": state.run.created,
                "error": env.names.get("run_error"),
            },
            "workflow": {"id": self.workflow.id, "name": self.workflow.name, "owner": self.workflow.owner},
        }
        if state.run.subject_type is not None:
            names[state.run.subject_type] = view.subject
        directory = view.world.directory
        return Scope(names, view.world, view.now, directory.zone, directory.default_calendar)

    def _render(self, tree: Any, scope: Scope, *, markdown: bool) -> Any:
        """Give the value of a tree; depth is bounded by the reader."""
        if isinstance(tree, Text):
            return tree.evaluate(scope, markdown=markdown)
        if isinstance(tree, Mapping):
            return {key: self._render(value, scope, markdown=markdown) for key, value in tree.items()}
        if isinstance(tree, list | tuple):
            return [self._render(value, scope, markdown=markdown) for value in tree]
        return tree

    def _put(self, path: str, kind: str, data: Mapping[str, Any] | None = None) -> None:
        record = Record(path, kind, data or {})
        self.state.apply(record)
        self.records.append(record)


# --- failures and attempts -----------------------------------------------------------------------------------------


def after_failed_attempt(
    step: Step, leaf: Leaf, message: str, code: str, now: datetime, *, permanent: bool, after: float | None
) -> Record:
    """Give the record that a failed attempt leaves: another one due later, or the end of the effect.

    The pause doubles from `every` up to `at_most`, with up to a fifth of jitter that follows from the identity, so
    that the same attempt always gets the same pause; a `Retry-After` counts where it is longer.
    """
    retry: Retry = step.retry
    error = {"message": message, "step": step.id, "code": code}
    if permanent or leaf.attempt >= retry.max:
        return Record("", "failed", {"error": error, "attempt": leaf.attempt})
    pause = min(retry.every.seconds * 2 ** (leaf.attempt - 1), retry.at_most.seconds)
    pause *= 0.8 + 0.2 * _fraction(f"{leaf.identity}/{leaf.attempt}")
    due = now + timedelta(seconds=max(pause, after or 0.0))
    return Record("", "retry", {"attempt": leaf.attempt + 1, "due": due, "error": error})


def _fraction(text: str) -> float:
    import zlib

    return zlib.crc32(text.encode()) / 0xFFFFFFFF


def _error(error: Exception, step: str, code: str) -> dict[str, Any]:
    return {"message": str(error) or type(error).__name__, "step": step, "code": code}


def _outputs(leaf: Leaf) -> dict[str, Any]:
    failed = leaf.status == "failed"
    return {**leaf.outputs, "failed": failed, "error": leaf.error if failed else None}


def _item_result(step: Step, result: dict[str, Any], outputs: Any, visible: Mapping[str, Any]) -> dict[str, Any]:
    """Give an item's entry in `results`: the outputs of an action, or those of a group's steps by their ids."""
    if step.kind == "steps":
        inner = {inner.id: visible.get(inner.id) for inner in _inner(step) if inner.named}
        return {**inner, **result}
    return {**(outputs or {}), **result, "outputs": outputs}


def _inner(step: Step) -> Iterator[Step]:
    return walk((*step.steps, *step.otherwise))


def _asked(inputs: Mapping[str, Any]) -> tuple[str, ...]:
    to = inputs.get("to")
    people = to if isinstance(to, list | tuple) else [to]
    return tuple(person.id if isinstance(person, Person) else str(person) for person in people if person is not None)


def _performs(step: Step) -> bool:
    return step.kind == "uses" or any(_performs(inner) for inner in (*step.steps, *step.otherwise))


def _plain(value: Any) -> Any:
    return getattr(value, "id", value) if not isinstance(value, str | int | float | bool | None) else value


def _text_key(value: Any) -> str:
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
    raise StepError(f"must be a text, a number or a record, not {_shown(value)}", "no-key")


def _read(scope: Scope, value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(name)
    found = scope.world.field(value, name)
    return found if found is not None else getattr(value, name, None)


def _shown(value: Any) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


__all__ = [
    "ANSWERED",
    "Command",
    "End",
    "Examined",
    "KnownEffect",
    "Listen",
    "LookUp",
    "Outcome",
    "Perform",
    "Refresh",
    "StepError",
    "Unlisten",
    "View",
    "advance",
    "after_failed_attempt",
    "lookup_key",
]
