"""A bad day for a stand-in that somebody else wrote: it stands before that and hands on what it is asked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import aiohttp
from aiohttp import web

from tests.standins.web import StandIn


class Before(StandIn):
    """Stand before the server at `upstream`, with the troubles that `StandIn` knows."""

    def __init__(self, upstream: str, now: Callable[[], datetime]) -> None:
        super().__init__(now)
        self._upstream = upstream
        self._session: aiohttp.ClientSession | None = None

    def routes(self) -> list[web.RouteDef]:
        return [web.route("*", "/{path:.*}", self._hand_on)]

    async def _hand_on(self, request: web.Request) -> web.Response:
        assert self._session is not None
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        url, body = f"{self._upstream}{request.path_qs}", await request.read()
        async with self._session.request(request.method, url, data=body, headers=headers) as answer:
            return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type)

    async def __aenter__(self) -> Any:
        self._session = aiohttp.ClientSession()
        return await super().__aenter__()

    async def __aexit__(self, *error: object) -> None:
        await super().__aexit__(*error)
        assert self._session is not None
        await self._session.close()
