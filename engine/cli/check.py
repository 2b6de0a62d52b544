"""`hotwash check`: say everything that is wrong with a project's files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from engine.cli import exits, output
from engine.cli.project import ProjectOption, checked, open_project
from engine.problems import Problem, sort, warning

if TYPE_CHECKING:
    from engine.config import Config

#: From so many workflows on it is said which are not found by an index.
MANY = 100
#: So many of them are named.
MOST_NAMED = 10

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def check(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILES]...", help="Workflow files; by default all of the project.")
    ] = None,
    form: Annotated[Literal["text", "json"], typer.Option("--format", help="For people, or for programs.")] = "text",
    plugins: Annotated[
        bool, typer.Option(" /--no-plugins", help="Run none of the project's Python (for changes from outside).")
    ] = True,
    project: ProjectOption = None,
) -> int:
    """Say everything that is wrong with hotwash.yaml, the people file and the workflows.

    A credential that is not set here is a warning: where the project runs it may be.
    """
    start = project or (files[0].absolute().parent if files else None)
    opened = open_project(start, plugins=plugins)
    found = [_elsewhere(problem) for problem in opened.problems]
    paths: list[Path] = []
    evaluated: list[str] = []
    if opened.config is not None:
        paths = _chosen(files, opened.config)
        result = checked(opened, paths)
        found, evaluated = found + result.problems, sorted(result.evaluated)
    found = sort(found)
    if form == "json":
        output.as_json([problem.as_record() for problem in found])
    else:
        output.problems(found)
        _conclude(found, len(paths), opened.config is not None)
        if len(paths) >= MANY and evaluated:
            _tell_evaluated(evaluated)
    return exits.PROBLEMS if any(problem.severity == "error" for problem in found) else exits.OK


def _tell_evaluated(names: list[str]) -> None:
    """Say which workflows cost something for every event: with a handful of them that is nothing to speak of."""
    shown = ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")
    text = "compare nothing in 'if' with a constant, and are evaluated for every event that they listen to"
    output.say(f"{len(names)} of them {text}: {shown}")


def _elsewhere(problem: Problem) -> Problem:
    """Give a missing credential as a warning."""
    from engine.config import MISSING_CREDENTIAL

    return warning(problem) if problem.code == MISSING_CREDENTIAL else problem


def _chosen(files: list[Path] | None, config: Config) -> list[Path]:
    from engine.workflow.library import workflow_files

    if not files:
        return workflow_files(config.workflows)
    for path in files:
        if not path.is_file():
            raise exits.CommandError(f"there is no file '{path}'")
    return [path for path in files if path.resolve() not in config.files]  # those are checked in any case


def _conclude(found: list[Problem], number: int, configured: bool) -> None:
    if not configured:
        output.say("\nthe workflows are checked when hotwash.yaml has no errors")
    elif not found:
        output.say(f"{number} workflow{'s' * (number != 1)} checked, no problems")
