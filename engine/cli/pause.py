"""`hotwash pause`: hold every effect at once."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.cli import client
from engine.cli.client import JsonOption
from engine.cli.project import ProjectOption

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def pause(
    workflow: Annotated[str | None, typer.Argument(help="A workflow; without one, all of them.")] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Hold every effect at once, of one workflow or of all, until 'hotwash resume'; restarts do not end it.

    Events go on to start runs, whose effects are held; schedules rest. What is under way ends.
    """
    client.show(client.perform(project, "pause", workflow=workflow), json)
