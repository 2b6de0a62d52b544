"""Google's client on a bad day, against a server on this machine."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import ValidationError

from actions.providers.google import MAX_ANSWER, Account, Google, GoogleOptions, Refused
from engine.plugins import ActionError, ConnectionBroken, RetryLater
from tests.fakes import FakeConnection
from tests.google_credentials import CLIENT, ROBOT, authorized_user, service_account

SCOPE = "https://www.googleapis.com/auth/calendar"


class Server:
    """A token endpoint, and an API that answers as `handler` says."""

    def __init__(self):
        self.handler = answering(200, {})
        self.token = lambda: web.json_response({"access_token": f"token-{len(self.asked)}", "expires_in": 3600})
        self.asked = []
        self.address = ""

    async def tokens(self, request):
        self.asked.append(dict(await request.post()))
        return self.token()

    async def serve(self, request):
        return await self.handler(request)


@pytest.fixture
async def server():
    one = Server()
    application = web.Application()
    application.router.add_post("/token", one.tokens)
    application.router.add_route("*", "/{tail:.*}", one.serve)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    one.address = f"http://{host}:{port}"
    yield one
    await runner.cleanup()


@pytest.fixture
async def google(server):
    """Give what makes a client of the calendar's API with some credentials."""
    made = []

    def make(credentials=None, subject=None, timeout=30.0, api=None):
        text = credentials or service_account(f"{server.address}/token")
        options = GoogleOptions(credentials=text, subject=subject, api=api or server.address)
        account = Account(options, [SCOPE])
        connection = FakeConnection(Path())
        made.append(Google("Google Calendar", ("calendar", "v3"), account, options, connection, timeout=timeout))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


def answering(status, body=None, **headers):
    async def handler(request):
        return web.json_response(
            body, status=status, headers={name.replace("_", "-"): v for name, v in headers.items()}
        )

    return handler


def refusing(status, reason, message="no", **headers):
    said = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
    return answering(status, {"error": said}, **headers)


def read(api):
    return api.events().get(calendarId="primary", eventId="abc")


# --- credentials -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("xoxb-1", "must be JSON whose 'type' is service_account or authorized_user"),
        ('{"type": "external_account"}', "must be JSON whose 'type'"),
        ('{"type": "authorized_user", "client_id": "1"}', "'client_secret' and 'refresh_token' is missing"),
    ],
)
def test_credentials_that_are_no_key_are_told_without_being_shown(text, said):
    with pytest.raises(ValidationError) as told:
        GoogleOptions(credentials=text)
    (error,) = told.value.errors()
    assert said in str(error["ctx"]["error"])
    assert "xoxb" not in error["msg"]


def test_a_user_who_consented_acts_for_nobody_else():
    with pytest.raises(ValidationError, match="a user who consented acts in their own name"):
        GoogleOptions(credentials=authorized_user("http://127.0.0.1:1"), subject="ada@example.com")


async def test_a_service_account_asks_for_a_token_in_the_name_of_its_subject(server, google):
    assert await google(subject="ada@example.com").call(read) == {}
    (asked,) = server.asked
    claims = decoded(asked["assertion"])
    assert (claims["iss"], claims["sub"], claims["scope"]) == (ROBOT, "ada@example.com", SCOPE)


async def test_a_user_who_consented_asks_with_the_refresh_token(server, google):
    async def handler(request):
        return web.json_response({"id": request.headers["Authorization"]})

    server.handler = handler
    api = google(authorized_user(f"{server.address}/token"))
    assert await api.call(read) == {"id": "Bearer token-1"}
    assert server.asked == [
        {
            "grant_type": "refresh_token",
            "client_id": CLIENT,
            "client_secret": "very-secret",
            "refresh_token": "1//also-secret",
        }
    ]


async def test_a_token_that_expired_is_replaced_and_the_request_sent_once_more(server, google):
    async def handler(request):
        fresh = request.headers["Authorization"] == "Bearer token-2"
        return web.json_response({} if fresh else {"error": {"code": 401}}, status=200 if fresh else 401)

    server.handler = handler
    assert await google().call(read) == {}
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("subject", "remedy"),
    [("ada@example.com", f"lets client {CLIENT} use {SCOPE} in the Admin console"), (None, "set 'subject'")],
)
async def test_a_token_that_is_refused_says_who_grants_what(server, google, subject, remedy):
    told = {"error": "unauthorized_client", "error_description": "Client is unauthorized"}
    server.token = lambda: web.json_response(told, status=401)
    with pytest.raises(ConnectionBroken) as refused:
        await google(subject=subject).call(read)
    assert "no token: unauthorized_client (Client is unauthorized); " in str(refused.value)
    assert remedy in str(refused.value)


async def test_a_consent_that_was_revoked_says_to_consent_again_and_shows_no_secret(server, google):
    server.token = lambda: web.json_response({"error": "invalid_grant", "error_description": "revoked"}, status=400)
    with pytest.raises(ConnectionBroken, match=r"invalid_grant \(revoked\); consent again") as refused:
        await google(authorized_user(f"{server.address}/token")).call(read)
    assert "secret" not in str(refused.value)


async def test_a_key_that_is_refused_says_what_may_be_wrong_with_it(server, google):
    told = {"error": "invalid_grant", "error_description": "Invalid email or User ID"}
    server.token = lambda: web.json_response(told, status=400)
    with pytest.raises(ConnectionBroken, match=r"\(Invalid email or User ID\); see that 'subject' is a user"):
        await google(subject="nobody@example.com").call(read)


async def test_a_token_that_google_quotes_is_not_shown(server, google):
    server.handler = refusing(400, "invalid", "what is token-1 to mean?")
    with pytest.raises(Refused, match=r"400 invalid: what is \*\*\* to mean\?"):
        await google().call(read)


async def test_a_private_key_that_cannot_be_read_is_not_shown(server, google):
    api = google(service_account(f"{server.address}/token", private_key="-----BEGIN PRIVATE KEY-----\nnot-this\n"))
    with pytest.raises(ConnectionBroken, match=f"the 'private_key' of {ROBOT} cannot be read") as refused:
        await api.call(read)
    assert "not-this" not in str(refused.value)


async def test_no_token_where_its_server_is_away_is_tried_again(server, google):
    with pytest.raises(RetryLater, match="TransportError") as told:
        await google(service_account("http://127.0.0.1:1/token")).call(read)
    assert told.value.maybe_done is False


# --- refusals --------------------------------------------------------------------------------------------------------


async def test_a_missing_scope_is_named_with_who_grants_it(server, google):
    challenge = 'Bearer realm="https://accounts.google.com/", error="insufficient_scope", scope="https://a https://b"'
    server.handler = refusing(403, "insufficientPermissions", WWW_Authenticate=challenge)
    with pytest.raises(ConnectionBroken, match=r"403 insufficientPermissions: no; .* use https://a https://b in the"):
        await google(subject="ada@example.com").call(read)


async def test_of_the_scopes_that_would_do_the_one_that_we_ask_for_is_named(server, google):
    challenge = f'Bearer error="insufficient_scope", scope="https://a {SCOPE} https://b"'
    server.handler = refusing(403, "insufficientPermissions", WWW_Authenticate=challenge)
    with pytest.raises(ConnectionBroken, match=rf"use {SCOPE} in the Admin console"):
        await google(subject="ada@example.com").call(read)


async def test_an_api_that_is_switched_off_breaks_the_connection(server, google):
    server.handler = refusing(403, "accessNotConfigured")
    with pytest.raises(ConnectionBroken, match="switches the API on"):
        await google().call(read)


@pytest.mark.parametrize(
    ("status", "reason"), [(403, "rateLimitExceeded"), (403, "userRateLimitExceeded"), (429, "rateLimitExceeded")]
)
async def test_too_many_calls_say_how_long_to_wait(server, google, status, reason):
    server.handler = refusing(status, reason, Retry_After="17")
    with pytest.raises(RetryLater) as told:
        await google().call(read)
    assert (told.value.after, told.value.too_often, told.value.maybe_done) == (17.0, True, False)


async def test_what_one_thing_is_refused_for_leaves_the_connection_as_it_is(server, google):
    server.handler = refusing(403, "forbiddenForNonOrganizer", "Shared properties can only be changed by the organizer")
    with pytest.raises(
        Refused, match=r"answered calendar\.events\.get with 403 forbiddenForNonOrganizer: Shared"
    ) as told:
        await google().call(read)
    assert (told.value.status, told.value.reason, told.value.code) == (403, "forbiddenForNonOrganizer", "http-403")


async def test_a_403_that_says_nothing_breaks_the_connection(server, google):
    async def handler(request):
        return web.Response(status=403)

    server.handler = handler
    with pytest.raises(ConnectionBroken):
        await google().call(read)


async def test_a_conflict_can_be_told_from_other_refusals(server, google):
    server.handler = refusing(409, "duplicate")
    with pytest.raises(Refused) as told:
        await google().call(read)
    assert (told.value.status, told.value.reason) == (409, "duplicate")


async def test_what_is_missing_is_nothing_where_that_is_asked_for(server, google):
    server.handler = refusing(404, "notFound")
    assert await google().call(read, missing=True) is None
    with pytest.raises(Refused):
        await google().call(read)


@pytest.mark.parametrize(("status", "maybe_done"), [(500, True), (503, False)])
async def test_trouble_of_google_is_tried_again_later_and_not_by_the_client(server, google, status, maybe_done):
    seen = []

    async def handler(request):
        seen.append(request)
        return web.json_response({}, status=status)

    server.handler = handler
    with pytest.raises(RetryLater) as told:
        await google().call(read)
    assert (told.value.maybe_done, len(seen)) == (maybe_done, 1)


# --- the network -----------------------------------------------------------------------------------------------------


async def test_an_answer_that_is_lost_may_have_been_done_and_is_asked_for_once(server, google):
    seen = []

    async def handler(request):
        seen.append(request)
        request.transport.close()
        return web.Response()

    server.handler = handler
    with pytest.raises(RetryLater, match=r"broke off calendar\.events\.get") as told:
        await google().call(read)
    assert (told.value.maybe_done, len(seen)) == (True, 1)


async def test_an_answer_that_does_not_come_in_time_may_have_been_done(server, google):
    free = asyncio.Event()

    async def handler(request):
        await free.wait()
        return web.json_response({})

    server.handler = handler
    with pytest.raises(RetryLater, match="gave no answer") as told:
        await google(timeout=0.2).call(read)
    free.set()
    assert told.value.maybe_done is True


async def test_a_server_that_is_not_there_was_sent_nothing(server, google):
    with pytest.raises(RetryLater, match="cannot be reached") as told:
        await google(api="http://127.0.0.1:1").call(read)
    assert told.value.maybe_done is False


async def test_a_slow_call_holds_up_neither_the_loop_nor_another(server, google):
    free, threads = asyncio.Event(), set()

    async def handler(request):
        if request.path.endswith("slow"):
            await free.wait()
        threads.update(one.name for one in threading.enumerate() if one.name.startswith("google-"))
        return web.json_response({"id": request.path[-4:]})

    server.handler = handler
    api = google()
    slow = asyncio.create_task(api.call(lambda client: client.events().get(calendarId="primary", eventId="slow")))
    quick = await api.call(lambda client: client.events().get(calendarId="primary", eventId="fast"))
    free.set()
    assert (quick["id"], (await slow)["id"]) == ("fast", "slow")
    assert threads


async def test_an_answer_without_end_is_cut(server, google):
    async def handler(request):
        return web.Response(body=b"x" * (MAX_ANSWER + 1))

    server.handler = handler
    with pytest.raises(ActionError, match="more than 16 MiB"):
        await google().call(read)


async def test_an_answer_that_is_no_json_is_told(server, google):
    async def handler(request):
        return web.Response(text="<html>")

    server.handler = handler
    with pytest.raises(ActionError, match="no JSON"):
        await google().call(read)


async def test_a_redirect_is_not_followed(server, google):
    async def handler(request):
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    server.handler = handler
    with pytest.raises(ActionError, match="302"):
        await google().call(read)


async def test_every_page_of_a_list_is_read(server, google):
    async def handler(request):
        token = request.query.get("pageToken")
        return web.json_response({"items": [{"id": token or "first"}]} | ({} if token else {"nextPageToken": "second"}))

    server.handler = handler
    pages = google().pages(lambda api, token: api.events().list(calendarId="primary", pageToken=token))
    assert [page["items"][0]["id"] async for page in pages] == ["first", "second"]


async def test_a_clock_that_differs_from_googles_is_told(server, google):
    api = google()
    server.handler = answering(200, {}, Date="Mon, 02 Mar 2026 08:50:00 GMT")  # ours says 09:00
    await api.call(read)
    assert "600 seconds ahead of Google's" in str(api.skew())


def decoded(assertion):
    import base64

    part = assertion.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
