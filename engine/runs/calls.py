"""Calls of workflows: a step that starts another workflow and waits for its end (LANGUAGE 7).

The run that is called has the effect's identity as its key, so that whoever comes back to the call finds it. The one
that calls keeps nothing but its record; the end of the other wakes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.calendars import Duration
from engine.runs.commands import Call, Close, KnownCall, Unlisten
from engine.runs.state import Leaf
from engine.runs.turn import Blocked, Failed, Turn, outputs_of
from engine.workflow.model import Step


def begin(
    turn: Turn, step: Step, path: str, identity: str, inputs: Mapping[str, Any], timeout: Duration | None
) -> None:
    """Ask for the run of a call, with rendered inputs; raises `StepError` where it may not be.

    One that is there and needs no new round goes on in its own version, whatever has become of the file.
    """
    known = turn.view.call(str(step.calls), identity)
    goes_on = known is not None and known.state in ("going", "finished", "failed")
    called = None if goes_on else turn.view.callee(step, inputs)
    due = turn.view.world.add(turn.view.now, timeout) if timeout is not None else None
    turn.put(path, "pending", {"identity": identity, "due": due})
    turn.commands += [Unlisten(path), Call(path, identity, str(step.calls), called)]
    raise Blocked


def was_ended_by_us(turn: Turn, step: Step, leaf: Leaf) -> bool:
    """Whether the run that is waited for was still ending by an earlier wish of this one: it is taken up again."""
    found = turn.view.call(str(step.calls), str(leaf.identity))
    return found is not None and found.ended_by_caller


def outcome(turn: Turn, step: Step, path: str, leaf: Leaf) -> Mapping[str, Any]:
    """Give the outputs of a call whose run has ended; blocks until then."""
    found = turn.view.call(str(step.calls), str(leaf.identity))
    state = found.state if found is not None else "lost"
    if state == "going":
        if leaf.due is None or turn.view.now < leaf.due:
            raise Blocked
        return _failed(turn, step, path, leaf, f"'{step.calls}' did not end within the step's 'timeout'", "timeout")
    if found is None or state not in ("finished", "stopped"):
        return _failed(turn, step, path, leaf, _why(step, found), f"call-{state}")
    outputs = {**found.outputs, "stopped": state == "stopped"}
    turn.put_values(path, "done", {"outputs": outputs})
    kept = None if state == "finished" else state  # one that was stopped is begun anew in a later round
    turn.commands += [Unlisten(path), Close(path, str(leaf.identity), leaf.attempt, outputs, state=kept)]
    return outputs_of(turn.state.leaves[path])


def _why(step: Step, found: KnownCall | None) -> str:
    if found is None:
        return f"the run of '{step.calls}' is not there any more"
    error = found.error or {}
    at = f" at '{error['step']}'" if error.get("step") else ""
    why = error.get("message") or found.reason
    return f"'{step.calls}' {found.state}{at}" + (f": {why}" if why else "") + f" (run {found.run})"


def _failed(turn: Turn, step: Step, path: str, leaf: Leaf, message: str, code: str) -> Mapping[str, Any]:
    error = {"message": message, "step": step.id, "code": code}
    turn.put(path, "failed", {"error": error})
    turn.commands += [Unlisten(path), Close(path, str(leaf.identity), leaf.attempt, error=error)]
    raise Failed(path, error)
