"""`example` is a running copy of an example project: the one that the test's folder is named after.

Nothing stands in for anything: people act as the command line lets them, and what is read is what the providers that
need no account have kept. Only the clock moves.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from actions.providers.console import plain
from engine import calendars, operations, wiring
from engine.domain import Entry
from engine.plugins import Fact
from engine.testing import World

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)  # 10:00 in Prague
AWAY = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example//EN
BEGIN:VEVENT
UID:away@example.com
DTSTAMP:20260101T000000Z
SUMMARY:Away
DTSTART:20260301T000000Z
DTEND:20260331T000000Z
END:VEVENT
END:VCALENDAR
"""


class Example(World):
    """An example project's folder and engine, with what its people do and what came of it."""

    async def does(self, who: str, what: str, **inputs: Any) -> Mapping[str, Any]:
        """Let somebody do what the command line has a word for; see `engine.operations`."""
        done = await operations.perform(self.application, what, inputs, who)
        await self.settle()
        return done.data

    async def declare(self, title: str = "Checkout is slow", severity: str = "sev1", **more: Any) -> str:
        """Let ada declare an incident of checkout; give its key."""
        inputs = {"title": title, "severity": severity, "services": ("checkout",), **more}
        return str((await self.does("ada", "declare_incident", **inputs))["incident"].key)

    async def resolve(self, incident: str = "INC-1", after: str = "40m", stays: str = "20m") -> None:
        """Let an incident be resolved after a while, and stay so for some time."""
        await self.move(after)
        await self.does("ada", "resolve_incident", incident=incident)
        await self.move(stays)

    async def engine_says(self, incident: str = "INC-1", **fields: Any) -> None:
        """Set fields of an incident that the engine owns: its roles, its channel."""
        await self.happens(
            "local", Fact("incident.updated", self.now, "incident", f"local:{incident}", fields, engine=True)
        )

    async def updates(self, incident: str = "INC-1", **fields: Any) -> None:
        """Let the source of an incident say something else of it."""
        await self.incident("updated", f"local:{incident}", **fields)

    async def notes(self, who: str, text: str, incident: str = "INC-1") -> None:
        """Let somebody write a line into the timeline of an incident."""
        person = self.person(who)
        note = Entry(self.now, text, by=person)
        fact = Fact("incident.updated", self.now, "incident", f"local:{incident}", actor=person, note=note)
        await self.happens("local", fact)

    async def fires(self, name: str = "QueueIsFull", *, lasts: str | None = "5m", **fields: Any) -> None:
        """Let an alert of checkout fire, and end after a while, or go on."""
        state = {"fingerprint": name, "name": name, "severity": "sev3", "service": "checkout", "started_at": self.now}
        state |= {"firing": True, "ended_at": None, **fields}
        await self.happens("alerts", Fact("alert.firing", self.now, "alert", f"alerts:{name}", state))
        if lasts is not None:
            await self.move(lasts)
            await self.ends(name)

    async def ends(self, name: str = "QueueIsFull") -> None:
        """Let an alert end."""
        state = {"firing": False, "ended_at": self.now}
        await self.happens("alerts", Fact("alert.resolved", self.now, "alert", f"alerts:{name}", state))

    async def answers(self, who: str, choice: str) -> None:
        """Let somebody answer the newest open question that was put to them."""
        open_ones = [one for one in self._console.questions() if one.open and who in dict(one.asked)]
        assert open_ones, f"nobody asks {who} anything"
        await self.does(who, "answer_question", question=open_ones[-1].name, choice=choice)

    async def publish(self, title: str, *rows: str) -> None:
        """Publish the document whose name holds `title`, with more rows in the table at its end."""
        path = self.document(title)
        text = path.read_text("utf-8").replace("status: draft", "status: published")
        path.write_text("\n".join([text.rstrip("\n"), *rows, ""]), "utf-8")
        self.application.polls.look_now("markdown")  # as the watch on the folder does, without waiting for it
        await self.settle()

    async def rewrite(self, name: str, *changes: tuple[str, str]) -> None:
        """Let somebody change a file of the project, and start the engine anew."""
        path = self.folder / name
        text = path.read_text("utf-8")
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        path.write_text(text, "utf-8")
        await self.restart()

    def publish_beside(self, title: str, name: str, *, template: str, rows: str = "") -> None:
        """Publish a copy of a document under another name and as of another template."""
        path = self.document(title)
        text = re.sub(r"(?m)^(id|effect): .*\n", "", path.read_text("utf-8"))
        text = re.sub(r"(?m)^status: .*", "status: published", text)
        text = re.sub(r"(?m)^template: .*", f"template: {template}", text)
        path.with_name(f"{name}.md").write_text(text + rows, "utf-8")
        self.application.polls.look_now("markdown")

    async def postmortem(self, *rows: str, severity: str = "sev1") -> None:
        """Let an incident come and go, and its postmortem be published with these rows at once."""
        await self.declare(severity=severity)
        await self.resolve()
        await self.publish("postmortem", *rows)

    async def move_to_day(self, day: int, hour: int, minute: int = 0) -> None:
        """Move the clock to a day of March 2026, in UTC."""
        await self.move_to(MONDAY.replace(day=day, hour=hour, minute=minute))

    def person(self, key: str) -> Any:
        """Give somebody of the roster."""
        return self.application.hub.directory.people.person(key)

    def is_away(self, who: str, *, until: int = 31) -> None:
        """Fill somebody's calendar of March 2026, up to a day of it in UTC."""
        path = self.folder / "calendars" / f"{who}.ics"
        path.parent.mkdir(exist_ok=True)
        path.write_text(AWAY.replace("20260331", f"202603{until:02}").replace("\n", "\r\n"), "utf-8")

    # --- what came of it ---------------------------------------------------------------------------------------------

    @property
    def _console(self) -> Any:
        return self.application.providers["console"]

    def said(self, to: str, *, by: str | None = None) -> list[str]:
        """Give the messages to a person or a channel, oldest first; `by` one workflow, or by all."""
        rows = [row for row in self._console.messages() if row["to"] in (to, f"@{to}")]
        return [plain(row["text"]) for row in rows if by in (None, row["workflow"])]

    def asked(self, who: str, *, by: str | None = None) -> list[str]:
        """Give the questions that were put to somebody, oldest first; `by` one workflow, or by all."""
        put = [one for one in self._console.questions() if who in dict(one.asked)]
        return [plain(one.text) for one in put if by in (None, one.workflow)]

    def document(self, title: str) -> Path:
        """Give the one document whose file's name holds `title`."""
        (path,) = (self.folder / "documents").glob(f"*{title}*.md")
        return path

    @property
    def documents(self) -> list[str]:
        """Give the titles of all documents."""
        return sorted(document.title for document in self.subjects("document"))

    @property
    def tickets(self) -> dict[str, Any]:
        """Give the tickets of the project's own tracker by key."""
        return self.tickets_of("local")

    def tickets_of(self, connection: str) -> dict[str, Any]:
        """Give the tickets of one connection by key."""
        return {one.key: one for one in self.subjects("ticket") if one.id.startswith(f"{connection}:")}

    def on_the_page(self, entry: Any) -> list[str]:
        """Give the messages of an entry of the status page, oldest first."""
        kept = json.loads((self.folder / "status" / "status.json").read_text("utf-8"))
        (found,) = (one for one in kept["incidents"] if entry.id.endswith(one["id"]))
        return [message["text"] for message in found["updates"]]

    @property
    def reviews(self) -> list[Any]:
        """Give what is booked, oldest first."""
        return self.subjects("review")

    def in_office_hours(self, instant: datetime) -> bool:
        """Say whether somebody is at work then."""
        return calendars.is_open(self.application.config.calendars["office"], instant)

    def is_open(self, incident: Any) -> bool:
        """Say whether an incident is open, as a workflow reads it."""
        return bool(self.application.hub.lookups().field(incident, "open"))

    def timeline(self, incident: Any) -> list[str]:
        """Give the lines of an incident's timeline, oldest first."""
        return [entry.text for entry in self.application.hub.lookups().field(incident, "timeline")]

    def states(self, workflow: str) -> list[str]:
        """Give how the runs of a workflow stand, oldest first."""
        return [run["state"] for run in self.runs(workflow)]


@pytest.fixture
async def example(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Example]:
    """Open a copy of the project that the test's folder is named after, on a Monday at 10:00 in Prague."""
    project = EXAMPLES / request.path.parent.name
    left_behind = shutil.ignore_patterns(".hotwash", "documents", "reviews", "status")
    folder = Path(shutil.copytree(project, tmp_path / "project", ignore=left_behind))
    secrets = {"ALERTMANAGER_TOKEN": "a-token-of-some-length"}
    async with Example(folder, MONDAY, wiring.open_application, environ=secrets) as world:
        yield world
