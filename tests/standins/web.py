"""A vendor's REST API on loopback, and what such an API does on a bad day when a test asks for it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Trouble:
    """What goes wrong with the next requests that fit."""

    method: str
    path: str  #: a regular expression that the whole path fits
    times: int = 1
    status: int | None = None  #: answered in place of what it was; None: the connection is cut
    headers: dict[str, str] = field(default_factory=dict)
    works: bool = False  #: whether what was asked for is done all the same
    hangs: bool = False  #: whether the answer waits until `go_on` is set


class StandIn:
    """The base of the stand-ins: `async with` it is served at `url`. `now` is its clock, which its answers tell."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.asked: list[str] = []  #: `METHOD path` of each request
        self.refuses: set[str] = set()  #: values of Authorization that have expired
        self.began, self.go_on = asyncio.Event(), asyncio.Event()
        self.url = ""
        self._troubles: list[Trouble] = []
        self._runner: web.AppRunner | None = None

    def routes(self) -> list[web.RouteDef]:
        raise NotImplementedError

    def error(self, status: int, text: str) -> web.Response:
        """Give a refusal in the vendor's form."""
        return web.json_response({"errors": [text]}, status=status)

    # --- bad days ----------------------------------------------------------------------------------------------------

    def refuses_next(self, method: str, path: str, status: int, *, times: int = 1, **headers: str) -> None:
        """Answer with an error, the work undone. Underscores in the names of headers stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._troubles.append(Trouble(method, path, times, status, named))

    def loses_next_answer(self, method: str, path: str) -> None:
        """Do the work and cut the connection before the answer."""
        self._troubles.append(Trouble(method, path, works=True))

    def fails_after(self, method: str, path: str, status: int) -> None:
        """Do the work and answer with an error."""
        self._troubles.append(Trouble(method, path, status=status, works=True))

    def hangs_after(self, method: str, path: str) -> None:
        """Do the work, set `began`, and keep the answer until `go_on` is set."""
        self._troubles.append(Trouble(method, path, works=True, hangs=True))

    def hangs_before(self, method: str, path: str) -> None:
        """Set `began` and do nothing until `go_on` is set."""
        self._troubles.append(Trouble(method, path, hangs=True))

    def count(self, asked: str) -> int:
        """Give how many requests fitted a regular expression such as `POST /issue`."""
        return sum(re.fullmatch(asked, one) is not None for one in self.asked)

    def _next(self, request: web.Request) -> Trouble | None:
        for one in self._troubles:
            if one.times and one.method == request.method and re.fullmatch(one.path, request.path):
                one.times -= 1
                return one
        return None

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        if request.headers.get("Authorization") in self.refuses:
            return self._dated(self.error(401, "the token has expired"))
        trouble = self._next(request)
        if trouble is None:
            return self._dated(await self._handled(request, handler))
        answer = await self._handled(request, handler) if trouble.works else None
        if trouble.hangs:
            self.began.set()
            await self.go_on.wait()
            return self._dated(answer or await self._handled(request, handler))
        if trouble.status is not None:
            refusal = self.error(trouble.status, "not today")
            refusal.headers.update(trouble.headers)
            return self._dated(refusal)
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    async def _handled(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as refusal:
            return self.error(refusal.status, refusal.reason)

    def _dated(self, answer: web.StreamResponse) -> web.StreamResponse:
        answer.headers["Date"] = format_datetime(self.now().astimezone(UTC), usegmt=True)
        return answer

    # --- being there -------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Any:
        app = web.Application(middlewares=[self._answer])
        app.add_routes(self.routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.go_on.set()
        assert self._runner is not None
        await self._runner.cleanup()
