"""Fill what was missed, while nothing came in, from the history of the incidents' channels.

The first look after a start goes over each channel from its incident's declaration on: so it finds what was edited,
deleted or reacted to meanwhile, too. Later ones go back over what may have been missed at the edges of a break. What
is known already has the same id, and stays once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from engine.capabilities import Changes, Said
from engine.domain import Entry, Incident
from engine.plugins import ActionError, Connection, ConnectionBroken, Fact, RetryLater
from triggers.sources.slack_capture import Capture, pin_key, reaction_key
from triggers.sources.slack_vendor import Vendor

#: So many facts are written at once: others want to write, too.
PORTION = 200
#: How long after its resolution a channel is still followed.
FOLLOWED = timedelta(days=14)
#: A look that is not the first goes back over this much of what was read before.
_OVERLAP = timedelta(hours=1)
#: An incident's channel may be older than its declaration by a moment: clocks differ.
_SKEW = timedelta(minutes=1)


@dataclass(slots=True)
class Fill:
    """Reads channels from where they were last read."""

    vendor: Vendor
    capture: Capture
    connection: Connection
    _begun: bool = False  #: whether a look has ended since the start
    _rest: list[Fact] = field(default_factory=list)  #: what a look found and nobody has been given yet
    _read: str = ""  #: the cursor for when that is so
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """Have the channels looked at soon: something may have been missed."""
        self._wake.set()

    async def watch(self) -> AsyncIterator[None]:
        """Yield whenever something may have been missed."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            yield

    async def changes(self, cursor: str | None) -> Changes:
        """Give what is not known of every channel that is followed, a portion at a time.

        The cursor says when each was last read.

        Raises:
            RetryLater: Slack cannot be asked now, and nothing was read.
        """
        if not self._rest:
            self._rest, self._read = await self._look(json.loads(cursor) if cursor and self._begun else {})
        portion, self._rest = self._rest[:PORTION], self._rest[PORTION:]
        if self._rest:
            self.wake()
        return Changes(portion, (cursor or "") if self._rest else self._read)

    async def _look(self, read: Mapping[str, str]) -> tuple[list[Fact], str]:
        """Give what the channels say, and the cursor for when that is written."""
        now = self.connection.clock.now()
        facts: list[Fact] = []
        done: dict[str, str] = {}
        for incident in self.connection.record.followed(now - FOLLOWED):
            try:
                facts += [fact async for fact in self._missed(incident, read.get(incident.id), now)]
            except ActionError as error:
                self.connection.say(f"the channel of {incident.key} cannot be read: {error}")
            except RetryLater:
                if not facts:
                    raise
                self.wake()  # what was read is kept, and the rest is read as soon as Slack lets us
                return facts, json.dumps({**read, **done})
            done[incident.id] = now.isoformat()
        self._begun = True
        return facts, json.dumps(done)

    async def _missed(self, incident: Incident, since: str | None, now: datetime) -> AsyncIterator[Fact]:
        declared = (incident.declared_at or now - FOLLOWED) - _SKEW
        start = max(declared, datetime.fromisoformat(since) - _OVERLAP) if since is not None else declared
        known = _Known.of(self.connection.record.captured(incident.id))
        seen: dict[str | None, Said] = {}
        oldest = now
        async for said in self.vendor.history(str(incident.channel), start):
            seen[said.id] = said
            oldest = min(oldest, said.at)
            for fact in self._of(said, incident, known, now):
                yield fact
        for entry in known.entries.values():  # what is older than the history reaches has not been deleted
            if entry.kind == "message" and entry.withdrawn is None and entry.id not in seen and entry.at >= oldest:
                yield self.capture.deleted(incident, entry, now)
        for fact in await self._pins(incident, seen.values(), known, now):
            yield fact

    async def _pins(self, incident: Incident, seen: Iterable[Said], known: _Known, now: datetime) -> list[Fact]:
        """Give which messages were pinned, or are so no more, as nobody knows yet.

        Messages do not say who pinned them: that is asked for where one has a pin that is new.
        """
        facts, fresh = list[Fact](), list[str]()
        for said in seen:
            entry = known.entries.get(pin_key(said.id))
            there = entry is not None and entry.withdrawn is None
            if said.pinned and not there:
                fresh.append(said.id)
            elif entry is not None and there and not said.pinned:
                facts.append(self.capture.pin(incident, said.id, entry.by, entry.at, None, withdrawn=now))
        try:
            pins = await self.vendor.pins(str(incident.channel)) if fresh else {}
        except (ActionError, ConnectionBroken) as error:  # what else the channel says is read all the same
            self.connection.say(f"the pins of {incident.key} cannot be read: {error}")
            return facts
        for message in fresh:
            if message in pins:
                by, at = pins[message]
                facts.append(self.capture.pin(incident, message, by, at, f"{message}/pin/{at.isoformat()}"))
        return facts

    def _of(self, said: Said, incident: Incident, known: _Known, now: datetime) -> Iterator[Fact]:
        """Give what is not known yet of a message."""
        fact = self.capture.said(said, incident)
        entry = fact.note if fact is not None else None
        if fact is not None and entry is not None:
            there = known.entries.get(entry.id)
            if there is None or there.edited != entry.edited:
                yield fact
        reactions = known.reactions.get(said.id, {})
        listed = set()
        for name, people in said.reactions.items():
            for person in people:
                listed.add(key := reaction_key(said.id, name, person))
                if key not in reactions or reactions[key].withdrawn is not None:
                    yield self.capture.reaction(incident, said.id, name, person, now, None)
                    yield from self.capture.mark(incident, said.id, name, person, now, entry)
        for key, one in reactions.items():
            if one.withdrawn is None and key not in listed:
                name = key.removeprefix(f"{said.id}/").rpartition("/")[0]
                yield self.capture.reaction(incident, said.id, name, one.by, now, None, withdrawn=now)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is captured already: every entry by its id, and of each message its reactions."""

    entries: Mapping[str | None, Entry]
    reactions: Mapping[str | None, Mapping[str, Entry]]

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> _Known:
        reactions: dict[str | None, dict[str, Entry]] = {}
        listed = list(entries)
        for entry in listed:
            if entry.kind == "reaction":
                reactions.setdefault(entry.about, {})[str(entry.id)] = entry
        return cls({entry.id: entry for entry in listed}, reactions)
