"""The people file: people, teams, services and rotations, and whether their names fit together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from engine.config.reader import BAD_SETTING, MISSING_SETTING, Reader
from engine.domain import Person, Roster, Rotation, Service, Team
from engine.problems import declare, did_you_mean
from engine.workflow import source
from engine.workflow.source import Entry, Node, Scalar

UNKNOWN_NAME = declare(
    "people-unknown",
    "A person, team, rotation or calendar is named that the project does not have.",
    "Write a name that is there, or add the person, team or rotation to the people file.",
)
TWICE = declare(
    "people-twice",
    "Two people have the same e-mail address or the same id in another system: nobody could tell who is meant.",
    "Give each their own; people are joined across systems by e-mail, else by id.",
)

_PERSON = ("name", "email", "timezone", "manager", "calendar", "hours", "max_per_day", "ids")
_TEAM = ("name", "lead", "manager", "members", "channel", "rotation", "vars")
_SERVICE = ("name", "team", "rotation")
_ROTATION = ("members", "every", "from", "timezone")


def read_people(
    reader: Reader, root: Node, *, timezone: str, calendars: Collection[str], variables: Collection[str]
) -> Roster:
    """Give the roster; what is wrong in it is reported to `reader`.

    Args:
        reader: of the people file.
        root: the file's root.
        timezone: the project's, for rotations that name none.
        calendars: names of the project's calendars.
        variables: names of the project's `vars`, which teams may override.
    """
    parts = reader.entries(root, "the people file", ("people", "teams", "services", "rotations"))
    return _People(reader, parts, timezone, calendars, variables).read()


class _People:
    def __init__(
        self,
        reader: Reader,
        parts: Mapping[str, Entry],
        timezone: str,
        calendars: Collection[str],
        variables: Collection[str],
    ) -> None:
        self.reader = reader
        self.timezone = timezone
        self.calendars = calendars
        self.variables = variables
        self.people = reader.mapping(parts.get("people"))
        self.teams = reader.mapping(parts.get("teams"))
        self.services = reader.mapping(parts.get("services"))
        self.rotations = reader.mapping(parts.get("rotations"))
        self.addresses: dict[tuple[str, str], str] = {}

    def read(self) -> Roster:
        teams = {name: self._team(name, line) for name, line in self.teams.items()}
        people = {name: self._person(name, line, teams.values()) for name, line in self.people.items()}
        services = {name: self._service(name, line) for name, line in self.services.items()}
        rotations = {name: self._rotation(name, line) for name, line in self.rotations.items()}
        return Roster(people, teams, services, {name: one for name, one in rotations.items() if one is not None})

    def _person(self, name: str, line: Entry, teams: Iterable[Team]) -> Person:
        if not name.strip() or ":" in name or "@" in name:
            hint = "a ':' is for ids of other systems, an '@' for e-mail addresses"
            self.reader.add(BAD_SETTING, f"a person cannot be called '{name}'", line.key, hint)
        lines = self.reader.mapping(line, _PERSON)
        email = self.reader.text(lines.get("email"))
        if email is not None and "@" not in email:
            self.reader.add(BAD_SETTING, f"'email' must be an e-mail address, not '{email}'", lines["email"].value)
        elif email is not None:
            self._alone(name, "the e-mail address", email.casefold(), lines["email"].value)
        ids = {system: self._id(name, system, entry) for system, entry in self.reader.mapping(lines.get("ids")).items()}
        return Person(
            id=name,
            name=self.reader.text(lines.get("name")) or name,
            email=email,
            timezone=self.reader.zone(lines.get("timezone")),
            manager=self._known(lines.get("manager"), self.people, "nobody is called", "people"),
            team=next((team.id for team in teams if name in team.members or name == team.lead), None),
            ids={system: value for system, value in ids.items() if value is not None},
            calendar=self.reader.text(lines.get("calendar")),
            hours=self._known(lines.get("hours"), self.calendars, "no calendar is called", "calendars"),
            max_per_day=self.reader.integer(lines.get("max_per_day"), 1, 100),
            known=True,
        )

    def _id(self, name: str, system: str, entry: Entry) -> str | None:
        value = self.reader.text(entry)
        if value is not None:
            self._alone(name, f"the {system} id", value, entry.value)
        return value

    def _alone(self, name: str, what: str, value: str, at: Node) -> None:
        """Report an address or id that somebody else has too."""
        other = self.addresses.setdefault((what, value), name)
        if other != name:
            self.reader.add(TWICE, f"'{name}' and '{other}' have {what} '{value}'", at, "give each their own")

    def _team(self, name: str, line: Entry) -> Team:
        lines = self.reader.mapping(line, _TEAM)
        return Team(
            id=name,
            name=self.reader.text(lines.get("name")) or name,
            lead=self._known(lines.get("lead"), self.people, "nobody is called", "people"),
            manager=self._known(lines.get("manager"), self.people, "nobody is called", "people"),
            members=self._members(lines.get("members")),
            channel=self.reader.text(lines.get("channel")),
            rotation=self._known(lines.get("rotation"), self.rotations, "no rotation is called", "rotations"),
            vars=self._vars(lines.get("vars")),
        )

    def _vars(self, entry: Entry | None) -> dict[str, Any]:
        lines = self.reader.mapping(entry)
        for name in [name for name in lines if name not in self.variables]:
            hint = did_you_mean(name, self.variables, "vars of hotwash.yaml")
            self.reader.add(UNKNOWN_NAME, f"hotwash.yaml has no var '{name}' to override", lines.pop(name).key, hint)
        return {name: self.reader.constant(line) for name, line in lines.items()}

    def _service(self, name: str, line: Entry) -> Service:
        lines = self.reader.mapping(line, _SERVICE)
        return Service(
            id=name,
            name=self.reader.text(lines.get("name")) or name,
            team=self._known(lines.get("team"), self.teams, "no team is called", "teams"),
            rotation=self._known(lines.get("rotation"), self.rotations, "no rotation is called", "rotations"),
        )

    def _rotation(self, name: str, line: Entry) -> Rotation | None:
        lines = self.reader.mapping(line, _ROTATION)
        for key in ("members", "every", "from"):
            if key not in lines and isinstance(line.value, source.Mapping):
                self.reader.add(MISSING_SETTING, f"rotation '{name}' needs '{key}'", line.key, f"add '{key}:'")
        members = self._members(lines.get("members"))
        named = lines["members"].value if "members" in lines else None
        if isinstance(named, source.Sequence) and not named.items:
            self.reader.add(BAD_SETTING, f"rotation '{name}' needs at least one member", named)
        every = self.reader.duration(lines.get("every"))
        start = self._start(lines.get("from"))
        timezone = self.reader.zone(lines.get("timezone")) or self.timezone
        return Rotation(name, members, every, start, timezone) if members and every and start else None

    def _start(self, entry: Entry | None) -> datetime | None:
        text = self.reader.text(entry)
        if text is None or entry is None:
            return None
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            message = f"'from' must be a date and time such as 2026-01-05T09:00, not '{text}'"
            self.reader.add(BAD_SETTING, message, entry.value)
            return None

    # --- names -------------------------------------------------------------------------------------------------------

    def _known(self, entry: Entry | None, known: Collection[str], message: str, kinds: str) -> str | None:
        name = self.reader.text(entry)
        if name is None or name in known:
            return name
        if entry is not None and isinstance(entry.value, Scalar):
            self.reader.unknown(UNKNOWN_NAME, message, entry.value, known, kinds)
        return None

    def _members(self, entry: Entry | None) -> tuple[str, ...]:
        members = []
        for name, node in self.reader.texts(entry):
            if name not in self.people:
                self.reader.unknown(UNKNOWN_NAME, "nobody is called", node, self.people, "people")
            elif name in members:
                self.reader.add(TWICE, f"'{name}' is named twice", node, "name each person once")
            else:
                members.append(name)
        return tuple(members)
