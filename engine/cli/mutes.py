"""`hotwash mutes`: who wants to hear nothing of what, and until when."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.cli import output
from engine.cli.project import ProjectOption
from engine.cli.reading import JsonOption, PrivateOption, reading

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def mutes(
    person: Annotated[str | None, typer.Option("--of", metavar="PERSON", help="Of this person: a roster key.")] = None,
    private: PrivateOption = False,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """The mutes that last: whose, about what, until when, and who entered them."""
    from engine import reports
    from engine.cli.histories import about
    from engine.clock import SystemClock

    with reading(project) as opened:
        found = reports.mutes(opened.reader, SystemClock().now(), person, private=private)
    if json:
        output.as_json(found)
        return
    for one in found:
        subject = {**one["subject"], "id": one["subject"]["key"] or one["subject"]["id"]}
        by = "" if one["by"]["id"] == one["person"] else f", entered by {one['by']['name']}"
        output.say(f"{one['person']}: {about(subject, one['private'])} until {opened.times.day(one['until'])}{by}")
    if not found:
        output.say("nobody has muted anything")
