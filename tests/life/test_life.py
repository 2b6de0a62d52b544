"""The whole life of an incident, from `/incident` in Slack to the action item that is closed two weeks later.

The engine is a process of its own and is killed in the middle. Slack, PagerDuty, Jira, Google Drive, Docs and Calendar
are stand-ins on this machine that keep state; what they hold at the end is compared with what was to come of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.config import library
from tests.google_calendar_stand_in import StandIn as GoogleCalendar
from tests.google_credentials import service_account
from tests.slack_desk import Desk, LiveSlack
from tests.slack_workspace import BOT, serving, user

pytest.importorskip("extradoc", reason="the package extradoc, which plays Google Docs, is not installed")

from actions.providers.google_page import read
from tests.google_drive import Fault as DriveFault
from tests.google_drive import GoogleStandIn
from tests.standins.jira_cloud import ADA, DONE, JiraCloud
from tests.standins.pagerduty import POLICY, PagerDutyAccount

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SECRETS = {
    "SLACK_BOT_TOKEN": "xoxb-1",
    "SLACK_SIGNING_SECRET": "s3cret",
    "JIRA_TOKEN": "jira-1",
    "PAGERDUTY_TOKEN": "pd-1",
    "PAGERDUTY_WEBHOOK_SECRET": "pd-hook",
}
PROJECT = """\
timezone: UTC
owner: mary
people: people.yaml
connections:
  chat:
    provider: slack
    token: ${{SLACK_BOT_TOKEN}}
    signing_secret: ${{SLACK_SIGNING_SECRET}}
    api: {slack}
    channel: "#incidents"
  tracker:
    provider: jira
    server: {jira}
    deployment: cloud
    user: hotwash@example.com
    token: ${{JIRA_TOKEN}}
    project: OPS
  pager:
    provider: pagerduty
    api: {pager}
    token: ${{PAGERDUTY_TOKEN}}
    email: hotwash@example.com
    webhook_secret: ${{PAGERDUTY_WEBHOOK_SECRET}}
    severity: {{P1: sev1}}
  docs:
    provider: google_docs
    credentials: ${{file:google.json}}
    api: {drive}
    folder: {drafts}
    published: {published}
  calendar: {{provider: google_calendar, credentials: "${{file:google.json}}", api: "{calendar}"}}
  bridge: {{provider: google_meet, credentials: "${{file:google.json}}", api: "{calendar}"}}
use:
  {{chat: chat, ticket: tracker, document: docs, calendar: calendar, meeting: bridge, incident: pager, on_call: pager}}
"""
PEOPLE = """\
people:
  ada: {name: Ada, email: ada@example.com, manager: mary}
  grace: {name: Grace, email: grace@example.com, ids: {pagerduty: PGRACE}}
  mary: {name: Mary, email: mary@example.com}
teams: {sre: {lead: mary, members: [ada, grace], channel: "#incidents"}}
services: {Checkout: {team: sre}}
"""
#: The shipped workflows, none of which names a vendor.
WORKFLOWS = (
    "incident-response",
    "postmortem",
    "declined-review",
    "action-items",
    "marked-action-items",
    "stale-action-items",
)
ROOM = "C2"  #: the incident's channel in Slack


class Engine:
    """`hotwash run` of a project, under a clock that stands in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._told = folder, folder.parent / "clock"
        self._told.write_text(MONDAY.isoformat().ljust(40))
        self._process: asyncio.subprocess.Process | None = None
        self.address = ""
        self.told: list[list[str]] = []  #: what its log says: event and sentence

    def now(self) -> datetime:
        return datetime.fromisoformat(self._told.read_text().strip())

    async def start(self) -> None:
        command = ["-m", "tests.life.engine_process", str(self.folder), self.now().isoformat(), str(self._told)]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            env={**os.environ, **SECRETS, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**24,
        )
        self.address = (await self._answer())["address"]

    async def order(self, **order: Any) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._process.stdin.drain()
        self.told += (await self._answer())["told"]

    async def _answer(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "the engine ended"
        return json.loads(line)

    async def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.kill()


class Life(LiveSlack):
    """An engine, what it works with, and what people do there."""

    def __init__(self, folder: Path) -> None:
        self.engine = Engine(folder)
        self.jira = JiraCloud(self.engine.now)
        self.pager = PagerDutyAccount(self.engine.now)
        self.google = GoogleStandIn(self.engine.now)
        self.calendar = GoogleCalendar(self.engine.now)
        super().__init__(None, Desk(self.engine.now))  # type: ignore[arg-type]
        self.desk.users += [user("UMARY", "Mary", "mary@example.com")]

    async def post(self, body: bytes, **headers: str) -> httpx.Response:
        from slack_sdk.signature import SignatureVerifier

        stamp = str(int(self.engine.now().timestamp()))
        signature = SignatureVerifier(SECRETS["SLACK_SIGNING_SECRET"]).generate_signature(timestamp=stamp, body=body)
        signed = {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": str(signature), **headers}
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.post(f"{self.engine.address}/hooks/chat", content=body, headers=signed)
        await self.engine.order(settle=True)
        return answer

    async def move(self, length: str) -> None:
        await self.engine.order(move=length)

    async def answers(self, by: str, label: str) -> None:
        """Let somebody press a button of the newest question that they were asked."""
        room = f"D-{by}"
        question = next(one for one in reversed(self.desk.messages[room]) if one["blocks"][-1]["type"] == "actions")
        block = question["blocks"][-1]
        (button,) = [one for one in block["elements"] if one["text"]["text"] == label]
        action = {**button, "block_id": block["block_id"], "action_ts": f"{self.engine.now().timestamp():.6f}"}
        await self.interacts("block_actions", by=by, actions=[action], channel={"id": room}, message=question)
        await self.move("1m")

    async def jump(self, length: str) -> None:
        """Move the clock at once, as where the machine slept."""
        await self.engine.order(jump=length)

    def said(self, room: str) -> list[str]:
        """Give what Hotwash has said in a conversation, as it stands there now."""
        return [one["text"] for one in self.desk.messages.get(room, []) if one["user"] == BOT]

    @property
    def document(self) -> str:
        (number,) = [number for number, file in self.google.files.items() if "hotwash" in file.get("appProperties", {})]
        return number

    @property
    def report(self) -> str:
        return read(self.google.documents[self.document].get()).markdown()


@pytest.fixture
async def life(tmp_path):
    folder = tmp_path / "project"
    (folder / "workflows").mkdir(parents=True)
    one = Life(folder)
    await one.calendar.start()
    runner = await one.google.start()
    try:
        async with serving(one.desk), one.jira, one.pager:
            write_project(folder, one)
            one.calendar.busy |= {f"{name}@example.com": [] for name in ("ada", "grace", "mary")}
            await one.engine.start()
            yield one
            await one.engine.stop()
    finally:
        await runner.cleanup()
        await one.calendar.stop()


def write_project(folder: Path, life: Life) -> None:
    """Write a project with the shipped workflows, and let Grace be on call."""
    life.drafts, life.published = life.google.folder("Drafts", drive="d1"), life.google.folder("Published", drive="d1")
    google = {"drive": life.google.url, "calendar": life.calendar.address}
    addresses = {"slack": life.desk.api, "jira": life.jira.url, "pager": life.pager.url, **google}
    folders = {"drafts": life.drafts, "published": life.published}
    (folder / "hotwash.yaml").write_text(PROJECT.format(**addresses, **folders))
    (folder / "people.yaml").write_text(PEOPLE)
    (folder / "google.json").write_text(service_account(f"{life.calendar.address}/token"))
    for name in WORKFLOWS:
        shutil.copy(library() / f"{name}.yaml", folder / "workflows")
    shutil.copytree(library() / "templates", folder / "templates")
    grace = {"id": "PGRACE", "type": "user_reference", "summary": "Grace"}
    shift = {"escalation_level": 1, "escalation_policy": POLICY, "schedule": None, "start": None, "end": None}
    life.pager.on_calls = [{"user": grace, **shift}]


async def test_an_incident_is_followed_through_from_its_command_to_the_closed_action_item(life):
    await declare(life)
    await work_on_it(life)
    await resolve_and_kill(life)
    await publish(life)
    await two_weeks_pass(life)

    assert the_timeline(life) == [
        "- Mon 2 Mar 2026 09:00 UTC, Ada: Declared",
        "- Mon 2 Mar 2026 09:02 UTC, Grace: Orders pile up since 08:50",
        "- Mon 2 Mar 2026 09:05 UTC, Ada: Rolling back checkout (edited)",
        "- Mon 2 Mar 2026 09:05 UTC, Ada: commander: Ada",
        "- Mon 2 Mar 2026 09:10 UTC, Ada: reacted with :white\\_check\\_mark: to “We need an alert on the queue”",
        "- Mon 2 Mar 2026 09:10 UTC, Grace: The rollback is out",
        "- Mon 2 Mar 2026 09:10 UTC, Grace: We need an alert on the queue",
        "- Mon 2 Mar 2026 09:10 UTC, Grace: reacted with :white\\_check\\_mark: to “We need an alert on the queue”",
        "- Mon 2 Mar 2026 09:10 UTC: Ticket OPS-1 filed: We need an alert on the queue",
        "- Mon 2 Mar 2026 09:40 UTC, Ada: Resolved",
    ]
    assert life.report.endswith(
        "| What | Owner | Due | Ticket |\n| --- | --- | --- | --- |\n"
        f"| Alert on the queue | @ada | 2026-03-20 | [OPS-2]({life.jira.url}/browse/OPS-2) |\n"
        f"| Rehearse the rollback | @grace |  | [OPS-3]({life.jira.url}/browse/OPS-3) |\n"
    )
    assert [(one.key, *told(one), sorted(one.remote)) for one in life.jira.issues.values()] == [
        ("OPS-1", "We need an alert on the queue", "Done", None, ["hotwash/pager:PINC001"]),
        ("OPS-2", "Alert on the queue", "Done", "Ada", [f"hotwash/docs:{life.document}", "hotwash/pager:PINC001"]),
        (
            "OPS-3",
            "Rehearse the rollback",
            "To Do",
            "Grace",
            [f"hotwash/docs:{life.document}", "hotwash/pager:PINC001"],
        ),
    ]
    review, bridge = sorted(life.calendar.events.values(), key=lambda event: event["summary"], reverse=True)
    assert (review["summary"], review["start"]["dateTime"], [guest["email"] for guest in review["attendees"]]) == (
        "Postmortem review: Checkout <!channel> is slow",
        "2026-03-02T10:00:00+00:00",
        ["ada@example.com", "grace@example.com"],
    )
    assert (bridge["summary"], bridge["end"]["dateTime"]) == (
        "PD-1 Checkout <!channel> is slow",
        "2026-03-02T09:40:00+00:00",
    )
    (incident,) = life.pager.incidents.values()
    assert (incident["status"], incident["priority"]["summary"]) == ("resolved", "P1")
    assert_slack(life, incident["html_url"], bridge["conferenceData"]["entryPoints"][0]["uri"])


def the_timeline(life: Life) -> list[str]:
    """Give the lines of the document's timeline; those of one minute by their text."""
    return sorted(line for line in life.report.splitlines() if line.startswith("- Mon "))


def told(issue: Any) -> tuple[str, str, str | None]:
    """Give the title, status and assignee of an issue."""
    fields = issue.fields
    return fields["summary"], fields["status"]["name"], (fields["assignee"] or {}).get("displayName")


def assert_slack(life: Life, source: str, bridge: str) -> None:
    """Hold every message, and the channel, against what was to be said there."""
    (page,) = (life.engine.folder / "status" / "incidents").glob("*.html")
    room = life.desk.channels[ROOM]
    assert (room["name"], room["topic"]["value"]) == ("pd-1-checkout-channel-is-slow", "sev1, resolved, commander: Ada")
    assert (sorted(room["members"]), room["is_archived"]) == (
        sorted([BOT, "UADA", "UGRACE"]),
        False,
    )  # OPS-3 is still to be done
    assert {name: life.said(name) for name in life.desk.messages} == {
        ROOM: [
            "PD-1 Checkout &lt;!channel&gt; is slow\n- Severity: sev1\n- Status: resolved\n- Services: Checkout\n"
            f"- Commander: Ada\n- Bridge: {bridge}\n- Status page: investigating, {page.as_uri()}\n"
            f"- At its source: {source}\n- Declared: Mon 2 Mar 2026 09:00 UTC\n"
            "- Resolved: Mon 2 Mar 2026 09:40 UTC, after 40 min",
            f"Postmortem https://docs.google.com/document/d/{life.document}/edit, owner Ada, "
            "review Mon 2 Mar 2026 10:00 UTC",
        ],
        "D-UMARY": ["OPS-1 We need an alert on the queue has not moved for 7 days.\nMary: Won't do"],
        "D-UADA": ["OPS-2 Alert on the queue has not moved for 7 days 23 h.\nAda: On it"],
        "D-UGRACE": ["OPS-3 Rehearse the rollback has not moved for 7 days 23 h.\nGrace: Ask me in a week"],
    }
    assert [message["ts"] for message in life.desk.messages[ROOM][:1]] == [ts for _, ts in life.desk.pins]


async def declare(life: Life) -> None:
    """Let Ada fill in the modal of `/incident`."""
    assert await life.command("", room="C1") is None
    await life.submits(title="Checkout <!channel> is slow", severity=("sev1",), services=["Checkout"])
    await life.move("2m")


async def work_on_it(life: Life) -> None:
    """Let people talk, name a commander, mistype, note, and mark what is to be done."""
    await life.writes(ROOM, "Orders pile up since 08:50", by="UGRACE")
    await life.move("3m")
    ts = await life.writes(ROOM, "Rolling back chekout")
    await life.command("role commander <@UADA>", room=ROOM)
    mistyped = await life.command("roll back", room=ROOM)
    assert (mistyped["response_type"], "did you mean /incident role" in mistyped["text"]) == ("ephemeral", True)
    message = next(one for one in life.desk.messages[ROOM] if one["ts"] == ts)
    message |= {"text": "Rolling back checkout", "edited": {"user": "UADA", "ts": f"{float(ts) + 1:.6f}"}}
    await life.event("message", subtype="message_changed", channel=ROOM, message=message, ts=f"{float(ts) + 1:.6f}")
    await life.move("5m")
    await life.command("note The rollback is out", room=ROOM, by="UGRACE")
    todo = await life.writes(ROOM, "We need an alert on the queue", by="UGRACE")
    about = {"item": {"type": "message", "channel": ROOM, "ts": todo}, "item_user": "UGRACE"}
    for by, event in (("UADA", "Ev-ada"), ("UGRACE", "Ev-grace")):
        at = f"{life.engine.now().timestamp():.6f}"
        await life.event("reaction_added", id=event, user=by, reaction="white_check_mark", event_ts=at, **about)
    await life.move("30m")


async def resolve_and_kill(life: Life) -> None:
    """Let Ada resolve it; the engine dies when Drive has made the document and has not said so."""
    await life.command("resolve", room=ROOM)
    await life.move("10m")
    held = asyncio.Event()
    life.google.faults.append(DriveFault("POST", "/drive/v3/files$", held=held))
    moving = asyncio.create_task(life.move("6m"))
    await held.wait()
    await life.engine.kill()
    moving.cancel()
    life.google.go_on.set()
    await life.engine.start()
    await life.move("10m")


async def publish(life: Life) -> None:
    """Let people fill in the table of action items and publish the document."""
    rows = ["Alert on the queue", "@ada", "2026-03-20"], ["Rehearse the rollback", "@grace", ""]
    life.google.fill_in(life.document, ["what", "owner"], *rows)
    life.google.move(life.document, life.published)
    await life.move("10m")


async def two_weeks_pass(life: Life) -> None:
    """Nothing moves for a week and people are asked; one closes her ticket in the second week."""
    await life.jump("6d")
    await life.move("1d")
    await life.answers("UMARY", "Won't do")
    await life.jump("23h")
    await life.answers("UADA", "On it")
    await life.answers("UGRACE", "Ask me in a week")
    await life.jump("5d")
    life.jira.change(life.jira.issues["OPS-2"], ADA, status=DONE)
    await life.jump("1d")
    await life.move("2h")
