"""What holds an effect back before it goes out: a pause, a calendar that is closed, a connection that does not work.

Each gives a `Held` with until when and why. A held effect has no intent; what it would say is evaluated when it goes
out. What depends on whom it goes to is asked once its inputs are known (`Holding.towards`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import reduce
from typing import Any

from engine.calendars import RECIPIENT, Calendar, Stretch, intersect, is_open, next_open, open_intervals
from engine.plugins import ActionError
from engine.runs.commands import Held
from engine.runs.hub import Hub
from engine.runs.manners import OURS, goes_to_people, recipients
from engine.workflow.model import Step, Workflow

#: How far ahead an instant is looked for at which several people are all at work.
TOGETHER = timedelta(days=14)


class Holding:
    """Says what holds effects back."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def at_all(self, workflow: Workflow, step: Step, path: str) -> Held | None:
        """Give what holds an effect back, whatever it says and whoever it goes to.

        Raises:
            ValueError: the calendar never opens.
        """
        pauses = self.hub.pauses
        if pauses.current and (pause := pauses.of(workflow.id)) is not None:
            return Held(None, "paused", pause.why)
        if workflow.during is not None and not path.startswith(OURS):
            closed = self._closed(workflow.during, step)
            if closed is not None:
                return closed
        return self.connection(step) if self.hub.connections.held else None

    def towards(self, workflow: Workflow, step: Step, path: str, inputs: Any) -> Held | None:
        """Give what holds an effect back because of whom it goes to; `inputs` are as the action takes them.

        Raises:
            ValueError: somebody's calendar never opens.
        """
        if workflow.during != RECIPIENT or path.startswith(OURS) or not goes_to_people(step):
            return None
        people = recipients(inputs)
        hours = [self.hub.hours_of(self.hub.directory.people.join(person)) for person in people]
        now = self.hub.clock.now()
        if not hours or all(is_open(one, now) for one in hours):
            return None
        until = open_together(hours, now)
        if until <= now:
            return None
        names = ", ".join(person.name for person in people)
        return Held(until, "closed", f"outside the working hours of {names}")

    def connection(self, step: Step) -> Held | None:
        """Give why the connection of a step is left alone; None where a call may be made on it."""
        assert step.action is not None
        if not self.hub.connections.held or step.action.capability is None:
            return None
        try:
            name = self.hub.serve(step.action.capability, step.connection)[0]
        except (KeyError, ActionError):  # what is not configured fails when it is performed
            return None
        return self.hub.connections.holding(name)

    def _closed(self, during: str, step: Step) -> Held | None:
        if during == RECIPIENT and goes_to_people(step):
            return None  # their hours are asked when it is known who they are
        calendar, now = self.hub.directory.calendar_of(during), self.hub.clock.now()
        if is_open(calendar, now):
            return None
        return Held(next_open(calendar, now), "closed", f"outside the hours of calendar '{calendar.name}'")


def open_together(hours: Sequence[Calendar], now: datetime) -> datetime:
    """Give the first instant from `now` on at which all are at work; where there is none soon, one of them.

    Raises:
        ValueError: a calendar never opens.
    """
    if len(hours) == 1:
        return next_open(hours[0], now)
    everybody: list[list[Stretch]] = [open_intervals(one, now, now + TOGETHER) for one in hours]
    common = reduce(intersect, everybody)
    return common[0][0] if common else min(next_open(one, now) for one in hours)
