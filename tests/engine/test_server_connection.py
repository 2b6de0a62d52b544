"""What the server makes of bytes on a connection."""

import asyncio
import json
import re
from contextlib import asynccontextmanager

import pytest

from engine.server.connection import MOST_HEAD, MOST_PIPELINED
from engine.server.listening import serving_app

GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Taking:
    """An application that takes every body, and answers when it may."""

    def __init__(self):
        self.bodies, self.headers, self.gone = [], {}, 0
        self.begun, self.may_answer = asyncio.Event(), asyncio.Event()
        self.may_answer.set()

    async def __call__(self, scope, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone += 1
                return
            body, more = body + message["body"], message["more_body"]
        self.headers = dict(scope["headers"])
        self.begun.set()
        await self.may_answer.wait()
        if scope["method"] == "POST":
            self.bodies.append(body)
        status = 202 if scope["method"] == "POST" else 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})


@asynccontextmanager
async def listening(**more):
    """Open a server with an application that takes everything."""
    taking = Taking()
    async with serving_app(taking, "127.0.0.1", 0, **more) as address:
        yield taking, int(address.rpartition(":")[2])


def post(body=b"{}", path=b"/hooks/pager", more=b""):
    head = b"POST %s HTTP/1.1\r\nHost: a\r\n%sContent-Length: %d\r\n\r\n"
    return head % (path, more, len(body)) + body


async def answers(port, *pieces, ends=False):
    """Send pieces one by one and give all that is answered until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if ends:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def statuses(answer):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", answer)]


async def test_a_request_that_comes_byte_by_byte_is_one_request():
    async with listening() as (app, port):
        data = post(b'{"a": 1}', more=b"Connection: close\r\n")
        answer = await answers(port, *(data[at : at + 1] for at in range(len(data))))
        assert (statuses(answer), app.bodies) == ([202], [b'{"a": 1}'])


async def test_requests_that_are_sent_without_waiting_are_answered_in_their_order():
    async with listening() as (app, port):
        bodies = [b"%d" % number for number in range(MOST_PIPELINED)]
        answer = await answers(port, b"".join(post(body) for body in bodies) + LAST)
        assert statuses(answer) == [202] * MOST_PIPELINED + [200]
        assert app.bodies == bodies


async def test_more_requests_than_are_kept_waiting_end_the_connection():
    async with listening() as (app, port):
        answer = await answers(port, post() * (MOST_PIPELINED + 50))
        assert statuses(answer) == [202] * (MOST_PIPELINED + 1)
        assert len(app.bodies) == MOST_PIPELINED + 1


async def test_what_was_asked_before_nonsense_is_answered_and_then_the_connection_ends():
    async with listening() as (app, port):
        answer = await answers(port, post(b"1") + post(b"2") + b"\x00nonsense")
        assert (statuses(answer), app.bodies) == ([202, 202], [b"1", b"2"])
        assert answer.count(b"connection: close") == 1


@pytest.mark.parametrize(
    "sent", [b"\x00\r\n\r\n", b"GET / HTTP/1.1\nHost: a\n\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"]
)
async def test_what_is_no_request_is_said_to_be_none(sent):
    async with listening() as (_, port):
        answer = await answers(port, sent)
        assert statuses(answer) == [400]
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"error": "this is no HTTP request"}


@pytest.mark.parametrize("host", [b"", b"Host: a\r\nHost: b\r\n"])
async def test_a_request_names_one_host(host):
    async with listening() as (_, port):
        assert statuses(await answers(port, b"GET /healthz HTTP/1.1\r\n" + host + b"\r\n")) == [400]


async def test_a_body_that_says_two_lengths_is_refused():
    async with listening() as (app, port):
        both = b"Transfer-Encoding: chunked\r\n"
        assert statuses(await answers(port, post(b"0\r\n\r\n", more=both))) == [400]
        assert app.bodies == []


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * MOST_HEAD + b" HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * MOST_HEAD + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * (MOST_HEAD // 32),
        b"GET / HTTP/1.1\r\n" + b"a" * MOST_HEAD,
    ],
)
@pytest.mark.parametrize("pieces", [1, 100])
async def test_a_head_that_is_too_large_is_refused_while_it_is_read(head, pieces):
    async with listening() as (_, port):
        size = len(head) // pieces + 1
        answer = await answers(port, *(head[at : at + size] for at in range(0, len(head), size)))
        assert statuses(answer) in ([431], [])  # the latter where the rest was on its way when we closed


@pytest.mark.parametrize("rest", [b"1;" + b"x" * 10 * MOST_HEAD, b"0\r\nX: " + b"a" * 10 * MOST_HEAD, b"f" * 99])
async def test_a_body_in_chunks_has_no_endless_extensions_and_trailers(rest):
    async with listening() as (app, port):
        head = b"POST /hooks/pager HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
        answer = await answers(port, head, rest)
        assert statuses(answer) in ([431], [400], [])
        assert app.bodies == []


async def test_what_stands_after_a_body_is_no_header():
    async with listening() as (app, port):
        head = b"POST /hooks/pager HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = await answers(port, head + b"1\r\na\r\n", b"0\r\nX-Signature: forged\r\n\r\n")
        assert (statuses(answer), app.bodies) == ([202], [b"a"])
        assert b"x-signature" not in app.headers


async def test_blanks_around_a_header_are_not_part_of_it():
    async with listening() as (app, port):
        await answers(port, post(more=b"Connection: close\r\nX-Signature: \t abc \t\r\n"))
        assert app.headers[b"x-signature"] == b"abc"


async def test_a_large_body_comes_in_whole():
    async with listening() as (app, port):
        body = b"x" * 1_000_000
        answer = await answers(port, post(body, more=b"Connection: close\r\n"))
        assert (statuses(answer), app.bodies == [body]) == ([202], True)


async def test_who_asks_first_whether_to_send_the_body_is_told_to():
    async with listening() as (app, port):
        asked = b"POST /hooks/pager HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n"
        answer = await answers(port, asked + b"Connection: close\r\n\r\n", b"{}")
        assert (statuses(answer), app.bodies) == ([100, 202], [b"{}"])


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
async def test_who_would_rather_speak_another_protocol_is_answered_in_this_one(protocol):
    async with listening() as (app, port):
        upgrade = post(b"abc", more=b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\n" % protocol)
        answer = await answers(port, upgrade[:-1], upgrade[-1:] + LAST)
        assert (statuses(answer), app.bodies) == ([202, 200], [b"abc"])


async def test_the_server_is_no_proxy():
    async with listening() as (_, port):
        assert statuses(await answers(port, b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n")) == [405]


async def test_a_question_for_the_head_alone_is_answered_without_a_body():
    async with listening() as (_, port):
        answer = await answers(port, LAST.replace(b"GET", b"HEAD"))
        assert (statuses(answer), answer.partition(b"\r\n\r\n")[2]) == ([200], b"")


async def test_an_old_client_is_answered_and_left():
    async with listening() as (_, port):
        answer = await answers(port, b"GET /healthz HTTP/1.0\r\n\r\n")
        assert statuses(answer) == [200]
        assert b"connection: close" in answer


async def test_answers_do_not_say_what_serves_them():
    async with listening() as (_, port):
        assert b"\r\nserver:" not in (await answers(port, LAST)).lower()


@pytest.mark.parametrize("beginning", [b"", b"GET /hea", post(b"abc")[:-1], GET + b"GET /h"])
async def test_who_lets_the_server_wait_is_left(beginning):
    async with listening(patience=0.3) as (app, port):
        assert statuses(await answers(port, beginning)) == [200] * beginning.count(GET)
        assert app.bodies == []


async def test_a_connection_on_which_nothing_comes_any_more_is_closed():
    async with listening(idle=0.1) as (_, port):
        assert statuses(await answers(port, GET, GET)) == [200, 200]


async def test_who_waits_for_the_server_is_not_left():
    async with listening(patience=0.05) as (app, port):
        app.may_answer.clear()
        asking = asyncio.create_task(answers(port, LAST))
        await app.begun.wait()
        asyncio.get_running_loop().call_later(0.5, app.may_answer.set)
        assert statuses(await asking) == [200]


async def test_a_handler_learns_that_the_sender_went_away():
    async with listening() as (app, port):
        assert await answers(port, post(b"abc")[:-1], ends=True) == b""
        assert (app.gone, app.bodies) == (1, [])


async def test_what_is_under_way_is_answered_when_the_server_stops():
    async with listening() as (app, port):
        app.may_answer.clear()
        asking = asyncio.create_task(answers(port, GET))
        await app.begun.wait()
        asyncio.get_running_loop().call_later(0.2, app.may_answer.set)
    answer = await asking
    assert (statuses(answer), b"connection: close" in answer) == ([200], True)


async def test_beyond_the_most_connections_a_request_is_asked_to_come_again():
    async with listening(connections=1) as (app, port):
        answer = await answers(port, post())
        assert (statuses(answer), app.bodies) == ([503], [])
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"error": "too many connections are open"}
