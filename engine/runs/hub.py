"""What the executor and its commits work with, handed in by wiring."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.calendars import Calendar
from engine.clock import Clock
from engine.config.rates import Rate
from engine.domain import Person
from engine.log import Tell
from engine.plugins import Action
from engine.runs.connections import Connections
from engine.runs.discretion import Discretion
from engine.runs.pauses import Pauses
from engine.runs.renaming import Renamed
from engine.runs.state import Run
from engine.store.journal import Journal
from engine.store.lookups import Directory, Lookups
from engine.workflow.library import WorkflowLibrary
from engine.workflow.model import Step, Workflow


@dataclass(slots=True)
class Hub:
    """What the executor works with, handed in by wiring."""

    journal: Journal
    reader: sqlite3.Connection
    clock: Clock
    directory: Directory
    library: WorkflowLibrary
    #: capability and the step's `connection` (or None) → the connection's name and its provider
    serve: Callable[[str, str | None], tuple[str, Any]]
    #: a connection's provider, or None
    provider: Callable[[str], Any]
    hours_of: Callable[[Person | None], Calendar]
    owner_of: Callable[[str | None], Person | None]
    notice: Callable[[Person], Step | None]
    #: an action by its name
    action: Callable[[str], Action | None]
    #: current text of the project's templates by name
    templates: Callable[[], Mapping[str, str]]
    tell: Tell
    #: how often a connection may be called, by its name; one that is not there, as often as it likes
    rates: Mapping[str, Rate] = field(default_factory=dict)
    pauses: Pauses = field(default_factory=Pauses)
    renamed: Renamed = field(default_factory=Renamed)
    #: called after a commit that wrote events
    events_written: Callable[[], None] = lambda: None
    #: called after a commit that wrote something that falls due
    waits_written: Callable[[], None] = lambda: None
    #: called after a commit in which others wrote records of runs
    records_written: Callable[[Sequence[int]], None] = lambda runs: None
    #: called after a commit that woke other runs
    runs_woken: Callable[[Sequence[int]], None] = lambda runs: None

    dry_run: bool = False  #: every run that begins is a dry one, and the others rest

    attended: set[int] = field(default_factory=set)  #: runs that somebody waits for, who hears how they end
    #: types of events that runs may be waiting for
    awaited: set[str] = field(default_factory=set)
    connections: Connections = field(init=False)  #: those that refuse our credentials
    discretion: Discretion = field(init=False)

    def __post_init__(self) -> None:
        self.connections = Connections(self)
        self.discretion = Discretion(self.tell, self.lookups)

    def thinks_only(self, workflow: Workflow) -> bool:
        """Whether runs of a workflow that begin now are dry ones."""
        return self.dry_run or workflow.mode == "dry_run"

    def lookups(self, answers: Mapping[str, Any] | None = None) -> Lookups:
        return Lookups(self.reader, self.directory, self.clock.now(), answers or {})

    def version(self, run: Run) -> Workflow:
        """Give the version of its workflow that a run is on.

        Raises:
            UnreadableVersion: it names something that is not there any more.
        """
        workflow = self.library.version(run.version, self._stored_version)
        return workflow if workflow.id == run.workflow else replace(workflow, id=run.workflow)  # it was renamed since

    def _stored_version(self, hash: str) -> tuple[str, str, Mapping[str, str]]:
        row = self.reader.execute("SELECT * FROM workflow_versions WHERE hash = ?", (hash,)).fetchone()
        return row["workflow"], row["source"], json.loads(row["templates"])

    def can_reread(self, connection: str) -> bool:
        """Whether a subject of this connection can be read again from a system that is not our own database."""
        provider = self.provider(connection)
        if not hasattr(provider, "get") or getattr(provider, "own_store", False):
            return False
        return bool(getattr(provider, "readable", True))
