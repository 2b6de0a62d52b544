"""`hotwash runs`: look at runs, and decide about those that cannot go on by themselves."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from engine.cli import client, exits, reading
from engine.cli.client import JsonOption
from engine.cli.project import ProjectOption
from engine.cli.reading import RunArgument

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def runs() -> None:
    """Look at runs, and decide about those that cannot go on by themselves."""


app.command("list")(reading.list_runs)
app.command("show")(reading.show_run)


@app.command()
def retry(
    run: RunArgument,
    latest: Annotated[
        bool, typer.Option("--latest", help="Go on with the current file, if it still has every step that is done.")
    ] = False,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Let a failed run go on at the step that failed, in the run's own version of its workflow."""
    client.show(client.perform(project, "retry_run", run=run, latest=latest or None), json)


@app.command()
def cancel(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run's id, the beginning of one, or its number.")
    ] = None,
    workflow: Annotated[
        str | None, typer.Option("--workflow", "-w", help="Every run of this workflow that goes on.")
    ] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """End a run, or all of a workflow's, where they are. What is under way ends and is written down."""
    if (run is None) == (workflow is None):
        raise exits.CommandError("name a run, or a workflow with --workflow, and not both")
    client.show(client.perform(project, "cancel_run", run=run, workflow=workflow), json)


@app.command()
def decide(
    run: RunArgument,
    decision: Annotated[
        Literal["repeat", "skip", "done"],
        typer.Argument(
            help="repeat: do it once more; done: it happened, go on; skip: it did not, go on without it.",
            show_default=False,
        ),
    ],
    step: Annotated[str | None, typer.Option("--step", help="Which step, where several are in doubt.")] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Say what became of an effect of which it is not known whether it happened."""
    client.show(client.perform(project, "decide_run", run=run, decision=decision, step=step), json)
