"""Secrets: replaced while the engine runs, and shown nowhere, whatever a service says of what it was sent."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
from base64 import b64encode
from contextlib import asynccontextmanager
from urllib.parse import unquote

import pytest
from aiohttp import web

from engine import operations, reports
from engine.operations import OperationError
from engine.plugins import Unauthorized
from tests.google_credentials import authorized_user, service_account

PLANTED = "planted-7f3a9c51e2"
ENCODED = b64encode(f"a@example.org:{PLANTED}".encode()).decode()
ACCESS = "ya29.planted-3b8d10f6"
JIRA = """
connections:
  tracker: {{provider: jira, server: "{url}", token: "${{file:secrets/token}}", project: OPS}}
use: {{ticket: tracker}}
"""
VENDORS = """
http: {{allow: ["{url}"]}}
connections:
  tracker: {{provider: jira, server: "{url}", user: a@example.org, token: "${{PLANTED}}", project: OPS}}
  chat: {{provider: slack, token: "${{PLANTED}}", api: "{url}/", signing_secret: "${{PLANTED}}", channel: C1}}
  pager: {{provider: pagerduty, token: "${{PLANTED}}", email: a@e.org, api: "{url}", webhook_secret: "${{PLANTED}}"}}
  site: {{provider: http, base_url: "{url}", headers: {{Authorization: "Bearer ${{PLANTED}}"}}}}
use: {{ticket: tracker, chat: chat, incident: pager, on_call: pager, http: site}}
"""
STEPS = """
steps:
  - {uses: ticket.create, with: {title: a}, retry: {max: 1}, continue_on_error: true}
  - {uses: chat.post, with: {text: a}, retry: {max: 1}, continue_on_error: true}
  - {uses: incident.declare, with: {title: a}, retry: {max: 1}, continue_on_error: true}
  - {uses: http.request, with: {method: PUT, path: /echo, body: {a: 1}}, retry: {max: 1}, continue_on_error: true}
"""
GOOGLE = """
connections:
  docs: {{provider: google_docs, credentials: "${{file:google.json}}", api: "{url}", folder: F1}}
  work: {{provider: google_calendar, credentials: "${{file:google.json}}", api: "{url}"}}
use: {{document: docs, calendar: work}}
"""
STEPS_AT_GOOGLE = """
steps:
  - {uses: document.create, with: {title: a, text: b}, retry: {max: 1}, continue_on_error: true}
  - {uses: calendar.schedule, with: {title: a, attendees: [ada], within: 1bd}, retry: {max: 1}, continue_on_error: true}
"""


class Vendor:
    """A service that quotes in each answer what it was sent; `status` is that of its answers."""

    def __init__(self):
        self.status, self.tokens, self.hold, self.asked_for_tokens = 200, [], None, []
        self.gives_tokens = True

    async def answer(self, request):
        token = request.headers.get("Authorization", "")
        self.tokens.append(token)
        if self.hold is not None:
            await self.hold.wait()
        body = await request.text()
        if request.path == "/token":
            self.asked_for_tokens.append(unquote(body))
            if self.gives_tokens:
                return web.json_response({"access_token": ACCESS, "expires_in": 3600, "token_type": "Bearer"})
            refused = {"error": "invalid_grant", "error_description": f"you sent {unquote(body)}"}
            return web.json_response(refused, status=self.status)
        said = {"message": f"you sent {token} and {body}", "error": f"no {token}", "ok": self.status < 300}
        return web.json_response(said, status=self.status, headers={"X-You": token})


@asynccontextmanager
async def standing_in():
    vendor, app = Vendor(), web.Application()
    app.router.add_route("*", "/{path:.*}", vendor.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield vendor, f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


async def tried(world, connection="tracker"):
    done = await operations.perform(world.application, "check_connections", {"connection": connection}, "ada")
    await world.settle()
    return done.data["connections"][0]


# --- replaced while the engine runs ---


@pytest.fixture
def rotating(engine, tmp_path):
    """Give what begins a world with a tracker whose token lies in a file."""

    @asynccontextmanager
    async def run(text=""):
        (tmp_path / "secrets").mkdir()
        (tmp_path / "secrets" / "token").write_text("the-first-token\n")
        async with standing_in() as (vendor, url), engine(text, project=JIRA.format(url=url)) as world:
            yield world, vendor, tmp_path / "secrets" / "token"

    return run


async def test_a_token_whose_file_changed_is_used_without_a_restart(rotating):
    async with rotating() as (world, vendor, path):
        await tried(world)
        path.write_text("the-second-token\n")
        assert await world.application.renew() == ["tracker"]
        await tried(world)
        assert [vendor.tokens[0], vendor.tokens[-1]] == ["Bearer the-first-token", "Bearer the-second-token"]


async def test_what_changed_is_asked_of_the_new_provider_also_where_webhooks_come_in(rotating):
    async with rotating() as (world, _, path):
        application = world.application
        application.sources["tracker"] = object()
        path.write_text("the-second-token\n")
        await application.renew()
        assert application.polls.watching["tracker"] is application.providers["tracker"]


async def test_what_did_not_change_is_left_as_it_is(rotating):
    async with rotating() as (world, _, _):
        provider = world.application.providers["tracker"]
        assert await world.application.renew() == []
        assert world.application.providers["tracker"] is provider


async def test_a_file_that_is_gone_or_empty_leaves_the_token_as_it_is(rotating):
    async with rotating() as (world, vendor, path):
        path.write_text("")
        assert await world.application.renew() == []
        path.unlink()
        assert await world.application.renew() == []
        world.application.renewing = None
        await tried(world)
        assert vendor.tokens[-1] == "Bearer the-first-token"


async def test_a_call_under_way_ends_with_the_old_token_and_then_its_session_closes(rotating):
    async with rotating() as (world, vendor, path):
        vendor.hold = asyncio.Event()
        asking = asyncio.create_task(
            operations.perform(world.application, "create_ticket", {"title": "a"}, "ada"), name="asking"
        )
        while not vendor.tokens:
            await asyncio.sleep(0.001)
        old = world.application.providers["tracker"]
        path.write_text("the-second-token\n")
        await world.application.renew()
        assert old._rest._session is not None
        vendor.hold.set()
        await asyncio.gather(asking, return_exceptions=True)
        await world.settle()
        assert old._rest._session is None


async def test_new_credentials_let_go_what_waits_for_them(rotating):
    text = "steps:\n  - {uses: ticket.close, with: {ticket: OPS-1}}\n"
    async with rotating(text) as (world, vendor, path):
        vendor.status = 401
        await world.declared()
        assert world.state == "held"
        vendor.status = 400
        path.write_text("the-second-token\n")
        await world.application.renew()
        await world.settle()
        assert (world.state, vendor.tokens[-1]) == ("failed", "Bearer the-second-token")


async def test_a_connection_without_credentials_begins_when_they_are_there(engine, tmp_path):
    project = "connections: {pager: {provider: pagerduty, webhook_secret: '${PAGER_SECRET}'}}\n"
    async with engine("", project=project) as world:
        assert "pager" in world.application.disabled
        (tmp_path / ".hotwash" / "env").write_text("PAGER_SECRET=first-secret-of-all\n")
        assert await world.application.renew() == ["pager"]
        assert ("pager" in world.application.sources, world.application.disabled) == (True, {})


async def test_webhooks_are_signed_by_the_old_secret_or_the_new_while_both_are_listed(engine, tmp_path):
    project = "connections: {pager: {provider: pagerduty, webhook_secret: ['${A}', '${B}']}}\n"
    env = tmp_path / ".hotwash" / "env"
    env.parent.mkdir()
    env.write_text("A=secret-number-one\nB=secret-number-two\n")
    async with engine("", project=project) as world:
        body = b"{}"

        def signed(secret):
            mark = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
            source = world.application.sources["pager"]
            source.authenticate({"x-pagerduty-signature": f"v1={mark}"}, body, world.now)

        signed("secret-number-one")
        signed("secret-number-two")
        env.write_text("A=secret-number-two\nB=secret-number-three\n")
        await world.application.renew()
        signed("secret-number-three")
        with pytest.raises(Unauthorized):
            signed("secret-number-one")


# --- shown nowhere ---


def surfaces(world):
    """Give everything that people and programs may read of an engine, by name."""
    reader = world.application.reader
    yield "the log", str(world.told)
    yield "status", json.dumps(reports.status(reader, world.now, private=True), default=str)
    for run in world.runs():
        yield "runs show", json.dumps(reports.show_run(reader, run["uid"]), default=str)
    for table in reader.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        rows = reader.execute(f"SELECT * FROM {table['name']}").fetchall()
        yield f"the table {table['name']}", str([tuple(row) for row in rows])
    for path in (world.folder / ".hotwash").glob("hotwash.db*"):
        yield f"the file {path.name}", path.read_bytes().decode("latin-1")


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500])
async def test_no_secret_is_shown_whatever_a_service_says_of_what_it_was_sent(engine, tmp_path, status):
    (tmp_path / ".hotwash").mkdir()
    (tmp_path / ".hotwash" / "env").write_text(f"PLANTED={PLANTED}\n")
    async with standing_in() as (vendor, url), engine(STEPS, project=VENDORS.format(url=url)) as world:
        vendor.status = status
        await world.declared()
        await world.move("10m")
        said = [str(await tried(world, name)) for name in ("tracker", "chat", "pager", "site")]
        for inputs in ({"title": "a"}, {"title": "b", "description": "c"}):
            try:
                await operations.perform(world.application, "create_ticket", inputs, "ada")
            except OperationError as error:
                said.append(str(error))
        assert any(PLANTED in token for token in vendor.tokens)
        shown = [*surfaces(world), ("doctor and refusals", str(said))]
        assert [name for name, text in shown if PLANTED in text or ENCODED in text] == []


@pytest.mark.parametrize(
    ("status", "gives_tokens"), [(200, True), (401, True), (403, True), (400, False), (401, False)]
)
@pytest.mark.parametrize("kind", [authorized_user, service_account])
async def test_no_credentials_of_google_are_shown_whatever_it_says(engine, tmp_path, kind, status, gives_tokens):
    async with standing_in() as (vendor, url):
        given = {"client_secret": PLANTED, "refresh_token": f"1//{PLANTED}"} if kind is authorized_user else {}
        key = json.loads(kind(f"{url}/token", **given))
        (tmp_path / "google.json").write_text(json.dumps(key))
        vendor.status, vendor.gives_tokens = status, gives_tokens
        async with engine(STEPS_AT_GOOGLE, project=GOOGLE.format(url=url)) as world:
            await world.declared()
            await world.move("10m")
            said = [str(await tried(world, name)) for name in ("docs", "work")]
            lines = key.get("private_key", "").splitlines()[1:-1]
            assert vendor.asked_for_tokens
            assert (f"Bearer {ACCESS}" in vendor.tokens) == gives_tokens
            assert any(PLANTED in one for one in vendor.asked_for_tokens) == (kind is authorized_user)
            shown = [*surfaces(world), ("doctor", str(said))]
            assert [name for name, text in shown for one in (PLANTED, ACCESS, *lines) if one in text] == []


async def test_an_output_that_quotes_a_secret_is_kept_without_it(engine, tmp_path):
    (tmp_path / ".hotwash").mkdir()
    (tmp_path / ".hotwash" / "env").write_text(f"PLANTED={PLANTED}\n")
    async with standing_in() as (_, url), engine(STEPS, project=VENDORS.format(url=url)) as world:
        await world.declared()
        await world.move("10m")
        echoed = next(one for one in world.effects() if one["action"] == "http.request")
        assert re.search(r"you sent \*\*\* and", echoed["result"]["body"]["message"])
