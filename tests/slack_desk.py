"""A workspace in which people also use the app: they write, react, type commands, press buttons and fill in modals.

What they do is posted to the engine's server, signed, as Slack does. `LiveSlack` is the whole: an engine and Slack.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from engine import server
from engine.domain import Entry, Incident
from engine.plugins import Fact
from engine.testing import World
from engine.testing.clock import MovableClock
from engine.wiring import open_application
from tests.fakes import MONDAY
from tests.slack_workspace import BOT, Workspace, serving

TEAM, APP = "T1", "A1"
PROJECT = """\
timezone: UTC
owner: grace
use: {chat: chat}
connections:
  chat: {provider: slack, token: "${TOKEN}", signing_secret: "${SECRET}", api: API, channel: "#incidents"MORE}
"""
PEOPLE = """\
people:
  ada: {name: Ada, email: ada@example.com}
  grace: {name: Grace, email: grace@example.com}
teams: {sre: {lead: grace, members: [ada, grace]}}
services: {checkout: {}, search: {}}
"""


class Desk(Workspace):
    """A workspace that also shows modals, and takes answers at the addresses that it gives out."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.views: list[dict[str, Any]] = []
        self.updated: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []
        self.opens: Any = dict

    def apps_connections_open(self, given: dict[str, Any]) -> dict[str, Any]:
        return self.opens(given)

    def views_open(self, given: dict[str, Any]) -> dict[str, Any]:
        self.views.append(given["view"])
        return {"view": {"id": f"V{len(self.views)}"}}

    def views_update(self, given: dict[str, Any]) -> dict[str, Any]:
        self.updated.append(given)
        return {}

    def respond(self, given: dict[str, Any]) -> dict[str, Any]:
        self.answers.append(given)
        return {}


class LiveSlack:
    """An engine, a workspace, and what its people do."""

    def __init__(self, world: World, desk: Desk) -> None:
        self.world, self.desk = world, desk
        self._events = count(1)

    async def post(self, body: bytes, **headers: str) -> httpx.Response:
        """Post a signed body as Slack does, and let everything follow."""
        source = self.world.application.sources["chat"]
        transport = httpx.ASGITransport(app=server.create_app(self.world.application))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            signed = {**source.sign(body, self.world.now), **headers}
            answer = await client.post("/hooks/chat", content=body, headers=signed)
        await self.world.settle()
        return answer

    async def event(self, kind: str, id: str | None = None, **event: Any) -> httpx.Response:
        """Let Slack tell of an event."""
        said = {
            "type": "event_callback",
            "team_id": TEAM,
            "api_app_id": APP,
            "event_id": id or f"Ev{next(self._events)}",
            "authorizations": [{"team_id": TEAM, "user_id": BOT, "is_bot": True}],
            "event": {"type": kind, **event},
        }
        return await self.post(json.dumps(said).encode())

    async def writes(self, room: str, text: str, *, told: bool = True, **more: Any) -> str:
        """Let somebody write in a channel; give the message's time stamp. Not `told`: the event is lost."""
        ts = self.desk.writes(room, text, **more)
        if told:
            message = next(one for one in self.desk.messages[room] if one["ts"] == ts)
            await self.event(**{"kind": "message", **_without_type(message), "channel": room, "event_ts": ts})
        return ts

    async def command(self, text: str, *, by: str = "UADA", room: str = "C9", **more: Any) -> Any:
        """Let somebody type /incident; give what they are answered, None for nothing."""
        form = {
            **{"command": "/incident", "text": text, "user_id": by, "user_name": by.lower(), "channel_id": room},
            **{"trigger_id": "1.2.3", "response_url": f"{self.desk.api}respond", "team_id": TEAM, **more},
        }
        answer = await self.post(urlencode(form).encode())
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.content else None

    async def interacts(self, kind: str, *, by: str = "UADA", **more: Any) -> Any:
        """Let somebody use a button, a modal or a shortcut; give what Slack is answered."""
        said = {"type": kind, "user": {"id": by, "name": by.lower()}, "trigger_id": "1.2.3", **more}
        said.setdefault("response_url", f"{self.desk.api}respond")
        answer = await self.post(urlencode({"payload": json.dumps(said)}).encode())
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.content else None

    async def presses(self, name: str, incident: str, *, room: str = "C9", **more: Any) -> Any:
        """Let somebody press a button of a summary."""
        pressed = {"action_id": f"hotwash-incident:{name}", "value": incident, "action_ts": "1.000000"}
        return await self.interacts("block_actions", actions=[pressed], channel={"id": room}, **more)

    async def submits(self, *, id: str = "V1", by: str = "UADA", **entered: Any) -> Any:
        """Let somebody fill in the newest modal and submit it."""
        shown = self.desk.views[-1]
        blocks = {name: {name: _as_entered(value)} for name, value in entered.items()}
        view = {**shown, "id": id, "state": {"values": blocks}}
        return await self.interacts("view_submission", by=by, view=view, response_url=None)

    async def has_channel(self, room: str, ref: str = "local:INC-1") -> None:
        """Let an incident have a channel."""
        fields = {"channel": room}
        await self.world.happens(
            "hotwash", Fact("incident.updated", self.world.now, "incident", ref, fields, engine=True, own=True)
        )

    @property
    def incident(self) -> Incident:
        """The newest incident."""
        found: Incident = self.world.subjects("incident")[-1]
        return found

    def timeline(self) -> list[Entry]:
        """Give the timeline of the newest incident as people are told it."""
        found: list[Entry] = self.world.application.hub.lookups().field(self.incident, "timeline")
        return found

    def captured(self) -> list[str]:
        """Give what was captured of the channel, as people are told it."""
        return [entry.text for entry in self.timeline() if entry.id is not None]


@asynccontextmanager
async def live_slack(
    folder: Path, *, more: str = "", opens: Any = dict, bad: Any = None, **workflows: str
) -> AsyncIterator[LiveSlack]:
    """Give an engine in a folder that works with a workspace on this machine.

    `opens` gives the address of a WebSocket, `bad` what methods answer first.
    """
    clock = MovableClock(MONDAY)
    desk = Desk(clock.now)
    desk.opens, desk.bad = opens, bad or {}
    async with serving(desk):
        (folder / "hotwash.yaml").write_text(PROJECT.replace("API", f'"{desk.api}"').replace("MORE", more))
        (folder / "people.yaml").write_text(PEOPLE)
        (folder / "workflows").mkdir()
        for name, text in workflows.items():
            (folder / "workflows" / f"{name}.yaml").write_text(text)
        environ = {"TOKEN": "xoxb-1", "SECRET": "s3cret", "APP": "xapp-1"}
        world = World(folder, MONDAY, open_application, environ=environ, clock=clock)
        async with world:
            await world.application.providers["chat"].check()  # who is there is known from the beginning
            yield LiveSlack(world, desk)


def _as_entered(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"type": "multi_static_select", "selected_options": [{"value": one} for one in value]}
    if isinstance(value, tuple):
        return {"type": "static_select", "selected_option": {"value": value[0]}}
    if isinstance(value, str) and value.startswith("U") and value.isupper():
        return {"type": "users_select", "selected_user": value}
    return {"type": "plain_text_input", "value": value}


def _without_type(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "type"}
