"""Why, and why not: what became of an event, for every workflow that listened to its type (PROMISES 1.11).

What was written down is told as written. The rest left no row: it is computed with the versions that were listening
and the subject as it was just after the event, and the sentence says so.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from engine.domain import Event
from engine.matching import KEPT, Match, evaluate, listener_of, match
from engine.reports.events import event as event_report
from engine.reports.events import said, say, verdicts
from engine.reports.values import iso, plain
from engine.store.codec import encode, instant, micros
from engine.store.lookups import Lookups, event_of, subject_of
from engine.store.naming import find
from engine.workflow.library import UnreadableVersion, WorkflowLibrary
from engine.workflow.model import TriggerUse, Workflow

#: A settle time that ended this long ago without a verdict is one that the engine has not come to.
LATE = timedelta(minutes=1)


def explain_event(
    reader: sqlite3.Connection, ref: str, workflows: WorkflowLibrary, world: Lookups, workflow: str | None = None
) -> dict[str, Any]:
    """Say what an event led to and why, for every workflow that listened to its type.

    `outcomes` has one entry for each: `workflow kind sentence at computed run until history`, where `history` are the
    verdicts in their order: a settle time comes first, what was decided when it was over after it. `computed` marks
    what was not written down. `not_listening` names the loaded workflows that listen to something else.

    Args:
        reader: the database.
        ref: the event's id, a unique beginning or end of it, or its number.
        workflows: what is loaded; versions that are not loaded any more are compiled from the database.
        world: people and calendars, and the present instant.
        workflow: this one alone.

    Raises:
        NotFound: there is no such event, or there are several.
    """
    row = find(reader, "events", ref)
    explaining = _Explaining(reader, row, event_of(row), workflows, world)
    versions = explaining.versions() + explaining.replayed()
    listening = [(name, version) for name, version in versions if workflow in (None, name)]
    outcomes = [explaining.outcome(name, version) for name, version in listening]
    others = (one for name, one in sorted(workflows.current.items()) if workflow in (None, name))
    heard = {name for name, _ in versions}
    return {
        "event": {**event_report(row), "data": said(row)},
        "note": _note(row),
        "outcomes": outcomes,
        "not_listening": [explaining.elsewhere(one) for one in others if one.id not in heard],
    }


def _note(row: sqlite3.Row) -> str | None:
    if row["state"] == "new":
        return "it is committed and has not been looked at yet"
    if row["state"] == "ignored":
        return f"no workflow was asked about it: {row['reason']}"
    if row["data"] is None:
        return "what it said was pruned: only its name, subject and times are left"
    return str(row["reason"]) if row["reason"] else None


@dataclass(slots=True)
class _AsItWas(Lookups):
    """The world, with the event's subject in the state that it had then."""

    about: tuple[str | None, str | None] = (None, None)
    state: Mapping[str, Any] | None = None

    def subject(self, subject_type: str, ref: str) -> Any | None:
        if self.state is not None and (subject_type, ref) == self.about:
            return subject_of(subject_type, self.state)
        return Lookups.subject(self, subject_type, ref)


@dataclass(frozen=True, slots=True)
class _Explaining:
    reader: sqlite3.Connection
    row: sqlite3.Row
    event: Event
    library: WorkflowLibrary
    world: Lookups

    @property
    def _forgotten(self) -> bool:
        """Whether only the event's identity is left."""
        return self.row["data"] is None

    def versions(self) -> list[tuple[str, str]]:
        """Give the workflows that were asked about the event, each with the version that was."""
        if self.row["listeners"] is None:
            return []
        stored = self.reader.execute(
            "SELECT versions FROM listeners WHERE hash = ?", (self.row["listeners"],)
        ).fetchone()
        if stored is not None:
            return [(name, version) for name, version in json.loads(stored["versions"])]
        return [(one.id, one.version) for one in self.library.current.values() if one.listens_to(self.event.type)]

    def replayed(self) -> list[tuple[str, str]]:
        """Give the workflows that were asked about the event only when it was replayed, in their version of then."""
        rows = self.reader.execute(
            "SELECT workflow, json_extract(detail, '$.version') AS version FROM verdicts"
            " WHERE event = ? AND json_extract(detail, '$.replayed') IS NOT NULL ORDER BY id",
            (self.row["id"],),
        ).fetchall()
        asked = {name for name, _ in self.versions()}
        return list({row["workflow"]: row["version"] for row in rows if row["workflow"] not in asked}.items())

    def outcome(self, name: str, version: str) -> dict[str, Any]:
        """Give what became of the event in one workflow."""
        history = verdicts(self.reader, self.row["id"], name)
        if not history or (history[0]["detail"].get("replayed") and (name, version) in self.versions()):
            history = [self._computed(name, version), *history]  # what left no row comes before what was replayed
        version = history[-1]["detail"].get("version") or version
        if history[-1]["kind"] == "settling":
            history += self._after_settling(name, version, history[-1])
        last = history[-1]
        return {
            **{key: last[key] for key in ("workflow", "kind", "sentence", "at", "computed", "run")},
            "version": version,
            "until": last["detail"].get("until") if last["kind"] == "settling" else None,
            "history": history,
        }

    def elsewhere(self, workflow: Workflow) -> dict[str, Any]:
        """Say what a workflow listens to that was not asked."""
        listens = list(dict.fromkeys(use.name for use in workflow.triggers))
        if self.row["listeners"] is None and workflow.listens_to(self.event.type):
            sentence = f"it listens to {self.event.type}, and was not asked about this one"
        elif workflow.listens_to(self.event.type):
            sentence = f"it listens to {self.event.type} now, and did not when the event came in"
        else:
            sentence = f"listens to {' and '.join(listens) or 'nothing'}, not to {self.event.type}"
        return {"workflow": workflow.id, "kind": "not_listening", "listens_to": listens, "sentence": sentence}

    # --- what left no row --------------------------------------------------------------------------------------------

    def _computed(self, name: str, version: str) -> dict[str, Any]:
        at = instant(self.row["received"])
        if self._forgotten:
            return self._made(name, "unknown", "nothing is left to tell it from: what the event said was pruned", at)
        workflow = self._version(version)
        if isinstance(workflow, str):
            return self._made(name, "unknown", f"nothing was written down, and {workflow}", at)
        world = self._world(self.event.after, at)
        uses = [(index, use) for index, use in enumerate(workflow.triggers) if use.trigger.event == self.event.type]
        found = [match(workflow, use, index, self.event, world) for index, use in uses]
        concerned = sorted((one for one in found if one is not None), key=lambda one: one.kind == "inputs_differ")
        if not concerned:
            only = (listener_of(self.event) or "").partition("/")[0]
            return self._made(name, "elsewhere", f"the check that found it was made for '{only}' alone", at)
        return self._told(concerned[0], at, "the event's snapshot")

    def _told(self, one: Match, at: datetime, source: str) -> dict[str, Any]:
        """Tell a computed verdict; one that would have left a row is told as a contradiction."""
        detail = encode(dict(one.detail))
        if one.kind in KEPT:
            would = "start" if one.kind == "start" else f"say: {say(one.kind, detail)}"
            sentence = (
                f"nothing was written down, yet computed now it would {would}; something it reads has changed since"
            )
            return self._made(one.workflow.id, "unclear", sentence, at)
        sentence = _inputs(one.use, self.event) if one.kind == "inputs_differ" else say(one.kind, detail)
        return self._made(one.workflow.id, one.kind, f"{sentence}; computed from {source}", at, detail)

    def _made(
        self, workflow: str, kind: str, sentence: str, at: datetime, detail: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        return {
            "workflow": workflow,
            "kind": kind,
            "sentence": sentence,
            "at": iso(micros(at)),
            "detail": plain(dict(detail or {})),
            "run": None,
            "computed": True,
        }

    def _version(self, version: str) -> Workflow | str:
        """Give a version as compiled, or why there is none."""
        row = self.reader.execute("SELECT * FROM workflow_versions WHERE hash = ?", (version,)).fetchone()
        if row is None:
            return "its version is not kept any more"
        stored = (row["workflow"], row["source"], json.loads(row["templates"]))
        try:
            return self.library.version(version, lambda _: stored)
        except UnreadableVersion as error:
            return f"its version of then cannot be read any more: {error}"

    def _world(self, state: Mapping[str, Any] | None, now: datetime) -> _AsItWas:
        about = (self.event.subject_type, self.event.subject)
        return _AsItWas(self.reader, self.world.directory, now, {}, about, state)

    # --- settle times ------------------------------------------------------------------------------------------------

    def _after_settling(self, name: str, version: str, settling: dict[str, Any]) -> list[dict[str, Any]]:
        """Give what became of a settle time whose end left no row."""
        until = datetime.fromisoformat(settling["detail"]["until"])
        if self._still_settling(name):
            if until + LATE >= self.world.now:
                return []
            sentence = f"its settle time is over since {iso(micros(until))}, and the engine has not looked yet"
            return [self._made(name, "late", sentence, until)]
        if self._forgotten:
            return [self._made(name, "unknown", "what became of it was pruned, as was what the event said", until)]
        workflow = self._version(version)
        if isinstance(workflow, str):
            return [self._made(name, "unknown", f"nothing was written down at its end, and {workflow}", until)]
        ended = self._left(workflow, until) or self._at_its_end(workflow, until) or self._left(workflow, None)
        if ended is None:
            sentence = "nothing was written down at its end: the workflow was changed or taken away meanwhile"
            ended = self._made(name, "gone", sentence, until)
        return [ended]

    def _still_settling(self, name: str) -> bool:
        row = self.reader.execute(
            "SELECT 1 FROM waits WHERE kind = 'settle' AND event = ?2"
            " AND workflow IN (?1, (SELECT new FROM moves WHERE old = ?1))",
            (name, self.row["id"]),
        ).fetchone()
        return row is not None

    def _settles(self, workflow: Workflow) -> Sequence[tuple[int, TriggerUse]]:
        return [
            (index, use)
            for index, use in enumerate(workflow.triggers)
            if use.trigger.event == self.event.type and use.settle is not None
        ]

    def _left(self, workflow: Workflow, until: datetime | None) -> dict[str, Any] | None:
        """Tell of the event that ended a settle time before it was over, or began it anew."""
        types = {left for _, use in self._settles(workflow) for left in use.trigger.left_by} | {self.event.type}
        row = self.reader.execute(
            f"SELECT uid, type, received FROM events WHERE subject = ? AND id > ? AND state = 'matched'"
            f" AND type IN ({', '.join('?' * len(types))}) AND (? IS NULL OR received <= ?) ORDER BY id LIMIT 1",
            (self.event.subject, self.row["id"], *types, *([micros(until) if until else None] * 2)),
        ).fetchone()
        if row is None:
            return None
        at = instant(row["received"])
        if row["type"] == self.event.type:
            return self._made(workflow.id, "begun_anew", f"its settle time began anew with {row['uid']}", at)
        sentence = f"its settle time was dropped: {row['type']} ({row['uid']}) left the state before it was over"
        return self._made(workflow.id, "left", sentence, at)

    def _at_its_end(self, workflow: Workflow, until: datetime) -> dict[str, Any] | None:
        """Compute what was decided when the settle time was over, where that leaves no row."""
        if until > self.world.now:
            return None
        row = self.reader.execute(
            "SELECT after FROM events WHERE subject = ? AND received <= ? AND after IS NOT NULL"
            " ORDER BY id DESC LIMIT 1",
            (self.event.subject, micros(until)),
        ).fetchone()
        state = json.loads(row["after"]) if row is not None else self.event.after
        for index, use in self._settles(workflow):
            one = evaluate(workflow, use, index, self.event, self._world(state, until))
            if one.kind not in KEPT:
                return self._told(one, until, "the state at that instant")
        return None


def _inputs(use: TriggerUse, event: Event) -> str:
    """Say what a trigger asked for that the event did not have."""
    if use.connection is not None and use.connection != event.source:
        return f"the trigger asks for connection '{use.connection}', and the event came by '{event.source}'"
    given = {name: _given(getattr(use.params, name)) for name in sorted(use.params.model_fields_set)}
    asked = ", ".join(f"{name}: {json.dumps(value, ensure_ascii=False, default=str)}" for name, value in given.items())
    return say("inputs_differ", {}) + (f" ({asked})" if asked else "")


def _given(value: Any) -> Any:
    return value.model_dump(exclude_unset=True) if hasattr(value, "model_dump") else value
