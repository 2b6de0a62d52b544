"""`hotwash demo`: one incident and the two weeks after it, on the real engine, with a clock that moves.

A project is written into a temporary folder, the real server is started on a free loopback port, and the webhooks of
an incident's life are posted to it, signed. The engine's clock is moved from one thing that falls due to the next;
what is printed is what the engine tells, and what `explain` says of what did not happen.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from engine.cli import output

if TYPE_CHECKING:
    pass

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_ZONE = ZoneInfo("Europe/Prague")
_START = datetime(2026, 3, 2, 9, 30, tzinfo=_ZONE)  # a Monday

_PROJECT = """\
timezone: Europe/Prague
owner: sre
connections:
  pager:
    provider: pagerduty
    webhook_secret: ${file:.hotwash/secrets/pager}
    severity: {P1: sev1, P2: sev2, P3: sev3}
calendars:
  office:
    timezone: Europe/Prague
    hours: {mon-fri: "09:00-17:30"}
    holidays: [CZ]
people: people.yaml
"""

_PEOPLE = """\
people:
  ada:
    name: Ada
    email: ada@example.org
    timezone: Europe/Prague
    manager: grace
    ids: {pagerduty: PADA001}
  grace:
    name: Grace
    email: grace@example.org
    timezone: Europe/London
    ids: {pagerduty: PGRACE1}
teams:
  sre: {lead: ada, members: [ada, grace], channel: "#sre", rotation: default}
services:
  checkout: {team: sre}
rotations:
  default: {members: [ada, grace], every: 7d, from: "2026-03-02T09:00", timezone: Europe/Prague}
"""

#: Ada has a weekly meeting and a day of training, Grace a customer visit: the review must find its way around them.
_CALENDARS = {
    "ada": [
        ("Planning", "20260302T090000", "20260302T120000", "Europe/Prague", "RRULE:FREQ=WEEKLY;BYDAY=MO"),
        ("Training", "20260302T130000", "20260302T173000", "Europe/Prague", ""),
    ],
    "grace": [("Customer visit", "20260303T090000", "20260303T113000", "Europe/London", "")],
}

_ROWS = (
    ("Alert on queue depth before checkout times out", "@ada", "2026-03-20"),
    ("Give the payment client a shorter time-out", "@grace", "2026-03-27"),
)


@app.command()
def demo(
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="FOLDER", help="Where; by default a new temporary folder.")
    ] = None,
) -> None:
    """Show an incident's follow-through over two weeks, in a few seconds."""
    where = folder or Path(tempfile.mkdtemp(prefix="hotwash-demo-"))
    for name, content in _files():
        path = where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
    asyncio.run(_Demo(where).play())


def _files() -> Iterator[tuple[str, str]]:
    """Give the files of the demo's project: the shipped workflows and templates as they are."""
    from engine.config import library

    yield "hotwash.yaml", _PROJECT
    yield "people.yaml", _PEOPLE
    yield ".hotwash/secrets/pager", secrets.token_hex(32)
    for path in sorted(library().rglob("*")):
        if path.is_file() and path.suffix in (".yaml", ".md"):
            inner = path.relative_to(library()).as_posix()
            yield inner if inner.startswith("templates/") else f"workflows/{inner}", path.read_text("utf-8")
    for person, meetings in _CALENDARS.items():
        yield f"calendars/{person}.ics", _ics(meetings)


def _ics(meetings: list[tuple[str, str, str, str, str]]) -> str:
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//hotwash//demo//EN"]
    for number, (title, start, end, zone, rule) in enumerate(meetings):
        lines += ["BEGIN:VEVENT", f"UID:{number}@demo", "DTSTAMP:20260101T000000Z", f"SUMMARY:{title}"]
        lines += [f"DTSTART;TZID={zone}:{start}", f"DTEND;TZID={zone}:{end}", *([rule] if rule else []), "END:VEVENT"]
    return "\r\n".join([*lines, "END:VCALENDAR", ""])


class _Demo:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.zone = _ZONE
        self._day = ""

    async def play(self) -> None:
        from engine import wiring
        from engine.server import serving
        from engine.testing import World

        async with World(self.folder, _START, wiring.open_application, tell=self._hear) as world:
            self.world = world
            async with serving(world.application, None, "127.0.0.1", 0) as address:
                self.address = address
                self._say(f"A project in {self.folder}, the server on {address}, and a clock that moves.")
                await self._incident()
                await self._what_came_of_it()
                await self._report_published()
                await self._a_week_of_silence()
                await self._why_not()
        self._leave()

    # --- the acts ----------------------------------------------------------------------------------------------------

    async def _incident(self) -> None:
        self._head("An incident: three signed webhooks of the pager")
        await self._webhook("incident.triggered", "01DEMO0001", assignee="ada")
        await self.world.move("6m")
        await self._webhook("incident.acknowledged", "01DEMO0002", assignee="ada", agent="ada")
        await self.world.move("41m")
        await self._webhook("incident.resolved", "01DEMO0003", agent="grace")
        again = await self._webhook("incident.resolved", "01DEMO0003", agent="grace", quiet=True)
        self._line(f"the pager delivers the last one again: answered {again}, and nothing happens twice")
        await self.world.move("16m")

    async def _what_came_of_it(self) -> None:
        self._head("The document, as it stands before anybody has written a word")
        for line in self._document().read_text("utf-8").split("---\n", 2)[2].strip().splitlines()[:24]:
            output.say(f"    | {line}".rstrip())
        output.say("    | …")
        review = self.world.subjects("review")[0]
        made = self.world.effects("calendar.schedule")[0]["result"]
        self._head("The review")
        self._line(f"{review.title}: {self._at(review.start)} to {review.end.astimezone(self.zone):%H:%M}")
        self._line(f"with {', '.join(person.name for person in review.attendees)}")
        self._line(f"why then: {made['reason']}")

    async def _report_published(self) -> None:
        self._head("The next morning somebody fills in the table and sets the status to published")
        await self.world.move_to(_START.replace(day=3, hour=8, minute=40))
        path = self._document()
        path.write_text(_published(path.read_text("utf-8")), "utf-8")
        self._line(f"{path.relative_to(self.folder)}: {len(_ROWS)} rows, status: published")
        self.world.application.polls.look_now("markdown")  # as the watch on the folder does, without waiting for it
        await self.world.settle()
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("|") and any(what in line for what, _, _ in _ROWS):
                output.say(f"    | {line}")

    async def _a_week_of_silence(self) -> None:
        from engine import operations

        self._head("Nobody touches the tickets. Six days later, after the day's check at 09:15:")
        await self.world.move_to(_START.replace(day=9, hour=9, minute=16))
        idle = self.world.application.hub.lookups().field(self.world.subjects("ticket")[0], "idle")
        self._line(f"idle for {idle}, questions asked so far: {len(self.world.effects('chat.ask'))}")
        self._head("The seventh idle day is over")
        await self.world.move_to(_START.replace(day=10, hour=9, minute=16))
        self._head("Ada answers")
        await operations.perform(
            self.world.application, "answer_question", {"question": "Q1", "choice": "wont_do"}, self._ada()
        )
        await self.world.settle()
        for ticket in self.world.subjects("ticket"):
            self._line(f"{ticket.key} {ticket.title}: {'done' if ticket.done else 'open'}")
        self._head("Grace does not answer for two working days")
        await self.world.move("5d")

    def _ada(self) -> Any:
        return self.world.application.hub.directory.people.person("ada")

    async def _why_not(self) -> None:
        from engine import reports

        self._head("And why did something not happen?")
        application = self.world.application
        wanted = [event for event in self.world.events() if event.type in ("incident.declared", "document.created")]
        small = await self._minor_incident()
        for event in [small, *wanted[:1]]:
            self._line(f"{event.type} {event.subject}:")
            explained = reports.explain_event(
                application.reader, event.id, application.library, application.hub.lookups()
            )
            for one in [*explained["outcomes"], *explained["not_listening"]]:
                output.say(f"           {one['workflow']}: {one['sentence']}")

    async def _minor_incident(self) -> Any:
        await self._webhook(
            "incident.triggered", "01DEMO0004", ref="Q9SMALL", title="A dashboard is slow", priority="P3"
        )
        await self._webhook(
            "incident.resolved", "01DEMO0005", ref="Q9SMALL", title="A dashboard is slow", priority="P3"
        )
        await self.world.move("20m")
        return next(event for event in reversed(self.world.events("incident.resolved")))

    def _leave(self) -> None:
        self._head("What is left to look at")
        for pattern in ("documents/*.md", "reviews/*.ics", "workflows/*.yaml", "templates/*.md"):
            for path in sorted(self.folder.glob(pattern)):
                output.say(f"    {path}")
        output.say(f"    hotwash runs list --project {self.folder}")

    # --- webhooks ----------------------------------------------------------------------------------------------------

    async def _webhook(
        self,
        kind: str,
        delivery: str,
        *,
        ref: str = "Q0CHECKOUT",
        title: str = "Checkout answers 502",
        priority: str = "P1",
        assignee: str | None = None,
        agent: str | None = None,
        quiet: bool = False,
    ) -> int:
        """Post one signed webhook in the pager's documented shape; give the status of the answer."""
        import aiohttp

        event = self._event(kind, delivery, ref, title, priority, assignee, agent)
        body = json.dumps({"event": event}).encode()
        signed = self.world.application.sources["pager"].sign(body, self.world.now)
        if not quiet:
            self._line(f"POST /hooks/pager  {kind}")
        headers = {"Content-Type": "application/json", **signed}
        url = f"{self.address}/hooks/pager"
        async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as response:
            status = response.status
        await self.world.settle()
        return status

    def _event(
        self, kind: str, delivery: str, ref: str, title: str, priority: str, assignee: str | None, agent: str | None
    ) -> dict[str, Any]:
        status = kind.partition(".")[2]
        now = self.world.now.isoformat()
        assignees = [_reference(assignee)] if assignee else []
        data = {
            "id": ref,
            "type": "incident",
            "html_url": f"https://example.pagerduty.com/incidents/{ref}",
            "number": 1 if priority == "P1" else 2,
            "status": status,
            "created_at": _START.isoformat(),
            "title": title,
            "service": {"id": "PSERVICE", "type": "service_reference", "summary": "checkout"},
            "assignees": assignees,
            "teams": [],
            "priority": {"id": "PPRIO", "type": "priority_reference", "summary": priority},
            "urgency": "high",
        }
        return {
            "id": delivery,
            "event_type": kind,
            "resource_type": "incident",
            "occurred_at": now,
            "agent": _reference(agent) if agent else None,
            "client": None,
            "data": data,
        }

    # --- what is seen ------------------------------------------------------------------------------------------------

    def _hear(self, event: str, sentence: str, /, **facts: Any) -> None:
        """Print what the engine tells, as it happens."""
        if event in ("workflow.loaded", "run.finished"):
            return
        if event == "event.received":
            if facts["type"] not in ("schedule", "chat.answered"):
                self._line(sentence)
        elif event in ("run.started", "verdict.settling"):
            self._line(self._why(event, facts))
        elif event == "effect.done":
            told = _EFFECTS.get(str(facts.get("action")))
            if told is not None:
                self._line(told.format(**_shown(facts.get("outputs") or {}, self.folder)))
        else:
            self._line(sentence)

    def _why(self, event: str, facts: Any) -> str:
        """Say which workflow an event concerns, and by which of its lines."""
        workflow = self.world.application.library.current[facts["workflow"]]
        use = workflow.triggers[0]
        if event == "verdict.settling":
            until = datetime.fromisoformat(facts["until"]).astimezone(self.zone)
            return f"→ {workflow.id} waits until {until:%H:%M}: it listens to {use.name} with 'for: {use.settle}'"
        held = f" for {use.settle}" if use.settle is not None else ""
        condition = f", and {workflow.condition.text}" if workflow.condition is not None else ""
        return f"→ {workflow.id} starts: {use.name}{held}{condition}"

    def _document(self) -> Path:
        return next(iter(sorted((self.folder / "documents").glob("*.md"))))

    def _at(self, instant: datetime) -> str:
        return f"{instant.astimezone(self.zone):%a %-d %b %Y %H:%M %Z}"

    def _head(self, text: str) -> None:
        output.say(f"\n== {text}")
        self._day = ""

    def _line(self, text: str) -> None:
        """Print a line with its time, under its day."""
        now = self.world.now.astimezone(self.zone)
        day = f"{now:%a %-d %b %Y, %Z}"
        if day != self._day:
            output.say(f"  {day}")
            self._day = day
        output.say(f"  {now:%H:%M}  " + text.replace("\n", "\n         "))

    def _say(self, text: str) -> None:
        output.say(text)


#: What an action did, in words; the others are seen by what they post.
_EFFECTS = {
    "document.create": "document  {path}",
    "incident.assign": "owner     {owner}",
    "calendar.schedule": "review    {start}",
    "ticket.create": "ticket    {key} {title}",
    "document.link_tickets": "tickets linked in the document's table",
    "ticket.close": "closed    {key} {title}",
}


def _shown(outputs: Any, folder: Path) -> dict[str, str]:
    roles = outputs.get("roles") or {}
    owner = roles.get("postmortem_owner")
    start = outputs.get("start")
    url = str(outputs.get("url") or "")
    return {
        "path": url.removeprefix(folder.resolve().as_uri() + "/"),
        "owner": owner.name if owner is not None else "",
        "start": f"{start.astimezone(_ZONE):%a %-d %b %Y %H:%M %Z}" if start is not None else "",
        "key": str(outputs.get("key") or ""),
        "title": str(outputs.get("title") or ""),
    }


def _reference(person: str) -> dict[str, str]:
    ids = {"ada": "PADA001", "grace": "PGRACE1"}
    return {"id": ids[person], "type": "user_reference", "summary": person.capitalize()}


def _published(text: str) -> str:
    """Fill in the table of action items and set the status, as somebody with an editor would."""
    rows = "".join(f"| {what} | {owner} | {due} |  |\n" for what, owner, due in _ROWS)
    empty = re.compile(r"^\|[\s|]*\|\n", re.MULTILINE)
    head, _, table = text.partition("## Action items")
    return head.replace("status: draft", "status: published", 1) + "## Action items" + empty.sub(rows, table, count=1)
