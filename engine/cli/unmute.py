"""`hotwash unmute`: end a mute before its time."""

from __future__ import annotations

import typer

from engine.cli import client
from engine.cli.client import JsonOption
from engine.cli.mute import PersonOption, SubjectArgument
from engine.cli.project import ProjectOption

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def unmute(
    subject: SubjectArgument, person: PersonOption = None, project: ProjectOption = None, json: JsonOption = False
) -> None:
    """End a mute before its time; questions that waited for it are asked."""
    client.show(client.perform(project, "unmute_subject", subject=subject, person=person), json)
