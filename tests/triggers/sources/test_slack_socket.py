"""Socket Mode against a WebSocket on this machine that speaks as Slack's does."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from aiohttp import WSMsgType, web

from engine import operations
from tests.slack_desk import APP, live_slack
from tests.slack_workspace import BOT, error
from triggers.sources.slack_socket import SocketMode

TS = "1772442060.000100"
MESSAGE = {"type": "message", "user": "UADA", "text": "the queue is full", "ts": TS, "channel": "C9", "event_ts": TS}


class Sockets:
    """Slack's end: it takes connections, sends envelopes, and keeps what is acknowledged."""

    def __init__(self):
        self.open: list[web.WebSocketResponse] = []
        self.acknowledged: asyncio.Queue[dict] = asyncio.Queue()
        self.connected = asyncio.Queue()
        self.url = ""

    async def handle(self, request):
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        self.open.append(socket)
        await socket.send_json({"type": "hello", "num_connections": 1, "connection_info": {"app_id": APP}})
        self.connected.put_nowait(socket)
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                self.acknowledged.put_nowait(json.loads(message.data))
        return socket

    async def sends(self, kind, payload, envelope="E1", **more):
        """Send an envelope on the newest connection."""
        body = {"type": kind, "envelope_id": envelope, "payload": payload, **more}
        await self.open[-1].send_json({"accepts_response_payload": kind != "events_api", **body})

    async def said(self, kind, payload, envelope="E1", **more):
        """Send an envelope; give what it is acknowledged with."""
        await self.sends(kind, payload, envelope, **more)
        async with asyncio.timeout(10):
            return await self.acknowledged.get()


@asynccontextmanager
async def sockets():
    made = Sockets()
    application = web.Application()
    application.router.add_get("/link", made.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    made.url = f"ws://{host}:{port}/link"
    try:
        yield made
    finally:
        for socket in made.open:
            await socket.close()
        await runner.cleanup()


@pytest.fixture
async def live(tmp_path):
    """Give Slack, and its sockets with an engine that is connected; the incident INC-1 has the channel C9."""
    usual, SocketMode.ping_interval = SocketMode.ping_interval, 0.05
    try:
        async with sockets() as ends:
            opened = {"url": ends.url}
            async with live_slack(tmp_path, more=', app_token: "${APP}"', opens=lambda given: opened) as slack:
                async with asyncio.timeout(10):
                    await ends.connected.get()
                await ends.said("slash_commands", command(""), "E-1")
                await slack.submits(title="Checkout is slow")
                await slack.has_channel("C9")
                yield slack, ends
    finally:
        SocketMode.ping_interval = usual


def command(text, **more):
    return {
        **{"command": "/incident", "text": text, "user_id": "UADA", "user_name": "ada", "channel_id": "C9"},
        **{"trigger_id": "1.2.3", "response_url": "https://hooks.slack.com/x", **more},
    }


def callback(event, id="Ev1"):
    authorized = [{"user_id": BOT, "is_bot": True}]
    return {"type": "event_callback", "event_id": id, "api_app_id": APP, "authorizations": authorized, "event": event}


async def test_an_event_is_acknowledged_when_it_is_committed(live):
    slack, ends = live
    assert await ends.said("events_api", callback(MESSAGE), "E7") == {"envelope_id": "E7"}
    assert slack.captured() == ["the queue is full"]


async def test_an_event_that_slack_sends_again_is_acknowledged_and_changes_nothing(live):
    slack, ends = live
    for envelope in ("E7", "E8"):
        await ends.said("events_api", callback(MESSAGE), envelope, retry_attempt=1, retry_reason="timeout")
    assert slack.captured() == ["the queue is full"]


async def test_a_command_and_a_modal_are_answered_in_the_acknowledgement(live):
    slack, ends = live
    answer = await ends.said("slash_commands", command("severity sev1"))
    assert answer["payload"]["text"] == "Ada: INC-1 has now severity sev1"
    await ends.said("slash_commands", command("severity"))
    view = {**slack.desk.views[-1], "id": "V2", "state": {"values": {"severity": {"s": {"value": "sev9"}}}}}
    submitted = {"type": "view_submission", "user": {"id": "UADA"}, "view": view}
    answer = await ends.said("interactive", submitted)
    assert answer["payload"]["response_action"] == "errors"


async def test_an_envelope_that_is_not_slacks_is_recorded_and_does_not_come_again(live):
    slack, ends = live
    for kind, said in (("events_api", {"type": 5}), ("hello_world", {}), ("interactive", {"type": "block_actions"})):
        assert await ends.said(kind, said, "E7") == {"envelope_id": "E7"}
    assert len(slack.world.events("webhook.ignored")) == 3


async def test_what_cannot_be_kept_is_not_acknowledged(live):
    slack, ends = live
    source = slack.world.application.sources["chat"]
    source.patience = 0.0
    await ends.sends("events_api", callback({**MESSAGE, "ts": TS}), "E7")
    async with asyncio.timeout(10):
        while not any("is not kept" in sentence for _, sentence in slack.world.told):
            await asyncio.sleep(0)
    assert ends.acknowledged.empty()
    await slack.world.settle()
    source.patience = 5.0
    assert await ends.said("events_api", callback(MESSAGE), "E9") == {"envelope_id": "E9"}
    assert slack.captured() == ["the queue is full"]


async def test_a_connection_that_ends_is_opened_again_and_what_was_missed_is_read(live):
    slack, ends = live
    slack.desk.writes("C9", "an event of this was lost")
    await ends.open[-1].close()
    async with asyncio.timeout(20):
        await ends.connected.get()
        while not slack.captured():
            await asyncio.sleep(0)
    assert slack.captured() == ["an event of this was lost"]
    assert await ends.said("events_api", callback(MESSAGE), "E7") == {"envelope_id": "E7"}


async def test_slack_may_ask_for_another_connection(live):
    _, ends = live
    await ends.open[-1].send_json({"type": "disconnect", "reason": "refresh_requested"})
    async with asyncio.timeout(20):
        await ends.connected.get()
    assert await ends.said("events_api", callback(MESSAGE), "E7") == {"envelope_id": "E7"}


async def test_stopping_closes_the_connection(live):
    slack, ends = live
    await slack.world.application.stop()
    async with asyncio.timeout(10):
        while not ends.open[-1].closed:
            await asyncio.sleep(0)
    assert ends.open[-1].closed
    await slack.world.restart()


async def test_a_token_that_slack_refuses_is_told_and_the_engine_runs(tmp_path):
    refused = [error("invalid_auth"), error("invalid_auth")]
    async with live_slack(tmp_path, more=', app_token: "${APP}"', bad={"apps.connections.open": refused}) as slack:
        async with asyncio.timeout(10):
            while not any("'app_token' the app's own" in sentence for _, sentence in slack.world.told):
                await asyncio.sleep(0)
        assert (await slack.command("help"))["response_type"] == "ephemeral"


async def doctor(slack):
    done = await operations.perform(slack.world.application, "check_connections", {"connection": "chat"}, "ada")
    return done.data["connections"][0]


async def test_the_doctor_tries_the_token_of_the_app_and_says_what_to_do(live):
    slack, _ = live
    assert (await doctor(slack))["problem"] is None
    slack.desk.bad["apps.connections.open"] = [error("not_allowed_token_type")]
    said = (await doctor(slack))["problem"]
    assert said.startswith("Socket Mode: Slack answers 'not_allowed_token_type': is 'app_token' the app's own")
    assert "xapp-1" not in said
