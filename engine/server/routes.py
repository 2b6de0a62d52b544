"""What is served where: webhooks, health, the JSON API.

The API needs its token always, also on loopback, and a Host header that the project is configured for; webhooks prove
themselves by their signature.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from engine import operations, reports
from engine.application import Application
from engine.config import Server
from engine.operations import BadInput, Done
from engine.reports.values import plain
from engine.server.answers import Answer, Load, Refusal, error, failure, read
from engine.server.hooks import PATH, Hooks
from engine.store.codec import dumps, encode, instant, loads

#: The engine counts as late when something was due this long ago and has not been looked at.
LATE = timedelta(minutes=1)
#: The body of an operation is at most this many bytes.
MOST_OF_OPERATION = 256 * 1024
#: The JSON of an operation nests at most this deeply.
_DEEPEST = 50
#: A list is at most this long.
MOST_LISTED = 1000

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ANY_ADDRESS = ("0.0.0.0", "::")

Handler = Callable[[Application, Request], Awaitable[Response]]


def create_app(application: Application, token: str | None = None) -> ASGIApp:
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

    load = Load()
    hooks = Hooks(application, load)
    routes = [
        Route(PATH + "{connection}", hooks, methods=["POST"]),
        Route("/healthz", open_(_health), methods=["GET"]),
        Route("/readyz", open_(_ready), methods=["GET"]),
        Route("/api/events", guarded(_events), methods=["GET"]),
        Route("/api/events/{id}", guarded(_event), methods=["GET"]),
        Route("/api/runs", guarded(_runs), methods=["GET"]),
        Route("/api/runs/{id}", guarded(_run), methods=["GET"]),
        Route("/api/mutes", guarded(_mutes), methods=["GET"]),
        Route("/api/operations/{name}", guarded(_operation), methods=["POST"]),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _http_error})
    app.router.redirect_slashes = False  # such a redirect would lead to whatever the Host header says
    app.state.load = load

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and _is_hook(scope["path"]):
            await hooks(scope, receive, send)  # the router would cost more than the webhook
        else:
            await app(scope, receive, send)

    return serve


def _is_hook(path: str) -> bool:
    return path.startswith(PATH) and len(path) > len(PATH) and "/" not in path[len(PATH) :]


def body_of(done: Done) -> dict[str, Any]:
    """Give what an operation did as JSON."""
    return {"message": done.message, **plain(encode(dict(done.data)))}


# --- around every request --------------------------------------------------------------------------------------------


async def _answer(application: Application, handler: Handler, guard: _Guard | None, request: Request) -> Response:
    """Answer a request, whatever happens, with JSON."""
    try:
        if guard is not None:
            guard.check(request)
        return await handler(application, request)
    except Exception as wrong:  # noqa: BLE001  whatever happens is answered
        return failure(application, wrong, request.method, request.url.path)


async def _http_error(request: Request, wrong: Exception) -> Response:
    assert isinstance(wrong, HTTPException)
    known = {404: "there is nothing here", 405: f"{request.method} is not possible here"}
    return error(wrong.status_code, known.get(wrong.status_code, str(wrong.detail).lower()), wrong.headers)


@dataclass(frozen=True, slots=True)
class _Guard:
    """Who may use the API: whoever knows the token, by a name that is configured."""

    token: str | None
    server: Server

    def check(self, request: Request) -> None:
        name = _host_of(request.headers.get("host", ""))
        if not self._is_ours(name):
            raise Refusal(403, f"the API is not served as '{name[:100]}': 'server:' of hotwash.yaml says where it is")
        if self.token is None:
            raise Refusal(403, "the API is off: the engine was started without a token")
        given = request.headers.get("authorization", "")
        scheme, _, token = given.partition(" ")
        same = hmac.compare_digest(token.strip().encode(errors="replace"), self.token.encode())
        if scheme.lower() != "bearer" or not same:
            what = "the token is not the engine's" if given else "the header Authorization is missing"
            raise Refusal(401, f"{what}: send 'Authorization: Bearer TOKEN'", **{"WWW-Authenticate": "Bearer"})

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


# --- health ----------------------------------------------------------------------------------------------------------


async def _health(application: Application, request: Request) -> Response:
    return Answer({"status": "ok"})


async def _ready(application: Application, request: Request) -> Response:
    """Say whether what comes in is kept and what is due is done."""
    faults = _faults(application)
    status = {"status": "not ready", "reasons": faults} if faults else {"status": "ready"}
    return Answer(status, 503 if faults else 200)


def _faults(application: Application) -> list[str]:
    faults = []
    if not application.started:
        faults.append("the engine is starting")
    elif application.executor.stopping:
        faults.append("the engine is stopping")
    if application.journal.failing is not None:
        faults.append("the database cannot be written")
    before = application.clock.now() - LATE
    row = application.reader.execute("SELECT min(received) AS received FROM events WHERE state = 'new'").fetchone()
    received = instant(row["received"]) if row["received"] is not None else None
    dues = (application.dispatcher.next_due(), received, application.polls.next_due())
    late = [due for due in dues if due is not None and due < before]
    if late:
        faults.append(f"what was due at {min(late).isoformat(timespec='seconds')} has not been looked at")
    return faults


# --- the API ---------------------------------------------------------------------------------------------------------


async def _events(application: Application, request: Request) -> Response:
    asked = _query(request, "type", "subject", "limit", "private")
    limit, private = _limit(asked.pop("limit", None)), _private(asked)
    return Answer({"events": reports.list_events(application.reader, limit=limit, private=private, **asked)})


async def _event(application: Application, request: Request) -> Response:
    return Answer(reports.show_event(application.reader, request.path_params["id"]))


async def _runs(application: Application, request: Request) -> Response:
    asked = _query(request, "workflow", "state", "limit", "private")
    limit, private = _limit(asked.pop("limit", None)), _private(asked)
    return Answer({"runs": reports.list_runs(application.reader, limit=limit, private=private, **asked)})


async def _run(application: Application, request: Request) -> Response:
    return Answer(reports.show_run(application.reader, request.path_params["id"]))


async def _mutes(application: Application, request: Request) -> Response:
    asked = _query(request, "person", "private")
    private, now = _private(asked), application.clock.now()
    return Answer({"mutes": reports.mutes(application.reader, now, asked.get("person"), private=private)})


async def _operation(application: Application, request: Request) -> Response:
    """Do what the path names: the body is `{"actor": NAME, "inputs": {…}}`."""
    length = request.headers.get("content-length", "")
    asked = _object(await read(request.receive, length, MOST_OF_OPERATION, request.app.state.load))
    unknown = asked.keys() - {"actor", "inputs"}
    if unknown:
        raise BadInput(f"the body holds 'actor' and 'inputs', not '{min(unknown)}'")
    actor, inputs = asked.get("actor"), asked.get("inputs", {})
    if not isinstance(actor, str) or not isinstance(inputs, dict):
        raise BadInput("the body must be a mapping with 'actor', a name, and 'inputs', a mapping")
    done = await operations.perform(application, request.path_params["name"], inputs, actor)
    return Answer(body_of(done))


def _object(body: bytes) -> dict[str, Any]:
    """Read a body. Half characters, which no database takes, become `�`."""
    value = _json(json.loads, body)
    if not isinstance(value, dict):
        raise BadInput("the body must be a mapping with 'actor', a name, and 'inputs', a mapping")
    if _too_deep(value):
        raise BadInput(f"the body is nested more than {_DEEPEST} deep")
    return dict(loads(_json(dumps, value)))


def _json(step: Callable[[Any], Any], value: Any) -> Any:
    try:
        return step(value)
    except (ValueError, RecursionError):  # NaN is none either
        raise BadInput("the body is not JSON") from None


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


def _private(asked: dict[str, Any]) -> bool:
    """Take out whether what is private is to be named too."""
    text = asked.pop("private", "false")
    if text not in ("true", "false"):
        raise BadInput(f"'private' must be true or false, not '{text[:20]}'")
    return bool(text == "true")


def _limit(text: str | None) -> int:
    if text is None:
        return 50
    if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST_LISTED:
        return int(text)
    raise BadInput(f"'limit' must be a number from 1 to {MOST_LISTED}, not '{text[:20]}'")
