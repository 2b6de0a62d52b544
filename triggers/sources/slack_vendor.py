"""What the source `slack` asks of the provider `slack`, which alone knows what Slack's JSON means."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, Protocol

from engine.capabilities import Said
from engine.domain import Person


class Vendor(Protocol):
    """One workspace of Slack."""

    @property
    def api(self) -> str:
        """Where the Web API is, with a slash at its end."""

    def user(self, user: Any, name: Any = None) -> Person | None:
        """Give somebody by the id of a user."""

    def question(self, token: str) -> Mapping[str, Any] | None:
        """Give what is kept of a question by the token that its buttons carry."""

    def read(self, raw: Mapping[str, Any], channel: str) -> Said:
        """Give what a message of a channel says.

        Raises:
            ValueError: it is no message.
        """

    def history(self, channel: str, since: datetime) -> AsyncIterator[Said]:
        """Yield what was written in a channel since an instant, in threads too."""

    async def pins(self, channel: str) -> Mapping[str, tuple[Person | None, datetime]]:
        """Give who pinned each message of a channel, and when; what we pinned ourselves is left out."""

    async def said(self, message: str) -> Said | None:
        """Give one message by its id, also one in a thread; None where there is none any more."""

    def link(self, message: str, thread: str | None = None) -> str | None:
        """Give the address of a message by its id; None before the workspace's own is known."""

    def shown(self, text: str) -> str:
        """Give plain text as it has to be written so that Slack shows it and obeys nothing in it."""

    async def open_view(self, trigger: str, view: Mapping[str, Any]) -> None:
        """Show somebody a modal, within three seconds of what they did."""

    async def update_view(self, view: str, shown: Mapping[str, Any]) -> None:
        """Show something else in a modal that is open."""

    async def respond(self, url: str, message: Mapping[str, Any]) -> None:
        """Answer a command or a button at the address that came with it."""
