"""Providers that record what they were asked to do, for tests of one's own workflows and actions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from engine.capabilities import Channel, Invited, Message, Said, TicketDraft, Where
from engine.domain import Person, Ticket
from engine.plugins import ActionError, Effect, at_most_once, idempotent, native, tell_incident


@dataclass(slots=True)
class Sent:
    """One message that went out."""

    to: str
    text: str
    effect: str
    choices: Mapping[str, str] = field(default_factory=dict)


class RecordingChat:
    """A chat that keeps what it sends in `sent`, and what is done to channels in `done`.

    `before` may raise to make a sending fail; `written` is what its channels tell of themselves.
    """

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.written: list[Said] = []
        self.done: list[tuple[str, str, Any]] = []  #: what was done, to which channel or message, and with what
        self.before: Callable[[Sent], None] = lambda message: None

    @at_most_once
    async def post(self, channel: str | None, text: str, *, thread: str | None, effect: Effect) -> Message:
        return self._send(Sent(channel or "#default", text, effect.id))

    @at_most_once
    async def direct(self, person: Person, text: str, *, effect: Effect) -> Message:
        return self._send(Sent(person.id, text, effect.id))

    @at_most_once
    async def ask(self, people: Sequence[Person], text: str, choices: Mapping[str, str], *, effect: Effect) -> Message:
        return self._send(Sent(",".join(person.id for person in people), text, effect.id, choices))

    @at_most_once
    async def ephemeral(self, channel: str | None, person: Person, text: str, *, effect: Effect) -> Message:
        return Message(None, self._send(Sent(person.id, text, effect.id)).url)

    @idempotent
    async def update(self, message: str, text: str, *, effect: Effect) -> Message:
        self.done.append(("update", message, text))
        return Message(message)

    @idempotent
    async def pin(self, message: str, *, effect: Effect) -> Message:
        self.done.append(("pin", message, None))
        return Message(message)

    @native
    async def create_channel(self, name: str, *, private: bool, incident: str | None, effect: Effect) -> Channel:
        channel = Channel(f"#{name}", name, private=private, incident=incident)
        tell_incident(channel, effect)
        return self._did("create_channel", channel, private)

    @idempotent
    async def rename_channel(self, channel: str, name: str, *, effect: Effect) -> Channel:
        return self._did("rename_channel", Channel(channel, name), name)

    @idempotent
    async def archive_channel(self, channel: str, *, effect: Effect) -> Channel:
        return self._did("archive_channel", Channel(channel, channel), None)

    @idempotent
    async def set_topic(self, channel: str, topic: str, *, effect: Effect) -> Channel:
        return self._did("set_topic", Channel(channel, channel), topic)

    @idempotent
    async def invite(self, channel: str, people: Sequence[Person], *, effect: Effect) -> Invited:
        self.done.append(("invite", channel, [person.id for person in people]))
        return Invited(tuple(people))

    @idempotent
    async def bookmark(self, channel: str, title: str, url: str, *, effect: Effect) -> Channel:
        return self._did("bookmark", Channel(channel, channel), (title, url))

    async def history(self, channel: str, since: datetime) -> AsyncIterator[Said]:
        for one in self.written:
            if one.at >= since:
                yield one

    def _did(self, what: str, channel: Channel, how: Any) -> Channel:
        self.done.append((what, channel.id, how))
        return channel

    def _send(self, message: Sent) -> Message:
        self.before(message)
        self.sent.append(message)
        return Message(str(len(self.sent)), f"https://chat.invalid/{len(self.sent)}")

    def to(self, person: str) -> list[str]:
        """Give the texts that one person or channel got, in order."""
        return [message.text for message in self.sent if message.to == person]


class RecordingTickets:
    """A tracker of somebody else's: tickets live here, and the engine reads them again before it acts on them."""

    def __init__(self, *tickets: Ticket) -> None:
        self.tickets = {ticket.id: ticket for ticket in tickets}
        self.calls: list[tuple[str, str]] = []
        self.reads = 0
        self.failing: str | None = None

    @at_most_once
    async def create(self, draft: TicketDraft, *, effect: Effect) -> Ticket:
        key = f"T-{len(self.tickets) + 1}"
        ticket = Ticket(f"tracker:{key}", key, draft.title, assignee=draft.assignee, labels=draft.labels)
        self.tickets[ticket.id] = ticket
        return self._called("create", ticket.id)

    @idempotent
    async def update(self, ticket: str, changes: Mapping[str, Any], *, effect: Effect) -> Ticket:
        return self._called("update", ticket)

    @at_most_once
    async def comment(self, ticket: str, text: str, *, effect: Effect) -> Ticket:
        return self._called("comment", ticket)

    @idempotent
    async def link(self, ticket: str, other: str, relation: str, *, effect: Effect) -> Ticket:
        return self._called("link", ticket)

    @idempotent
    async def close(self, ticket: str, *, comment: str | None, effect: Effect) -> Ticket:
        return self._called("close", ticket)

    @idempotent
    async def reopen(self, ticket: str, *, comment: str | None, effect: Effect) -> Ticket:
        return self._called("reopen", ticket)

    async def get(self, ticket: str) -> Ticket | None:
        self.reads += 1
        if self.failing is not None:
            raise ConnectionError(self.failing)
        return self._find(ticket)

    async def search(self, where: Where, query: str | None) -> Sequence[Ticket]:
        fits = (t for t in self.tickets.values() if set(where.labels) <= set(t.labels))
        return [ticket for ticket in fits if where.done is None or ticket.done == where.done]

    def _called(self, what: str, ref: str) -> Ticket:
        self.calls.append((what, ref))
        ticket = self._find(ref)
        if ticket is None:
            raise ActionError(f"no ticket '{ref}'")
        return ticket

    def _find(self, ref: str) -> Ticket | None:
        return self.tickets.get(ref) or next((t for t in self.tickets.values() if t.key == ref), None)
