"""Whether a message that waited is still of any use: its run's `stop_when` is looked at again, on the state now."""

from __future__ import annotations

from typing import Protocol

from engine.runs.commands import Waiting
from engine.runs.manners import is_to_do, name_of
from engine.runs.state import RunState, within
from engine.runs.stopping import visible
from engine.runs.turn import Env, Turn
from engine.workflow.expressions import EvaluationError, NeedLookup

_LEFT = {"stopped": "its run was stopped", "cancelled": "its run was cancelled"}


class Elsewhere(Protocol):
    """What is known of other runs."""

    def turn_of(self, run: int) -> Turn | None:
        """Give another run as it stands; None where its version cannot be read any more."""

    def mute_about(self, waiting: Waiting) -> str | None:
        """Say that whom a letter is for has muted its subject."""


def moved_on(view: Elsewhere, waiting: Waiting) -> str | None:
    """Give why a letter is of no use any more; None where it is.

    That is where its run was stopped since or would be now, where what it repeated for has come true, where what was
    to be done is done, or where its reader has muted the subject.
    """
    turn = view.turn_of(waiting.run)
    why = _about_run(turn, waiting) if turn is not None else None
    return why or view.mute_about(waiting)


def _about_run(turn: Turn, waiting: Waiting) -> str | None:
    run = turn.state.run
    if run.state in _LEFT:
        return _LEFT[run.state]
    if run.round != waiting.round:
        return "its run has begun anew"
    if _has_come_true(turn.state, waiting.path):
        return "what it was repeated for has happened"
    if _stops(turn):
        return f"'stop_when' holds: {turn.workflow.stop_when.text if turn.workflow.stop_when else ''}"
    if waiting.letter.open and not is_to_do(turn.view.subject):
        return f"{name_of(turn.view.subject) or run.subject} is done"
    return None


def _has_come_true(state: RunState, path: str) -> bool:
    """Whether the `until` of a repeat around a step ended it."""
    return any(pause.done and within(path, around) for around, pause in state.pauses.items())


def _stops(turn: Turn) -> bool:
    """Whether `stop_when` holds on the subject as it is now, for a run that may have ended."""
    condition = turn.workflow.stop_when
    if condition is None or turn.view.subject_changed_by_run:
        return False
    outputs = visible(turn.workflow, turn.state) if "steps" in condition.names else {}
    try:
        return condition.holds(turn.scope("", Env(outputs)))
    except (EvaluationError, NeedLookup, ValueError):  # it did not stop the run either
        return False
