"""`hotwash ticket`: file tickets, work on them, look at them."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.cli import client, subjects
from engine.cli.client import JsonOption
from engine.cli.project import ProjectOption

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

TicketArgument = Annotated[
    str, typer.Argument(metavar="TICKET", help="Its key, such as HW-12, or its id.", show_default=False)
]
CommentOption = Annotated[str | None, typer.Option("--comment", "-m", help="Why, in Markdown.")]


@app.callback()
def ticket() -> None:
    """File tickets, work on them, look at them."""


@app.command()
def create(
    title: Annotated[str, typer.Argument(help="What is to be done, in one line.", show_default=False)],
    description: Annotated[str | None, typer.Option("--description", "-d", help="The long text, in Markdown.")] = None,
    assignee: Annotated[str | None, typer.Option("--assignee", "-a", help="A roster key or an e-mail address.")] = None,
    due: Annotated[str | None, typer.Option("--due", help="A date such as 2026-03-20, or an instant.")] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="A label; may be repeated.")] = None,
    incident: Annotated[str | None, typer.Option("--incident", help="The incident it comes of.")] = None,
    team: Annotated[str | None, typer.Option("--team", help="The team; by default its assignee's.")] = None,
    service: Annotated[str | None, typer.Option("--service", help="The service it is about.")] = None,
    ticket_project: Annotated[
        str | None, typer.Option("--tracker-project", help="The tracker's project to file it under.")
    ] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """File a ticket."""
    done = client.perform(
        project,
        "create_ticket",
        title=title,
        description=description,
        assignee=assignee,
        due=due,
        labels=label or None,
        incident=incident,
        team=team,
        service=service,
        project=ticket_project,
    )
    client.show(done, json)


@app.command()
def comment(
    ticket: TicketArgument,
    text: Annotated[str, typer.Argument(help="The comment, in Markdown.", show_default=False)],
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Comment on a ticket."""
    client.show(client.perform(project, "comment_ticket", ticket=ticket, text=text), json)


@app.command()
def assign(
    ticket: TicketArgument,
    person: Annotated[
        str, typer.Argument(metavar="PERSON", help="A roster key or an e-mail address.", show_default=False)
    ],
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Hand a ticket to somebody."""
    client.show(client.perform(project, "assign_ticket", ticket=ticket, to=person), json)


@app.command()
def close(
    ticket: TicketArgument, comment: CommentOption = None, project: ProjectOption = None, json: JsonOption = False
) -> None:
    """Close a ticket."""
    client.show(client.perform(project, "close_ticket", ticket=ticket, comment=comment), json)


@app.command()
def reopen(
    ticket: TicketArgument, comment: CommentOption = None, project: ProjectOption = None, json: JsonOption = False
) -> None:
    """Reopen a ticket."""
    client.show(client.perform(project, "reopen_ticket", ticket=ticket, comment=comment), json)


@app.command("list")
def list_tickets(
    open_: Annotated[bool, typer.Option("--open", help="Only those that are not closed.")] = False,
    label: Annotated[str | None, typer.Option("--label", "-l", help="Only those with this label.")] = None,
    assignee: Annotated[str | None, typer.Option("--assignee", "-a", help="Only this person's.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Those of private incidents too.")] = False,
    limit: subjects.LimitOption = 50,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Tickets, newest first."""
    subjects.list_tickets(
        project, only_open=open_, label=label, assignee=assignee, private=private, limit=limit, as_json=json
    )


@app.command()
def show(ticket: TicketArgument, project: ProjectOption = None, json: JsonOption = False) -> None:
    """A ticket: its state, whose it is, what was said about it."""
    subjects.show_ticket(project, ticket, as_json=json)
