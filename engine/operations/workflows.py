"""Workflow files as an operation finds them: what is in the folder counts, whether the engine has seen it or not."""

from __future__ import annotations

from engine.application import Application
from engine.operations.base import NotFound, Refused
from engine.problems import did_you_mean
from engine.workflow.library import read_templates, workflow_files
from engine.workflow.model import Workflow
from engine.workflow.source import read_file


async def read_files(application: Application) -> None:
    """Take the workflow files as they are now."""
    if application.started:
        await application.reload()
    else:  # what is matched must be kept
        await application.load()


async def current_workflow(application: Application, name: str) -> Workflow:
    """Give a workflow as its file says now.

    Raises:
        NotFound: there is no such file.
        Refused: it has mistakes.
    """
    workflow = await loaded_workflow(application, name)
    _refuse_broken(application, name)
    return workflow


async def loaded_workflow(application: Application, name: str) -> Workflow:
    """Give a workflow as new runs of it take it: of a file with mistakes, its last good version.

    Raises:
        NotFound: there is no such file.
        Refused: it has mistakes, and there is no good version.
    """
    if not application.started or not _is_current(application, name):
        await read_files(application)
    current = application.library.current
    if name not in current:
        _refuse_broken(application, name)
        raise NotFound(f"no workflow is called '{name}'; {did_you_mean(name, current, 'workflows')}")
    return current[name]


def _refuse_broken(application: Application, name: str) -> None:
    faults = [p for p in application.library.problems if p.severity == "error" and p.span is not None]
    broken = next((p for p in faults if p.span and p.span.file.rpartition("/")[2].partition(".")[0] == name), None)
    if broken is not None:
        raise Refused(f"'{name}' has mistakes and is not loaded: {broken.message}; 'hotwash check' says where")


def _is_current(application: Application, name: str) -> bool:
    """Whether what is loaded is what the files say: one that was saved just now may not have been read yet."""
    loaded = application.library.current.get(name)
    path = next((one for one in workflow_files(application.config.workflows) if one.stem == name), None)
    if loaded is None or path is None or read_file(path) != loaded.source.encode():
        return False
    templates = read_templates(application.config.templates) if loaded.templates else {}
    return all(templates.get(one) == text for one, text in loaded.templates.items())
