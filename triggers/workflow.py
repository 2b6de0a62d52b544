"""Start workflows when a run of another one fails."""

from __future__ import annotations

from engine import domain
from engine.domain import Event
from engine.plugins import Field, Params, trigger


class Failed(Params):
    """Start when a run has failed, after its own `on_failure`.

    Example:
        on:
          workflow.failed: {workflow: postmortem}
    """

    workflow: str | None = Field(
        default=None,
        description="The id of the workflow, its file's stem; by default any.",
        json_schema_extra={"x-kind": "workflow"},
    )


@trigger(
    "workflow.failed",
    Failed,
    subject=None,
    data={
        "workflow": domain.Field("text", "Id of the workflow whose run failed."),
        "run": domain.Field("text", "Id of that run."),
        "step": domain.Field("text", "The step that failed."),
        "error": domain.Field("error", "What went wrong."),
    },
    own_may_start=True,
)
def failed(params: Failed, event: Event) -> bool:
    """Fit runs of the workflow."""
    return params.workflow in (None, event.data.get("workflow"))
