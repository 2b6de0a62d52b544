"""`hotwash resume`: end a pause."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.cli import client
from engine.cli.client import JsonOption
from engine.cli.project import ProjectOption

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def resume(
    workflow: Annotated[
        str | None, typer.Argument(help="A workflow that was paused by its name; without one, the pause of all.")
    ] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """End a pause. What was held goes out, as far as it is still wanted; what schedules passed over stays so."""
    client.show(client.perform(project, "resume", workflow=workflow), json)
