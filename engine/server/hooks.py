"""Webhooks, the one request of which thousands may come a second: nothing stands between it and the connection."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from engine.application import Application
from engine.operations.receiving import Unanswered, take
from engine.plugins import Received, Unauthorized
from engine.server.answers import Answer, Load, Refusal, failure, read

PATH = "/hooks/"


@dataclass(frozen=True, slots=True)
class Hooks:
    """Take what is posted to `/hooks/CONNECTION` (an ASGI application)."""

    application: Application
    load: Load

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        try:
            answer = await self._take(path[len(PATH) :], scope, receive)
        except Exception as wrong:  # noqa: BLE001  whatever happens is answered
            answer = failure(self.application, wrong, scope["method"], path)
        await answer(scope, receive, send)

    async def _take(self, name: str, scope: Scope, receive: Receive) -> Response:
        application = self.application
        source = self._source(name)
        headers = _headers(scope["headers"])
        body = await read(receive, headers.get("content-length", ""), application.config.limits.body, self.load)
        now = application.clock.now()
        try:
            source.authenticate(headers, body, now)
            received: Received = source.read(headers, body, now)
        except Unauthorized as error:
            application.tell("webhook.unauthorized", f"{name}: a webhook is refused: {error}", connection=name)
            raise Refusal(401, str(error)) from None
        except ValueError as error:
            application.tell("webhook.unreadable", f"{name}: a webhook is refused: {error}", connection=name)
            raise Refusal(400, str(error)) from None
        try:
            taken = await take(application, name, received)
        except Unanswered as error:
            raise Refusal(503, str(error), **{"Retry-After": "30"}) from None
        received, accepted = taken.received, taken.accepted
        if received.ignored is not None:
            application.tell("webhook.ignored", f"{name}: ignored: {received.ignored}", connection=name)
        if received.response is not None:  # vendors that look into it want 200, and nothing where they expect nothing
            return Answer(dict(received.response)) if received.response else Response()
        if received.ignored is not None:
            return Answer({"accepted": 0, "ignored": received.ignored}, 202)
        return _counted(len(received.facts) - accepted.duplicates, accepted.duplicates)

    def _source(self, name: str) -> Any:
        source = self.application.sources.get(name)
        if source is not None:
            return source
        why = self.application.disabled.get(name)
        if why is not None:
            raise Refusal(503, f"connection '{name}' is off: {why}", **{"Retry-After": "300"})
        raise Refusal(404, f"no connection that takes webhooks is called '{name[:100]}'")


@lru_cache(64)
def _counted(accepted: int, duplicates: int) -> Response:
    counts = {"accepted": accepted}
    return Answer({**counts, "duplicates": duplicates} if duplicates else counts, 202)


def _headers(sent: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Give the headers by name in lower case; what was sent several times is joined with commas."""
    found: dict[str, str] = {}
    for raw, value in sent:
        name, text = raw.decode("latin-1"), value.decode("latin-1")
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found
