"""Listen on an address, and close what lets us wait."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from engine.application import Application
from engine.server.connection import Connection
from engine.server.routes import create_app

#: At most this many connections are open; further ones are answered with 503.
MOST_CONNECTIONS = 1000
#: A request has to arrive, and its answer to be taken, within so many seconds.
PATIENCE = 30.0
#: After an answer a connection stays open for so many seconds.
IDLE = 5.0
#: Requests under way have this many seconds to end when the server stops.
STOPPING = 5


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
    async with serving_app(create_app(application, token), host, port, patience=patience) as address:
        yield address


@asynccontextmanager
async def serving_app(
    app: ASGIApp,
    host: str,
    port: int,
    *,
    patience: float = PATIENCE,
    idle: float = IDLE,
    connections: int = MOST_CONNECTIONS,
) -> AsyncIterator[str]:
    """Serve any ASGI application that way.

    Args:
        app: the application.
        host: a name or an address of this machine.
        port: 0 takes a free one.
        patience: seconds that a sender may let us wait.
        idle: seconds that a connection stays open after an answer.
        connections: so many are served at most.

    Raises:
        OSError: the address cannot be had.
    """
    listening = _listen(host, port)
    config = uvicorn.Config(
        app,
        lifespan="off",
        http=Connection,
        ws="none",
        limit_concurrency=connections,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=STOPPING,
    )
    config.timeout_keep_alive = idle  # type: ignore[assignment]  # uvicorn only adds it to a time
    server = _Uvicorn(config, patience)
    task = asyncio.create_task(server.serve([listening]), name="server")
    ready = asyncio.create_task(server.ready.wait())
    try:
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield address_of(host, listening.getsockname()[1])
    finally:
        ready.cancel()
        server.should_exit = True
        await task
        listening.close()


class _Uvicorn(uvicorn.Server):
    """Uvicorn without hands on the process: its signals are whoever's started it."""

    def __init__(self, config: uvicorn.Config, patience: float) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._patience = patience
        self._waited_for: dict[Connection, tuple[object, float]] = {}
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
        waiting: dict[Connection, tuple[object, float]] = {}
        for connection in self.server_state.connections:
            assert isinstance(connection, Connection)
            what = connection.awaited
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


def _listen(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server(found[4][:2], family=found[0], backlog=2048)


def address_of(host: str, port: int) -> str:
    """Give the address that this machine reaches a server by that listens there."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
