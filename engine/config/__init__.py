"""`hotwash.yaml` and the people file: how a project is configured.

Both are checked as workflows are: each problem has its place and a hint, and all come at once. Paths are relative to
the project's folder. Environment variables and files are read here, and only here, where a value says `${NAME}` or
`${file:PATH}`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

import engine
from engine import calendars
from engine.calendars import Calendar, Duration, Holidays, Week
from engine.config import connections as connecting
from engine.config.connections import ConnectionConfig
from engine.config.environment import read_environment
from engine.config.people import UNKNOWN_NAME, read_people
from engine.config.reader import BAD_SETTING, MISSING_CREDENTIAL, MISSING_FILE, Reader, References
from engine.domain import Roster
from engine.faults import hide
from engine.plugins import Catalogue
from engine.problems import Problem, Span, declare, sort
from engine.workflow import source
from engine.workflow.source import Entry, Node, Scalar, SourceFile, read_file, read_source

__all__ = [
    "MISSING_CREDENTIAL",
    "MISSING_FILE",
    "Config",
    "ConnectionConfig",
    "Limits",
    "Server",
    "find_project",
    "library",
    "load_config",
    "plugins_folder",
]

FILE_NAME = "hotwash.yaml"
DEFAULT_DATABASE = "sqlite:///.hotwash/hotwash.db"
KEYS = (
    *("workflows", "templates", "plugins", "database", "server", "timezone", "owner", "connections", "use"),
    *("calendars", "people", "vars", "http", "retention", "limits"),
)
_PEOPLE_FILE = "people.yaml"
_MOST_OF_CALENDAR = 4 * 1024 * 1024  #: bytes of an .ics file with days off

T = TypeVar("T")

NO_TIMEZONE = declare(
    "no-timezone",
    "hotwash.yaml names no time zone, so times are shown and counted in UTC. The machine's own zone is never read.",
    "Add 'timezone:' with an IANA name such as Europe/Prague.",
)
BAD_CALENDAR = declare(
    "bad-calendar",
    "A calendar's hours, days off or time zone cannot be read.",
    'Write such as: office: {timezone: Europe/Prague, hours: {mon-fri: "09:00-17:30"}, holidays: [CZ, days.ics]}.',
)


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server listens, and `url`, what others call it by, where that differs."""

    host: str = "127.0.0.1"
    port: int = 8321
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    body: int = 1024 * 1024  #: bytes of a webhook's body


@dataclass(frozen=True, slots=True)
class Config:
    """A project as configured. Paths are absolute."""

    folder: Path
    workflows: Path
    templates: Path
    plugins: Path
    database: str = field(repr=False)  #: an URL; of an SQLite file with its absolute path
    server: Server
    timezone: str  #: IANA name
    owner: str | None  #: a person or team of the roster
    connections: Mapping[str, ConnectionConfig]
    use: Mapping[str, str]  #: the connection that serves each capability
    calendars: Mapping[str, Calendar]
    roster: Roster
    vars: Mapping[str, Any]
    retention: Mapping[str, Duration]  #: how long things are kept, as far as it is configured
    limits: Limits
    files: tuple[Path, ...]  #: hotwash.yaml, the people file, and whatever else it was read from
    credentials: tuple[Path, ...] = ()  #: where credentials are read from, whether they are there or not

    @property
    def default_calendar(self) -> Calendar:
        """The calendar that `5bd` counts in: `default`, else the only one, else weekdays from 9 to 5."""
        if "default" in self.calendars:
            return self.calendars["default"]
        if len(self.calendars) == 1:
            return next(iter(self.calendars.values()))
        return calendars.default_calendar(self.timezone)


def find_project(start: Path) -> Path | None:
    """Give the nearest folder with a hotwash.yaml: `start`, or one above it."""
    folder = start.resolve()
    return next((one for one in (folder, *folder.parents) if (one / FILE_NAME).is_file()), None)


def library() -> Path:
    """Give the folder of the ready-made workflows: beside the packages in a checkout, inside `engine` in a wheel."""
    package = Path(engine.__file__).parent
    installed = package / "_workflows"
    return installed if installed.is_dir() else package.parent / "workflows"


def plugins_folder(folder: Path) -> Path:
    """Give the project's plugins folder, before the rest of hotwash.yaml can be read."""
    name = None
    try:
        file, _ = read_source(FILE_NAME, read_file(folder / FILE_NAME))
    except OSError:
        return folder / "plugins"
    if isinstance(file.root, source.Mapping) and isinstance(node := file.root.get("plugins"), Scalar):
        name = node.value
    return folder / (name if isinstance(name, str) and name else "plugins")


def load_config(folder: Path, catalogue: Catalogue, environ: Mapping[str, str]) -> tuple[Config | None, list[Problem]]:
    """Read a project's hotwash.yaml and people file, and give the problems of both, in order.

    The configuration is None where something is an error, unless all that is wrong is a credential that is not there:
    with such a configuration workflows can be checked, but nothing may be run.
    """
    folder = folder.resolve()
    file, problems = _read_file(folder, FILE_NAME)
    if file is None:
        return None, problems
    variables, wrong = read_environment(folder)
    project = _Project(folder, file, catalogue, {**variables, **environ})
    try:
        config = project.read()
    except source.Enough:
        config = None
    if config is not None:
        hide(str(folder), connecting.secrets_of(config.connections.values()))
    problems = sort([*problems, *wrong, *project.problems])
    hindered = any(problem.severity == "error" and problem.code != MISSING_CREDENTIAL for problem in problems)
    return (None if hindered else config), problems


def _read_file(folder: Path, name: str) -> tuple[SourceFile | None, list[Problem]]:
    """Give a file that was read without errors, else None and what is wrong."""
    try:
        data = read_file(folder / name)
    except OSError as error:
        reason = (error.strerror or "no such file").lower()
        return None, [Problem(MISSING_FILE, f"'{name}' cannot be read: {reason}", Span(name, 1, 1, 1, 1))]
    file, problems = read_source(name, data)
    usable = file.root is not None and all(problem.severity == "warning" for problem in problems)
    return (file if usable else None), problems


def _allowing(connection: ConnectionConfig, hosts: list[str]) -> ConnectionConfig:
    if connection.options is None:
        return connection
    own: list[str] = getattr(connection.options, "allow", [])
    return replace(connection, options=connection.options.model_copy(update={"allow": [*own, *hosts]}))


class _Project:
    """Reads hotwash.yaml, and the people file that it names."""

    def __init__(self, folder: Path, file: SourceFile, catalogue: Catalogue, environ: Mapping[str, str]) -> None:
        assert file.root is not None
        self.folder = folder
        self.catalogue = catalogue
        self.reader = Reader(file, References(folder, environ))
        self.root: Node = file.root
        self.lines: Mapping[str, Entry] = {}
        self.of_people: list[Problem] = []
        self.read_from = [folder / FILE_NAME]

    @property
    def problems(self) -> list[Problem]:
        return [*self.reader.problems, *self.of_people]

    def read(self) -> Config:
        """Give what is configured.

        Raises:
            Enough: there are too many problems; they are among `problems`.
        """
        self.lines = self.reader.entries(self.root, FILE_NAME, KEYS)
        timezone = self._timezone()
        calendars_ = {
            name: self._calendar(name, line, timezone) for name, line in self._named("calendars", "a calendar")
        }
        variables = {name: self.reader.constant(line) for name, line in self._named("vars", "a var")}
        roster = self._roster(timezone, calendars_, variables)
        wanted = connecting.read_use(self.reader, self.lines.get("use"))
        entry = self.lines.get("connections")
        connections = connecting.read_connections(self.reader, entry, self.catalogue, wanted)
        connections = self._with_allowed_hosts(connections)
        return Config(
            folder=self.folder,
            workflows=self._folder("workflows"),
            templates=self._folder("templates"),
            plugins=self._folder("plugins"),
            database=self._database(),
            server=self._server(),
            timezone=timezone,
            owner=self._owner(roster),
            connections=connections,
            use=connecting.assign(self.reader, entry, wanted, connections, self.catalogue),
            calendars={name: calendar for name, calendar in calendars_.items() if calendar is not None},
            roster=roster,
            vars=variables,
            retention=self._retention(),
            limits=self._limits(),
            files=tuple(self.read_from),
            credentials=self.reader.files,
        )

    def _named(self, key: str, what: str) -> Iterable[tuple[str, Entry]]:
        return self.reader.named(self.lines.get(key), what).items()

    # --- single values -----------------------------------------------------------------------------------------------

    def _timezone(self) -> str:
        if "timezone" not in self.lines:
            first = self.root.span
            at = Span(first.file, first.line, first.column, first.line, first.column + 1)
            hint = "add 'timezone:' with a name such as Europe/Prague"
            self.reader.add(NO_TIMEZONE, "no 'timezone' is named: times are in UTC", at, hint, "warning")
        return self.reader.zone(self.lines.get("timezone")) or "UTC"

    def _folder(self, key: str) -> Path:
        return self.folder / (self.reader.text(self.lines.get(key)) or key)

    def _database(self) -> str:
        entry = self.lines.get("database")
        url = self.reader.text(entry) or DEFAULT_DATABASE
        scheme, colon, rest = url.partition("://")
        if scheme.partition("+")[0] in ("postgresql", "postgres") and colon and rest:
            return url
        path = rest.removeprefix("/")
        if scheme == "sqlite" and rest.startswith("/") and path and not path.startswith(":"):
            return f"sqlite:///{self.folder / path}"
        assert entry is not None
        message = f"'database' must be sqlite:///FILE or postgresql://…{f', not {scheme}://…' if colon else ''}"
        self._hidden(BAD_SETTING, message, entry)
        return url

    def _hidden(self, code: str, message: str, entry: Entry) -> None:
        """Report a mistake in a value that may hold a password: the line is not shown."""
        self.reader.problems.append(Problem(code, message, entry.value.span))

    def _owner(self, roster: Roster) -> str | None:
        entry = self.lines.get("owner")
        name = self.reader.text(entry)
        known = {*roster.people, *roster.teams}
        if name is None or name in known or self.of_people:  # a roster that could not be read knows nobody
            return name
        if entry is not None and isinstance(entry.value, Scalar):
            self.reader.unknown(UNKNOWN_NAME, "no person or team is called", entry.value, known, "people and teams")
        return None

    # --- sections ----------------------------------------------------------------------------------------------------

    def _server(self) -> Server:
        lines = self.reader.mapping(self.lines.get("server"), ("host", "port", "url"))
        port = self.reader.integer(lines.get("port"), 0, 65535)
        url = self.reader.text(lines.get("url"))
        if url is not None and not url.startswith(("http://", "https://")):
            self.reader.add(BAD_SETTING, f"'url' must begin with http:// or https://, not '{url}'", lines["url"].value)
        usual = Server()
        host = self.reader.text(lines.get("host")) or usual.host
        return Server(host, usual.port if port is None else port, url.rstrip("/") if url else None)

    def _limits(self) -> Limits:
        lines = self.reader.mapping(self.lines.get("limits"), ("body",))
        return Limits(self.reader.integer(lines.get("body"), 1024, 64 * 1024 * 1024) or Limits().body)

    def _retention(self) -> dict[str, Duration]:
        lines = self.reader.mapping(self.lines.get("retention"), ("events", "verdicts", "runs", "messages"))
        found = {name: self.reader.duration(line) for name, line in lines.items()}
        return {name: length for name, length in found.items() if length is not None}

    def _with_allowed_hosts(self, connections: Mapping[str, ConnectionConfig]) -> dict[str, ConnectionConfig]:
        """Add the hosts of `http: {allow: …}` to what every connection of plain HTTP may reach."""
        lines = self.reader.mapping(self.lines.get("http"), ("allow",))
        declared = self.catalogue.providers.get("http")
        if declared is None or "allow" not in lines:
            return dict(connections)
        allowed: list[str] = []
        for host, node in self.reader.texts(lines["allow"]):
            try:
                declared.options.model_validate({"allow": [host]})
                allowed.append(host)
            except ValidationError as error:
                self.reader.add(BAD_SETTING, connecting.sentence("allow", dict(error.errors()[0])), node)
        return {name: _allowing(one, allowed) if one.provider == "http" else one for name, one in connections.items()}

    def _calendar(self, name: str, line: Entry, timezone: str) -> Calendar | None:
        lines = self.reader.mapping(line, ("timezone", "hours", "holidays"))
        before = len(self.reader.problems)
        if name == calendars.RECIPIENT:
            message = (
                f"a calendar cannot be called '{name}': 'during: {name}' goes by the hours of whom a message is for"
            )
            self.reader.add(BAD_CALENDAR, message, line.key, "give it another name")
        zone = self.reader.zone(lines.get("timezone")) or timezone
        week = self._hours(lines.get("hours"))
        days_off = [self._days_off(text, node) for text, node in self.reader.texts(lines.get("holidays"))]
        if len(self.reader.problems) > before:
            return None
        return calendars.build_calendar(name, zone, week, [days for days in days_off if days is not None])

    def _hours(self, entry: Entry | None) -> Week:
        if entry is None:
            return calendars.WEEKDAYS_9_TO_5.hours
        before = len(self.reader.problems)
        hours = {}
        for days, line in self.reader.mapping(entry).items():
            hours[days] = self.reader.value(line.value)
            if hours[days] not in (None, "closed"):
                self._checked(line.value, calendars.parse_hours, {days: hours[days]})
        week = None
        if len(self.reader.problems) == before:
            week = self._checked(entry.value, calendars.parse_hours, hours)
        return week or calendars.WEEKDAYS_9_TO_5.hours

    def _days_off(self, text: str, node: Scalar) -> Holidays | None:
        if not text.endswith(".ics"):
            return self._checked(node, calendars.country_holidays, text)
        try:
            data = read_file(self.folder / text, _MOST_OF_CALENDAR)
            self.read_from.append(self.folder / text)
        except OSError as error:
            reason = (error.strerror or "no such file").lower()
            self.reader.add(MISSING_FILE, f"'{text}' cannot be read: {reason}", node)
            return None
        return self._checked(node, calendars.holidays_from_ics, data)

    def _checked(self, at: Node, function: Callable[[Any], T], value: Any) -> T | None:
        return self.reader.checked(at, function, value, BAD_CALENDAR)

    def _roster(self, timezone: str, calendars_: Collection[str], variables: Collection[str]) -> Roster:
        entry = self.lines.get("people")
        name = self.reader.text(entry) or _PEOPLE_FILE
        if entry is None and not (self.folder / name).exists():
            return Roster()
        if entry is not None and not (self.folder / name).is_file():
            self.reader.add(MISSING_FILE, f"there is no file '{name}'", entry.value, "write the people file")
            return Roster()
        self.read_from.append(self.folder / name)
        file, self.of_people = _read_file(self.folder, name)
        if file is None or file.root is None:
            return Roster()
        reader = Reader(file)
        try:
            return read_people(reader, file.root, timezone=timezone, calendars=calendars_, variables=variables)
        except source.Enough:
            return Roster()
        finally:
            self.of_people += reader.problems
