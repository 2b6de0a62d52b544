"""Whether a run is to be stopped: `stop_when`, and what may still go out (PROMISES 1.6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.runs.state import RunState, escaped, within
from engine.runs.turn import Env, Turn, outputs_of
from engine.workflow.model import Step, Workflow, walk

#: An effect that has gone out, or ended.
_OUT = frozenset({"intent", "parked", "done", "failed"})


def stops(turn: Turn) -> bool:
    """Whether `stop_when` holds, or another run wants this one ended.

    A state whose newest change this run caused does not stop it, and a run with no effect left is finished instead.
    """
    if turn.state.stopping is not None:  # whoever called it does not wait for it, or one takes its place
        return True
    condition = turn.workflow.stop_when
    if condition is None or turn.view.subject_changed_by_run:
        return False
    outputs = visible(turn.workflow, turn.state) if "steps" in condition.names else {}
    with turn.evaluating("stop_when", ""):
        holds = condition.holds(turn.scope("", Env(outputs)))
    return holds and effects_left(turn.workflow, turn.state)


def visible(workflow: Workflow, state: RunState) -> dict[str, Any]:
    """Give the outputs of every step outside loops that ended, by what is recorded."""
    ids = {step.id for step in walk(workflow.steps)}
    found: dict[str, Any] = {}
    for path, leaf in state.leaves.items():
        name = path.rpartition("/")[2]
        name = name if name in ids else name.rpartition("#")[0]
        if "[" not in path and name in ids and leaf.status in ("done", "failed"):
            found[name] = outputs_of(leaf)
    return found


def effects_left(workflow: Workflow, state: RunState) -> bool:
    """Whether a step that performs something may still come."""
    return _Remaining(state).in_block(workflow.steps, "")


class _Remaining:
    def __init__(self, state: RunState) -> None:
        self.state = state
        self.paths = {*state.decided, *state.items, *state.leaves, *state.pauses, *state.deadlines}

    def in_block(self, steps: Sequence[Step], prefix: str) -> bool:
        """Look at steps from the last one on: what stands before one that has begun is behind the run."""
        for step in reversed(steps):
            if self._begun(prefix + step.id):
                return self._in_step(step, prefix + step.id)
            if _performs(step):
                return True
        return False

    def _begun(self, path: str) -> bool:
        return any(known == path or within(known, path) for known in self.paths)

    def _in_step(self, step: Step, path: str) -> bool:
        if self._failed(path):
            return False
        if step.for_each is None:
            return self._in_item(step, path)
        return any(self._in_item(step, f"{path}[{escaped(key)}]") for key, _ in self.state.items.get(path, ()))

    def _in_item(self, step: Step, path: str) -> bool:
        if not self._begun(path):
            return _performs(step)
        if self.state.decided.get(path) is False:
            return self.in_block(step.otherwise, path + "/")
        if step.repeat is None:
            return self._in_one(step, path)
        pause = self.state.pauses.get(path)
        if pause is None:
            return _performs(step)
        if pause.done is not None:
            return False
        last = pause.running and pause.count + 1 >= step.repeat.max
        return self._in_one(step, f"{path}#{pause.count + 1}") if last else _performs(step)

    def _in_one(self, step: Step, path: str) -> bool:
        if step.kind == "steps":
            return not self._failed(path) and self.in_block(step.steps, path + "/")
        leaf = self.state.leaves.get(path)
        return step.kind == "uses" and (leaf is None or leaf.status not in _OUT)

    def _failed(self, path: str) -> bool:
        leaf = self.state.leaves.get(path)
        return leaf is not None and leaf.status == "failed"


def _performs(step: Step) -> bool:
    return step.kind == "uses" or any(_performs(inner) for inner in (*step.steps, *step.otherwise))
