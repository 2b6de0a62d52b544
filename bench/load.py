"""The load generator and the sink that runs call: raw sockets, and a process of its own, or it would be measured.

    python -m bench.load [--fine]

It says where its sink listens, then takes jobs as lines of JSON and answers each with what it counted. A job posts
bodies that hold an id of their own, either by so many clients that each wait for their last one to be done, or at so
many a second whatever the answers. With `calls`, one is done when the sink was called that often for its id, too.
`--fine` waits with `select`, which is exact to the microsecond where `epoll` is to the millisecond.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import selectors
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from bench.processes import reply

#: What stands for a request's id in its path, its headers and its body.
ID = b"@ID@"
_ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}'
#: Seconds after the end of a job in which what is under way may still end.
PATIENCE = 15.0


# --- HTTP, as far as it is needed ------------------------------------------------------------------------------------


def message_length(buffer: bytes | bytearray) -> int:
    """Give how long the first message in a buffer is, request or answer; 0 while it is not whole."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return 0
    head = bytes(buffer[:end]).lower() + b"\r\n"
    start = head.find(b"\r\ncontent-length:")
    if start >= 0:
        length = end + 4 + int(head[start + 17 : head.find(b"\r\n", start + 2)])
        return length if len(buffer) >= length else 0
    if b"\r\ntransfer-encoding: chunked" not in head:
        return end + 4
    last = buffer.find(b"0\r\n\r\n", end + 4)
    while last > 0 and buffer[last - 2 : last] != b"\r\n" and last != end + 4:
        last = buffer.find(b"0\r\n\r\n", last + 1)
    return last + 5 if last > 0 else 0


class Connection(asyncio.Protocol):
    """One end of a connection, which gives each whole message on."""

    def __init__(self, whole: Callable[[Connection, bytes], None], lost: Callable[[Connection], None]) -> None:
        self._whole, self._lost = whole, lost
        self._buffer = bytearray()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while length := message_length(self._buffer):
            message = bytes(self._buffer[:length])
            del self._buffer[:length]
            self._whole(self, message)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(self)


@dataclass(frozen=True, slots=True)
class Requests:
    """Makes requests: head and body with an id of their own, and a signature over the body."""

    head: bytes
    body: bytes
    signature: Mapping[str, str] | None = None
    run: str = field(default_factory=lambda: secrets.token_hex(4))

    def make(self, number: int) -> tuple[bytes, bytes]:
        """Give an id and the bytes of its request."""
        name = b"%s%07x" % (self.run.encode(), number)
        body = self.body.replace(ID, name)
        signed = b""
        if self.signature is not None:
            digest = hmac.digest(self.signature["secret"].encode(), body, hashlib.sha256).hex()
            signed = f"{self.signature['header']}: {self.signature['prefix']}{digest}\r\n".encode()
        head = self.head.replace(ID, name)
        return name, b"%s%sContent-Length: %d\r\n\r\n%s" % (head, signed, len(body), body)


# --- jobs ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Sent:
    since: float
    client: Connection
    answered: bool = False
    calls: int = 0


@dataclass(slots=True)
class Job:
    """One measurement."""

    requests: Requests
    port: int
    clients: int
    seconds: float
    calls: int = 0
    rate: float | None = None
    patience: float = PATIENCE
    under_way: dict[bytes, _Sent] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: array[float] = field(default_factory=lambda: array("d"))
    done: asyncio.Event = field(default_factory=asyncio.Event)
    start: float = 0.0
    last: float = 0.0
    answered_last: float = 0.0
    number: int = 0
    sending: bool = True
    lost: int = 0
    _ids: dict[Connection, bytes] = field(default_factory=dict)
    _free: list[Connection] = field(default_factory=list)
    _waiting: list[tuple[float, bytes, bytes]] = field(default_factory=list)

    async def run(self) -> dict[str, Any]:
        """Do it and give what was counted."""
        loop = asyncio.get_running_loop()
        opened = [
            await loop.create_connection(lambda: Connection(self.answered, self.gone), "127.0.0.1", self.port)
            for _ in range(self.clients)
        ]
        connections = [protocol for _, protocol in opened]
        self.start = self.last = self.answered_last = perf_counter()
        if self.rate is None:
            for one in connections:
                self.next(one)
            await asyncio.sleep(self.seconds)
        else:
            self._free = connections
            await self._pace(self.rate)
        self.sending = False
        try:
            async with asyncio.timeout(self.patience):
                while self.under_way or self._waiting:
                    self.done.clear()
                    await self.done.wait()
        except TimeoutError:
            pass
        for one in connections:
            one.transport.close()
        return self.result()

    def next(self, client: Connection) -> None:
        if not self.sending or perf_counter() - self.start >= self.seconds:
            self.done.set()
            return
        name, data = self.requests.make(self.number)
        self.number += 1
        self._send(client, name, data, perf_counter())

    def _send(self, client: Connection, name: bytes, data: bytes, since: float) -> None:
        self.under_way[name] = _Sent(since, client)
        self._ids[client] = name
        client.transport.write(data)

    async def _pace(self, rate: float) -> None:
        """Send at so many a second. What waits for a free connection counts from when it should have been sent."""
        made = [self.requests.make(number) for number in range(int(rate * self.seconds))]
        self.start = self.last = self.answered_last = perf_counter()
        for number, (name, data) in enumerate(made):
            due = self.start + number / rate
            while (left := due - perf_counter()) > 0:
                await asyncio.sleep(left)
            self._waiting.append((due, name, data))
            self._send_waiting()
            if number % 16 == 0:
                await asyncio.sleep(0)
        self.number = len(made)

    def _send_waiting(self) -> None:
        while self._waiting and self._free:
            due, name, data = self._waiting.pop(0)
            self._send(self._free.pop(), name, data, due)

    # --- what comes back ---

    def answered(self, client: Connection, message: bytes) -> None:
        name = self._ids.pop(client)
        status = int(message[9:12])
        self.statuses[status] += 1
        self.answered_last = perf_counter()
        sent = self.under_way[name]
        sent.answered = True
        if not 200 <= status < 300:
            sent.calls = self.calls  # nothing will call for it
        self._maybe_done(name, sent)
        if self.rate is not None:
            self._free.append(client)
            self._send_waiting()

    def called(self, name: bytes) -> None:
        """Take note that the sink was called for an id."""
        sent = self.under_way.get(name)
        if sent is not None:
            sent.calls += 1
            self._maybe_done(name, sent)

    def _maybe_done(self, name: bytes, sent: _Sent) -> None:
        if not sent.answered or sent.calls < self.calls:
            return
        del self.under_way[name]
        self.last = perf_counter()
        self.latencies.append(self.last - sent.since)
        self.done.set()
        if self.rate is None:
            self.next(sent.client)

    def gone(self, client: Connection) -> None:
        """A connection was closed by the other side: what was under way on it is lost."""
        name = self._ids.pop(client, None)
        if name is not None and self.under_way.pop(name, None) is not None:
            self.lost += 1
        self.done.set()

    def result(self) -> dict[str, Any]:
        ordered = sorted(self.latencies)
        return {
            "count": len(ordered),
            "seconds": self.last - self.start,
            "answered_seconds": self.answered_last - self.start,
            "refused": sum(count for status, count in self.statuses.items() if not 200 <= status < 300),
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "unfinished": len(self.under_way) + len(self._waiting) + self.lost,
            "ms": {name: percentile(ordered, share) * 1000 for name, share in _SHARES.items()},
        }


_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "most": 1.0}


def percentile(ordered: list[float], share: float) -> float:
    """Give the value below which a share of sorted values lies; 0 of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


# --- the process -----------------------------------------------------------------------------------------------------


class Sink:
    """Answers every request with 200, and tells the job under way whom it was for: the first part of the path."""

    def __init__(self) -> None:
        self.job: Job | None = None
        self.calls = 0

    def __call__(self, connection: Connection, message: bytes) -> None:
        connection.transport.write(_ANSWER)
        self.calls += 1
        if self.job is not None:
            path = message[message.find(b" ") + 1 : message.find(b" HTTP/")]
            self.job.called(path.split(b"/", 2)[1])


async def serve() -> None:
    """Take jobs from stdin until it ends."""
    loop = asyncio.get_running_loop()
    sink = Sink()
    server = await loop.create_server(lambda: Connection(sink, lambda _: None), "127.0.0.1", 0)
    questions = asyncio.StreamReader(limit=2**20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
    reply({"sink": server.sockets[0].getsockname()[1]})
    while line := await questions.readline():
        sink.job = job_of(_json(line))
        try:
            reply(await sink.job.run())
        except OSError as error:
            reply({"error": str(error)})
        sink.job = None


def _json(line: bytes) -> dict[str, Any]:
    import json

    asked: dict[str, Any] = json.loads(line)
    return asked


def job_of(asked: dict[str, Any]) -> Job:
    """Make a job of what was asked: the fields of `Requests` as texts beside those of `Job`."""
    head, body = asked.pop("head").encode(), asked.pop("body").encode()
    return Job(Requests(head, body, asked.pop("signature", None)), **asked)


def main() -> None:
    selector = selectors.SelectSelector() if "--fine" in sys.argv else selectors.DefaultSelector()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()
