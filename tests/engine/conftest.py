"""An engine on a project folder of one's own: `engine(text)` for the workflow `flow`, `engine(a=…, b=…)` for more."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine import subjects
from engine.plugins import Fact
from engine.store.codec import micros
from engine.store.journal import Journal
from engine.testing import RecordingChat, World
from engine.wiring import open_application

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

PROJECT = """\
timezone: UTC
owner: grace
people: people.yaml
"""
PEOPLE = """\
people:
  ada: {name: Ada, email: ada@example.org, manager: grace}
  grace: {name: Grace, email: grace@example.org}
  mary: {name: Mary, email: mary@example.org}
teams:
  sre: {lead: grace, members: [ada, grace]}
"""


class Running(World):
    """A world whose chat records, with the words that tests of runs use."""

    chat: RecordingChat

    @property
    def said(self) -> list[str]:
        """Give the texts that went out, in order."""
        return [message.text for message in self.chat.sent]

    async def declared(self, **fields: Any) -> None:
        """Let an incident be declared, which starts a run of a workflow that says nothing else."""
        await self.incident("declared", **{"title": "Checkout is slow", "severity": "sev1", **fields})

    async def document(self, name: str, **fields: Any) -> None:
        """Let a document be published."""
        state = {"title": name, "published": True, "content": str(self.now), **fields}
        await self.happens("docs", Fact("document.published", self.now, "document", f"docs:{name}", state))

    async def ticket(self, name: str, kind: str = "updated", **fields: Any) -> None:
        """Let something happen to a ticket."""
        fact = Fact(f"ticket.{kind}", self.now, "ticket", f"tracker:{name}", {"key": name, "title": name, **fields})
        await self.happens("tracker", fact)

    async def restart_with(self, *facts: Fact) -> None:
        """Start again after a crash on a database in which events were committed and not looked at."""
        journal = Journal(self.folder / ".hotwash" / "hotwash.db")
        now = self.now
        for fact in facts:
            connection = str(fact.subject).partition(":")[0]
            await journal.transact(lambda cursor, c=connection, f=fact: subjects.record(cursor, c, f, now))
        journal.close()
        await self.restart()

    async def taken_up(self, **fields: Any) -> None:
        """Let the incident be resolved and reopened, which takes up a stopped run of `TAKEN_UP`."""
        await self.incident("resolved", **fields)
        await self.incident("reopened", **fields)

    async def retry(self) -> None:
        """Let the newest run go on at its failed step, as `hotwash runs retry` does."""
        run = self.runs()[-1]["id"]

        def write(cursor: sqlite3.Cursor) -> None:
            cursor.execute(
                "INSERT INTO steps (run, path, kind, data, at) VALUES (?, '', 'retried', '{}', ?)",
                (run, micros(self.now)),
            )
            cursor.execute(
                "UPDATE runs SET state = 'running', ended = NULL, error = NULL, wake = 1 WHERE id = ?", (run,)
            )

        await self.application.journal.transact(write)
        self.application.dispatcher.notify([run])
        await self.settle()

    @property
    def state(self) -> str:
        """Give the state of the newest run."""
        return self.runs()[-1]["state"]

    @property
    def error(self) -> str:
        """Give the message of the error of the newest run."""
        return self.runs()[-1]["error"]["message"]


@pytest.fixture
def engine(tmp_path: Path) -> Callable[..., Any]:
    """Give `engine(text, …)`: `async with engine("steps: …") as world`. Without `on:` it is `incident.declared`."""

    @asynccontextmanager
    async def run(
        text: str = "",
        *,
        providers: dict[str, Any] | None = None,
        project: str = "",
        people: str = "",
        **workflows: str,
    ) -> AsyncIterator[Running]:
        (tmp_path / "workflows").mkdir()
        (tmp_path / "hotwash.yaml").write_text(PROJECT + project)
        (tmp_path / "people.yaml").write_text(PEOPLE + people)
        for name, source in ({"flow": text} if text else {} | workflows).items():
            head = "" if source.startswith("on:") or "\non:" in source else "on: incident.declared\n"
            (tmp_path / "workflows" / f"{name}.yaml").write_text(head + source)
        chat = RecordingChat()
        given = {"console": chat, **(providers or {})}
        async with Running(tmp_path, MONDAY, open_application, providers=given) as world:
            world.chat = chat
            yield world

    return run
