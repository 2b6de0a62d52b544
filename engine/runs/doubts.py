"""Tell the owner of each effect of which it is not known whether it happened, once, and how to decide."""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import replace

from engine.runs import effects
from engine.runs.state import IN_DOUBT, Leaf, escaped
from engine.runs.turn import Blocked, Env, Failed, Turn
from engine.workflow.expressions import escape_markdown
from engine.workflow.model import Step, walk

_DECISIONS = {"done": "it happened", "repeat": "do it once more", "skip": "go on without it"}


def tell_of(turn: Turn) -> None:
    """Tell the owner of the effects that are parked, each as an effect of its own; one that fails ends there."""
    leaves = turn.state.leaves
    parked = {f"{escaped(path)}~{leaf.attempt}": path for path, leaf in leaves.items() if leaf.status == "parked"}
    for path in [path for path in leaves if path.startswith(IN_DOUBT)]:
        if path.removeprefix(IN_DOUBT) not in parked:  # decided before the owner could be told
            effects.abandon(turn, path)
    notice = turn.view.notice() if parked else None
    if notice is None:
        return
    for mark, path in parked.items():
        told = f"{IN_DOUBT}{mark}"
        step = replace(notice, id="in-doubt", inputs={**notice.inputs, "text": _text(turn, path, leaves[path])})
        with suppress(Blocked, Failed):
            turn.raise_if_failed(told)
            effects.effect(turn, step, told, Env({}, marks=f"[{mark}]"))


def _text(turn: Turn, path: str, leaf: Leaf) -> str:
    run, action = turn.state.run, _action(turn, path)
    what = f"'{path}'" + (f" ({action})" if action else "")
    why = (leaf.error or {}).get("message")
    found = f"{turn.workflow.name}: it is not known whether {what} happened" + (f": {why}" if why else "")
    lines = [escape_markdown(f"{found}. Look whether it did, then decide (run {run.uid}):"), ""]
    for decision, meaning in _DECISIONS.items():
        command = f"hotwash runs decide {run.uid} {decision} --step {shlex.quote(path)}"
        lines.append(f"- {_code(command)}: {meaning}")
    return "\n".join(lines)


def _code(command: str) -> str:
    """Show a command as code; an item's key may hold whatever somebody wrote."""
    line = " ".join(command.split())
    return escape_markdown(line) if "`" in line else f"`{line}`"


def _action(turn: Turn, path: str) -> str | None:
    name = path.rpartition("/")[2]
    for step in walk((*turn.workflow.steps, *turn.workflow.on_failure)):
        if name == step.id or name.startswith((step.id + "[", step.id + "#")):
            return _named(step)
    return None


def _named(step: Step) -> str | None:
    return step.action.name if step.action is not None else None
