"""What a workflow's condition compares with constants: by that, an event finds the few whom it may concern."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from keyword import iskeyword

from engine.workflow.expressions import Expression, index_key
from engine.workflow.model import TriggerUse, Workflow


@dataclass(frozen=True, slots=True)
class Compared:
    """A path, and the constants one of which must be there (or, as a member, in the list there)."""

    path: str
    member: bool
    entries: tuple[tuple[str, bool, Hashable], ...]


def compared(workflow: Workflow, use: TriggerUse) -> list[Compared]:
    """Give what a listener's condition compares with constants; nothing where it has to be looked at anyway."""
    condition = workflow.condition
    queued = workflow.concurrency is not None and workflow.concurrency.on_conflict == "queue"
    if condition is None or use.settle is not None or queued or varies(condition):
        return []
    roots = {"event", use.trigger.subject}
    found = []
    for one in (*condition.equalities(lambda name: name not in roots), *condition.memberships()):
        keys = [None if isinstance(value, Expression) else index_key(value) for value in one.values]
        words = one.path.split(".")
        written = all(word.isidentifier() and not iskeyword(word) for word in words)  # `a["b-c"]` is none of these
        if words[0] in roots and written and None not in keys:
            entries = tuple((one.path, one.member, key) for key in keys)
            found.append(Compared(one.path, one.member, entries))
    return found


def varies(condition: Expression) -> bool:
    """Whether a condition's value cannot be computed again later from the event alone."""
    return bool(condition.lookups) or condition.uses_now


def is_indexed(workflow: Workflow) -> bool:
    """Whether every trigger of a workflow is looked at only for events that its condition may be true for."""
    return all(compared(workflow, use) for use in workflow.triggers)
