"""One connection of the HTTP server: uvicorn's HTTP/1.1 on httptools, within bounds, and each answer in one write.

What httptools would take without end is bounded here: the head of a request, chunk extensions and trailers, and how
many requests somebody sends without waiting for the answers.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope
    from uvicorn.config import Config
    from uvicorn.server import ServerState

#: The head of a request is at most so many bytes, counting each header as a few more than it has.
MOST_HEAD = 64 * 1024
#: So many requests may wait on one connection while one before them is answered.
MOST_PIPELINED = 32
_PER_HEADER = 32


class _Refused(Exception):
    """Something that is no request of ours, and the connection ends with this answer to it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _body(message: str) -> bytes:
    return json.dumps({"error": message}).encode()


@lru_cache(256)
def _head(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> tuple[bytes, bool]:
    """Give the head of an answer without its last line, and whether it ends the connection."""
    lines = [b"%b: %b\r\n" % header for header in headers if header[0] != b"connection"]
    return STATUS_LINE[status] + b"".join(lines), (b"connection", b"close") in headers


async def _overloaded(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    body = _body("too many connections are open")
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"retry-after", b"5"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


class Exchange(RequestResponseCycle):
    """A request and its answer, which is whole: its headers say its length, and one message holds its body."""

    _begun: Any = None

    async def send(self, message: ASGISendEvent) -> None:
        """Write the answer, head and body at once, when the body is there."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start":
            self.response_started, self._begun = True, message
            return
        if self.response_complete or self._begun is None or message.get("more_body"):
            raise RuntimeError(f"an answer is a start and one body, not '{message['type']}' now")
        head, closes = _head(self._begun["status"], (*self.default_headers, *self._begun["headers"]))
        self.keep_alive = self.keep_alive and not closes
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        body = b"" if self.scope["method"] == "HEAD" else message["body"]  # type: ignore[typeddict-item]
        self.transport.write(b"%b%b%b" % (head, end, body))
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def drop(self) -> None:
        """Let the handler end: nobody takes the answer any more."""
        self.disconnected = True
        self.message_event.set()


class Connection(HttpToolsProtocol):
    """Read requests and have them answered in their order."""

    pipeline: deque[tuple[Exchange, ASGI3Application]]  # type: ignore[assignment]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._answering: Exchange | None = None  #: the one that is answered now, or was last
        self._in_head = False
        self._head = 0  #: bytes of the head that is being read
        self._hosts = 0
        self._upgrades = False
        self._silent = 0  #: bytes since the parser last gave a head or a piece of a body
        self._deaf = False
        self._idle_since: float | None = None  #: when the last answer went out, where nothing came since

    @property
    def awaited(self) -> object:
        """What we wait for at the other side: a request, the rest of its body, the taking of an answer; else None."""
        answering = self._answering
        if answering is None or answering.response_complete:
            return answering, "request"
        if self.transport.get_write_buffer_size():
            return answering, "answer"
        return (answering, "body") if answering.more_body else None

    def connection_lost(self, exc: Exception | None) -> None:
        """Let every handler know."""
        self._drop_all()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    # --- what comes in -----------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Read on, and end the connection with a status where what comes in is no request."""
        if self._deaf:
            return
        self._idle_since = None
        self._silent += len(data)
        try:
            self._feed(data)
            if self._silent > MOST_HEAD:
                raise _too_large()
        except httptools.HttpParserError as error:
            why = error.__context__
            self._refuse(why if isinstance(why, _Refused) else _Refused(400, "this is no HTTP request"))
        except _Refused as refused:
            self._refuse(refused)

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # A client would rather speak another protocol, and this one would do: it is read as if it had not asked.
            self.parser = httptools.HttpRequestParser(self)
            lines = [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
            first = b"%b %b HTTP/1.1\r\n" % (self.scope["method"].encode(), self.url)
            self._feed(b"".join([first, *lines, b"\r\n", data[upgrade.args[0] :]]))

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._in_head, self._head, self._hosts = True, 0, 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self._head += len(url)
        if self._head > MOST_HEAD:
            raise _too_large()
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. Those after a body are nothing that anybody here reads."""
        self._head += len(name) + len(value) + _PER_HEADER
        if self._head > MOST_HEAD:
            raise _too_large()
        if not self._in_head:
            return
        name = name.lower()
        if name == b"host":
            self._hosts += 1
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Have a request answered as soon as those before it are."""
        self._in_head, self._silent = False, 0
        self.scope["method"] = self.parser.get_method().decode("ascii")
        if self.scope["method"] == "CONNECT":
            raise _Refused(405, "this is no proxy")
        self._upgrades = self.parser.should_upgrade()
        if self._upgrades:
            return
        version = self.parser.get_http_version()
        if self._hosts > 1 or (self._hosts == 0 and version == "1.1"):
            raise _Refused(400, "a request has one header Host")
        if len(self.pipeline) >= MOST_PIPELINED:
            raise _Refused(400, f"more than {MOST_PIPELINED} requests wait for their answers")
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        self.scope["http_version"] = version
        self.scope["path"] = unquote(path) if "%" in path else path
        self.scope["raw_path"] = url.path
        self.scope["query_string"] = url.query or b""
        before, exchange = self.cycle, self._exchange(version != "1.0" and self.parser.should_keep_alive())
        self.cycle = exchange
        app = _overloaded if self._too_many() else self.app
        if before is None or before.response_complete:
            self._start(exchange, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, app))

    def _exchange(self, keep_alive: bool) -> Exchange:
        return Exchange(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )

    def _too_many(self) -> bool:
        most = self.limit_concurrency
        return most is not None and (len(self.connections) >= most or len(self.tasks) >= most)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body; one whose request is answered already is passed over."""
        self._silent = 0
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """End a request."""
        if not (self._upgrades or self.cycle.response_complete):
            self.cycle.more_body = False
            self.cycle.message_event.set()

    # --- what goes out -----------------------------------------------------------------------------------------------

    def _start(self, exchange: Exchange, app: Callable[..., Any]) -> None:
        self._answering = exchange
        task = self.loop.create_task(exchange.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait a while for one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start(*self.pipeline.pop())
            return
        self.flow.resume_reading()
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_handler()

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection where nothing came for a while; else look again when that may be so."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return
        due = self._idle_since + self.timeout_keep_alive
        if due <= self.loop.time():
            self.transport.close()
        else:  # one timer for many requests: setting one for each costs more than parsing it
            self.timeout_keep_alive_task = self.loop.call_at(due, self.timeout_keep_alive_handler)

    def _refuse(self, why: _Refused) -> None:
        """Answer what was asked wholly before, then close; where nothing was, say what is wrong."""
        self.logger.warning("Invalid HTTP request received: %s", why)
        self._deaf = True
        self.flow.pause_reading()
        if self.pipeline and self.cycle.more_body:
            self.pipeline.popleft()
        answering = self._answering
        if answering is not None and not answering.response_complete and not answering.more_body:
            last = self.pipeline[0][0] if self.pipeline else answering
            last.keep_alive = False
            return
        if answering is None or not answering.response_started or answering.response_complete:
            body = _body(str(why))
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[why.status] + head + body)
        self._drop_all()
        self.transport.close()

    def _drop_all(self) -> None:
        for exchange in (self._answering, *(waiting for waiting, _ in self.pipeline)):
            if exchange is not None and not exchange.response_complete:
                exchange.drop()
        self.pipeline.clear()


def _too_large() -> _Refused:
    return _Refused(431, f"the head of the request is larger than {MOST_HEAD // 1024} KiB")
