"""Declare incidents, change them, note what happens, give out roles, merge two that are one, tell who asks to be told.

What the source of an incident owns (title, severity, status) is changed through the connection that keeps it; roles,
notes, duplicates and subscribers are the engine's own, whatever the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from engine import domain
from engine.plugins import (
    OURSELVES,
    ActionError,
    Context,
    EffectClass,
    Fact,
    Field,
    IncidentRef,
    Instant,
    Params,
    Person,
    Text,
    action,
)

_INCIDENT = "The incident, its id or its key; by default the one the run is about."
_ROLE = r"^[a-z][a-z0-9_]{0,59}$"


class DeclareIncident(Params):
    """Declare an incident.

    Example:
        uses: incident.declare
        with:
          title: "Checkout answers slowly"
          severity: sev2
          services: [checkout]
    """

    title: str = Field(min_length=1, max_length=300, description="One line.")
    severity: str | None = Field(default=None, max_length=60, description="Such as sev1.")
    services: list[str] = Field(default=[], description="Names of the affected services.")
    labels: list[str] = Field(default=[], description="Labels.")
    drill: bool = Field(default=False, description="Whether it is an exercise.")
    private: bool = Field(default=False, description="Whether only those concerned may see it.")
    summary: Text | None = Field(default=None, description="What is known so far; begins the timeline.")
    started_at: Instant | None = Field(default=None, description="When the impact began, where it is known.")


@action("incident.declare", DeclareIncident, returns=domain.Incident, lasts=True)
async def declare(params: DeclareIncident, ctx: Context) -> domain.Incident:
    """Hand it to the connection that keeps incidents."""
    return await ctx.incidents.declare(
        params.title,
        severity=params.severity,
        services=params.services,
        labels=params.labels,
        drill=params.drill,
        private=params.private,
        summary=params.summary or None,
        started_at=params.started_at,
        effect=ctx.effect,
    )


class AssignRole(Params):
    """Give a role of an incident to somebody. Whoever had it before has it no more.

    Example:
        uses: incident.assign
        with:
          role: postmortem_owner
          to: ${{ on_call(incident.services | first) }}
    """

    role: str = Field(pattern=_ROLE, description="Name of the role, read as `incident.roles.NAME`.")
    to: Person = Field(description="Who shall have it.")
    incident: IncidentRef | None = Field(default=None, description=_INCIDENT)


@action("incident.assign", AssignRole, returns=domain.Incident, lasts=True, via=None, effect=EffectClass.OWN_ROWS)
async def assign(params: AssignRole, ctx: Context) -> domain.Incident:
    """Write the role in the commit of this effect's result."""
    incident = await named_incident(params.incident, ctx)
    ctx.effect.emit(OURSELVES, _fact(incident, ctx, fields={"roles": {params.role: params.to}}))
    return replace(incident, roles={**incident.roles, params.role: params.to})


class UpdateIncident(Params):
    """Set fields of an incident at the connection that keeps it. What is left out, or null, stays as it is.

    Example:
        uses: incident.update
        with:
          severity: sev1
    """

    incident: IncidentRef | None = Field(default=None, description=_INCIDENT)
    title: str | None = Field(default=None, min_length=1, max_length=300, description="One line.")
    severity: str | None = Field(default=None, max_length=60, description="Such as sev1.")
    status: Literal["declared", "acknowledged", "mitigated", "resolved"] | None = Field(
        default=None, description="How far it is; declared reopens it."
    )
    services: list[str] | None = Field(default=None, description="All affected services.")
    labels: list[str] | None = Field(default=None, description="All its labels.")


@action("incident.update", UpdateIncident, returns=domain.Incident, lasts=False)
async def update(params: UpdateIncident, ctx: Context) -> domain.Incident:
    """Hand the given fields to the connection that keeps the incident."""
    names = [name for name in UpdateIncident.model_fields if name != "incident"]
    changes = {name: value for name in names if (value := getattr(params, name)) is not None}
    if not changes:
        raise ActionError(f"nothing to change: each of {', '.join(names)} is left out or null")
    changes |= {name: tuple(changes[name]) for name in ("services", "labels") if name in changes}
    return await _change(params.incident, changes, ctx)


class NoteIncident(Params):
    """Add a note to an incident's timeline, and to the incident at its source where that is asked for.

    Example:
        uses: incident.note
        with:
          text: "The queue was drained by hand."
          at_source: true
    """

    text: Text = Field(min_length=1, max_length=4000, description="What happened, in Markdown.")
    incident: IncidentRef | None = Field(default=None, description=_INCIDENT)
    at_source: bool = Field(
        default=False, description="Whether the system that keeps the incident, such as PagerDuty, gets the note too."
    )


def class_of_note(params: NoteIncident) -> EffectClass | None:
    """A note of our own is rows; one at the source is as its provider says."""
    return None if params.at_source else EffectClass.OWN_ROWS


@action("incident.note", NoteIncident, returns=domain.Incident, lasts=False, effect=class_of_note)
async def note(params: NoteIncident, ctx: Context) -> domain.Incident:
    """Hand the note to the source where that is asked for, and write it in the commit of this effect's result."""
    incident = await named_incident(params.incident, ctx)
    id = await ctx.incidents.note(incident.id, params.text, effect=ctx.effect) if params.at_source else None
    ctx.effect.emit(OURSELVES, _fact(incident, ctx, note=params.text, id=id))
    return incident


class CaptureIncident(Params):
    """Take into an incident's timeline what was written down about it where it is kept: notes, who was called when.

    Each line has its own time. What the timeline holds already stays as it is.

    Example:
        uses: incident.capture
        with:
          incident: ${{ incident }}
    """

    incident: IncidentRef | None = Field(default=None, description=_INCIDENT)


@dataclass(frozen=True, slots=True)
class Captured:
    """What was read back."""

    entries: int = field(metadata={"doc": "How many lines there are, known ones among them."})


@action(
    "incident.capture",
    CaptureIncident,
    returns=Captured,
    lasts=False,
    via="incident.log",
    effect=EffectClass.IDEMPOTENT,
)
async def capture(params: CaptureIncident, ctx: Context) -> Captured:
    """Read it back, and write each line in the commit of this effect's result; one that was told is not told again."""
    incident = await named_incident(params.incident, ctx)
    entries = await ctx.incidents.log(incident.id)
    for entry in entries:
        said = f"log/{entry.id}/{(entry.edited or entry.at).isoformat()}"
        fact = _fact(incident, ctx)
        ctx.effect.emit(OURSELVES, replace(fact, time=entry.at, actor=entry.by, own=True, note=entry, id=said))
    return Captured(len(entries))


class ResolveIncident(Params):
    """Resolve an incident at the connection that keeps it. One that is resolved already stays so.

    Example:
        uses: incident.resolve
        with:
          incident: ${{ incident }}
          note: "Quiet for an hour."
    """

    incident: IncidentRef | None = Field(default=None, description=_INCIDENT)
    note: Text | None = Field(default=None, max_length=4000, description="A line for the timeline.")


@action("incident.resolve", ResolveIncident, returns=domain.Incident, lasts=False, via="incident.update")
async def resolve(params: ResolveIncident, ctx: Context) -> domain.Incident:
    """Set its status at the connection that keeps it."""
    resolved = await _change(params.incident, {"status": "resolved"}, ctx)
    if params.note:
        ctx.effect.emit(OURSELVES, _fact(resolved, ctx, note=params.note))
    return resolved


class MergeIncident(Params):
    """Close an incident as a duplicate of another: the two are one.

    It is no longer open, so that its runs with `stop_when: not incident.open` stop, and it starts no more workflows.
    Its timeline, participants, subscribers and tickets are found at the incident that is kept, under its key, and what
    happens to it later as well. At the connection that keeps it, it stays as it is. Opened again, it is one of its own.

    Example:
        uses: incident.merge
        with:
          into: ${{ incidents(open=true, service=incident.services) | last }}
    """

    into: IncidentRef = Field(description="The incident to keep.")
    incident: IncidentRef | None = Field(
        default=None, description="The duplicate, its id or its key; by default the one the run is about."
    )


@action("incident.merge", MergeIncident, returns=domain.Incident, lasts=True, via=None, effect=EffectClass.OWN_ROWS)
async def merge(params: MergeIncident, ctx: Context) -> domain.Incident:
    """Write on both that they are one, in the commit of this effect's result; give the one that is kept."""
    duplicate, kept = await named_incident(params.incident, ctx), await named_incident(params.into, ctx)
    if duplicate.merged_into == kept.id:
        return kept
    if duplicate.id == kept.id:
        raise ActionError(f"'{kept.key}' cannot be merged into itself")
    for one, what in ((duplicate, "open it again first"), (kept, "merge into that one")):
        if one.merged_into is not None:
            raise ActionError(f"'{one.key}' was merged into '{one.merged_into}': {what}")
    if duplicate.private != kept.private:
        private, public = (duplicate, kept) if duplicate.private else (kept, duplicate)
        raise ActionError(f"'{private.key}' is private and '{public.key}' is not: as one, it would be shown to all")
    merged = _fact(duplicate, ctx, fields={"merged_into": kept.id}, note=f"Merged into {kept.key}: {kept.title}")
    told = f"{duplicate.key} was merged into this one: {duplicate.title}"
    subscribers = {"subscribers": duplicate.subscribers} if duplicate.subscribers else {}
    ctx.effect.emit(OURSELVES, merged)
    ctx.effect.emit(OURSELVES, _fact(kept, ctx, fields=subscribers, note=told))
    return kept


class SubscribeToIncident(Params):
    """Put people among those who asked to be told what becomes of an incident.

    They are `incident.subscribers`; a workflow that tells people reads them there. Whoever is one already stays one.

    Example:
        uses: incident.subscribe
        with:
          people: ${{ team("sre").members }}
    """

    people: list[Person] = Field(description="Who wants to be told.")
    incident: IncidentRef | None = Field(default=None, description=_INCIDENT)


@action(
    "incident.subscribe",
    SubscribeToIncident,
    returns=domain.Incident,
    lasts=True,
    via=None,
    effect=EffectClass.OWN_ROWS,
)
async def subscribe(params: SubscribeToIncident, ctx: Context) -> domain.Incident:
    """Write them in the commit of this effect's result. It is nothing done about the incident itself."""
    incident = await named_incident(params.incident, ctx)
    known = {ctx.people.join(person).id for person in incident.subscribers}
    new = tuple({person.id: person for person in params.people if person.id not in known}.values())
    if not new:
        return incident
    fact = _fact(incident, ctx, fields={"subscribers": new})
    ctx.effect.emit(OURSELVES, replace(fact, type="incident.subscribed", own=True))
    return replace(incident, subscribers=(*incident.subscribers, *new))


async def _change(ref: domain.Incident | str | None, changes: Mapping[str, Any], ctx: Context) -> domain.Incident:
    name = _name(ref, ctx)
    changed: Any = await ctx.incidents.update(name, changes, effect=ctx.effect)
    if not isinstance(changed, domain.Incident):  # a provider that keeps tickets too found one of those
        raise ActionError(f"'{name}' is no incident")
    return changed


def _name(ref: domain.Incident | str | None, ctx: Context) -> str:
    """Give the id, or the key as written, of the named incident or of the one the run is about."""
    if isinstance(ref, domain.Incident):
        return ref.id
    if ref is not None:
        own = ctx.incident
        return own.id if own is not None and ref == own.key else ref.strip()
    if ctx.incident is None:
        raise ActionError("the run is about no incident: name one with 'incident'")
    return ctx.incident.id


async def named_incident(ref: domain.Incident | str | None, ctx: Context) -> domain.Incident:
    """Give the named incident, or the one the run is about.

    Raises:
        ActionError: there is none.
    """
    if isinstance(ref, domain.Incident):
        return ref
    name = _name(ref, ctx)
    if ctx.incident is not None and name == ctx.incident.id:
        return ctx.incident
    found: Any = await ctx.incidents.get(name)
    if not isinstance(found, domain.Incident):
        raise ActionError(f"no incident is called '{name}': give the incident itself, such as ${{{{ incident }}}}")
    return found


def _fact(
    incident: domain.Incident,
    ctx: Context,
    *,
    fields: Mapping[str, Any] | None = None,
    note: str | None = None,
    id: str | None = None,
) -> Fact:
    """Say something about the fields that the engine owns. Without a person behind the effect it is our own act."""
    effect = ctx.effect
    return Fact(
        "incident.updated",
        effect.at,
        subject_type="incident",
        subject=incident.id,
        fields=fields or {},
        actor=effect.actor,
        own=effect.actor is None,
        engine=True,
        note=domain.Entry(effect.at, note, by=effect.actor, id=id) if note else None,
    )
