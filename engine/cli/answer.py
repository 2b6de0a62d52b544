"""`hotwash answer`: answer a question of the inbox."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.cli import client
from engine.cli.client import JsonOption
from engine.cli.project import ProjectOption

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def answer(
    question: Annotated[str, typer.Argument(help="The question's name, such as Q3.", show_default=False)],
    choice: Annotated[str, typer.Argument(help="One of its choices.", show_default=False)],
    person: Annotated[
        str | None,
        typer.Option("--as", metavar="PERSON", help="Who answers; by default whoever runs this. Both are recorded."),
    ] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Answer a question. The first answer by somebody who was asked counts."""
    done = client.perform(project, "answer_question", question=question, choice=choice, person=person)
    client.show(done, json)
