"""The project that a command works on."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.exits import CommandError
from engine.problems import Problem, ProblemError, Span

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from engine.config import Config
    from engine.plugins import Catalogue
    from engine.workflow.check import Names
    from engine.workflow.model import Workflow

#: For so many files more it is worth to begin another process.
_WORTH_A_PROCESS = 150

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


@dataclass(frozen=True, slots=True)
class Checked:
    """What is wrong with workflow files, and the names of those that are evaluated for every event of their type."""

    problems: list[Problem]
    evaluated: list[str]


def checked(project: Project, paths: Sequence[Path]) -> Checked:
    """Check workflow files, with results in no set order; where there are many, the processors share the work."""
    from engine import wiring

    assert project.config is not None
    names = wiring.names_of(project.config, project.catalogue)
    processors = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1  # elsewhere forking is not safe
    workers = max(1, min(processors, len(paths) // _WORTH_A_PROCESS))
    shares = [paths[first::workers] for first in range(workers)]
    others = [_elsewhere(project, names, share) for share in shares[1:]]
    found = _checked(project, names, shares[0])
    for process, receiver in others:
        other: Checked = receiver.recv()
        found.problems.extend(other.problems)
        found.evaluated.extend(other.evaluated)
        process.join()
    return found


def _checked(project: Project, names: Names, paths: Iterable[Path]) -> Checked:
    from engine.workflow.listening import is_indexed

    gc.disable()  # hardly anything that is made here needs it, and there is much of it
    try:
        found = Checked([], [])
        for path in paths:
            read = _read_workflow(path, project, names)
            found.problems.extend(read.problems)
            if read.workflow is not None and not is_indexed(read.workflow):
                found.evaluated.append(read.workflow.id)
        return found
    finally:
        gc.enable()


def _elsewhere(project: Project, names: Names, paths: Sequence[Path]) -> tuple[BaseProcess, Connection]:
    """Check files in a process of their own, which has what this one has; gives it and where its problems come in."""
    from multiprocessing import get_context

    from engine.workflow import check  # noqa: F401  or each process would import it

    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(_checked(project, names, paths)))
    process.start()
    sender.close()  # so that the end of a process that fails is seen
    return process, receiver


def _read_workflow(path: Path, project: Project, names: Names) -> ReadWorkflow:
    from engine.config import MISSING_FILE
    from engine.workflow.check import check_workflow
    from engine.workflow.source import read_file, read_source

    shown = _shown(path, project.folder)
    try:
        file, problems = read_source(shown, read_file(path))
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
