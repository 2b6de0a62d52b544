"""Who somebody is in Slack: the workspace's users joined with the roster, by e-mail address or `ids: {slack: …}`.

The users are read as a whole when the engine starts, and again when somebody unknown turns up: so whoever asks who
somebody is gets an answer from memory. What the roster says of a person counts; Slack fills in what it leaves open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from actions.providers.naming import unreachable
from actions.providers.roster import PeopleFile, RosterOptions
from actions.providers.slack_web import SlackWeb
from engine.domain import Person
from engine.plugins import ActionError, Connection, ConnectionBroken, RetryLater

_SYSTEM = "slack:"
#: Users of one page, the most that Slack gives.
_PAGE = 1000
#: The users are read again no sooner than this after the last time.
_AGAIN = timedelta(minutes=10)
_MOST_NAMED = 10


class Directory:
    """The users of one workspace, as last read; those who have left are found by id only."""

    def __init__(self, web: SlackWeb) -> None:
        self._web = web
        self.read_at: datetime | None = None
        self.by_id: dict[str, Person] = {}
        self._by_email: dict[str, Person] = {}

    async def read(self, now: datetime) -> None:
        """Read all users.

        Raises:
            ActionError, RetryLater, ConnectionBroken: as `SlackWeb.call`.
        """
        self.read_at = now
        by_id, by_email = {}, {}
        async for raw in self._web.pages("users.list", "members", size=_PAGE):
            person = _person(raw)
            by_id[person.ids["slack"]] = person
            if person.email and not raw.get("deleted") and not raw.get("is_bot"):
                by_email[person.email.casefold()] = person
        self.by_id, self._by_email = by_id, by_email

    def find(self, person: Person) -> Person | None:
        """Give the user that a person is, by id or by e-mail address."""
        known = person.ids.get("slack") or person.id.removeprefix(_SYSTEM)
        return self.by_id.get(known) or (self._by_email.get(person.email.strip().casefold()) if person.email else None)


class SlackPeople(PeopleFile):
    """Know people: those of the project's people file, and the other users of the workspace."""

    def __init__(self, token: str, api: str, connection: Connection) -> None:
        super().__init__(RosterOptions(), connection)
        self._connection = connection
        self._web = SlackWeb(token, api, connection)
        self._directory = Directory(self._web)
        self._users: dict[str, str] = {}  #: by e-mail address, as looked up one at a time
        self._reading: asyncio.Task[None] | None = None

    async def astart(self) -> None:
        """Begin to read who is in the workspace; nobody waits for it."""
        self._read_again()

    async def aclose(self) -> None:
        """Stop reading, and close the client."""
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading
        await self._web.aclose()

    async def check(self) -> str | None:
        """Say what is wrong with the connection; None where it works."""
        if (wrong := await self._web.check()) is not None:
            return wrong
        if not self._directory.by_id:
            await self._directory.read(self._connection.clock.now())
        return self._unknown()

    # --- who somebody is ---------------------------------------------------------------------------------------------

    def user(self, user: Any, name: Any = None) -> Person | None:
        """Give whoever has a user's id in Slack: of the roster, else by the name that is known; None for no id."""
        if not isinstance(user, str) or not user:
            return None
        known = self._directory.by_id.get(user)
        if known is None:
            self._read_again()
            known = Person(f"{_SYSTEM}{user}", str(name or user), ids={"slack": user})
        return self._connection.people.join(known)

    def person(self, key: str) -> Person | None:
        """Give a person as the roster does, else a user of the workspace by e-mail address or `slack:ID`."""
        found = super().person(key)
        if found is not None:
            return self._completed(found)
        key = key.strip()
        if "@" not in key and not key.startswith(_SYSTEM):
            return None
        found = self._directory.find(Person(key, key, email=key if "@" in key else None))
        if found is None:
            self._read_again()
            return None
        return self.join(found)

    def people(self) -> Sequence[Person]:
        """Give everybody of the roster."""
        return [self._completed(person) for person in super().people()]

    def join(self, person: Person) -> Person:
        """Give the roster's entry for somebody, by what Slack knows of them too; else the user of the workspace."""
        found = super().join(person)
        if found.known:
            return self._completed(found)
        user = self._directory.find(person)
        if user is None:
            return found
        joined = super().join(user)
        return self._completed(joined) if joined.known else user

    def _completed(self, person: Person) -> Person:
        """Fill in what the roster leaves open."""
        user = self._directory.find(person)
        if user is None or (person.ids.get("slack") and person.email and person.timezone):
            return person
        return replace(
            person,
            email=person.email or user.email,
            timezone=person.timezone or user.timezone,
            ids={**user.ids, **person.ids},
        )

    async def _user(self, person: Person) -> str:
        """Give somebody's id in Slack.

        Raises:
            ActionError: Slack does not know them; its code is one of UNKNOWN.
        """
        if (known := person.ids.get("slack")) is not None:
            return known
        user = self._directory.find(person)
        if user is not None:
            return user.ids["slack"]
        if person.email is None:
            raise unreachable(person, "slack")
        if person.email not in self._users:
            try:
                found = await self._web.call("users.lookupByEmail", email=person.email)
            except ActionError as error:
                raise ActionError(f"{person.name}: {error}", code=error.code) from None
            self._users[person.email] = str(found["user"]["id"])
        return self._users[person.email]

    # --- reading -----------------------------------------------------------------------------------------------------

    def _read_again(self) -> None:
        """Begin to read the users, unless that is under way or was tried a moment ago."""
        now, last = self._connection.clock.now(), self._directory.read_at
        if (self._reading is not None and not self._reading.done()) or (last is not None and now - last < _AGAIN):
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # nobody runs an engine here
            return
        first = last is None
        self._reading = loop.create_task(self._read(now, first), name=f"users of {self._connection.name}")

    async def _read(self, now: datetime, first: bool) -> None:
        try:
            await self._web.ourselves()  # what we write is told apart by it
            await self._directory.read(now)
        except (ActionError, ConnectionBroken, RetryLater) as error:
            if first:
                self._connection.say(f"who is in Slack could not be read, people are kept by their ids: {error}")
            return
        unknown = self._unknown() if first else None
        if unknown is not None:
            self._connection.say(unknown)

    def _unknown(self) -> str | None:
        """Say whom of the roster Slack does not know."""
        lost = [person for person in super().people() if self._directory.find(person) is None]
        if not lost:
            return None
        named = [f"{person.name} ({person.email or 'no e-mail address'})" for person in lost[:_MOST_NAMED]]
        more = f" and {len(lost) - _MOST_NAMED} more" if len(lost) > _MOST_NAMED else ""
        who = ", ".join(named) + more
        return f"Slack does not know {who}: give 'ids: {{slack: U…}}' in the people file, or nobody can write to them"


#: What is said of somebody whom Slack does not know.
UNKNOWN = frozenset({"unknown-person", "slack-users_not_found"})


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _person(raw: Mapping[str, Any]) -> Person:
    """Read a user of Slack."""
    profile = raw.get("profile") or {}
    user = str(raw.get("id"))
    name = raw.get("real_name") or profile.get("real_name") or raw.get("name") or user
    zone = raw.get("tz")
    return Person(
        f"{_SYSTEM}{user}",
        str(name),
        email=profile.get("email") or None,
        timezone=zone if zone in _zones() else None,
        ids={"slack": user},
    )
