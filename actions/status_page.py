"""Tell those outside how things are: open an entry on the status page, add to it, resolve it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import PlainValidator, WithJsonSchema

from actions.incident import named_incident
from engine.domain import ComponentState, Incident, StatusEntry, StatusImpact, StatusState, StatusUpdate
from engine.plugins import ActionError, Context, Field, IncidentRef, Params, StatusEntryRef, Text, action

_STATES = get_args(ComponentState)
_MOST_COMPONENTS = 100
_LONGEST_TEXT = 25_000


def _components(value: Any) -> Mapping[str, ComponentState | None]:
    """Read a list of names, or names with their states."""
    if isinstance(value, list | tuple):
        value = dict.fromkeys(value)
    if not isinstance(value, Mapping) or not all(isinstance(name, str) and name for name in value):
        raise ValueError(f"must be a list of components or services, or a mapping of them to states, not {value!r}")
    if len(value) > _MOST_COMPONENTS:
        raise ValueError(f"may name {_MOST_COMPONENTS} components, not {len(value)}")
    for name, state in value.items():
        if state is not None and state not in _STATES:
            raise ValueError(f"the state of '{name}' must be one of {', '.join(_STATES)}, not {state!r}")
    return dict(value)


#: What is affected: a list of components or services, or a mapping of them to their states.
Components = Annotated[
    Mapping[str, ComponentState | None],
    PlainValidator(_components),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}},
                {"type": "object", "additionalProperties": {"type": "string", "enum": [*_STATES]}},
            ]
        }
    ),
]

_ENTRY = "The entry, or its id; by default the one that the run's incident has."
_AFFECTED = (
    "What is affected: components of the page or services, as a list, which follow the impact, or each with its state. "
    "What the page does not have is left out, and named in `left_out`."
)
_PRIVATE = "Whether a private incident may be told of, too."
_TEXT = "What those outside read, in Markdown."


class CreateEntry(Params):
    """Open an entry on the status page, with its first message. The incident's `status_page` then is the entry.

    Of a private incident nothing is told unless `private: true` says so: the step fails.

    Example:
        uses: status_page.create
        with:
          title: "Checkout answers slowly"
          text: "We see slow answers at checkout and are looking for the cause."
          impact: major
          components: ${{ incident.services }}
    """

    title: str = Field(min_length=1, max_length=300, description="What those outside call it.")
    text: Text = Field(min_length=1, max_length=_LONGEST_TEXT, description=_TEXT)
    state: StatusState = Field(default="investigating", description="How far it is.")
    impact: StatusImpact = Field(default="minor", description="How bad it is.")
    components: Components = Field(default={}, description=_AFFECTED)
    incident: IncidentRef | None = Field(default=None, description="What it tells of; by default the run's incident.")
    private: bool = Field(default=False, description=_PRIVATE)


@action("status_page.create", CreateEntry, returns=StatusEntry, lasts=True)
async def create(params: CreateEntry, ctx: Context) -> StatusEntry:
    """Hand the entry to the status page."""
    incident = ctx.incident if params.incident is None else await named_incident(params.incident, ctx)
    _refuse_private(incident, params.private)
    news = StatusUpdate(params.text, state=params.state, impact=params.impact, components=params.components)
    return await ctx.status_page.create(
        params.title, news, incident=incident.id if incident else None, effect=ctx.effect
    )


class UpdateEntry(Params):
    """Add a message to an entry of the status page. What is left out, or null, stays as it is.

    Example:
        uses: status_page.update
        with:
          state: monitoring
          text: "A fix is out; we watch whether it holds."
          components: {checkout: degraded_performance}
    """

    entry: StatusEntryRef | None = Field(default=None, description=_ENTRY)
    text: Text = Field(min_length=1, max_length=_LONGEST_TEXT, description=_TEXT)
    title: str | None = Field(default=None, min_length=1, max_length=300, description="What it is called from now on.")
    state: StatusState | None = Field(default=None, description="How far it is; any but resolved opens it again.")
    impact: StatusImpact | None = Field(default=None, description="How bad it is.")
    components: Components = Field(default={}, description=_AFFECTED)
    private: bool = Field(default=False, description=_PRIVATE)


@action("status_page.update", UpdateEntry, returns=StatusEntry, lasts=False)
async def update(params: UpdateEntry, ctx: Context) -> StatusEntry:
    """Hand the message to the status page."""
    news = StatusUpdate(params.text, params.title, params.state, params.impact, params.components)
    return await _add(params.entry, news, ctx, private=params.private)


class ResolveEntry(Params):
    """Say on the status page that it is over. An entry that is resolved already stays as it is.

    Example:
        uses: status_page.resolve
        with:
          text: "Checkout is back to normal. We are sorry."
    """

    entry: StatusEntryRef | None = Field(default=None, description=_ENTRY)
    text: Text = Field(default="This incident is resolved.", min_length=1, max_length=_LONGEST_TEXT, description=_TEXT)
    private: bool = Field(default=False, description=_PRIVATE)


@action("status_page.resolve", ResolveEntry, returns=StatusEntry, lasts=False, via="status_page.update")
async def resolve(params: ResolveEntry, ctx: Context) -> StatusEntry:
    """Hand the last message to the status page."""
    return await _add(params.entry, StatusUpdate(params.text, state="resolved"), ctx, private=params.private)


async def _add(ref: StatusEntry | str | None, news: StatusUpdate, ctx: Context, *, private: bool) -> StatusEntry:
    _refuse_private(ctx.incident, private)
    return await ctx.status_page.update(_entry(ref, ctx.incident), news, effect=ctx.effect)


def _entry(ref: StatusEntry | str | None, incident: Incident | None) -> str:
    """Give the id of the named entry, or of the one that the run's incident has."""
    if ref is not None:
        return ref.id if isinstance(ref, StatusEntry) else ref.strip()
    if incident is not None and incident.status_page is not None:
        return incident.status_page.id
    what = f"{incident.key} has no entry on a status page" if incident else "the run is about no incident"
    raise ActionError(f"{what}: name one with 'entry'", code="not-found")


def _refuse_private(incident: Incident | None, allowed: bool) -> None:
    if incident is not None and incident.private and not allowed:
        raise ActionError(
            f"{incident.key} is private, and a status page is not: 'private: true' tells of it all the same",
            code="private",
        )


ALL = (create, resolve, update)
