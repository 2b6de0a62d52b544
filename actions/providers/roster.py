"""People, teams, services and on-call rotations from the project's people file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from engine.calendars import Duration, add, default_calendar
from engine.capabilities import Shift
from engine.domain import Person, Rotation, Service, Team
from engine.plugins import Connection, Options, provider

_DEFAULT = "default"


class RosterOptions(Options):
    """The roster takes no options: what it knows stands in the project's people file.

    Example:
        roster:
          provider: roster
    """


class PeopleFile:
    """Know people, teams, services and who is on call, from the project's people file."""

    def __init__(self, options: RosterOptions, connection: Connection) -> None:
        roster = connection.roster
        self._people = {key: _known(key, person, roster.teams) for key, person in roster.people.items()}
        self._teams = roster.teams
        self._services = roster.services
        self._rotations = roster.rotations
        for rotation in roster.rotations.values():
            _check_rotation(rotation)
        people = self._people.values()
        self._by_email = _unique((person.email.strip().casefold(), person) for person in people if person.email)
        self._by_name = _unique((person.name, person) for person in people)
        self._by_id = _unique((f"{system}:{id_}", person) for person in people for system, id_ in person.ids.items())

    def person(self, key: str) -> Person | None:
        """Give a person by roster key, e-mail address, `SYSTEM:ID`, or else by a name that only one person has."""
        key = key.strip()
        return (
            self._people.get(key)
            or self._by_email.get(key.casefold())
            or self._by_id.get(key)
            or self._by_name.get(key)
        )

    def team(self, key: str) -> Team | None:
        """Give a team by its key."""
        return self._teams.get(key)

    def service(self, key: str) -> Service | None:
        """Give a service by its key."""
        return self._services.get(key)

    def people(self) -> Sequence[Person]:
        """Give everybody, in the file's order."""
        return list(self._people.values())

    def teams(self) -> Sequence[Team]:
        """Give the teams, in the file's order."""
        return list(self._teams.values())

    def services(self) -> Sequence[Service]:
        """Give the services, in the file's order."""
        return list(self._services.values())

    def join(self, person: Person) -> Person:
        """Give the roster's entry for somebody a vendor named, by e-mail, else by `ids`; else the same person.

        Never by name: two people may have the same.
        """
        if person.id in self._people:
            return self._people[person.id]
        if person.email and (found := self._by_email.get(person.email.strip().casefold())):
            return found
        for ref in (person.id, *(f"{system}:{id_}" for system, id_ in person.ids.items())):
            if ref in self._by_id:
                return self._by_id[ref]
        return person

    async def on_call(self, target: str | None, at: datetime) -> Person | None:
        """Give who is on call for a service, rotation or team; None or an unserved one gives the rotation `default`."""
        rotation = self._rotations.get(self._rotation(target) or _DEFAULT) or self._rotations.get(_DEFAULT)
        member = on_shift(rotation, at) if rotation else None
        return self._people.get(member) if member else None

    async def shifts(self, at: datetime) -> Sequence[Shift]:
        """Give the shift of every rotation; they change with the people file only, which is read at the start."""
        return [self._shift(rotation, at) for rotation in self._rotations.values() if rotation.members]

    def _shift(self, rotation: Rotation, at: datetime) -> Shift:
        count = _turn(rotation, at)
        member = None if count is None else rotation.members[count % len(rotation.members)]
        start = None if count is None else _hand_over(rotation, count)
        end = _next_hand_over(rotation, count)
        return Shift(rotation.name, self._people.get(member) if member else None, start, end, firm=True)

    def _rotation(self, target: str | None) -> str | None:
        if target is None:
            return None
        if service := self._services.get(target):
            return service.rotation or self._rotation_of_team(service.team)
        if target in self._rotations:
            return target
        return self._rotation_of_team(target)

    def _rotation_of_team(self, key: str | None) -> str | None:
        team = self._teams.get(key) if key else None
        return team.rotation if team else None


def on_shift(rotation: Rotation, at: datetime) -> str | None:
    """Give the id of the member whose shift it is at an aware instant; None before the rotation's start."""
    count = _turn(rotation, at) if rotation.members else None
    return None if count is None else rotation.members[count % len(rotation.members)]


def _turn(rotation: Rotation, at: datetime) -> int | None:
    """Give the number of the last hand-over up to an aware instant, from 0; None before the rotation's start."""
    zone = ZoneInfo(rotation.timezone)
    near = _estimate(rotation, _wall(rotation.start, zone), _wall(at, zone))
    # a change of daylight saving time moves a hand-over to a neighbour of the one that the wall clock suggests
    return next((count for count in range(near + 2, max(-1, near - 3), -1) if _hand_over(rotation, count) <= at), None)


def _next_hand_over(rotation: Rotation, count: int | None) -> datetime:
    """Give the instant of the first hand-over after one. In a gap of the clocks a later one may come first."""
    first = 0 if count is None else count + 1
    return min(_hand_over(rotation, number) for number in range(first, first + 3))


def _hand_over(rotation: Rotation, count: int) -> datetime:
    """Give the instant of a hand-over, in UTC. A local time that does not exist moves forward by the gap."""
    zone = ZoneInfo(rotation.timezone)
    start = _wall(rotation.start, zone)
    if months := rotation.every.months:
        return add(start.replace(tzinfo=zone), Duration(months=count * months), default_calendar(rotation.timezone))
    return (start + count * timedelta(seconds=rotation.every.seconds)).replace(tzinfo=zone).astimezone(UTC)


def _estimate(rotation: Rotation, start: datetime, wall: datetime) -> int:
    if months := rotation.every.months:
        return ((wall.year - start.year) * 12 + wall.month - start.month) // months
    return (wall - start) // timedelta(seconds=rotation.every.seconds)


def _wall(instant: datetime, zone: ZoneInfo) -> datetime:
    """Give the local time without its zone; what has none is local already."""
    return instant if instant.tzinfo is None else instant.astimezone(zone).replace(tzinfo=None, fold=0)


def _check_rotation(rotation: Rotation) -> None:
    every = rotation.every
    if every.business_days or (every.months and every.seconds) or (every.seconds <= 0 and every.months <= 0):
        raise ValueError(
            f"'every' of rotation '{rotation.name}' must be a duration such as 12h, 7d or P1M, not '{every}'"
        )


def _known(key: str, person: Person, teams: Mapping[str, Team]) -> Person:
    team = person.team or next((name for name, team in teams.items() if key in team.members), None)
    return replace(person, id=key, team=team, known=True)


def _unique(pairs: Iterable[tuple[str, Person]]) -> dict[str, Person]:
    """Index people by what only one of them has."""
    found: dict[str, Person] = {}
    twice: set[str] = set()
    for key, person in pairs:
        if key in found and found[key].id != person.id:
            twice.add(key)
        found[key] = person
    return {key: person for key, person in found.items() if key not in twice}


Roster = provider("roster", RosterOptions, serves=["people", "on_call"])(PeopleFile)
