"""A vendor's REST API on a bad day, against a server on this machine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from actions.providers.rest import MAX_ANSWER, MOST_PAGES, Rest
from engine.plugins import ActionError, ConnectionBroken, RetryLater
from tests.fakes import FakeConnection


@pytest.fixture
async def vendor():
    """Give what starts a server with one handler, and its API."""
    opened = []

    async def serve(handler, timeout=30.0):
        application = web.Application()
        application.router.add_route("*", "/{tail:.*}", handler)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        api = Rest("Vendor", FakeConnection(Path()), f"http://{host}:{port}", {"Authorization": "k"}, timeout=timeout)
        opened.append((api, runner))
        return api

    yield serve
    for api, runner in opened:
        await api.aclose()
        await runner.cleanup()


def answering(status, body=None, **headers):
    async def handler(request):
        return web.json_response(body, status=status, headers=headers)

    return handler


async def test_json_goes_both_ways_with_the_credentials(vendor):
    async def handler(request):
        sent = await request.json()
        return web.json_response([request.method, list(request.query.items()), request.headers["Authorization"], sent])

    api = await vendor(handler)
    answer = await api.call("POST", "/a", query={"q": "b c", "ids[]": ["1", "2"]}, body={"n": 1})
    assert answer == ["POST", [["q", "b c"], ["ids[]", "1"], ["ids[]", "2"]], "k", {"n": 1}]


async def test_an_empty_answer_is_nothing(vendor):
    async def handler(request):
        return web.Response(status=204)

    assert await (await vendor(handler)).call("DELETE", "/a") is None


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_credentials_break_the_connection(vendor, status):
    api = await vendor(answering(status, {"error": {"message": "scope read is missing"}}))
    with pytest.raises(ConnectionBroken, match=f"Vendor answered GET /a with {status}: scope read is missing"):
        await api.call("GET", "/a")


async def test_too_many_calls_say_how_long_to_wait(vendor):
    api = await vendor(answering(429, **{"Retry-After": "17"}))
    with pytest.raises(RetryLater) as told:
        await api.call("POST", "/a")
    assert (told.value.after, told.value.too_often, told.value.maybe_done) == (17.0, True, False)


@pytest.mark.parametrize(("status", "maybe_done"), [(500, True), (502, True), (503, False), (408, False)])
async def test_trouble_of_the_vendor_is_tried_again(vendor, status, maybe_done):
    with pytest.raises(RetryLater) as told:
        await (await vendor(answering(status))).call("POST", "/a")
    assert told.value.maybe_done is maybe_done


async def test_what_the_vendor_refuses_is_given_up_with_what_it_said(vendor):
    api = await vendor(answering(422, {"errors": [{"detail": "title is missing"}, {"detail": "title is missing"}]}))
    with pytest.raises(ActionError, match=r"422: title is missing$") as told:
        await api.call("POST", "/a")
    assert told.value.code == "http-422"


async def test_what_is_missing_is_nothing_where_it_is_read(vendor):
    api = await vendor(answering(404, {"error": "not found"}))
    assert await api.get("/a") is None
    with pytest.raises(ActionError, match="404"):
        await api.call("PUT", "/a")


async def test_no_answer_in_time_may_have_been_done(vendor):
    hours = asyncio.Event()

    async def handler(request):
        await hours.wait()

    api = await vendor(handler, timeout=0.05)
    with pytest.raises(RetryLater, match=r"no answer to POST /a within 0\.05 seconds") as told:
        await api.call("POST", "/a")
    hours.set()
    assert told.value.maybe_done


async def test_a_connection_that_breaks_off_may_have_done_it(vendor):
    async def handler(request):
        request.transport.abort()
        return web.Response()

    with pytest.raises(RetryLater, match="broke off POST /a") as told:
        await (await vendor(handler)).call("POST", "/a")
    assert told.value.maybe_done


async def test_who_cannot_be_reached_has_done_nothing(vendor):
    listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    api = Rest("Vendor", FakeConnection(Path()), f"http://127.0.0.1:{port}", {})
    with pytest.raises(RetryLater, match="cannot be reached") as told:
        await api.call("POST", "/a")
    assert not told.value.maybe_done
    await api.aclose()


async def test_an_answer_is_bounded(vendor):
    async def handler(request):
        return web.Response(body=b"[" + b" " * MAX_ANSWER + b"]")

    with pytest.raises(ActionError, match="more than 8 MiB"):
        await (await vendor(handler)).call("GET", "/a")


async def test_what_is_no_json_is_said(vendor):
    async def handler(request):
        return web.Response(text="<html>maintenance</html>")

    with pytest.raises(ActionError, match="no JSON"):
        await (await vendor(handler)).call("GET", "/a")


async def test_all_pages_are_read(vendor):
    async def handler(request):
        offset, limit = int(request.query["offset"]), int(request.query["limit"])
        items = list(range(offset, min(offset + limit, 250)))
        return web.json_response({"things": items, "more": offset + limit < 250})

    api = await vendor(handler)
    assert [item async for item in api.pages("/things", "things", {})] == list(range(250))


async def test_a_list_without_an_end_is_given_up(vendor):
    api = await vendor(answering(200, {"things": [1], "more": True}))
    with pytest.raises(ActionError, match=f"more than {MOST_PAGES} things"):
        [item async for item in api.pages("/things", "things", {})]


@pytest.mark.parametrize(
    ("date", "said"),
    [
        ("Mon, 02 Mar 2026 09:00:40 GMT", None),
        ("Mon, 02 Mar 2026 08:58:00 GMT", "120 seconds ahead of Vendor's"),
        ("Mon, 02 Mar 2026 09:05:00 GMT", "300 seconds behind Vendor's"),
        ("some day", None),
    ],
)
async def test_a_clock_that_is_wrong_is_told(vendor, date, said):
    api = await vendor(answering(200, {}, Date=date))  # here it is Monday 09:00
    await api.call("GET", "/a")
    assert said in api.skew() if said else api.skew() is None


@pytest.mark.parametrize(("status", "remedy"), [(401, "; make a new key"), (403, "; an admin grants it"), (400, "")])
async def test_a_refusal_of_credentials_says_who_can_do_what_about_it(vendor, status, remedy):
    api = await vendor(answering(status))
    api._remedies = {401: "make a new key", 403: "an admin grants it"}
    with pytest.raises((ConnectionBroken, ActionError), match=f"with {status}{remedy}$"):
        await api.call("GET", "/a")
