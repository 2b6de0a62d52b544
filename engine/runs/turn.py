"""One turn of the interpreter: what it knows, what it has decided so far, and the evaluation of expressions in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import NoneType
from typing import Any

from engine.calendars import Duration, parse_duration
from engine.runs.commands import Command, LookUp, StepError, View
from engine.runs.state import Leaf, Record, RunState
from engine.store.codec import decode, encode
from engine.workflow import inputs
from engine.workflow.expressions import EvaluationError, Expression, NeedLookup, Scope, Text
from engine.workflow.model import Length, Workflow
from engine.workflow.scope import Names

#: Where the look-ups of `vars` are recorded.
VARS = "!vars"
#: Where the evaluation of the file's `outputs` is recorded, if it fails.
OUTPUTS = "!outputs"
#: Where the file's `if` is recorded that is decided when a run gets its turn.
CONDITION = "!if"


class Failed(Exception):
    """A step failed. `paths` are what a retry of the run begins anew: of a loop, those of every failed item."""

    def __init__(self, path: str, error: Mapping[str, Any]) -> None:
        super().__init__(str(error.get("message")))
        self.paths, self.error = [path], error


class Blocked(Exception):
    """Nothing further can be decided here until something comes back."""


class Finished(Exception):
    """The run reached a `finish`."""

    def __init__(self, reason: str, failed: bool) -> None:
        super().__init__(reason)
        self.reason, self.failed = reason, failed


class Stopped(Exception):
    """`stop_when` came true."""


@dataclass(frozen=True, slots=True)
class Env:
    """What steps at one place see: outputs by step id, the names of loops, and the marks of an effect's identity."""

    outputs: dict[str, Any]
    names: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    branch: str = ""  #: the item around, whose waits look back for themselves
    marks: str = ""
    deadline: datetime | None = None  #: the nearest `timeout` around

    def inside(self, path: str) -> Env:
        """Give what the steps of the group at `path` see."""
        return replace(self, prefix=path + "/")

    def naming(self, **names: Any) -> Env:
        """Give the same with more names."""
        return replace(self, names={**self.names, **names})


class Turn:
    """What is known and what was decided while a run is brought forward once."""

    def __init__(self, workflow: Workflow, state: RunState, view: View) -> None:
        self.workflow, self.state, self.view = workflow, state, view
        self.records: list[Record] = []
        self.commands: list[Command] = []

    def put(self, path: str, kind: str, data: Mapping[str, Any] | None = None) -> None:
        """Write a record and take it in."""
        record = Record(path, kind, data or {})
        self.state.apply(record)
        self.records.append(record)

    def put_values(self, path: str, kind: str, data: Mapping[str, Any]) -> None:
        """Write a record whose values are read again as a restart would read them."""
        self.put(path, kind, decode(encode(data)))

    def ask(self, command: Command) -> None:
        """Ask for something, once."""
        if command not in self.commands:
            self.commands.append(command)

    def raise_if_failed(self, path: str) -> None:
        """Fail where this failed before."""
        leaf = self.state.leaves.get(path)
        if leaf is not None and leaf.status == "failed":
            raise Failed(path, leaf.error or {})

    # --- evaluation --------------------------------------------------------------------------------------------------

    def evaluating(self, step: str, path: str) -> _Evaluating:
        """Turn what may happen while an expression is evaluated into what the run does about it."""
        return _Evaluating(self, step, path)

    def failed_to_evaluate(self, error: BaseException | None, step: str, path: str) -> None:
        if isinstance(error, NeedLookup):
            if path not in self.state.asking:  # the answer is looked for under the instant that was asked with
                self.put(path, "asking", {"at": self.view.now})
            self.ask(LookUp(path, error.name, error.args))
            raise Blocked from None
        if isinstance(error, EvaluationError | StepError | ValueError):
            code = error.code if isinstance(error, StepError) else "evaluation"
            failed = {"message": str(error) or type(error).__name__, "step": step, "code": code}
            self.put(path, "failed", {"error": failed})
            raise Failed(path, failed) from None

    def scope(self, path: str, env: Env) -> Scope:
        """Give what an expression at a path reads."""
        state, view = self.state, self.view
        view.world.answers = state.answers.get(path, {})
        known = env.names
        names = {
            "steps": env.outputs,
            "item": known.get("item"),
            "iteration": known.get("iteration"),
        }
        if "arriving" in known:
            names["event"] = known["arriving"]
        later: dict[str, Callable[[], Any]] = {
            "event": lambda: view.event,
            "inputs": self._inputs,
            "vars": lambda: {**view.world.directory.vars, **(state.vars or known.get("vars_so_far") or {})},
            "run": lambda: self._run(known.get("run_error")),
            "workflow": lambda: {"id": self.workflow.id, "name": self.workflow.name, "owner": self.workflow.owner},
        }
        if state.run.subject_type is not None:
            later[state.run.subject_type] = lambda: view.subject
        elif self.workflow.subject is not None:  # somebody started it without saying about which
            names[self.workflow.subject] = None
        now = state.asking.get(path, view.now)
        return Scope(Names(names, later), view.world, now, view.world.directory.zone, view.world.working)

    def _inputs(self) -> Mapping[str, Any]:
        if not self.workflow.inputs:
            return {}
        kept = self.state.inputs
        if kept is None:
            kept = inputs.of_event(self.workflow, self.state.run.subject)
        return inputs.resolve(self.workflow, kept, self.view.world)

    def _run(self, error: Any) -> Mapping[str, Any]:
        run = self.state.run
        return {
            "id": run.uid,
            "key": run.key,
            "round": run.round,
            "event": self.view.event,
            "started_at": run.created,
            "error": error,
        }

    def render(self, tree: Any, scope: Scope, *, markdown: bool) -> Any:
        """Give the value of a tree; depth is bounded by the reader."""
        if isinstance(tree, Text):
            return tree.evaluate(scope, markdown=markdown)
        if type(tree) in (str, int, float, bool, NoneType):
            return tree
        if isinstance(tree, Mapping):
            return {key: self.render(value, scope, markdown=markdown) for key, value in tree.items()}
        if isinstance(tree, list | tuple):
            return [self.render(value, scope, markdown=markdown) for value in tree]
        return tree

    def length(self, name: str, length: Length, scope: Scope) -> Duration:
        """Give the duration of a key such as `every`; raises `StepError` where it is none."""
        if isinstance(length, Duration):
            return length
        value = length.evaluate(scope)
        if value is None:
            raise StepError(f"'{name}' is null: {empty_link(length.whole, scope)}", "null-input")
        if isinstance(value, str):
            value = parse_duration(value)
        if not isinstance(value, Duration):
            raise StepError(f"'{name}' must be a duration such as 7d or 3bd, not {shown(value)}", "no-duration")
        return value

    def due(self, name: str, length: Length, step: str, path: str, env: Env) -> datetime:
        """Give the instant that lies `length` from now."""
        with self.evaluating(step, path):
            return self.view.world.add(self.view.now, self.length(name, length, self.scope(path, env)))


class _Evaluating:
    """`with turn.evaluating(…)`, which is entered for every input: a class costs a third of a generator."""

    __slots__ = ("path", "step", "turn")

    def __init__(self, turn: Turn, step: str, path: str) -> None:
        self.turn, self.step, self.path = turn, step, path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self.turn.failed_to_evaluate(error, self.step, self.path)


def outputs_of(leaf: Leaf) -> dict[str, Any]:
    """Give what later steps read of a step that has ended."""
    failed = leaf.status == "failed"
    return {**leaf.outputs, "failed": failed, "error": leaf.error if failed else None}


def empty_link(expression: Expression | None, scope: Scope) -> str:
    """Name the parts of an expression that have no value."""
    nulls = expression.trace(scope).nulls if expression is not None else ()
    if not nulls:
        return "it has no value"
    return f"{' and '.join(nulls)} {'has' if len(nulls) == 1 else 'have'} no value"


def shown(value: Any) -> str:
    """Show a value in a message."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
