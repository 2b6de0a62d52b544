"""The HTTP server: webhooks in, the JSON API, health.

Every answer is JSON; what goes wrong is `{"error": "a sentence"}`, never a traceback. The API needs its token always,
also on loopback, and a Host header that the project is configured for; webhooks prove themselves by their signature.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from engine import operations, reports
from engine.application import Application
from engine.config import Server
from engine.operations import BadInput, Done, NotFound, Refused
from engine.plugins import Received, Unauthorized
from engine.reports.values import plain
from engine.store.codec import encode, instant, micros, plain_json
from engine.store.journal import StorageUnavailable

#: The engine counts as late when something was due this long ago and has not been looked at.
LATE = timedelta(minutes=1)
#: The body of an operation is at most this many bytes.
MOST_OF_OPERATION = 256 * 1024
#: Bodies that are being read hold at most this many bytes together; who sends more is asked to come again.
MOST_HELD = 64 * 1024 * 1024
#: At most this many connections are open; further ones are answered with 503.
MOST_CONNECTIONS = 1000
#: A request has to arrive, and its answer to be taken, within so many seconds.
PATIENCE = 30.0
#: The JSON of an operation nests at most this deeply.
_DEEPEST = 50
#: A list is at most this long.
MOST_LISTED = 1000

#: Requests under way have this many seconds to end when the server stops.
STOPPING = 5

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ANY_ADDRESS = ("0.0.0.0", "::")
_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (NotFound, 404),
    (reports.NotFound, 404),
    (Refused, 409),
    (BadInput, 400),
)

Handler = Callable[[Application, Request], Awaitable[Response]]


class _Refusal(Exception):
    """A request that is answered with a status and a sentence."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers


def create_app(application: Application, token: str | None = None) -> Starlette:
    """Give the ASGI application that serves an engine, which the caller starts and stops.

    Args:
        application: the engine.
        token: what the API is called with: `Authorization: Bearer TOKEN`. Without one the API refuses everybody.
    """
    guard = _Guard(token or None, application.config.server)

    def open_(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        return partial(_answer, application, handler, None)

    def guarded(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        return partial(_answer, application, handler, guard)

    routes = [
        Route("/hooks/{connection}", open_(_hook), methods=["POST"]),
        Route("/healthz", open_(_health), methods=["GET"]),
        Route("/readyz", open_(_ready), methods=["GET"]),
        Route("/api/events", guarded(_events), methods=["GET"]),
        Route("/api/events/{id}", guarded(_event), methods=["GET"]),
        Route("/api/runs", guarded(_runs), methods=["GET"]),
        Route("/api/runs/{id}", guarded(_run), methods=["GET"]),
        Route("/api/operations/{name}", guarded(_operation), methods=["POST"]),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _http_error})
    app.router.redirect_slashes = False  # such a redirect would lead to whatever the Host header says
    app.state.load = _Load()
    return app


def body_of(done: Done) -> dict[str, Any]:
    """Give what an operation did as JSON."""
    return {"message": done.message, **plain(encode(dict(done.data)))}


@asynccontextmanager
async def serving(
    application: Application, token: str | None, host: str, port: int, *, patience: float = PATIENCE
) -> AsyncIterator[str]:
    """Serve an engine while the block runs; give the address, such as `http://127.0.0.1:8321`.

    Port 0 takes a free one. At the end nothing new is taken, and requests under way are answered. A connection whose
    sender lets us wait for more than `patience` seconds is closed.

    Raises:
        OSError: the address cannot be had: the port is taken, or the host is not this machine.
    """
    listening = _listen(host, port)
    config = uvicorn.Config(
        create_app(application, token),
        lifespan="off",
        http=_Protocol,
        ws="none",
        limit_concurrency=MOST_CONNECTIONS,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=STOPPING,
    )
    server = _Uvicorn(config, patience)
    task = asyncio.create_task(server.serve([listening]), name="server")
    ready = asyncio.create_task(server.ready.wait())
    try:
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield _address(host, listening.getsockname()[1])
    finally:
        ready.cancel()
        server.should_exit = True
        await task
        listening.close()


class _Protocol(H11Protocol):
    """Uvicorn's HTTP, which forgets that an answer may be under way when it refuses what follows."""

    def send_400_response(self, msg: str) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # or the handler's own answer would fail, with a traceback
            self.cycle.message_event.set()


class _Uvicorn(uvicorn.Server):
    """Uvicorn without hands on the process: its signals are whoever's started it."""

    def __init__(self, config: uvicorn.Config, patience: float) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._patience = patience
        self._waited_for: dict[H11Protocol, tuple[object, float]] = {}
        self._next_look = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def on_tick(self, counter: int) -> bool:
        now = asyncio.get_running_loop().time()
        if now >= self._next_look:
            self._next_look = now + self._patience / 6
            self._close_slow(now)
        return await super().on_tick(counter)

    def _close_slow(self, now: float) -> None:
        """Close the connections that we have been waiting for too long: uvicorn would wait for ever."""
        waiting: dict[H11Protocol, tuple[object, float]] = {}
        for connection in self.server_state.connections:
            assert isinstance(connection, H11Protocol)
            what = _awaited(connection)
            before = self._waited_for.get(connection)
            if what is None or before is None or before[0] != what:
                before = (what, now)
            if what is not None and now - before[1] > self._patience:
                connection.transport.abort()
            else:
                waiting[connection] = before
        self._waited_for = waiting

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _awaited(connection: H11Protocol) -> object:
    """Give what we wait for at the other side: a request, the rest of its body, the taking of an answer; else None."""
    theirs, ours = connection.conn.their_state, connection.conn.our_state
    if theirs in (h11.IDLE, h11.SEND_BODY) or ours is h11.SEND_BODY:
        return id(connection.cycle), theirs, ours
    return None


def _listen(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server(found[4][:2], family=found[0], backlog=2048)


def _address(host: str, port: int) -> str:
    """Give the address that this machine reaches the server by."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


# --- around every request --------------------------------------------------------------------------------------------


async def _answer(application: Application, handler: Handler, guard: _Guard | None, request: Request) -> Response:
    """Answer a request, whatever happens, with JSON."""
    try:
        if guard is not None:
            guard.check(request)
        return await handler(application, request)
    except _Refusal as refusal:
        return _error(refusal.status, str(refusal), refusal.headers)
    except StorageUnavailable:
        return _error(503, "the database cannot be written now; nothing was changed", {"Retry-After": "10"})
    except ClientDisconnect:
        return _error(400, "the sender went away before the end of the body")
    except Exception as error:  # noqa: BLE001  a traceback is for the log, not for whoever sent the request
        for kind, status in _STATUS:
            if isinstance(error, kind):
                return _error(status, str(error))
        application.tell(
            "request.failed",
            f"{request.method} {request.url.path}: {type(error).__name__}: {error}",
            error=type(error).__name__,
        )
        return _error(500, "this is a mistake in Hotwash: the engine's log says which")


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return _Answer({"error": message}, status, dict(headers or {}))


class _Answer(JSONResponse):
    """JSON whose texts may hold what UTF-8 cannot: somebody sent it, and it is cited."""

    def render(self, content: Any) -> bytes:
        return plain_json(content).encode()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = {404: "there is nothing here", 405: f"{request.method} is not possible here"}
    return _error(error.status_code, known.get(error.status_code, str(error.detail).lower()), error.headers)


@dataclass(frozen=True, slots=True)
class _Guard:
    """Who may use the API: whoever knows the token, by a name that is configured."""

    token: str | None
    server: Server

    def check(self, request: Request) -> None:
        name = _host_of(request.headers.get("host", ""))
        if not self._is_ours(name):
            raise _Refusal(403, f"the API is not served as '{name[:100]}': 'server:' of hotwash.yaml says where it is")
        if self.token is None:
            raise _Refusal(403, "the API is off: the engine was started without a token")
        given = request.headers.get("authorization", "")
        scheme, _, token = given.partition(" ")
        same = hmac.compare_digest(token.strip().encode(errors="replace"), self.token.encode())
        if scheme.lower() != "bearer" or not same:
            what = "the token is not the engine's" if given else "the header Authorization is missing"
            raise _Refusal(401, f"{what}: send 'Authorization: Bearer TOKEN'", **{"WWW-Authenticate": "Bearer"})

    def _is_ours(self, name: str) -> bool:
        """Whether we are configured to be called that. Behind a name of somebody else's stands a page in a browser."""
        public = urlsplit(self.server.url).hostname if self.server.url else None
        if name in (*_LOOPBACK, self.server.host.lower(), public):
            return True
        return self.server.host in _ANY_ADDRESS and _is_address(name)


def _host_of(header: str) -> str:
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


@dataclass(slots=True)
class _Load:
    """How many bytes of bodies are held whose end has not come."""

    held: int = 0


async def _read(request: Request, most: int) -> bytes:
    """Give the body; one that is too large, or too much with those of others, is refused while it is read."""
    too_large = _Refusal(413, f"the body is larger than {most:,} bytes", Connection="close")
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > most:
        raise too_large
    body = bytearray()
    load: _Load = request.app.state.load
    try:
        async for chunk in request.stream():
            body += chunk
            load.held += len(chunk)
            if len(body) > most:
                raise too_large
            if load.held > MOST_HELD:
                raise _Refusal(503, "too many bodies arrive at once", **{"Retry-After": "5", "Connection": "close"})
        return bytes(body)
    finally:
        load.held -= len(body)


# --- webhooks --------------------------------------------------------------------------------------------------------


async def _hook(application: Application, request: Request) -> Response:
    name = request.path_params["connection"]
    source = _source(application, name)
    body = await _read(request, application.config.limits.body)
    headers = _headers(request)
    now = application.clock.now()
    try:
        source.authenticate(headers, body, now)
        received: Received = source.read(headers, body, now)
    except Unauthorized as error:
        application.tell("webhook.unauthorized", f"{name}: a webhook is refused: {error}", connection=name)
        raise _Refusal(401, str(error)) from None
    except ValueError as error:
        application.tell("webhook.unreadable", f"{name}: a webhook is refused: {error}", connection=name)
        raise _Refusal(400, str(error)) from None
    accepted = await application.accept(name, received.facts, received.ignored)
    if received.ignored is not None:
        application.tell("webhook.ignored", f"{name}: ignored: {received.ignored}", connection=name)
        return _Answer({"accepted": 0, "ignored": received.ignored}, 202)
    if received.response is not None:
        return _Answer(dict(received.response), 202)
    counts = {"accepted": len(received.facts) - accepted.duplicates}
    return _Answer({**counts, "duplicates": accepted.duplicates} if accepted.duplicates else counts, 202)


def _source(application: Application, name: str) -> Any:
    source = application.sources.get(name)
    if source is not None:
        return source
    why = application.disabled.get(name)
    if why is not None:
        raise _Refusal(503, f"connection '{name}' is off: {why}", **{"Retry-After": "300"})
    raise _Refusal(404, f"no connection that takes webhooks is called '{name[:100]}'")


def _headers(request: Request) -> dict[str, str]:
    """Give the headers by name in lower case; what was sent several times is joined with commas."""
    found: dict[str, str] = {}
    for name, value in request.headers.items():
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


# --- health ----------------------------------------------------------------------------------------------------------


async def _health(application: Application, request: Request) -> Response:
    return _Answer({"status": "ok"})


async def _ready(application: Application, request: Request) -> Response:
    """Say whether what comes in is kept and what is due is done."""
    faults = _faults(application)
    status = {"status": "not ready", "reasons": faults} if faults else {"status": "ready"}
    return _Answer(status, 503 if faults else 200)


def _faults(application: Application) -> list[str]:
    faults = []
    if not application.started:
        faults.append("the engine is starting")
    elif application.executor.stopping:
        faults.append("the engine is stopping")
    if application.journal.failing is not None:
        faults.append("the database cannot be written")
    before = application.clock.now() - LATE
    row = application.reader.execute(
        "SELECT (SELECT min(due) FROM waits WHERE due IS NOT NULL) AS due,"
        " (SELECT min(received) FROM events WHERE state = 'new') AS received"
    ).fetchone()
    polls = application.polls.next_due()
    late = [instant(us) for us in (row["due"], row["received"]) if us is not None and us < micros(before)]
    late += [polls] if polls is not None and polls < before else []
    if late:
        faults.append(f"what was due at {min(late).isoformat(timespec='seconds')} has not been looked at")
    return faults


# --- the API ---------------------------------------------------------------------------------------------------------


async def _events(application: Application, request: Request) -> Response:
    asked = _query(request, "type", "subject", "limit")
    limit = _limit(asked.pop("limit", None))
    return _Answer({"events": reports.list_events(application.reader, limit=limit, **asked)})


async def _event(application: Application, request: Request) -> Response:
    return _Answer(reports.show_event(application.reader, request.path_params["id"]))


async def _runs(application: Application, request: Request) -> Response:
    asked = _query(request, "workflow", "state", "limit")
    limit = _limit(asked.pop("limit", None))
    return _Answer({"runs": reports.list_runs(application.reader, limit=limit, **asked)})


async def _run(application: Application, request: Request) -> Response:
    return _Answer(reports.show_run(application.reader, request.path_params["id"]))


async def _operation(application: Application, request: Request) -> Response:
    """Do what the path names: the body is `{"actor": NAME, "inputs": {…}}`."""
    asked = _object(await _read(request, MOST_OF_OPERATION))
    unknown = asked.keys() - {"actor", "inputs"}
    if unknown:
        raise BadInput(f"the body holds 'actor' and 'inputs', not '{min(unknown)}'")
    actor, inputs = asked.get("actor"), asked.get("inputs", {})
    if not isinstance(actor, str) or not isinstance(inputs, dict):
        raise BadInput("the body must be a mapping with 'actor', a name, and 'inputs', a mapping")
    done = await operations.perform(application, request.path_params["name"], inputs, actor)
    return _Answer(body_of(done))


def _object(body: bytes) -> dict[str, Any]:
    """Read a body. Half characters, which no database takes, become `�`."""
    try:
        value = json.loads(body)
        if not isinstance(value, dict):
            raise BadInput("the body must be a mapping with 'actor', a name, and 'inputs', a mapping")
        value = json.loads(plain_json(value))
    except (ValueError, RecursionError):  # NaN is none either
        raise BadInput("the body is not JSON") from None
    if _too_deep(value):
        raise BadInput(f"the body is nested more than {_DEEPEST} deep")
    return dict(value)


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for one in level for inner in _inside(one)]
    return bool(level)


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _query(request: Request, *known: str) -> dict[str, Any]:
    asked = dict(request.query_params)
    for name in asked:
        if name not in known:
            raise BadInput(f"there is no filter '{name[:100]}'; there are {', '.join(known)}")
    return asked


def _limit(text: str | None) -> int:
    if text is None:
        return 50
    if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST_LISTED:
        return int(text)
    raise BadInput(f"'limit' must be a number from 1 to {MOST_LISTED}, not '{text[:20]}'")
