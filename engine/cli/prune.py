"""`hotwash prune`: remove the bodies of what is old."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from engine.cli import client, output
from engine.cli.client import JsonOption
from engine.cli.project import ProjectOption

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def prune(
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than", metavar="DURATION", help="Everything older than this, in place of what 'retention' says."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")] = False,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Remove the bodies of what is old; identities stay, so that nothing happens twice.

    A running engine does it by itself once a day.
    """
    done = to_the_end(lambda: client.perform(project, "prune", older_than=older_than, dry_run=dry_run))
    if json:
        output.as_json({name: done[name] for name in ("dry_run", "finished", "removed")})
    else:
        _show(done["removed"], dry_run, done["finished"])


def to_the_end(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Ask until there is no more to do, since each answer comes in time; give the last with all that went.

    A dry run is asked for once: nothing goes, so it would begin anew.
    """
    done = ask()
    counts = {part["kind"]: part["rows"] for part in done["removed"]}
    while not (done["finished"] or done["dry_run"]):
        done = ask()
        for part in done["removed"]:
            counts[part["kind"]] += part["rows"]
    return {**done, "removed": [{**part, "rows": counts[part["kind"]]} for part in done["removed"]]}


def _show(parts: list[dict[str, Any]], dry_run: bool, finished: bool) -> None:
    rows = [(f"{part['rows']:,}", part["what"], part["before"][:16].replace("T", " ") + " UTC") for part in parts]
    output.table(("WOULD GO" if dry_run else "REMOVED", "WHAT", "OLDER THAN"), rows)
    if not finished:
        output.say("there is more: it was not counted to the end")
