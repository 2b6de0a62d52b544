"""Plain stand-ins for what actions and providers are given. Nothing here reads the system's clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from engine.calendars import WEEKDAYS_9_TO_5, Calendar
from engine.domain import Entry, Incident, Person, Roster, Service, Team
from engine.plugins import Effect

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

ADA = Person("ada", "Ada Example", email="ada@example.com", known=True)
GRACE = Person("grace", "Grace Example", email="grace@example.com", known=True)


@dataclass
class FakeClock:
    """A clock that stands still until `move` is called."""

    instant: datetime = MONDAY

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return (self.instant - MONDAY).total_seconds()

    def move(self, by: timedelta) -> None:
        self.instant += by

    async def wait_until(self, due: datetime | None, wake: asyncio.Event) -> None:
        if due is None or due > self.instant:
            await wake.wait()


class FakePeople:
    """A roster of the given people, teams and services."""

    def __init__(
        self, people: Sequence[Person] = (ADA, GRACE), teams: Sequence[Team] = (), services: Sequence[Service] = ()
    ) -> None:
        self._people, self._teams, self._services = tuple(people), tuple(teams), tuple(services)

    def person(self, key: str) -> Person | None:
        return next((one for one in self._people if key in (one.id, one.email)), None)

    def team(self, key: str) -> Team | None:
        return next((one for one in self._teams if one.id == key), None)

    def service(self, key: str) -> Service | None:
        return next((one for one in self._services if one.id == key), None)

    def people(self) -> Sequence[Person]:
        return self._people

    def teams(self) -> Sequence[Team]:
        return self._teams

    def services(self) -> Sequence[Service]:
        return self._services

    def join(self, person: Person) -> Person:
        return (self.person(person.email) if person.email else None) or person


class FakeStorage:
    """Rows in memory. `apply` commits what an effect saved."""

    def __init__(self) -> None:
        self.kept: dict[str, Mapping[str, Any]] = {}
        self.records: dict[str, list[Any]] = {}
        self._counters: dict[str, int] = {}

    def get(self, key: str) -> Mapping[str, Any] | None:
        return self.kept.get(key)

    def rows(self, prefix: str = "") -> Sequence[tuple[str, Mapping[str, Any]]]:
        return [(key, row) for key, row in sorted(self.kept.items()) if key.startswith(prefix)]

    def next(self, counter: str) -> int:
        self._counters[counter] = self._counters.get(counter, 0) + 1
        return self._counters[counter]

    def subject(self, subject_type: str, ref: str) -> Any | None:
        found = self.records.get(subject_type, [])
        return next((one for one in found if ref in (one.id, getattr(one, "key", None))), None)

    def subjects(self, subject_type: str) -> Sequence[Any]:
        return self.records.get(subject_type, [])

    async def scan(
        self, subject_type: str, *, done: bool | None = None, idle_since: datetime | None = None
    ) -> AsyncIterator[Any]:
        for one in self.records.get(subject_type, []):
            touched = max((at for at in (one.created_at, one.active_at) if at is not None), default=None)
            if done in (None, one.done) and (idle_since is None or touched is None or touched <= idle_since):
                yield one

    def apply(self, effect: Effect) -> None:
        for _, key, row in effect.saved:
            if row is None:
                self.kept.pop(key, None)
            else:
                self.kept[key] = row


@dataclass
class FakeRecord:
    """Incidents, and what was captured for all of them."""

    incidents: list[Incident] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def incident(self, ref: str) -> Incident | None:
        return next((one for one in self.incidents if ref in (one.id, one.key)), None)

    def incident_in(self, channel: str) -> Incident | None:
        return next((one for one in self.incidents if one.channel == channel), None)

    def followed(self, since: datetime) -> Sequence[Incident]:
        return [one for one in self.incidents if one.channel is not None]

    def timeline(self, incident: Incident) -> Sequence[Entry]:
        return self.entries

    def captured(self, incident: str, entry: str | None = None) -> Sequence[Entry]:
        return [one for one in self.entries if one.id is not None and entry in (None, one.id)]


@dataclass
class FakeConnection:
    """A connection whose lines for the console are kept in `said`."""

    folder: Path
    name: str = "markdown"
    clock: FakeClock = field(default_factory=FakeClock)
    storage: FakeStorage = field(default_factory=FakeStorage)
    people: FakePeople = field(default_factory=FakePeople)
    roster: Roster = field(default_factory=Roster)
    record: FakeRecord = field(default_factory=lambda: FakeRecord())
    zone: str = "UTC"
    said: list[str] = field(default_factory=list)

    def known(self, subject_type: str, ref: str) -> Any | None:
        return self.storage.subject(subject_type, ref)

    def say(self, text: str) -> None:
        self.said.append(text)

    def hides(self, effect: Effect) -> bool:
        return False


def an_effect(token: str = "tok1", **more: Any) -> Effect:
    """Give an effect of the workflow `demo`."""
    return Effect(id=f"demo/key/1/{token}", token=token, at=MONDAY, workflow="demo", run="demo/key", **more)


@dataclass
class FakeContext:
    """What an action is given; capabilities are set by the test that needs them."""

    effect: Effect = field(default_factory=an_effect)
    now: datetime = MONDAY
    incident: Incident | None = None
    people: FakePeople = field(default_factory=FakePeople)
    owner: Person | None = None
    zone: str = "UTC"
    documents: Any = None
    chat: Any = None
    tickets: Any = None
    calendar: Any = None
    incidents: Any = None
    status_page: Any = None
    meetings: Any = None
    on_call: Any = None
    http: Any = None

    def is_private(self, incident: str) -> bool:
        return self.incident is not None and self.incident.id == incident and self.incident.private

    def hours_of(self, person: Person | None) -> Calendar:
        return WEEKDAYS_9_TO_5
