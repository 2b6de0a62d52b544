"""`hotwash start`: start a workflow by hand."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.cli import client, exits
from engine.cli.client import JsonOption
from engine.cli.project import ProjectOption

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def start(
    workflow: Annotated[
        str, typer.Argument(metavar="WORKFLOW", help="Its id: the stem of its file.", show_default=False)
    ],
    incident: Annotated[str | None, typer.Option("--incident", help="The incident, such as INC-7.")] = None,
    ticket: Annotated[str | None, typer.Option("--ticket", help="The ticket, such as HW-3.")] = None,
    alert: Annotated[str | None, typer.Option("--alert", help="The alert, by its id.")] = None,
    document: Annotated[str | None, typer.Option("--document", help="The document, by its id.")] = None,
    review: Annotated[str | None, typer.Option("--review", help="The review, by its id.")] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", metavar="NAME=VALUE", help="One of the file's 'inputs'; may be repeated."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Run once more although it ran for this already.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Think only: nothing is sent or written, and it may be started later.")
    ] = False,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Start a workflow that lists 'manual' under its 'on'.

    Its 'if' is not looked at, for you have decided; its 'stop_when' is. 'hotwash explain WORKFLOW' says what it takes.
    """
    done = client.perform(
        project,
        "start_workflow",
        workflow=workflow,
        incident=incident,
        ticket=ticket,
        alert=alert,
        document=document,
        review=review,
        inputs=_inputs(given or ()),
        again=again or None,
        dry_run=dry_run or None,
    )
    client.show(done, json)


def _inputs(given: list[str] | tuple[()]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name.strip():
            raise exits.CommandError(f"'--input' takes NAME=VALUE, not '{one}'")
        if name.strip() in found:
            raise exits.CommandError(f"the input '{name.strip()}' is given twice")
        found[name.strip()] = value
    return found
