"""What a message owes to the people it goes to: not more than they want in a day, nothing that they have muted.

A message that folds, and one above the daily limit, becomes a letter of the outbox. A question cannot wait in a digest:
it is held. What the engine tells an owner about failures and doubts is exempt, and does not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from engine.calendars import RECIPIENT, local_day, morning_after, next_open
from engine.domain import Document, Person, Review, Ticket
from engine.plugins import Action
from engine.runs.commands import Counted, Courtesy, Held, Letter
from engine.runs.hub import Hub
from engine.runs.outbox import Mute, muted, place_of, sent_to
from engine.runs.state import IN_DOUBT, Run
from engine.store.lookups import Lookups
from engine.workflow.model import Step

#: Messages a day to somebody whose roster entry does not say.
MAX_PER_DAY = 5
#: Version of the workflow that sends digests: no hash of a file is like it.
DIGEST = "digest"
#: Paths of what the engine itself tells the owner begin so.
OURS = ("owner/", IN_DOUBT)

NOTHING = Courtesy()


def goes_to_people(step: Step) -> bool:
    """Whether what a step performs is a message to somebody in person."""
    action = step.action
    return action is not None and action.capability == "chat" and "to" in action.params.model_fields


def concerns(step: Step, path: str) -> bool:
    """Whether there is anything to ask: the step writes to people, or folds what it says."""
    return ("digest" in step.inputs or goes_to_people(step)) and not path.startswith(OURS)


def recipients(inputs: Any) -> Sequence[Person]:
    """Give the people that a message goes to, by its inputs as the action takes them."""
    to = getattr(inputs, "to", ())
    return [to] if isinstance(to, Person) else list(to)


@dataclass(slots=True)
class Manners:
    """Decides about the messages of one turn of a run."""

    hub: Hub
    world: Lookups
    run: Run
    during: str | None = None  #: of the run's workflow
    promised: Counter[str] = field(default_factory=Counter)  #: messages of this turn, by person

    def courtesy(self, step: Step, identity: str, inputs: Any, subject: Any) -> Courtesy:
        """Give what a message owes to whom it goes to; `inputs` are as the action takes them."""
        assert step.action is not None
        people = [self.hub.directory.people.join(person) for person in recipients(inputs)]
        window = getattr(getattr(inputs, "digest", None), "window", None)
        if not people and window is None:
            return NOTHING
        answer = self._about_mutes(people, step.action, subject)
        if answer.held is not None or answer.unsent is not None:
            return answer
        people = [person for person in people if person.id not in answer.spared]
        if window is not None:
            due = self.world.add(self.world.now, window)
            return Courtesy(letter=self._letter(step, inputs, people, subject, due, limited=False))
        return self._about_limits(step, identity, inputs, people, subject, answer.spared)

    def _about_mutes(self, people: Sequence[Person], action: Action, subject: Any) -> Courtesy:
        if self.run.version == DIGEST:
            return NOTHING  # of each letter it was asked whether its subject is muted
        found = [(person, mute) for person in people if (mute := self.mute_of(person)) is not None]
        if not found:
            return NOTHING
        if len(found) < len(people):
            return Courtesy(spared=tuple(person.id for person, _ in found))
        why = "; ".join(self.told(person, mute, subject) for person, mute in found)
        if action.pending:
            return Courtesy(held=Held(min(mute.until for _, mute in found), "muted", why))
        return Courtesy(unsent=why)

    def mute_of(self, person: Person) -> Mute | None:
        """Give the mute of the run's subject by somebody."""
        return muted(self.world.reader, person.id, self.run.subject, self.world.now)

    def told(self, person: Person, mute: Mute, subject: Any) -> str:
        """Say that somebody has muted a subject: `Ada has muted HW-3 until 2026-03-09 09:00 CET`."""
        until = mute.until.astimezone(zone_of(self.hub, person))
        return f"{person.name} has muted {name_of(subject) or mute.subject} until {until:%Y-%m-%d %H:%M %Z}"

    def _about_limits(
        self, step: Step, identity: str, inputs: Any, people: Sequence[Person], subject: Any, spared: tuple[str, ...]
    ) -> Courtesy:
        answer = self._limits(identity, people)
        if answer.held is None:
            return replace(answer, spared=spared)
        if self.run.version == DIGEST or not _folds(step.action, inputs):
            return answer
        assert answer.held.until is not None
        return Courtesy(letter=self._letter(step, inputs, people, subject, answer.held.until, limited=True))

    def _limits(self, identity: str, people: Sequence[Person]) -> Courtesy:
        """Count a message to people, or hold it until the next day of whoever has got enough today."""
        counted = [self._counted(person) for person in people]
        full = [
            person
            for person, one in zip(people, counted, strict=True)
            if sent_to(self.world.reader, one.person, one.since, identity) + self.promised[one.person] >= one.most
        ]
        if not full:
            self.promised.update(one.person for one in counted)
            return Courtesy(counted=tuple(counted))
        until = max(self.morning_after(person) for person in full)
        names = " and ".join(person.name for person in full)
        return Courtesy(held=Held(until, "daily-limit", f"{names} got as many messages today as 'max_per_day' allows"))

    def again(self, identity: str, inputs: Any) -> Courtesy:
        """Give what a further attempt owes: it is sent as it was written, but not above the limit of its day."""
        people = [self.hub.directory.people.join(person) for person in recipients(inputs)]
        return self._limits(identity, people) if people else NOTHING

    def _counted(self, person: Person) -> Counted:
        since, _ = local_day(self.world.now, zone_of(self.hub, person))
        return Counted(person.id, person.max_per_day or MAX_PER_DAY, since)

    def morning_after(self, person: Person) -> datetime:
        """Give when somebody's next day begins for what was held: with their work, not at midnight."""
        return morning_after(self.world.now, zone_of(self.hub, person), self.hub.hours_of(person))

    def _letter(
        self, step: Step, inputs: Any, people: Sequence[Person], subject: Any, due: datetime, *, limited: bool
    ) -> Letter:
        assert step.action is not None
        connection = self.hub.serve(str(step.action.capability), step.connection)[0]
        person = people[0] if people else None
        channel = None if person is not None else inputs.channel
        due = self.opening(self.during, person, due)
        return Letter(
            place_of(connection, person, channel),
            connection,
            person,
            channel,
            inputs.text,
            due,
            "limit" if limited else "digest",
            is_to_do(subject),
            self.during,
        )

    def opening(self, during: str | None, person: Person | None, at: datetime) -> datetime:
        """Give the first instant from `at` on at which a message of a workflow with `during` may be told."""
        if during is None:
            return at
        theirs = during == RECIPIENT and person is not None
        return next_open(self.hub.hours_of(person) if theirs else self.hub.directory.calendar_of(during), at)


def zone_of(hub: Hub, person: Person) -> ZoneInfo:
    """Give the zone that somebody's days are counted in."""
    return ZoneInfo(person.timezone or hub.hours_of(person).timezone)


def _folds(action: Action | None, inputs: Any) -> bool:
    """Whether a message can be told with others: it is a text for one person, and nobody waits for an answer."""
    text = getattr(inputs, "text", None)
    return action is not None and not action.pending and action.method == "direct" and isinstance(text, str)


def is_to_do(subject: Any) -> bool:
    """Whether a subject is something to be done that is not done yet.

    Incidents and alerts are none: what follows an incident comes when it is resolved.
    """
    match subject:
        case Ticket():
            return not subject.done
        case Document():
            return not subject.published
        case Review():
            return not subject.cancelled
        case _:
            return False


def name_of(subject: Any) -> str | None:
    """Give what people call a subject."""
    return getattr(subject, "key", None) or getattr(subject, "title", None)
