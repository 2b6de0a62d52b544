"""What sources may know of incidents: whose channel is whose, and what was captured (`plugins.Record`)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from engine.domain import Entry, Incident
from engine.store.codec import loads
from engine.store.lookups import OPEN, Lookups, as_they_are, subject_of

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_WITH_CHANNEL = "type = 'incident' AND json_extract(state, '$.channel') IS NOT NULL"
_NOTES = "SELECT note FROM events WHERE subject = :of AND note IS NOT NULL"
#: What was said of an entry, and of those that are about it.
_OF_ENTRY = """ AND :entry IN (json_extract(note, '$."~entry".id'), json_extract(note, '$."~entry".about'))"""
#: What may give an incident its channel. It has an index, so that to look for what is new costs next to nothing.
_NEW = "SELECT id, subject FROM events WHERE type IN ('incident.declared', 'incident.updated') AND id > ? ORDER BY id"


class Record:
    """Incidents as committed."""

    def __init__(self, reader: sqlite3.Connection, lookups: Callable[[], Lookups]) -> None:
        self._reader, self._lookups = reader, lookups
        self._in: dict[str, list[str]] = {}  #: incidents by channel, one that has got another since among them
        self._upto: int | None = None  #: the newest event that was looked at for it

    def incident(self, ref: str) -> Incident | None:
        """Give an incident by its id or its key, whatever the key's case."""
        wanted = ref.strip()
        rows = self._reader.execute(
            "SELECT id, state FROM subjects WHERE type = 'incident' AND (id = ? OR upper(id) = ? OR upper(key) = ?)",
            (wanted, wanted.upper(), wanted.upper()),
        ).fetchall()
        rows = [row for row in rows if row["id"] == wanted] or rows
        return _incident(rows[0]["state"]) if len(rows) == 1 else None

    def incident_in(self, channel: str) -> Incident | None:
        """Give the incident whose channel this is; of several the newest, one that is open before the others."""
        self._catch_up()
        found = [incident for name in self._in.get(channel, ()) if (incident := self._by_id(name)) is not None]
        found = [incident for incident in found if incident.channel == channel]
        return max(found, key=lambda one: (_is_open(one), one.declared_at or _LONG_AGO), default=None)

    def followed(self, since: datetime) -> Sequence[Incident]:
        """Give the incidents with a channel that are open, or were resolved after an instant."""
        rows = self._reader.execute(
            f"SELECT state FROM subjects WHERE {_WITH_CHANNEL} AND ({OPEN}"
            """ OR json_extract(state, '$.resolved_at."~instant"') > ?) ORDER BY first_seen, id""",
            (since.isoformat(),),
        )
        return [_incident(row["state"]) for row in rows.fetchall()]

    def timeline(self, incident: Incident) -> Sequence[Entry]:
        """Give what happened, in order, as people are told."""
        entries: list[Entry] = self._lookups().field(incident, "timeline")
        return entries

    def captured(self, incident: str, entry: str | None = None) -> Sequence[Entry]:
        """Give what was captured for an incident, each entry as it is now; all of it, or the one with an id."""
        rows = self._reader.execute(
            f"{_NOTES}{_OF_ENTRY if entry is not None else ''}", {"of": incident, "entry": entry}
        )
        found = as_they_are(one for row in rows.fetchall() if (one := loads(row["note"])).id is not None)
        return found if entry is None else [one for one in found if one.id == entry]

    def _catch_up(self) -> None:
        if self._upto is None:
            self._upto = int(self._reader.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0])
            rows = self._reader.execute(f"SELECT id, state FROM subjects WHERE {_WITH_CHANNEL}").fetchall()
            for row in rows:
                self._note(_incident(row["state"]))
        for row in self._reader.execute(_NEW, (self._upto,)).fetchall():
            self._upto = row["id"]
            self._note(self._by_id(row["subject"]))

    def _note(self, incident: Incident | None) -> None:
        if incident is not None and incident.channel is not None:
            known = self._in.setdefault(incident.channel, [])
            if incident.id not in known:
                known.append(incident.id)

    def _by_id(self, name: str) -> Incident | None:
        row = self._reader.execute("SELECT state FROM subjects WHERE type = 'incident' AND id = ?", (name,)).fetchone()
        return _incident(row["state"]) if row is not None else None


def _incident(state: str) -> Incident:
    found: Incident = subject_of("incident", json.loads(state))
    return found


def _is_open(incident: Incident) -> bool:
    return incident.status != "resolved" and incident.merged_into is None
