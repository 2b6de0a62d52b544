"""`hotwash incident`: declare incidents, bring them forward, merge them, subscribe to them, look at them."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.cli import client, subjects
from engine.cli.client import JsonOption
from engine.cli.project import ProjectOption

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

IncidentArgument = Annotated[
    str, typer.Argument(metavar="INCIDENT", help="Its key, such as INC-7, or its id.", show_default=False)
]

PeopleOption = Annotated[
    list[str] | None,
    typer.Option("--person", metavar="PERSON", help="Whom, by roster key or e-mail address; may be repeated."),
]


@app.callback()
def incident() -> None:
    """Declare incidents, bring them forward, merge them, subscribe to them, look at them."""


@app.command()
def declare(
    title: Annotated[str, typer.Argument(help="What happens, in one line.", show_default=False)],
    severity: Annotated[str | None, typer.Option("--severity", "-s", help="Such as sev2.")] = None,
    service: Annotated[
        list[str] | None, typer.Option("--service", help="An affected service; may be repeated.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option("--label", help="A label; may be repeated.")] = None,
    summary: Annotated[str | None, typer.Option("--summary", help="What is known so far.")] = None,
    started_at: Annotated[
        str | None, typer.Option("--started-at", metavar="INSTANT", help="When the impact began: 2026-03-02T09:00Z.")
    ] = None,
    drill: Annotated[bool, typer.Option("--drill", help="It is an exercise.")] = False,
    private: Annotated[bool, typer.Option("--private", help="Only those concerned may see it.")] = False,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Declare an incident."""
    done = client.perform(
        project,
        "declare_incident",
        title=title,
        severity=severity,
        services=service or None,
        labels=label or None,
        summary=summary,
        started_at=started_at,
        drill=drill,
        private=private,
    )
    client.show(done, json)


@app.command()
def ack(incident: IncidentArgument, project: ProjectOption = None, json: JsonOption = False) -> None:
    """Say that somebody is on it."""
    client.show(client.perform(project, "acknowledge_incident", incident=incident), json)


@app.command()
def mitigate(incident: IncidentArgument, project: ProjectOption = None, json: JsonOption = False) -> None:
    """Say that the impact has ended."""
    client.show(client.perform(project, "mitigate_incident", incident=incident), json)


@app.command()
def resolve(incident: IncidentArgument, project: ProjectOption = None, json: JsonOption = False) -> None:
    """Say that it is over."""
    client.show(client.perform(project, "resolve_incident", incident=incident), json)


@app.command()
def reopen(incident: IncidentArgument, project: ProjectOption = None, json: JsonOption = False) -> None:
    """Say that it is not over after all; of one that was merged, that it is not the same as the other."""
    client.show(client.perform(project, "reopen_incident", incident=incident), json)


@app.command()
def merge(
    incident: IncidentArgument,
    into: Annotated[str, typer.Option("--into", metavar="INCIDENT", help="The one to keep.", show_default=False)],
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Close an incident as a duplicate of another."""
    client.show(client.perform(project, "merge_incident", incident=incident, into=into), json)


@app.command()
def subscribe(
    incident: IncidentArgument, person: PeopleOption = None, project: ProjectOption = None, json: JsonOption = False
) -> None:
    """Be told what becomes of an incident, or have somebody else told."""
    client.show(client.perform(project, "subscribe_incident", incident=incident, people=person or None), json)


@app.command()
def unsubscribe(
    incident: IncidentArgument, person: PeopleOption = None, project: ProjectOption = None, json: JsonOption = False
) -> None:
    """Be told no longer, or have somebody else told no longer."""
    client.show(client.perform(project, "unsubscribe_incident", incident=incident, people=person or None), json)


@app.command("list")
def list_incidents(
    open_: Annotated[bool, typer.Option("--open", help="Only those that are not resolved.")] = False,
    private: Annotated[bool, typer.Option("--private", help="Those that are private too.")] = False,
    limit: subjects.LimitOption = 50,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Incidents, newest first."""
    subjects.list_incidents(project, only_open=open_, private=private, limit=limit, as_json=json)


@app.command()
def show(incident: IncidentArgument, project: ProjectOption = None, json: JsonOption = False) -> None:
    """An incident: its state, who has which role, what happened, the tickets that came of it."""
    subjects.show_incident(project, incident, as_json=json)
