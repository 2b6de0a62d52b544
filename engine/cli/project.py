"""The project that a command works on."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.exits import CommandError
from engine.problems import Problem, ProblemError, Span

if TYPE_CHECKING:
    from engine.config import Config
    from engine.plugins import Catalogue
    from engine.workflow.check import Names
    from engine.workflow.model import Workflow

#: The option of every command that works on a project.
ProjectOption = Annotated[
    Path | None,
    typer.Option(
        "--project", "-C", metavar="FOLDER", help="The project's folder; by default this one or one above it."
    ),
]


@dataclass(frozen=True, slots=True)
class Project:
    """A project as far as it could be read. `config` is None where hotwash.yaml or the people file has errors."""

    folder: Path
    catalogue: Catalogue
    config: Config | None
    problems: list[Problem]

    def usable(self) -> Config:
        """Give the configuration to run with.

        Raises:
            ProblemError: something is wrong with it, a credential that is missing included.
        """
        if self.config is None or any(problem.severity == "error" for problem in self.problems):
            raise ProblemError(*self.problems)
        return self.config


def project_folder(start: Path | None = None) -> Path:
    """Give the folder of the project that `start` lies in.

    Raises:
        CommandError: there is none.
    """
    from engine.config import find_project

    folder = find_project(start or Path.cwd())
    if folder is None:
        where = f"'{start}'" if start else "this folder"
        raise CommandError(f"{where} lies in no project: there is no hotwash.yaml", hint="'hotwash init' writes one")
    return folder


def open_project(start: Path | None = None, *, plugins: bool = True) -> Project:
    """Read the project that `start` lies in.

    Raises:
        CommandError: there is none.
        ProblemError: one of its plugins cannot be loaded.
    """
    folder = project_folder(start)
    from engine import wiring
    from engine.config import load_config

    catalogue = wiring.catalogue(folder, plugins=plugins)
    config, problems = load_config(folder, catalogue, os.environ)
    return Project(folder, catalogue, config, problems)


@dataclass(frozen=True, slots=True)
class ReadWorkflow:
    """A workflow file as read. `workflow` is None where it has errors."""

    path: Path
    workflow: Workflow | None
    problems: list[Problem]


def read_workflows(project: Project, paths: Iterable[Path] | None = None) -> list[ReadWorkflow]:
    """Read and check workflow files, by default all of the project, against a configuration without errors."""
    from engine import wiring
    from engine.workflow.library import workflow_files

    assert project.config is not None
    names = wiring.names_of(project.config, project.catalogue)
    chosen = workflow_files(project.config.workflows) if paths is None else paths
    return [_read_workflow(path, project, names) for path in chosen]


def _read_workflow(path: Path, project: Project, names: Names) -> ReadWorkflow:
    from engine.config import MISSING_FILE
    from engine.workflow.check import check_workflow
    from engine.workflow.source import read_source

    shown = _shown(path, project.folder)
    try:
        file, problems = read_source(shown, path.read_bytes())
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        problem = Problem(MISSING_FILE, f"the file cannot be read: {reason}", Span(shown, 1, 1, 1, 1))
        return ReadWorkflow(path, None, [problem])
    if file.root is None:
        return ReadWorkflow(path, None, problems)
    workflow, found = check_workflow(file, project.catalogue, names)
    return ReadWorkflow(path, workflow, [*problems, *found])


def _shown(path: Path, folder: Path) -> str:
    """Give a path as messages show it: from the project's folder, where it lies in it."""
    full = path.resolve()
    return str(full.relative_to(folder) if full.is_relative_to(folder) else path)
