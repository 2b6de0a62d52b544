"""Slack as `emulate` keeps it delivers its signed events to a running server, and the incident's timeline follows."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import aiohttp
import httpx
from aiohttp import web
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from engine import server
from engine.clock import SystemClock
from engine.plugins import Fact
from engine.wiring import open_application

PROJECT = """\
timezone: UTC
use: {chat: chat}
connections:
  chat: {provider: slack, token: "${TOKEN}", signing_secret: s3cret, api: "API/api/"}
"""


@asynccontextmanager
async def receiving(application, port):
    """Hand what is posted to a port to the engine's server; Slack's own client judges the signatures too."""
    transport = httpx.ASGITransport(app=server.create_app(application))

    async def take(request):
        body = await request.read()
        assert SignatureVerifier("s3cret").is_valid_request(body, dict(request.headers))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            answer = await client.post(request.path, content=body, headers=dict(request.headers))
        return web.Response(status=answer.status_code, body=answer.content)

    receiver = web.Application()
    receiver.router.add_post("/hooks/chat", take)
    runner = web.AppRunner(receiver, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def until(told, what):
    """Return when a list holds what is awaited."""
    async with asyncio.timeout(30):
        while what not in told():
            await asyncio.sleep(0.02)


async def test_messages_edits_deletions_reactions_pins_and_joins_arrive_and_are_captured(tmp_path, emulate_events):
    address, port = emulate_events
    folder = tmp_path / "project"
    (folder / "workflows").mkdir(parents=True)
    (folder / "hotwash.yaml").write_text(PROJECT.replace("API", address))
    (folder / "people.yaml").write_text("people: {ada: {name: Ada, email: ada@example.com}}\n")
    application = open_application(folder, environ={"TOKEN": "xoxb-1"})
    async with application.running(), receiving(application, port), aiohttp.ClientSession() as session:
        slack = AsyncWebClient(token="xoxp-ada", base_url=f"{address}/api/", session=session)

        async def say(method, **given):  # the client would put some of it into the address
            return await slack.api_call(method, json=given)

        room = (await say("conversations.create", name="inc-1"))["channel"]["id"]
        now = SystemClock().now()
        fields = {"status": "declared", "title": "Checkout is slow", "channel": room}
        await application.accept("pager", [Fact("incident.declared", now, "incident", "pager:P1", fields)])
        given = Fact("incident.updated", now, "incident", "pager:P1", {"channel": room}, engine=True)
        await application.accept("hotwash", [given])

        def told():
            (incident,) = [application.hub.lookups().subject("incident", "pager:P1")]
            return [one.text for one in application.hub.lookups().field(incident, "timeline") if one.id]

        kept = (await say("chat.postMessage", channel=room, text="the queue is full"))["ts"]
        await until(told, "the queue is full")
        await say("reactions.add", channel=room, timestamp=kept, name="eyes")
        await until(told, "reacted with :eyes: to “the queue is full”")
        await say("pins.add", channel=room, timestamp=kept)
        await until(told, "pinned a message: “the queue is full”")
        gone = (await say("chat.postMessage", channel=room, text="the password is hunter2"))["ts"]
        await until(told, "the password is hunter2")
        await say("chat.delete", channel=room, ts=gone)
        await until(told, "(a message that was deleted)")
        await say("chat.update", channel=room, ts=kept, text="the queue is half full")
        await until(told, "the queue is half full (edited)")
        members = (await say("users.list"))["members"]
        others = [one["id"] for one in members if one["id"] != (await say("auth.test"))["user_id"]]
        await say("conversations.invite", channel=room, users=others[0])
        await until(told, "joined the channel")
        assert "hunter2" not in str(told())
