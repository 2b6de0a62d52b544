"""The world as committed when a step is decided, as the interpreter sees it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from engine.domain import Event, Person
from engine.matching import scope_of, slot_of
from engine.plugins import ActionError
from engine.runs import children, outbox, staleness
from engine.runs.active import Active, Checked
from engine.runs.commands import Called, Courtesy, Heading, Held, KnownCall, Refresh, Waiting
from engine.runs.holding import Holding
from engine.runs.hub import Hub
from engine.runs.interpreter import (
    KnownEffect,
    StepError,
)
from engine.runs.manners import Manners, name_of
from engine.runs.rows import effect_row, load_state, run_of
from engine.runs.state import OPERATION, Run
from engine.runs.turn import Turn
from engine.store.codec import decode, encode, instant, loads, plain_json
from engine.store.lookups import Lookups, Uncommitted, event_of, subject_of
from engine.workflow.calling import MOST_CALLS
from engine.workflow.expressions import Scope
from engine.workflow.inputs import BadInputs, read_values
from engine.workflow.inputs import subject_of as subject_in
from engine.workflow.library import UnreadableVersion
from engine.workflow.model import Step, Workflow
from engine.workflow.templates import TemplateProblem, compile_template

#: Stored state that is older than this is read again before an effect, where its provider can.
FRESH = timedelta(minutes=5)
#: What waits for a digest while its workflow is paused is looked at again after this.
PAUSED = timedelta(minutes=15)
#: Last words of the actions that make a subject.
_MAKING = frozenset({"create", "declare", "schedule"})


def first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    place = ".".join(str(part) for part in fault["loc"])
    text = fault["msg"].removeprefix("Value error, ")
    return f"'{place}': {text}" if place else text


class Snapshot:
    """One state of the database for everything that a turn reads; it begins with the first reading."""

    def __init__(self, reader: sqlite3.Connection) -> None:
        self._reader, self._begun = reader, False

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        if not self._begun:
            self._reader.execute("BEGIN")
            self._begun = True
        return self._reader.execute(sql, values)

    def end(self) -> None:
        if self._begun:
            self._reader.execute("COMMIT")


class CommittedView:
    """The world as committed when a step is decided (`interpreter.View`)."""

    def __init__(self, hub: Hub, active: Active, holding: Holding, world: Lookups) -> None:
        self._hub, self._active, self._holding = hub, active, holding
        self.world = world.counting_in(active.workflow.during)
        self.now = world.now

    @property
    def _reader(self) -> Any:
        return self.world.reader

    @property
    def event(self) -> Event:
        if self._active.event is None:
            number = self._active.run.round_event
            self._active.event = event_of(
                self._reader.execute("SELECT * FROM events WHERE id = ?", (number,)).fetchone()
            )
        return self._active.event

    @cached_property
    def _row(self) -> sqlite3.Row | None:
        run = self._active.run
        row: sqlite3.Row | None = self._reader.execute(
            "SELECT * FROM subjects WHERE type = ? AND id = ?", (run.subject_type, run.subject)
        ).fetchone()
        return row

    @cached_property
    def subject(self) -> Any | None:
        if isinstance(self.world, Uncommitted):
            return self.world.subject(str(self._active.run.subject_type), str(self._active.run.subject))
        row = self._row
        return subject_of(row["type"], json.loads(row["state"])) if row is not None else None

    @property
    def subject_changed_by_run(self) -> bool:
        return self._row is not None and self._row["changed_run"] == self._active.run.id

    @property
    def stale(self) -> bool:
        subject = self._active.run.subject
        if subject is None or self._active.run.version == OPERATION:  # a person has decided
            return False
        if not self._hub.can_reread(subject.partition(":")[0]):
            return False
        row = self._row
        if row is None:
            return False
        return self.now - instant(row["refreshed"]) > FRESH

    @cached_property
    def newest_event(self) -> int:
        if isinstance(self.world, Uncommitted):
            return self.world.newest
        return int(self._reader.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0])

    @property
    def owner(self) -> Person | None:
        return self._hub.owner_of(self._active.workflow.owner)

    def effect(self, identity: str) -> KnownEffect | None:
        row = effect_row(self._reader, identity)
        if row is None:
            return None
        return KnownEffect(row["state"], row["run"], loads(row["result"]), row["connection"])

    def check_connection(self, step: Step, name: str) -> None:
        assert step.action is not None
        try:
            self._hub.serve(str(step.action.capability), name)
        except ActionError as error:
            raise StepError(str(error), error.code) from None

    @property
    def former_names(self) -> Sequence[str]:
        return self._hub.renamed.former(self._active.run.workflow)

    def call(self, workflow: str, key: str) -> KnownCall | None:
        return children.find(self._reader, workflow, key)

    def callee(self, step: Step, inputs: Mapping[str, Any]) -> Called:
        name = str(step.calls)
        workflow = self._hub.library.current.get(name)
        if workflow is None or workflow.mode == "off":
            why = "is off" if workflow is not None else "is not there, or has mistakes"
            raise StepError(f"'{name}' cannot be called: it {why}", "call-impossible")
        above = children.callers(self._reader, self._active.run)
        if name in above or len(above) > MOST_CALLS:
            way = " → ".join([*reversed(above), name])
            bound = "a workflow must not call itself" if name in above else f"at most {MOST_CALLS} calls may nest"
            raise StepError(f"{bound}: {way}", "call-cycle" if name in above else "calls-too-deep")
        try:
            kept = read_values(workflow.inputs, inputs, {"people": self._hub.directory.people, "world": self.world})
        except BadInputs as error:
            raise StepError(f"'{name}': {error}", "bad-input") from None
        dry = self._active.run.dry or self._hub.thinks_only(workflow)
        about = self._called_about(workflow, kept)
        return Called(workflow, kept, about, dry, self._called_slot(workflow, kept, about))

    def _called_slot(self, workflow: Workflow, kept: Mapping[str, Any], about: str | None) -> str | None:
        """Give what the run of a call shares with others of its workflow, as the file of now says."""
        if workflow.concurrency is None:
            return None
        event = replace(self.event, subject_type=workflow.subject if about is not None else None, subject=about)
        return slot_of(workflow.concurrency, scope_of(workflow, event, self.world.counting_in(workflow.during), kept))

    def _called_about(self, workflow: Workflow, kept: Mapping[str, Any]) -> str | None:
        """Give the id of what a call is about: an input says so, else it is what this run is about."""
        if any(one.is_subject for one in workflow.inputs):
            return subject_in(workflow, kept)
        run = self._active.run
        return run.subject if workflow.subject is not None and workflow.subject == run.subject_type else None

    def held(self, step: Step, path: str) -> Held | None:
        held = self._holding.at_all(self._active.workflow, step, path)
        ignored = self._active.run.dry and held is not None and held.code == "connection-held"  # it is not called
        return None if ignored else held

    def held_for(self, step: Step, path: str, inputs: Checked) -> Held | None:
        return self._holding.towards(self._active.workflow, step, path, inputs.params)

    def intended(self, step: Step, identity: str) -> Checked:
        row = effect_row(self._reader, identity)
        assert row is not None, identity
        return self.check_inputs(step, loads(row["inputs"]))

    @cached_property
    def _manners(self) -> Manners:
        return Manners(self._hub, self.world, self._active.run, self._active.workflow.during)

    def courtesy(self, step: Step, identity: str, inputs: Checked) -> Courtesy:
        subject = self.subject if self._active.run.subject is not None else None
        return self._manners.courtesy(step, identity, inputs.params, subject)

    def courtesy_again(self, identity: str, inputs: Checked) -> Courtesy:
        return self._manners.again(identity, inputs.params)

    # --- digests -----------------------------------------------------------------------------------------------------

    def letters(self, place: str) -> Sequence[Waiting]:
        return outbox.letters(self._reader, place, self._active.run.id)

    def moved_on(self, waiting: Waiting) -> str | None:
        return staleness.moved_on(self, waiting)

    def turn_of(self, run: int) -> Turn | None:
        row = self._reader.execute("SELECT * FROM runs WHERE id = ?", (run,)).fetchone()
        other = run_of(row)
        try:
            workflow = self._hub.version(other)
        except UnreadableVersion:
            return None
        active = Active(other, load_state(self._reader, other), workflow)
        return Turn(workflow, active.state, CommittedView(self._hub, active, self._holding, self.world))

    def mute_about(self, waiting: Waiting) -> str | None:
        person = waiting.letter.person
        if person is None:
            return None
        person = self._hub.directory.people.join(person)
        mute = outbox.muted(self._reader, person.id, waiting.subject, self.now)
        return self._manners.told(person, mute, self._subject_of(waiting)) if mute is not None else None

    def heading(self, waiting: Waiting) -> Heading | None:
        subject = self._subject_of(waiting)
        name = name_of(subject)
        if name is None or self.world.is_private(waiting.subject_type, waiting.subject):
            return None  # of what is private only what its workflow said is shown
        title = getattr(subject, "title", None)
        return Heading(name, title if title != name else None, getattr(subject, "url", None))

    def _subject_of(self, waiting: Waiting) -> Any | None:
        known = waiting.subject_type is not None and waiting.subject is not None
        return self.world.subject(str(waiting.subject_type), str(waiting.subject)) if known else None

    def closed_for(self, waiting: Waiting) -> datetime | None:
        if self._hub.pauses.current:
            row = self._reader.execute("SELECT workflow FROM runs WHERE id = ?", (waiting.run,)).fetchone()
            if self._hub.pauses.of(row["workflow"]) is not None:
                return self.now + PAUSED
        until = self._manners.opening(waiting.letter.during, waiting.letter.person, self.now)
        return until if until > self.now else None

    def reread(self, subject_type: str, subject: str) -> Refresh | datetime | None:
        if not self._hub.can_reread(subject.partition(":")[0]):
            return None
        row = self._reader.execute(
            "SELECT refreshed FROM subjects WHERE type = ? AND id = ?", (subject_type, subject)
        ).fetchone()
        if row is None or self.now - instant(row["refreshed"]) <= FRESH:
            return None
        again = Refresh(subject_type, subject)
        until = self._active.resting.get(again.path)
        return until if until is not None and self.now < until else again

    def events(self, event_type: str, after: int, subjects: Sequence[str] = ()) -> Sequence[tuple[int, Event]]:
        about = f" AND subject IN ({', '.join('?' * len(subjects))})" if subjects else ""
        rows = self._reader.execute(
            f"SELECT * FROM events WHERE type = ? AND id > ? AND state != 'ignored'{about} ORDER BY id",
            (event_type, after, *subjects),
        )
        return [(row["id"], event_of(row)) for row in rows]

    def made_here(self, event: Event) -> bool:
        row = self._reader.execute(
            "SELECT cause_run FROM events WHERE subject = ? ORDER BY id LIMIT 1", (event.subject,)
        ).fetchone()
        if row is not None and row["cause_run"] == self._active.run.id:
            return True
        made = self._reader.execute(  # at a vendor that tells of it only when something happens to it
            "SELECT action FROM effects WHERE run = ? AND state = 'done' AND json_extract(result, '$.id') = ?",
            (self._active.run.id, event.subject),
        )
        return any(row["action"].rpartition(".")[2] in _MAKING for row in made.fetchall())

    def check_inputs(self, step: Step, inputs: Mapping[str, Any]) -> Checked:
        assert step.action is not None
        plain = encode(inputs)
        try:
            stored = decode(plain)
            params = step.action.params.model_validate(stored, context={"people": self._hub.directory.people})
        except ValidationError as error:
            raise StepError(first_fault(error), "bad-input") from None
        return Checked(plain_json(plain), stored, params)

    def render_template(self, name: str, scope: Scope, data: Mapping[str, Any]) -> str:
        sources = self._active.workflow.templates
        if name not in sources:
            sources = self._hub.templates()
        try:
            return str(compile_template(name, sources).render(scope, data))
        except TemplateProblem as problem:
            raise StepError(f"template '{name}': {problem}", "template") from None

    @property
    def told_by_caller(self) -> bool:
        return any(self._owner_above(run) == self.owner for run in children.waiting_for(self._reader, self._active.run))

    def _owner_above(self, run: Run) -> Person | None:
        try:
            return self._hub.owner_of(self._hub.version(run).owner)
        except UnreadableVersion:  # it is held, and tells nobody
            return None

    def notice(self) -> Step | None:
        owner = self.owner if self._active.run.id not in self._hub.attended else None
        return self._hub.notice(owner) if owner is not None else None
