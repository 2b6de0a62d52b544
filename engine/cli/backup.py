"""`hotwash backup`: copy the database while the engine runs."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Annotated

import typer

from engine.cli import exits, output
from engine.cli.project import ProjectOption, open_project
from engine.problems import ProblemError

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; a file that is there is left alone.")],
    project: ProjectOption = None,
) -> None:
    """Copy the database into a new file, whole and as committed; the engine may run meanwhile."""
    from engine import wiring
    from engine.store import schema

    opened = open_project(project)
    if opened.config is None:
        raise ProblemError(*opened.problems)
    database = wiring.database_path(opened.config)
    if schema.revision_of(database) is None:
        raise exits.CommandError(
            f"nothing has happened here yet: there is no database '{database}'", hint="'hotwash run' makes it"
        )
    try:
        schema.backup(database, file)
    except FileExistsError:
        raise exits.CommandError(f"'{file}' is there already", hint="name another file, or remove it") from None
    except (OSError, sqlite3.Error) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise exits.CommandError(f"'{file}' cannot be written: {reason}", code=exits.PROBLEMS) from None
    output.say(f"{file} holds the database, {file.stat().st_size:,} bytes")
