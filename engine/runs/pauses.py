"""Pauses: what people have told to send nothing until they say otherwise (PROMISES 1.8).

A pause is a row, of one workflow or of all; it holds effects, not runs. One that has ended stays as a row, so that
nobody makes up for its time.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from datetime import datetime

from engine.store.codec import instant

#: Stands for all workflows.
ALL = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """The last pause of a workflow, or of all."""

    workflow: str
    since: datetime
    by: str  #: the name of whoever said so
    until: datetime | None = None  #: when it ended

    def covers(self, instant: datetime) -> bool:
        """Whether an instant lies in it."""
        return self.since <= instant and (self.until is None or instant <= self.until)

    @property
    def why(self) -> str:
        what = f"'{self.workflow}' is paused" if self.workflow else "everything is paused"
        return f"{what} by {self.by}"


class Pauses:
    """The pauses that are written down; those that go on are `current`."""

    def __init__(self) -> None:
        self.current: dict[str, Pause] = {}
        self.ended: dict[str, Pause] = {}

    def read(self, reader: sqlite3.Connection) -> None:
        """Take in what is committed."""
        found = [pause_of(row) for row in reader.execute("SELECT * FROM pauses").fetchall()]
        self.current = {one.workflow: one for one in found if one.until is None}
        self.ended = {one.workflow: one for one in found if one.until is not None}

    def of(self, workflow: str) -> Pause | None:
        """Give the pause that holds a workflow's effects; None where none does."""
        return (self.current.get(ALL) or self.current.get(workflow)) if self.current else None

    def end(self, workflow: str, at: datetime) -> Pause | None:
        """End a pause for all that is decided from here on; give it, None where there is none."""
        pause = self.current.pop(workflow, None)
        if pause is not None:
            self.ended[workflow] = replace(pause, until=at)
        return pause

    def ended_of(self, workflow: str) -> list[Pause]:
        """Give the last pauses that held a workflow's effects and have ended: its own, and that of all."""
        return [self.ended[name] for name in (ALL, workflow) if name in self.ended]


def pause_of(row: sqlite3.Row) -> Pause:
    """Make the record of a pause's row."""
    until = instant(row["until"]) if row["until"] is not None else None
    return Pause(row["workflow"], instant(row["since"]), row["by"], until)
