"""What a dry run shows of vendors: the request that would be sent, without sending it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiohttp import web

from actions.providers.google import Account, Google, GoogleOptions
from engine import operations, wiring
from engine.cli import histories
from engine.plugins import NotSent, at_most_once, thinking
from engine.reports import show_run
from engine.testing import RecordingChat

PROJECT = """
http: {{allow: ["{url}"]}}
connections:
  tracker: {{provider: jira, server: "{url}", token: "${{TOKEN}}", project: OPS}}
  chat: {{provider: slack, token: "${{TOKEN}}", api: "{url}/", signing_secret: "${{TOKEN}}", channel: C1}}
  pager: {{provider: pagerduty, token: "${{TOKEN}}", email: a@e.org, api: "{url}", webhook_secret: "${{TOKEN}}"}}
  site: {{provider: http, base_url: "{url}", headers: {{Authorization: "Bearer ${{TOKEN}}"}}}}
use: {{ticket: tracker, chat: chat, incident: pager, http: site}}
"""
READS = {
    "/rest/api/2/issue/createmeta/OPS/issuetypes": {"values": [{"id": "1", "name": "Task"}]},
    "/rest/api/2/issue/createmeta/OPS/issuetypes/1": {"values": []},
    "/services": {"services": [{"id": "PSERVIC", "summary": "Checkout", "name": "Checkout"}]},
    "/priorities": {"priorities": []},
    "/incidents": {"incidents": []},
    "/auth.test": {"ok": True, "url": "https://example.slack.com/", "user_id": "U1"},
    "/users.list": {"ok": True, "members": []},
}


class Vendor:
    """Answers what reads, and remembers what does not."""

    def __init__(self):
        self.written, self.read = [], []

    async def answer(self, request):
        if request.method != "GET" and request.path not in READS:  # Slack is read by POST
            self.written.append(f"{request.method} {request.path}")
        self.read.append(request.path)
        found = READS.get(request.path, {})
        return web.json_response(found)


@pytest.fixture
def dry(engine, tmp_path):
    """Give what runs one step dry and gives its record: `await run("uses: …")`."""

    @asynccontextmanager
    async def begun(step, **more):
        vendor, app = Vendor(), web.Application()
        app.router.add_route("*", "/{path:.*}", vendor.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        (tmp_path / ".hotwash").mkdir()
        (tmp_path / ".hotwash" / "env").write_text("TOKEN=a-token-of-nobody\n")
        text = f"mode: dry_run\non: incident.declared\nsteps:\n  - {{id: it, {step}}}\n"
        try:
            async with engine(text, project=PROJECT.format(url=url), **more) as world:
                await world.declared()
                yield world, vendor
        finally:
            await runner.cleanup()

    return begun


def request_of(world):
    records = show_run(world.application.reader, world.runs()[-1]["uid"])["history"]
    return next(one["data"].get("request") for one in records if one["kind"] == "done")


@pytest.mark.parametrize(
    ("step", "method", "target", "body"),
    [
        (
            "uses: ticket.create, with: {title: Alert earlier}",
            "POST",
            "/rest/api/2/issue",
            {"project": {"key": "OPS"}, "issuetype": {"name": "Task"}, "summary": "Alert earlier"},
        ),
        ("uses: ticket.update, with: {ticket: OPS-1, title: b}", "PUT", "/rest/api/2/issue/OPS-1", {"summary": "b"}),
        ("uses: chat.post, with: {text: hello}", "POST", "chat.postMessage", {"channel": "C1", "text": "hello"}),
        ("uses: http.request, with: {method: PUT, path: /a, body: {b: 1}}", "PUT", "/a", {"b": 1}),
        ("uses: http.request, with: {path: /a, query: {b: c}}", "GET", "/a?b=c", None),
    ],
)
async def test_the_request_is_shown_and_nothing_is_written_at_the_vendor(dry, step, method, target, body):
    async with dry(step) as (world, vendor):
        request = request_of(world)
        assert (vendor.written, request["method"]) == ([], method)
        assert request["target"].endswith(target)
        shown = request["body"].get("fields", request["body"]) if body is not None else None
        assert shown is None or {name: shown[name] for name in body} == body
        assert (shown is None) == (body is None)


async def test_pagerduty_shows_what_it_would_declare(dry):
    async with dry("uses: incident.declare, with: {title: Slow, services: [Checkout]}") as (world, vendor):
        request = request_of(world)
        assert (vendor.written, request["method"], request["target"]) == ([], "POST", "/incidents")
        assert request["body"]["incident"]["title"] == "Slow"


async def test_no_credential_is_among_what_is_shown(dry):
    async with dry("uses: ticket.create, with: {title: a}") as (world, _):
        assert "a-token-of-nobody" not in str(show_run(world.application.reader, world.runs()[-1]["uid"]))


async def test_what_cannot_be_read_beforehand_is_said_and_the_dry_run_goes_on(dry):
    async with dry("uses: incident.declare, with: {title: Slow, services: [Nowhere]}") as (world, vendor):
        assert "Nowhere" in request_of(world)["why"]
        assert (vendor.written, world.state) == ([], "finished")


async def test_a_provider_that_does_not_announce_its_requests_is_never_asked(dry):
    class Careless(RecordingChat):
        @at_most_once
        async def post(self, channel, text, *, thread, effect):
            raise AssertionError("it was asked in a dry run")

    async with dry("uses: chat.post, with: {text: a}", providers={"chat": Careless()}) as (world, _):
        assert (world.state, request_of(world)) == ("finished", None)


async def test_runs_show_prints_the_request(dry):
    async with dry("uses: http.request, with: {method: PUT, path: /a, body: {b: 1}}") as (world, _):
        request = request_of(world)
        assert histories._spared(request) == f'; it would send PUT {request["target"]} {{"b": 1}}'


async def test_what_a_person_asks_of_a_vendor_in_a_dry_engine_is_shown_too(dry):
    async with dry("uses: chat.post, with: {text: a}") as (world, vendor):
        world.application.hub.dry_run = True
        await operations.perform(world.application, "create_ticket", {"title": "Alert earlier"}, "ada")
        request = request_of(world)
        assert (vendor.written, request["target"]) == ([], "/rest/api/2/issue")


async def test_google_shows_a_request_before_a_token_is_asked_for():
    class Here:
        name = "docs"
        clock = type("Clock", (), {"now": lambda self: datetime(2026, 3, 2, tzinfo=UTC)})()

    key = '{"type": "authorized_user", "client_id": "a", "client_secret": "b", "refresh_token": "c"}'
    options = GoogleOptions(credentials=key)
    google = Google("Google Calendar", ("calendar", "v3"), Account(options, ()), options, Here())
    with thinking(), pytest.raises(NotSent) as shown:
        await google.call(lambda api: api.events().insert(calendarId="primary", body={"summary": "Review"}))
    await google.aclose()
    assert (shown.value.method, shown.value.body) == ("POST", {"summary": "Review"})
    assert shown.value.target.startswith("/calendar/v3/calendars/primary/events")


def test_every_provider_of_a_vendor_shows_its_requests():
    vendors = [one for one in wiring.catalogue().providers.values() if one.rate is not None]
    assert [one.name for one in vendors if not getattr(one.cls, "announces", False)] == []
