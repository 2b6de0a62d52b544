"""What requests are answered with, and how their bodies are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import Receive

from engine import reports
from engine.application import Application
from engine.operations import BadInput, NotFound, NotYet, Refused
from engine.store.codec import plain_json
from engine.store.journal import StorageUnavailable

#: Bodies that are being read hold at most this many bytes together; who sends more is asked to come again.
MOST_HELD = 64 * 1024 * 1024

_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (NotFound, 404),
    (reports.NotFound, 404),
    (Refused, 409),
    (NotYet, 202),
    (BadInput, 400),
)


class Refusal(Exception):
    """A request that is answered with a status and a sentence."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers


class Gone(Exception):
    """The sender went away before the end of the body."""


class Answer(JSONResponse):
    """JSON whose texts may hold what UTF-8 cannot: somebody sent it, and it is cited."""

    def render(self, content: Any) -> bytes:
        return plain_json(content).encode()


def error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Give the answer that says what is wrong."""
    return Answer({"error": message}, status, dict(headers or {}))


def failure(application: Application, wrong: Exception, method: str, path: str) -> Response:
    """Give the answer to a request whose handling raised; a traceback is for the log, not for whoever sent it."""
    if isinstance(wrong, Refusal):
        return error(wrong.status, str(wrong), wrong.headers)
    if isinstance(wrong, StorageUnavailable):
        return error(503, "the database cannot be written now; nothing was changed", {"Retry-After": "10"})
    if isinstance(wrong, Gone):
        return error(400, "the sender went away before the end of the body")
    for kind, status in _STATUS:
        if isinstance(wrong, kind):
            return error(status, str(wrong))
    name = type(wrong).__name__
    application.tell("request.failed", f"{method} {path}: {name}: {wrong}", error=name)
    return error(500, "this is a mistake in Hotwash: the engine's log says which")


@dataclass(slots=True)
class Load:
    """How many bytes of bodies are held whose end has not come."""

    held: int = 0


async def read(receive: Receive, length: str, most: int, load: Load) -> bytes:
    """Give the body; one that is too large, or too much with those of others, is refused while it is read.

    Args:
        receive: gives the pieces.
        length: the header Content-Length, empty where there is none.
        most: bytes that it may have.
        load: what is held of it and of others.
    """
    if length.isascii() and length.isdigit() and int(length[:20]) > most:
        raise _too_large(most)
    body = bytearray()
    try:
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise Gone
            chunk: bytes = message.get("body", b"")
            if len(body) + len(chunk) > most:
                raise _too_large(most)
            if not message.get("more_body", False):
                return bytes(body) + chunk if body else chunk
            body += chunk
            load.held += len(chunk)
            if load.held > MOST_HELD:
                raise Refusal(503, "too many bodies arrive at once", **{"Retry-After": "5", "Connection": "close"})
    finally:
        load.held -= len(body)


def _too_large(most: int) -> Refusal:
    return Refusal(413, f"the body is larger than {most:,} bytes", Connection="close")
