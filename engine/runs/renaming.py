"""Renamed workflows: what was written under an old name belongs to the file that says `moved_from` (LANGUAGE 2).

Rows that say which workflow they are of are written anew, once. Identities of effects are not, for a service may know
them: a workflow also looks for its own under the names that it had. A name that was given up stays given up, so that
nothing done under it is taken for another's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from engine.store.codec import micros
from engine.workflow.model import Workflow


@dataclass(frozen=True, slots=True)
class Carry:
    """What is under the name `old` belongs to `new` from now on."""

    old: str
    new: str


class Renamed:
    """The names that workflows have given up, as they are written down."""

    def __init__(self) -> None:
        self._now: dict[str, str] = {}
        self._former: dict[str, tuple[str, ...]] = {}

    def read(self, reader: sqlite3.Connection) -> None:
        """Take in what is committed."""
        rows = reader.execute("SELECT old, new FROM moves ORDER BY at").fetchall()
        self._now = {row["old"]: row["new"] for row in rows}
        self._former = {}
        for old, new in self._now.items():
            self._former[new] = (*self._former.get(new, ()), old)

    def now(self, workflow: str) -> str:
        """Give what the workflow is called now that was once called so."""
        return self._now.get(workflow, workflow) if self._now else workflow

    def former(self, workflow: str) -> Sequence[str]:
        """Give the names that a workflow has had."""
        return self._former.get(workflow, ()) if self._former else ()

    def given_up(self, workflows: Mapping[str, Workflow]) -> dict[str, str]:
        """Give the files whose name another workflow has given up, with that one's present name.

        One that takes over from it again is none of them.
        """
        return {
            name: self._now[name]
            for name, workflow in workflows.items()
            if name in self._now and workflow.moved_from != self._now[name]
        }

    def carries(self, workflows: Mapping[str, Workflow]) -> tuple[list[Carry], list[Carry]]:
        """Give what is to be carried over, and what cannot be because another file has it already."""
        todo: list[Carry] = []
        taken: list[Carry] = []
        for workflow in workflows.values():
            if workflow.moved_from is None:
                continue
            holder = self.now(workflow.moved_from)
            if holder == workflow.id:
                continue  # it was done before
            if holder != workflow.moved_from and holder in workflows:
                taken.append(Carry(workflow.moved_from, workflow.id))
            else:  # whoever had it last is gone
                todo.append(Carry(holder, workflow.id))
        return todo, taken


_SCHEDULES = (
    "UPDATE OR IGNORE schedules SET id = :new || substr(id, length(:old) + 1)"
    " WHERE substr(id, 1, length(:old) + 1) = :old || '/'"
)
#: What the new name has already is left as it is: its key is spent under either.
_CARRY = (
    "UPDATE OR IGNORE runs SET workflow = :new WHERE workflow = :old",
    "DELETE FROM waits WHERE kind = 'settle' AND workflow = :old AND EXISTS (SELECT 1 FROM waits AS own WHERE"
    " own.kind = 'settle' AND own.workflow = :new AND own.trigger = waits.trigger AND own.subject = waits.subject)",
    "UPDATE waits SET workflow = :new WHERE workflow = :old",
    _SCHEDULES,
    "DELETE FROM pauses WHERE workflow = :new AND until IS NOT NULL AND EXISTS"
    " (SELECT 1 FROM pauses AS others WHERE others.workflow = :old AND others.until IS NULL)",
    "UPDATE OR IGNORE pauses SET workflow = :new WHERE workflow = :old",
    "DELETE FROM pauses WHERE workflow = :old",
    "UPDATE moves SET new = :new WHERE new = :old",
    "INSERT OR REPLACE INTO moves (old, new, at) VALUES (:old, :new, :at)",
    "DELETE FROM moves WHERE old = new",
)


def carry(cursor: sqlite3.Cursor, one: Carry, now: datetime) -> int:
    """Write what is of one workflow to another; give how many runs that are."""
    values = {"old": one.old, "new": one.new, "at": micros(now)}
    runs = 0
    for statement in _CARRY:
        count = cursor.execute(statement, values).rowcount
        runs = count if statement is _CARRY[0] else runs
    return runs
