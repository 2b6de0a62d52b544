"""Look at a recorded event again, with the files as they are now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from engine.application import Application
from engine.domain import Event, Person
from engine.intake import NotStarted
from engine.matching import listener_of, sentence
from engine.operations.base import Done, Inputs, NotFound, Refused
from engine.operations.workflows import current_workflow, read_files
from engine.store import naming
from engine.store.lookups import event_of
from engine.workflow.model import Workflow


class ReplayEvent(Inputs):
    """Which event, and for whom."""

    event: str = Field(min_length=1, max_length=300, description="Its id, a beginning or an end of it, or its number.")
    workflow: str | None = Field(
        default=None, min_length=1, max_length=300, description="This workflow alone; without one, all that listen."
    )


async def replay_event(application: Application, actor: Person, params: ReplayEvent) -> Done:
    """Match a recorded event again against the current files: for a workflow that was added or mended since.

    A key that already ran is answered so, with its run. The state of subjects is not changed, and `if` and `stop_when`
    are looked at on the state as it is now. `outcomes` has an entry for each workflow: `workflow verdict sentence run`.
    """
    try:
        row = naming.find(application.reader, "events", params.event)
    except naming.NotFound as error:
        raise NotFound(f"{error}; 'hotwash events list' shows which there are") from None
    if row["type"] == "manual":
        raise Refused(f"{row['uid']} is a start by hand: 'hotwash start' starts a workflow again")
    if params.workflow is None:
        await read_files(application)
    else:
        _refuse_deaf(await current_workflow(application, params.workflow), row["type"])
    try:
        told = await application.intake.replay(int(row["id"]), params.workflow, actor.name)
    except NotStarted as error:
        raise Refused(str(error)) from None
    outcomes = [_outcome(*one) for one in told]
    lines = [f"  {one['workflow']}: {one['sentence']}" + (f" ({one['run']})" if one["run"] else "") for one in outcomes]
    head = f"{row['type']} {row['uid']} was replayed" + ("" if outcomes else f": {_why_none(event_of(row))}")
    return Done("\n".join([head, *lines]), {"event": row["uid"], "outcomes": outcomes})


def _refuse_deaf(workflow: Workflow, event_type: str) -> None:
    if not workflow.listens_to(event_type):
        listens = list(dict.fromkeys(use.name for use in workflow.triggers))
        raise Refused(f"'{workflow.id}' listens to {' and '.join(listens) or 'nothing'}, not to {event_type}")


def _why_none(event: Event) -> str:
    alone = listener_of(event)
    return (
        f"the check that found it was made for '{alone.partition('/')[0]}' alone" if alone else "nobody listens to it"
    )


def _outcome(kind: str, workflow: str, detail: Mapping[str, Any]) -> dict[str, Any]:
    return {"workflow": workflow, "verdict": kind, "sentence": sentence(kind, detail), "run": detail.get("run")}
