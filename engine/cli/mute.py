"""`hotwash mute`: spare somebody messages about a subject for a while."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.cli import client
from engine.cli.client import JsonOption
from engine.cli.project import ProjectOption

app = typer.Typer(add_completion=False, rich_markup_mode=None)

SubjectArgument = Annotated[
    str, typer.Argument(metavar="SUBJECT", help="A ticket, an incident, a document: its id or key.", show_default=False)
]
PersonOption = Annotated[
    str | None,
    typer.Option("--as", metavar="PERSON", help="Whose mute it is; by default yours. Both are recorded."),
]


@app.command()
def mute(
    subject: SubjectArgument,
    until: Annotated[
        str,
        typer.Option(
            help="A length of time such as 3d or 5bd, an instant with its zone, or a date.", show_default=False
        ),
    ],
    person: PersonOption = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Send somebody no messages about a subject for a while: reminders are left out, questions wait."""
    client.show(client.perform(project, "mute_subject", subject=subject, until=until, person=person), json)
