"""`hotwash doctor`: try the connections, and say what to do about those that do not work."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from engine.cli import client, exits, output
from engine.cli.client import JsonOption
from engine.cli.project import ProjectOption

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def doctor(
    connection: Annotated[
        str | None, typer.Argument(metavar="[CONNECTION]", help="Only this connection; by default all that are set up.")
    ] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> int:
    """Try each connection with a harmless read: credentials, permissions, clocks, webhooks.

    The exit code is 1 where one has a problem.
    """
    done = client.perform(project, "check_connections", connection=connection)
    lines = done["connections"]
    if json:
        output.as_json(lines)
    else:
        _show(lines)
    return exits.PROBLEMS if any(line["problem"] for line in lines) else exits.OK


def _show(lines: list[dict[str, Any]]) -> None:
    if not lines:
        output.say("no connection is set up: what needs no account serves everything")
    for line in lines:
        output.say(f"{line['name']}  {line['problem'] or 'works'}")
        if line["advice"]:
            output.say(f"  = {line['advice']}")
        if line["serves"]:
            output.say(f"  {line['provider']} for {', '.join(line['serves'])}")
        if line["webhooks"]:
            options = " or ".join(f"'{name}'" for name in line["unsigned"])
            unsigned = f", and are refused until {options} is set: nothing comes in" if options else ""
            output.say(f"  webhooks come in at {line['webhooks']}{unsigned}")
        if line["held"]:
            output.say(f"  {line['held']} effect{'s' * (line['held'] != 1)} wait until it works")
