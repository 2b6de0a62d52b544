"""The only module that knows which actions, triggers, providers and sources exist; it builds the application.

Checking and listing need no application, so its parts are imported where it is built.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import linecache
import os
import sqlite3
import sys
import traceback
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast, get_args

import actions
import triggers
from engine.calendars import Calendar
from engine.capabilities import DEFAULT_PROVIDERS, People
from engine.clock import Clock, SystemClock
from engine.config import MISSING_CREDENTIAL, Config, load_config, plugins_folder
from engine.config.connections import ConnectionConfig, secrets_of
from engine.domain import Person, Roster
from engine.faults import masked
from engine.log import Tell, Tellers
from engine.plugins import Action, ActionError, Catalogue, Declaration, Effect, Storage, Trigger
from engine.problems import Problem, ProblemError, Span, declare
from engine.workflow.calling import Callees
from engine.workflow.check import Names, check_workflow, emitted_types, former_name, signature_of
from engine.workflow.library import Compile, WorkflowLibrary, read_templates, workflow_files
from engine.workflow.model import Step, Workflow
from engine.workflow.source import SourceFile, read_file, read_source

if TYPE_CHECKING:
    from engine.application import Application
    from engine.store.journal import Direct, Journal, Lock
    from engine.store.record import Record

BROKEN_PLUGIN = declare(
    "broken-plugin",
    "A file in the project's plugins folder, or an installed plugin, cannot be loaded: running it raised an error.",
    "Mend the file at the place that is shown, or take it out of the folder; "
    "`hotwash check --no-plugins` checks the rest without running it.",
)
PLUGIN_CLASH = declare(
    "plugin-clash",
    "Two plugins declare the same name, or one declares an action whose function does not take (params, ctx).",
    "Rename one of them. Names of built-in actions, triggers, providers and sources cannot be taken.",
)

NO_DATABASE = declare(
    "database-unavailable",
    "`database:` names a database that this release cannot use.",
    "Use an SQLite file: sqlite:///.hotwash/hotwash.db.",
)

_ENTRY_POINTS = "hotwash.plugins"
_KINDS = get_args(Declaration)


def catalogue(folder: Path | None = None, *, plugins: bool = True) -> Catalogue:
    """Collect what is built in, what installed packages offer, and what the project's plugins folder declares.

    Args:
        folder: the project's folder; None stands for no project.
        plugins: False runs none of the project's Python.

    Raises:
        ProblemError: a plugin cannot be loaded, or takes a name that is taken; all of them.
    """
    project = plugins_folder(folder) if folder is not None and plugins else None
    declared: list[tuple[str, Declaration]] = [("built in", item) for item in (*actions.ALL, *triggers.ALL)]
    problems: list[Problem] = []
    seen = {id(item) for _, item in declared}
    for name, found in (*_installed(problems), *_of_project(project, problems)):
        new = [item for item in found if id(item) not in seen]  # a plugin may import what it builds on
        seen.update(id(item) for item in new)
        declared += [(name, item) for item in new]
    if problems:
        raise ProblemError(*problems)
    try:
        return Catalogue.collect(declared)
    except ValueError as error:
        raise ProblemError(Problem(PLUGIN_CLASH, str(error))) from None


def _installed(problems: list[Problem]) -> Iterator[tuple[str, list[Declaration]]]:
    for entry in _entries():
        name = entry.dist.name if entry.dist else entry.name
        try:
            yield name, _load(entry)
        except Exception as error:  # noqa: BLE001  running somebody's module may raise anything
            problems.append(Problem(BROKEN_PLUGIN, f"plugin '{name}' cannot be loaded: {_told(error)}"))


@cache
def _entries() -> list[EntryPoint]:
    """Give what installed packages offer; it stays the same while the process runs, and is slow to find."""
    return sorted(entry_points(group=_ENTRY_POINTS), key=lambda entry: entry.name)


def _load(entry: EntryPoint) -> list[Declaration]:
    loaded = entry.load()
    return _declarations(loaded) if isinstance(loaded, ModuleType) else _complete(list(loaded))


def _of_project(folder: Path | None, problems: list[Problem]) -> Iterator[tuple[str, list[Declaration]]]:
    for path in sorted(folder.glob("*.py")) if folder is not None else []:
        name = f"{path.parent.name}/{path.name}"
        try:
            yield name, _declarations(_run(path))
        except Exception as error:  # noqa: BLE001  running somebody's file may raise anything
            problems.append(_broken(path, name, error))


def _run(path: Path) -> ModuleType:
    """Run a plugin file as a module whose name no other file has."""
    unique = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"hotwash_plugin_{unique}_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"'{path.name}' is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pydantic look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _declarations(module: ModuleType) -> list[Declaration]:
    return _complete([value for value in vars(module).values() if isinstance(value, _KINDS)])


def _complete(found: list[Declaration]) -> list[Declaration]:
    """Finish the classes of inputs, which is otherwise left until they are used: what is wrong in them is said here."""
    for one in found:
        model = one.params if isinstance(one, Action | Trigger) else one.options
        model.model_rebuild()
    return found


def _broken(path: Path, name: str, error: Exception) -> Problem:
    frames = traceback.extract_tb(error.__traceback__)
    line = next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)
    if isinstance(error, SyntaxError) and error.filename == str(path):
        line = error.lineno
    message = f"the plugin cannot be loaded: {_told(error)}"
    if line is None:
        return Problem(BROKEN_PLUGIN, message, Span(name, 1, 1, 1, 1))
    text = linecache.getline(str(path), line).rstrip("\n")
    start = len(text) - len(text.lstrip()) + 1
    return Problem(BROKEN_PLUGIN, message, Span(name, line, start, line, len(text) + 1), excerpt=text)


def _told(error: Exception) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def names_of(config: Config, catalogue: Catalogue) -> Names:
    """Give what the project declares, as far as workflows may name it; `check` holds them against it."""
    roster = config.roster
    addresses = [person.email for person in roster.people.values() if person.email]
    providers = {name: catalogue.providers.get(one.provider) for name, one in config.connections.items()}
    paths = workflow_files(config.workflows)
    said = {path.stem: _said(path) for path in paths}
    files = {path.stem: path for path in paths}
    callees = Callees(lambda name: _file_of(config, files.get(name)), lambda file: signature_of(file, catalogue, names))
    names = Names(
        connections={name: declared.serves if declared else () for name, declared in providers.items()},
        providers={name: one.provider for name, one in config.connections.items()},
        use=config.use,
        calendars=config.calendars.keys(),
        people=[*roster.people, *addresses],
        teams=roster.teams.keys(),
        services=roster.services.keys(),
        rotations=roster.rotations.keys(),
        templates=read_templates(config.templates),
        vars=config.vars,
        team_vars={name: team.vars for name, team in roster.teams.items()},
        workflows=[path.stem for path in paths],
        events=[kind for path in paths for kind in said[path.stem][0]],
        moved=_claims({stem: former for stem, (_, former) in said.items() if former is not None}),
        timezone=config.timezone,
        callees=callees,
    )
    return names


def _file_of(config: Config, path: Path | None) -> SourceFile | None:
    """Read a workflow file that another calls; whoever reads it for itself says what is wrong with it."""
    if path is None:
        return None
    try:
        data = read_file(path)
    except OSError:
        return None
    shown = path.relative_to(config.folder) if path.is_relative_to(config.folder) else path
    return read_source(str(shown), data)[0]


def _said(path: Path) -> tuple[set[str], str | None]:
    """Give what other files have to know of a workflow file: the event types that it emits, and its former name.

    Most files say neither, and are not read as YAML for it.
    """
    try:
        data = read_file(path)
    except OSError:  # whoever reads the file for itself says so
        return set(), None
    words = (b"event.emit", b"moved_from", b"\\")  # they may be written with escapes
    if not any(word in data for word in words):
        return set(), None
    file = read_source(path.name, data)[0]
    return emitted_types(file), former_name(file)


def _claims(former: Mapping[str, str]) -> dict[str, list[str]]:
    """Give the files that say that they were called so before, by that name."""
    found: dict[str, list[str]] = {}
    for stem, name in former.items():
        found.setdefault(name, []).append(stem)
    return found


def source_of(config: Config, catalogue: Catalogue, connection: str) -> Any | None:
    """Build the inbound adapter of one connection alone, to sign with it: no database is opened.

    None where there is no such connection, it takes no webhooks, or it is off.
    """
    one = config.connections.get(connection)
    inbound = catalogue.sources.get(one.provider) if one is not None else None
    if one is None or inbound is None or one.source_options is None:
        return None
    return inbound.build(one.source_options, _Bare(connection, config), None)


def knows_people(config: Config) -> str:
    """Give the connection that is asked who somebody is: the people file alone where the one in use is off."""
    name = config.use["people"]
    return name if config.connections[name].disabled is None else DEFAULT_PROVIDERS["people"]


def people_of(config: Config, catalogue: Catalogue) -> People:
    """Build the provider that knows people alone, without an engine around it."""
    one = config.connections[knows_people(config)]
    people: People = catalogue.providers[one.provider].build(one.options, _Bare(one.name, config))
    return people


def library_of(config: Config, catalogue: Catalogue) -> WorkflowLibrary:
    """Give the project's workflow files, nothing loaded yet."""

    def compiler() -> Compile:
        names = names_of(config, catalogue)

        def compile(
            file: SourceFile, templates: Mapping[str, str], kept: bool
        ) -> tuple[Workflow | None, list[Problem]]:
            known = replace(names, templates=templates)
            if kept:  # other files may have changed since
                known = replace(known, callees=None, moved=None)
            return check_workflow(file, catalogue, known)

        return compile

    return WorkflowLibrary(config.workflows, config.templates, compiler)


# --- the application -------------------------------------------------------------------------------------------------


def build(
    config: Config,
    catalogue: Catalogue,
    *,
    clock: Clock | None = None,
    tell: Tell | None = None,
    providers: Mapping[str, Any] | None = None,
    dry_run: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Application:
    """Put the parts together around the project's database, which is created or upgraded, and locked.

    Args:
        config: the project.
        catalogue: what its workflows and connections may name.
        clock: the machine's, unless a test or the demo moves one of its own.
        tell: who is told what happens.
        providers: providers to use in place of those that the configuration names, by connection.
        dry_run: every run that begins is a dry one, and live ones rest: nothing goes out.
        environ: where credentials are looked up again; the process's environment.

    Raises:
        AlreadyRunning: another engine works on the database.
        NewerSchema: the database was written by a newer version.
        StorageUnavailable: the database cannot be opened or written.
    """
    from engine.store import schema
    from engine.store.journal import Lock, opening

    database = database_path(config)
    lock = Lock(database)
    with opening(database):
        lock.take()
    try:
        tellers = Tellers(*([tell] if tell else []), mask=masked)
        with opening(database):
            saved = schema.prepare(database)
        if saved is not None:
            tellers("store.upgraded", f"the database was upgraded; as it was before, it is kept as {saved}")
        assembly = _Assembly(config, catalogue, clock or SystemClock(), tellers, lock)
        assembly.environ = os.environ if environ is None else environ
        return assembly.application(database, providers or {}, dry_run)
    except BaseException:
        lock.release()
        raise


def open_application(
    folder: Path,
    *,
    clock: Clock | None = None,
    tell: Tell | None = None,
    providers: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    dry_run: bool = False,
    incomplete: bool = False,
) -> Application:
    """Read a project and build its application, as `build` does.

    `incomplete`, connections whose credentials are missing are off, whatever they are needed for.

    Raises:
        ProblemError: something is wrong with the configuration; all of it.
    """
    known = catalogue(folder)
    config, problems = load_config(folder, known, os.environ if environ is None else environ)
    wrong = [one for one in problems if not (incomplete and one.code == MISSING_CREDENTIAL)]
    if config is None or any(problem.severity == "error" for problem in wrong):
        raise ProblemError(*problems)
    return build(config, known, clock=clock, tell=tell, providers=providers, dry_run=dry_run, environ=environ)


def database_path(config: Config) -> Path:
    """Give the file of an SQLite database.

    Raises:
        ProblemError: the URL is of another database, which is not available yet.
    """
    scheme, _, path = config.database.partition(":///")
    if scheme != "sqlite":
        raise ProblemError(
            Problem(
                NO_DATABASE,
                f"'database' must begin with sqlite:///, not '{scheme}': others are not available yet",
            )
        )
    return Path(path)


class _Assembly:
    """Builds the parts in the order in which they need one another."""

    def __init__(self, config: Config, catalogue: Catalogue, clock: Clock, tell: Tellers, lock: Lock) -> None:
        self.catalogue, self.clock, self.tell, self.lock = catalogue, clock, tell, lock
        self.providers: dict[str, Any] = {}
        self.sources: dict[str, Any] = {}
        self.given: Mapping[str, Any] = {}
        self.opened: tuple[Journal, sqlite3.Connection]
        self.connections = dict(config.connections)
        self.config = replace(config, connections=self.connections)
        self.environ: Mapping[str, str] = os.environ
        self.record: Record

    def application(self, database: Path, given: Mapping[str, Any], dry_run: bool) -> Application:
        from engine.application import Application
        from engine.intake import Intake
        from engine.operations.receiving import answer
        from engine.polls import Polls
        from engine.runs import digests
        from engine.runs.dispatch.embedded import EmbeddedDispatcher
        from engine.runs.executor import Executor
        from engine.runs.hub import Hub
        from engine.store.journal import Journal
        from engine.store.lookups import Directory
        from engine.store.record import Record
        from engine.store.retention import Forgetting

        config = self.config
        journal = Journal(database)
        reader, rows = journal.reader(), journal.reader()
        self.record = Record(rows, lambda: hub.lookups())
        self._connect(journal, rows, given)
        people = self.people
        directory = Directory(people, config.calendars, config.default_calendar, config.timezone, config.vars)
        library = library_of(config, self.catalogue)
        hub = Hub(
            journal=journal,
            reader=reader,
            clock=self.clock,
            directory=directory,
            library=library,
            serve=self._serve,
            provider=self.providers.get,
            hours_of=self._hours_of,
            owner_of=self._owner_of,
            notice=self._notice,
            action=self.catalogue.actions.get,
            templates=lambda: read_templates(config.templates),
            tell=self.tell,
            rates={name: one.rate for name, one in config.connections.items() if one.rate is not None},
            dry_run=dry_run,
        )
        self.hides = hub.discretion.hides_run
        hub.pauses.read(reader)
        hub.renamed.read(reader)
        hub.connections.read()
        executor = Executor(hub)
        intake = Intake(
            hub,
            notify=lambda runs: dispatcher.notify(runs),
            look=lambda: dispatcher.look(),
            begin=executor.begin,
            adopt=lambda begun: dispatcher.adopt(begun),
        )
        dispatcher = EmbeddedDispatcher(executor, intake.settle, partial(digests.begin, hub))
        hub.records_written = executor.reread_all
        hub.events_written, hub.runs_woken, hub.waits_written = intake.wake, dispatcher.notify, dispatcher.look
        watching = {name: source for name, source in self.sources.items() if hasattr(source, "changes")} | {
            name: provider
            for name, provider in self.providers.items()
            if hasattr(provider, "changes") and not getattr(provider, "own_store", False)
        }
        disabled = {name: one.disabled for name, one in config.connections.items() if one.disabled}
        return Application(
            config,
            self.catalogue,
            self.clock,
            journal,
            reader,
            self.lock,
            library,
            hub,
            executor,
            dispatcher,
            intake,
            Polls(hub, intake, watching, executor.limits, self._watched()),
            Forgetting(journal, self.clock, self.tell, config.retention, self._forgets()),
            self.providers,
            self.sources,
            self.tell,
            disabled,
            answer,
            self.renew,
        )

    def _watched(self) -> list[Trigger]:
        """Give the triggers of which one look speaks for all, where what `use:` names can tell."""
        found = []
        for trigger in self.catalogue.triggers.values():
            capability, _, method = (trigger.watches or "").partition(".")
            if capability and hasattr(self.providers.get(self.config.use[capability]), method):
                found.append(trigger)
        return found

    def _forgets(self) -> dict[str, Mapping[str, str]]:
        """Give what each provider says of its rows that nobody needs after a while (`plugins.Storage`)."""
        found = {name: getattr(provider, "forgets", {}) for name, provider in self.providers.items()}
        return {name: dict(prefixes) for name, prefixes in found.items() if prefixes}

    @property
    def people(self) -> People:
        name = knows_people(self.config)
        people: People = self.providers[name]
        return people if self.config.connections[name].by_default else cast(People, _AsItIs(self.providers, name))

    def _connect(self, journal: Journal, rows: sqlite3.Connection, given: Mapping[str, Any]) -> None:
        first = knows_people(self.config)  # others ask it who somebody is
        wanted = {first, *self.config.use.values()}
        self.given, self.opened = given, (journal, rows)
        for name, one in sorted(self.config.connections.items(), key=lambda pair: pair[0] != first):
            if one.disabled is None and not (one.by_default and name not in wanted):
                self._build(name, one)

    def _build(self, name: str, one: ConnectionConfig) -> None:
        """Make a connection's provider and source, in place of those that it had."""
        connection = _Connection(self, name, _Rows(*self.opened, name))
        declared = self.catalogue.providers.get(one.provider)
        if name in self.given:
            self.providers[name] = self.given[name]
        elif declared is not None and one.options is not None:
            self.providers[name] = declared.build(one.options, connection)
        inbound = self.catalogue.sources.get(one.provider)
        if inbound is not None and one.source_options is not None:
            self.sources[name] = inbound.build(one.source_options, connection, self.providers.get(name))

    async def renew(self, application: Application) -> list[str]:
        """Take up the credentials as they are now; give the connections that have others than before.

        Calls that are under way end with the old ones. What else hotwash.yaml says counts from the next start on.
        """
        config, _ = load_config(self.config.folder, self.catalogue, self.environ)
        renewed = []
        for name, one in (config.connections if config is not None else {}).items():
            before = self.config.connections.get(name)
            if before is None or name in self.given or not _has_other_secrets(before, one):
                continue
            old = [part for part in (self.providers.get(name), self.sources.get(name)) if part is not None]
            self.connections[name] = one
            self._build(name, one)
            await application.take_over(name, old)
            renewed.append(name)
        return renewed

    def _serve(self, capability: str, named: str | None) -> tuple[str, Any]:
        name = named or self.config.use[capability]
        provider = self.providers.get(name)
        if provider is None:
            why = self.config.connections[name].disabled if name in self.config.connections else "it is not configured"
            raise ActionError(f"connection '{name}' cannot be used: {why}", code="connection-missing")
        if named is not None and capability not in self._serves(name):
            raise ActionError(f"connection '{name}' does not serve '{capability}'", code="connection-cannot-serve")
        return name, provider

    def _serves(self, connection: str) -> Sequence[str]:
        declared = self.catalogue.providers.get(self.config.connections[connection].provider)
        return declared.serves if declared is not None else ()

    def _hours_of(self, person: Person | None) -> Calendar:
        """Give somebody's working hours: their own calendar, else the project's hours in their own zone."""
        if person is not None and person.hours in self.config.calendars:
            return self.config.calendars[str(person.hours)]
        project = self.config.default_calendar
        if person is None or person.timezone is None:
            return project
        return replace(project, timezone=person.timezone)

    def _owner_of(self, owner: str | None) -> Person | None:
        for name in (owner, self.config.owner):
            if name is None:
                continue
            team = self.people.team(name)
            person = self.people.person(team.lead) if team is not None and team.lead else self.people.person(name)
            if person is not None:
                return person
        return None

    def _notice(self, owner: Person) -> Step | None:
        nudge = self.catalogue.actions.get("chat.nudge")
        if nudge is None:
            return None
        inputs = {"to": owner, "text": ""}
        return Step("notice", "uses", Span("", 1, 1, 1, 1), action=nudge, inputs=inputs, on_unknown="skip")


@dataclass(frozen=True, slots=True)
class _AsItIs:
    """A provider that many hold on to, as it is now: another one takes its place when its credentials change."""

    _providers: Mapping[str, Any]
    _name: str

    def __getattr__(self, name: str) -> Any:
        return getattr(self._providers[self._name], name)


@dataclass(frozen=True, slots=True)
class _Connection:
    """What a provider is given (`plugins.Connection`)."""

    assembly: _Assembly
    name: str
    storage: _Rows

    @property
    def folder(self) -> Path:
        return self.assembly.config.folder

    @property
    def clock(self) -> Clock:
        return self.assembly.clock

    @property
    def people(self) -> People:
        return self.assembly.people

    @property
    def roster(self) -> Roster:
        return self.assembly.config.roster

    @property
    def record(self) -> Record:
        return self.assembly.record

    @property
    def zone(self) -> str:
        return self.assembly.config.timezone

    def known(self, subject_type: str, ref: str) -> Any | None:
        from engine.store.lookups import known_subject

        return known_subject(self.storage.reader, subject_type, ref)

    def say(self, text: str) -> None:
        self.assembly.tell("said", text, connection=self.name)

    def hides(self, effect: Effect) -> bool:
        return self.assembly.hides(effect.run)


@dataclass(frozen=True, slots=True)
class _Bare:
    """What is given where no engine is around (`plugins.Connection`): there is no database and nobody to ask."""

    name: str
    config: Config

    @property
    def folder(self) -> Path:
        return self.config.folder

    @property
    def clock(self) -> Clock:
        return SystemClock()

    @property
    def storage(self) -> Storage:
        raise NotImplementedError("no database is open")

    @property
    def people(self) -> People:
        raise NotImplementedError("no provider is there")

    @property
    def roster(self) -> Roster:
        return self.config.roster

    @property
    def record(self) -> Record:
        raise NotImplementedError("no database is open")

    @property
    def zone(self) -> str:
        return self.config.timezone

    def known(self, subject_type: str, ref: str) -> None:
        """Give nothing: there is no database."""

    def say(self, text: str) -> None:
        """Nobody watches."""

    def hides(self, effect: Effect) -> bool:
        return True


def _has_other_secrets(before: ConnectionConfig, now: ConnectionConfig) -> bool:
    """Whether the credentials of a connection that could be used are others now, or there at last."""
    if now.disabled is not None or now.provider != before.provider:
        return False
    return before.disabled is not None or secrets_of([before]) != secrets_of([now])


_SCANNED = """
connection = :connection
  AND (:done IS NULL OR coalesce(json_extract(state, '$.done'), 0) = :done)
  AND (:since IS NULL OR max(
    coalesce(json_extract(state, '$.active_at."~instant"'), ''),
    coalesce(json_extract(state, '$.created_at."~instant"'), '')
  ) <= :since)
"""


@dataclass(frozen=True, slots=True)
class _Rows:
    """A provider's own rows and the subjects of its connection (`plugins.Storage`)."""

    journal: Journal
    reader: sqlite3.Connection
    connection: str

    def get(self, key: str) -> Mapping[str, Any] | None:
        row = self.reader.execute(
            "SELECT data FROM rows WHERE connection = ? AND key = ?", (self.connection, key)
        ).fetchone()
        return json.loads(row["data"]) if row is not None else None

    def rows(self, prefix: str = "") -> Sequence[tuple[str, Mapping[str, Any]]]:
        rows = self.reader.execute(
            "SELECT key, data FROM rows WHERE connection = ? AND substr(key, 1, ?) = ? ORDER BY key",
            (self.connection, len(prefix), prefix),
        )
        return [(row["key"], json.loads(row["data"])) for row in rows.fetchall()]

    def next(self, counter: str) -> int:
        from engine.runs.rows import save_row

        def count(cursor: Direct) -> int:
            key = (self.connection, f"counter/{counter}")
            row = cursor.execute("SELECT data FROM rows WHERE connection = ? AND key = ?", key).fetchone()
            number = (json.loads(row["data"])["last"] if row is not None else 0) + 1
            save_row(cursor, *key, {"last": number})
            return number

        return self.journal.transact_now(count)

    def subject(self, subject_type: str, ref: str) -> Any | None:
        from engine.store.lookups import SUBJECT_BY_ID, SUBJECTS_BY_KEY, subject_of

        for query in (SUBJECT_BY_ID, SUBJECTS_BY_KEY):
            for row in self.reader.execute(query, (subject_type, ref)).fetchall():
                if row["connection"] == self.connection:
                    return subject_of(subject_type, json.loads(row["state"]))
        return None

    def subjects(self, subject_type: str) -> Sequence[Any]:
        from engine.store.lookups import subject_of

        rows = self.reader.execute(
            "SELECT state FROM subjects WHERE type = ? AND connection = ? ORDER BY first_seen DESC, id DESC",
            (subject_type, self.connection),
        )
        return [subject_of(subject_type, json.loads(row["state"])) for row in rows.fetchall()]

    def scan(
        self, subject_type: str, *, done: bool | None = None, idle_since: datetime | None = None
    ) -> AsyncIterator[Any]:
        from engine.store.lookups import scan_subjects

        since = idle_since.astimezone(UTC).isoformat() if idle_since is not None else None
        wanted = {"connection": self.connection, "done": done, "since": since}
        return scan_subjects(self.reader, subject_type, _SCANNED, wanted)
