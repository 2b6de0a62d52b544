"""Commands that read what happened: runs, events, and what became of an event in each workflow.

They open the database read-only and need no running engine. The groups `hotwash runs` and `hotwash events` take
`list_runs`, `show_run`, `list_events` and `show_event` from here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli import output
from engine.cli.exits import CommandError
from engine.cli.project import Project, ProjectOption, open_project
from engine.problems import ProblemError, did_you_mean

if TYPE_CHECKING:
    from engine.cli.histories import Times
    from engine.config import Config
    from engine.store.lookups import Lookups
    from engine.workflow.library import WorkflowLibrary

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs; instants in UTC.")]
PrivateOption = Annotated[bool, typer.Option("--private", help="Name what is private too.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many, newest first.")]
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, the beginning of one, or its number.", show_default=False)
]
EventArgument = Annotated[
    str, typer.Argument(metavar="EVENT", help="An event's id, the beginning of one, or its number.", show_default=False)
]


@dataclass(frozen=True, slots=True)
class Reading:
    """A project with its database, open for reading."""

    project: Project
    config: Config
    database: Path
    reader: sqlite3.Connection

    @property
    def times(self) -> Times:
        from engine.cli.histories import Times

        return Times(self.config.timezone)


@contextmanager
def reading(start: Path | None) -> Iterator[Reading]:
    """Open the database of the project that `start` lies in, read-only.

    Raises:
        CommandError: there is no project or no database, the database is of another version, or what was asked for
            is not in it.
        ProblemError: the configuration has errors.
    """
    from engine import wiring
    from engine.reports import NotFound
    from engine.store.journal import connect

    project = open_project(start)
    if project.config is None:
        raise ProblemError(*project.problems)
    database = wiring.database_path(project.config)
    _check_schema(database)
    reader = connect(database, readonly=True)
    try:
        yield Reading(project, project.config, database, reader)
    except NotFound as error:
        raise CommandError(str(error), hint=f"'hotwash {error.kind}s list' says what there is") from None
    finally:
        reader.close()


def _check_schema(database: Path) -> None:
    from engine.store.schema import HEAD, revision_of

    found = revision_of(database) if database.exists() else None
    if found is None:
        raise CommandError(
            f"nothing has happened here yet: there is no database '{database}'", hint="'hotwash run' makes it"
        )
    if found != HEAD:
        older = found < HEAD
        raise CommandError(
            f"'{database}' was written by {'an older' if older else 'a newer'} version of Hotwash",
            hint="'hotwash run' upgrades it, after a backup" if older else "install the newer version",
        )


# --- runs ------------------------------------------------------------------------------------------------------------


def list_runs(
    workflow: Annotated[str | None, typer.Option("--workflow", "-w", help="Of this workflow.")] = None,
    state: Annotated[
        str | None, typer.Option("--state", "-s", help="In this state, such as waiting or failed.")
    ] = None,
    limit: LimitOption = 50,
    private: PrivateOption = False,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Runs, newest first: what each is about, how far it is, and until when it waits."""
    from engine import reports
    from engine.cli import histories

    wanted = _state(state)
    with reading(project) as opened:
        found = reports.list_runs(opened.reader, workflow, wanted, limit, private=private)
    if json:
        output.as_json(found)
        return
    times = opened.times
    rows = [
        (
            one["id"],
            one["workflow"],
            histories.state(one),
            histories.about(one["subject"], one["private"]),
            times.exact(one["created"]),
            _what_for(one, times),
        )
        for one in found
    ]
    output.table(("RUN", "WORKFLOW", "STATE", "ABOUT", "STARTED", ""), rows, empty=_none("runs", workflow or state))


def _what_for(run: Mapping[str, Any], times: Times) -> str:
    """Say in a few words what a run waits for, or why it ended."""
    if run["behind"]:
        return f"behind {', '.join(run['behind'])}"
    return f"until {times.day(run['due'])}" if run["due"] else _why(run)


def _state(state: str | None) -> str | None:
    from engine.reports import STATES

    wanted = state.replace("-", "_").replace(" ", "_") if state else None
    if wanted is not None and wanted not in STATES:
        raise CommandError(f"no state is called '{state}'", hint=did_you_mean(wanted, STATES, "states"))
    return wanted


def _why(run: Mapping[str, Any]) -> str:
    """Say in a few words why a run ended, or is held."""
    from engine.cli.histories import brief

    error = run["error"] or {}
    return brief(run["reason"] or error.get("message") or "", 80) if run["reason"] or error else ""


def show_run(run: RunArgument, project: ProjectOption = None, json: JsonOption = False) -> None:
    """A run's whole history: what it did, with what, what came of it, and what it waits for now."""
    from engine import reports
    from engine.cli import histories

    with reading(project) as opened:
        found = reports.show_run(opened.reader, run)
    if json:
        output.as_json(found)
    else:
        histories.run_text(found, opened.times)


# --- events ----------------------------------------------------------------------------------------------------------


def list_events(
    type: Annotated[
        str | None, typer.Option("--type", "-t", help="Of this type; 'incident' stands for all about incidents.")
    ] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="About this subject, by its id or key.")] = None,
    limit: LimitOption = 50,
    private: PrivateOption = False,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Events, newest first, and what each led to."""
    from engine import reports
    from engine.cli import histories

    with reading(project) as opened:
        found = reports.list_events(opened.reader, type, subject, limit, private=private)
    if json:
        output.as_json(found)
        return
    times = opened.times
    rows = [
        (
            one["id"],
            times.exact(one["received"]),
            one["type"],
            one["source"],
            histories.about(one["subject"], one["private"]),
            _led_to(one),
        )
        for one in found
    ]
    output.table(("EVENT", "CAME IN", "TYPE", "BY", "ABOUT", "LED TO"), rows, empty=_none("events", type or subject))


def _led_to(event: Mapping[str, Any]) -> str:
    """Say in a few words what an event led to: the latest verdict of each workflow."""
    if event["state"] == "new":
        return "not looked at yet"
    if event["state"] == "ignored":
        return f"ignored: {event['reason']}"
    latest = {verdict["workflow"]: verdict["kind"].replace("_", " ") for verdict in event["verdicts"]}
    words = {"start": "started"}
    return ", ".join(f"{workflow} {words.get(kind, kind)}" for workflow, kind in latest.items())


def show_event(event: EventArgument, project: ProjectOption = None, json: JsonOption = False) -> None:
    """An event: what it changed, the verdicts about it, and the runs that it started, woke or stopped."""
    from engine import reports
    from engine.cli import histories

    with reading(project) as opened:
        found = reports.show_event(opened.reader, event)
    if json:
        output.as_json(found)
        return
    histories.event_text(found, opened.times)
    output.say(f"\n'hotwash explain {found['id']}' says why, and why not, for every workflow")


def _none(what: str, narrowed: str | None) -> str:
    return f"there are no such {what}" if narrowed else f"there are no {what} yet"


# --- why, and why not ------------------------------------------------------------------------------------------------


def explain_event(event: str, workflow: str | None, start: Path | None, *, as_json: bool = False) -> None:
    """Print what became of an event, for every workflow that listened to its type or for one workflow.

    Raises:
        CommandError: there is no such event or workflow.
    """
    from engine import reports
    from engine.cli import histories

    with reading(start) as opened:
        library, world = library_of(opened), world_of(opened)
        found = reports.explain_event(opened.reader, event, library, world, workflow)
    if workflow is not None and not found["outcomes"] and not found["not_listening"]:
        hint = did_you_mean(workflow, sorted(library.current), "workflows")
        raise CommandError(f"no workflow is called '{workflow}'", hint=hint)
    if as_json:
        output.as_json(found)
    else:
        histories.explanation_text(found, opened.times)


def library_of(opened: Reading) -> WorkflowLibrary:
    """Give the project's workflow files, as the engine would load them now."""
    from engine import wiring

    library = wiring.library_of(opened.config, opened.project.catalogue)
    library.load()
    return library


def world_of(opened: Reading) -> Lookups:
    """Give what conditions read beside the event."""
    from engine import wiring
    from engine.clock import SystemClock
    from engine.store.lookups import Directory, Lookups

    config = opened.config
    people = wiring.people_of(config, opened.project.catalogue)
    directory = Directory(people, config.calendars, config.default_calendar, config.timezone, config.vars)
    return Lookups(opened.reader, directory, SystemClock().now())
