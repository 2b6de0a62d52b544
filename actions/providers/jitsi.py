"""Jitsi Meet: a meeting is a link, and whoever has the link joins. No account and no request is needed.

The room's name is made of 130 random bits, because the name is all that keeps strangers out. A room is there as long as
somebody is in it: to end a meeting is to note that its link is no longer the one to join.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar

from engine.domain import Meeting, Person
from engine.plugins import ActionError, Connection, Effect, Field, Options, own_rows, provider, tell_incident

_ROWS = "meeting/"
#: Jitsi does not tell capitals from small letters.
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_LENGTH = 26


class JitsiOptions(Options):
    """Where meetings are held.

    Example:
        bridge:
          provider: jitsi
          server: https://meet.example.com
    """

    server: str = Field(
        default="https://meet.jit.si",
        pattern=r"^https?://[^\s?#]+$",
        description="Address of the Jitsi Meet server; rooms lie directly below it.",
    )


class JitsiMeetings:
    """Give out links to rooms of a Jitsi Meet server. Needs no account."""

    forgets: ClassVar = {_ROWS: "ended_at"}

    def __init__(self, options: JitsiOptions, connection: Connection) -> None:
        self._server = options.server.rstrip("/")
        self._connection = connection

    @own_rows
    async def create(
        self, title: str, *, people: Sequence[Person], incident: str | None, private: bool = False, effect: Effect
    ) -> Meeting:
        """Make up a room that nobody can guess. Jitsi invites nobody: everybody joins by the link.

        The link of one that is private says nothing of its title.
        """
        room = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
        slug = "" if private else _slug(title)
        url = f"{self._server}/{slug}-{room}" if slug else f"{self._server}/{room}"
        made = Meeting(self._subject(effect.token), title, url, incident, created_at=effect.at)
        return self._keep(made, effect)

    @own_rows
    async def end(self, meeting: str, *, effect: Effect) -> Meeting:
        """Note that it is over. Jitsi lets nobody end a room from outside: it closes when the last one leaves.

        Raises:
            ActionError: there is no such meeting.
        """
        known = await self.get(meeting)
        if known is None:
            raise ActionError(f"connection '{self._connection.name}' has no meeting '{meeting}'", code="not-found")
        return self._keep(known if known.ended_at else replace(known, ended_at=effect.at), effect)

    async def get(self, meeting: str) -> Meeting | None:
        """Give a meeting as it was kept."""
        row = self._connection.storage.get(_ROWS + meeting.removeprefix(f"{self._connection.name}:"))
        return _meeting(row) if row is not None else None

    def _subject(self, token: str) -> str:
        return f"{self._connection.name}:{token}"

    def _keep(self, meeting: Meeting, effect: Effect) -> Meeting:
        key = _ROWS + meeting.id.removeprefix(f"{self._connection.name}:")
        effect.save(self._connection.name, key, _row(meeting))
        tell_incident(meeting, effect)
        return meeting


def _row(meeting: Meeting) -> dict[str, Any]:
    instants = {name: at.isoformat() for name in ("created_at", "ended_at") if (at := getattr(meeting, name))}
    return {"id": meeting.id, "title": meeting.title, "url": meeting.url, "incident": meeting.incident, **instants}


def _meeting(row: Mapping[str, Any]) -> Meeting:
    instants = {name: datetime.fromisoformat(row[name]) for name in ("created_at", "ended_at") if row.get(name)}
    return Meeting(row["id"], row["title"], row["url"], row["incident"], **instants)


def _slug(title: str) -> str:
    """Give what people see of the title in the link."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-")


Jitsi = provider("jitsi", JitsiOptions, serves=["meeting"])(JitsiMeetings)
