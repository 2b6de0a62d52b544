"""Start a workflow by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from engine.application import Application
from engine.domain import SUBJECTS, Person
from engine.intake import NotStarted
from engine.matching import LISTENER
from engine.operations.base import BadInput, Done, Inputs, Refused, find_kept
from engine.operations.workflows import loaded_workflow
from engine.plugins import Fact
from engine.store.codec import encode
from engine.workflow import inputs
from engine.workflow.inputs import BadInputs
from engine.workflow.model import Workflow

_ABOUT = "Its key or its id, where the workflow is about one or takes one."


class StartWorkflow(Inputs):
    """Which workflow, what about, and with which inputs."""

    workflow: str = Field(min_length=1, max_length=300, description="The workflow's id: the stem of its file.")
    incident: str | None = Field(default=None, max_length=300, description=_ABOUT)
    ticket: str | None = Field(default=None, max_length=300, description=_ABOUT)
    alert: str | None = Field(default=None, max_length=300, description=_ABOUT)
    document: str | None = Field(default=None, max_length=300, description=_ABOUT)
    review: str | None = Field(default=None, max_length=300, description=_ABOUT)
    inputs: dict[str, Any] = Field(default={}, description="What its 'inputs' take; a text is read as the type needs.")
    again: bool = Field(default=False, description="Start another run although it has run for this already.")
    dry_run: bool = Field(default=False, description="Think only: nothing is sent or written, and no key is spent.")

    @property
    def about(self) -> dict[str, str]:
        return {kind: ref for kind in SUBJECTS if (ref := getattr(self, kind)) is not None}


async def start_workflow(application: Application, actor: Person, params: StartWorkflow) -> Done:
    """Start a workflow that lists `manual` under `on:`. Its `if` is not looked at, its `stop_when` is.

    `run` is the run, `started` whether it is new: a workflow that ran for the same subject is not started again unless
    `again` says so. A run that was stopped is taken up.
    """
    workflow = await _workflow(application, params.workflow)
    given, subject = _given(application, workflow, params)
    fact = Fact(
        "manual",
        application.clock.now(),
        subject_type=workflow.subject if subject is not None else None,
        subject=subject,
        data={"workflow": workflow.id, "inputs": encode(given), LISTENER: f"{workflow.id}/manual"},
        actor=actor,
        own=params.dry_run,  # nobody has worked on the incident by that
        engine=True,
    )
    try:
        how = {"again": params.again, "dry": params.dry_run}
        kind, detail = await application.intake.start_by_hand(fact, workflow, given, **how)
    except NotStarted as error:
        raise Refused(f"'{workflow.id}' is not started: {error}") from None
    run = str(detail["run"])
    dry = " as a dry run" if detail.get("dry_run") else ""
    message = {
        "start": f"'{workflow.id}' is started{dry}: {run}",
        "taken_up": f"'{workflow.id}' is taken up in a new round{dry}: {run}",
        "already_ran": f"'{workflow.id}' already ran for this: {run}",
        "queued": f"'{workflow.id}' waits for its turn{dry}: {run}",
        "skipped": f"'{workflow.id}' is skipped: {run} goes on",
    }.get(kind, f"'{workflow.id}': {kind.replace('_', ' ')}: {run}")
    started = kind in ("start", "taken_up", "queued")
    return Done(message, {"run": run, "key": detail["key"], "started": started, "verdict": kind, "dry_run": bool(dry)})


async def _workflow(application: Application, name: str) -> Workflow:
    workflow = await loaded_workflow(application, name)
    if all(use.name != "manual" for use in workflow.triggers):
        others = ", ".join(dict.fromkeys(use.name for use in workflow.triggers)) or "a call by another workflow"
        raise Refused(f"'{name}' is not started by hand but by {others}: add 'manual' under its 'on'")
    if workflow.mode == "off":
        raise Refused(f"'{name}' is off: its 'mode' says so")
    return workflow


def _given(application: Application, workflow: Workflow, params: StartWorkflow) -> tuple[dict[str, Any], str | None]:
    """Give the inputs as a run keeps them, and the id of what it is about."""
    declared = {one.name: one for one in workflow.inputs}
    given = dict(params.inputs)
    subject: str | None = None
    for kind, ref in params.about.items():
        if kind in given:
            raise BadInput(f"'{kind}' is given twice: '{ref}' and '{given[kind]}'")
        if kind in declared:
            given[kind] = find_kept(application, kind, ref)["id"] if declared[kind].is_subject else ref
        elif kind == workflow.subject:
            subject = find_kept(application, kind, ref)["id"]
        else:
            raise BadInput(f"'{workflow.id}' is {_about(workflow)}, and takes no {kind}")
    read = {name: inputs.from_text(declared.get(name), value) if isinstance(value, str) else value
            for name, value in given.items()}  # fmt: skip
    hub = application.hub
    context: Mapping[str, Any] = {
        "people": hub.directory.people,
        "world": hub.lookups(),
        "connections": application.config.connections,
    }
    try:
        kept = inputs.read_values(workflow.inputs, read, context)
    except BadInputs as error:
        raise BadInput(f"{error}") from None
    subject = subject or inputs.subject_of(workflow, kept)
    if subject is None and workflow.subject is not None and workflow.subject not in declared:
        raise BadInput(f"'{workflow.id}' is {_about(workflow)}: say which, with '{workflow.subject}'")
    return kept, subject


def _about(workflow: Workflow) -> str:
    kind = workflow.subject
    return f"about {'an' if kind[0] in 'aeiou' else 'a'} {kind}" if kind else "about nothing that is kept"
