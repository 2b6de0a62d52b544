"""What an action may use beside its inputs (`engine.plugins.Context`)."""

from __future__ import annotations

from typing import Any

from engine.calendars import Calendar
from engine.domain import Incident, Person
from engine.plugins import (
    Effect,
)
from engine.runs.active import Active
from engine.runs.hub import Hub
from engine.workflow.model import Step


class ActionContext:
    """What an action may use (`plugins.Context`)."""

    def __init__(self, hub: Hub, active: Active, step: Step, effect: Effect) -> None:
        self._hub, self._active, self._step = hub, active, step
        self.effect = effect
        self.now = hub.clock.now()
        self.zone = hub.directory.zone

    def _serve(self, capability: str) -> Any:
        assert self._step.action is not None
        named = self._step.connection if self._step.action.capability == capability else None
        return self._hub.serve(capability, named)[1]

    @property
    def incident(self) -> Incident | None:
        world = self._hub.lookups()
        run = self._active.run
        if run.subject_type is None or run.subject is None:
            return None
        subject = world.subject(run.subject_type, run.subject)
        if isinstance(subject, Incident) or subject is None:
            return subject
        ref = getattr(subject, "incident", None)
        return world.subject("incident", ref) if ref else None

    documents = property(lambda self: self._serve("document"))
    chat = property(lambda self: self._serve("chat"))
    tickets = property(lambda self: self._serve("ticket"))
    calendar = property(lambda self: self._serve("calendar"))
    incidents = property(lambda self: self._serve("incident"))
    status_page = property(lambda self: self._serve("status_page"))
    meetings = property(lambda self: self._serve("meeting"))
    on_call = property(lambda self: self._serve("on_call"))
    people = property(lambda self: self._hub.directory.people)
    http = property(lambda self: self._serve("http"))

    @property
    def owner(self) -> Person | None:
        return self._hub.owner_of(self._active.workflow.owner)

    def is_private(self, incident: str) -> bool:
        return self._hub.lookups().is_private("incident", incident)

    def hours_of(self, person: Person | None) -> Calendar:
        during = self._active.workflow.during
        if person is None and during is not None:
            return self._hub.directory.calendar_of(during)
        return self._hub.hours_of(person)
