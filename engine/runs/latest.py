"""Whether a run can go on with another version of its workflow than the one it began with (PROMISES 1.5)."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Sequence

from engine.runs.rows import effect_row
from engine.runs.state import IN_DOUBT, Leaf, RunState
from engine.workflow.model import Step, Workflow

_MARKS = re.compile(r"(\[[^\]]*\])?(#\d+)?")
#: What is decided anew when a run goes on, so that the file may say anything about it.
_ANEW = frozenset({"held", "wait"})


def missing(reader: sqlite3.Connection, workflow: Workflow, state: RunState) -> list[str]:
    """Say of each step that a run has behind it and a version of its workflow has not, or not with the same action.

    Args:
        reader: the database.
        workflow: the version.
        state: what the run goes on with: what is to be begun anew is not in it.
    """
    found: dict[str, None] = {}
    for path, leaf in state.leaves.items():
        if leaf.status not in _ANEW and not path.startswith(("!", IN_DOUBT)):
            found |= dict.fromkeys(_wrong(reader, workflow, path, leaf))
    return list(found)


def _wrong(reader: sqlite3.Connection, workflow: Workflow, path: str, leaf: Leaf) -> Iterable[str]:
    row = effect_row(reader, leaf.identity) if leaf.identity is not None else None
    step = step_at(workflow, path)
    name = re.sub(r"\[[^\]]*\]", "", path)  # once for all items of a loop
    if step is None:
        did = f" ({row['action']})" if row is not None else ""
        yield f"'{name}'{did} is not there"
    elif row is not None and _does(step) != row["action"]:
        yield f"'{name}' was {row['action']} and is {_does(step)}"
    elif row is None and leaf.status == "done" and step.kind != "wait":
        yield f"'{name}' was a wait and is {_does(step)}"


def _does(step: Step) -> str:
    return step.action.name if step.action is not None else f"'{step.kind}'"


def step_at(workflow: Workflow, path: str) -> Step | None:
    """Give the step that a path performs; None where there is none at that place, in a loop or a repeat as it was."""
    steps: Sequence[Step] = workflow.steps
    step: Step | None = None
    for name in path.split("/"):
        step = next((one for one in steps if _is(one, name)), None)
        if step is None:
            return None
        steps = (*step.steps, *step.otherwise)
    return step


def _is(step: Step, name: str) -> bool:
    marks = _MARKS.fullmatch(name, len(step.id)) if name.startswith(step.id) else None
    if marks is None:
        return False
    return (marks[1] is not None) == (step.for_each is not None) and (marks[2] is not None) == (step.repeat is not None)
