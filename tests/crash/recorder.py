"""The service that the providers of the crash test call: it keeps every call, and misbehaves as services do.

It runs in the process of the test, which is never killed. What it does to a call follows from the seed and the
effect's identity alone.
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from aiohttp import web

from engine.clock import SystemClock
from tests.crash.project import ATTEMPT

#: The moments of a call at which the engine may be killed.
MOMENTS = ("arrived", "taken", "answered", "looked")
#: What a recorder may do to a call beside taking it and answering.
FAULTS = ("busy", "drop_before", "drop_after", "late", "slow")
#: A call that is slow is taken at most this long after it came in, in seconds.
HOLD = 0.4
#: What was made is found at most this long after it was taken, in seconds: `visible_after` of the plugin is longer.
VISIBLE = 0.55


@dataclass(slots=True)
class Call:
    """One call as it came in, and what came of it. Instants are seconds since 1970."""

    kind: str
    what: str
    identity: str
    token: str
    attempt: int | None
    meaning: str
    value: str | None
    sent: float | None  #: by the engine's clock
    ticks: float | None  #: the same on the machine's scale that never goes back
    arrived: float
    life: int  #: the how manieth process of the engine made it
    intent: bool  #: whether the journal had the effect when the call came in
    taken: float | None = None
    answered: float | None = None
    outcome: str = "cut off"
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """What the service has made, and from when it can be found."""

    name: str
    kind: str
    what: str
    identity: str
    meaning: str
    visible: float  #: on the machine's scale that never goes back


@dataclass
class Recorder:
    """A service of four effect classes."""

    seed: int
    database: Path
    log: Path
    faults: tuple[str, ...] = FAULTS
    likely: float = 0.25  #: how likely a call meets a fault
    most: int = 2  #: calls of one identity that meet a fault, so that attempts do not run out
    calls: list[Call] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    looks: int = 0
    life: int = 0
    #: what is done to the next calls about something, the first first: `{"doc": ["drop_after"]}`
    planned: dict[str, list[str]] = field(default_factory=dict)
    outlives: float = 0.7  #: how likely a call is taken all the same whose caller was killed when it came in
    visible: tuple[float, float] = (0.0, VISIBLE)
    #: is told of each moment of a call; True where it killed the engine
    moment: Callable[[str, Call | None], bool] = lambda moment, call: False
    on_taken: Callable[[Call], None] = lambda call: None

    def __post_init__(self) -> None:
        self.clock = SystemClock()
        self._native: dict[str, Made] = {}
        self._plans: dict[str, random.Random] = {}
        self._met: dict[str, int] = defaultdict(int)
        self._file = self.log.open("ab", buffering=0)
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/call", self._call)
        app.router.add_post("/find", self._find)
        app.router.add_route("*", "/web", self._web)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = "http://{}:{}".format(*self._runner.addresses[0][:2])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self._file.close()

    def heal(self) -> None:
        """Take every call from now on, and answer it."""
        self.likely = 0.0

    def now(self) -> float:
        return self.clock.now().timestamp()

    # --- the service -------------------------------------------------------------------------------------------------

    async def _call(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        call = Call(**asked, arrived=self.now(), life=self.life, intent=self._is_written(asked["identity"]))
        return await self._serve(request, call)

    async def _web(self, request: web.Request) -> web.StreamResponse:
        """Take what `http.request` sends: PUT sets, POST makes."""
        meaning = (await request.json())["meaning"]
        kind = "idempotent" if request.method == "PUT" else "at_most_once"
        arrived = self.now()
        identity = self._identity_of(meaning)
        call = Call(
            kind,
            request.method,
            identity or meaning,
            "",
            None,
            meaning,
            "put",
            None,
            None,
            arrived,
            self.life,
            bool(identity),
        )
        return await self._serve(request, call)

    async def _find(self, request: web.Request) -> web.StreamResponse:
        """Give what was made for an effect, where it can be seen already."""
        self.looks += 1
        self.moment("looked", None)
        identity, now = (await request.json())["identity"], self.clock.monotonic()
        found = next((one for one in self.made if one.identity == identity and one.visible <= now), None)
        return web.json_response({"object": found and found.name, "what": found and found.what})

    async def _serve(self, request: web.Request, call: Call) -> web.StreamResponse:
        self.calls.append(call)
        rng = self._plans.setdefault(call.identity, random.Random(f"{self.seed}/{call.identity}"))
        fault = self._fault(call, rng)
        outlives = rng.random() < self.outlives
        visible = rng.uniform(*self.visible)
        try:
            return await self._answer(request, call, fault, rng.random(), outlives, visible)
        finally:
            with suppress(OSError):  # the disk may be full
                self._file.write((json.dumps(asdict(call)) + "\n").encode())

    async def _answer(
        self, request: web.Request, call: Call, fault: str | None, chance: float, outlives: bool, visible: float
    ) -> web.StreamResponse:
        killed = self.moment("arrived", call)
        if killed or fault == "slow":
            await asyncio.sleep(chance * HOLD)
        if killed and not outlives:
            return self._dropped(request, call, "cut off")
        if call.meaning.endswith("/refused"):
            return await self._finish(request, call, "refused", web.json_response({}, status=400))
        if fault == "busy":
            call.retry_after = round(0.2 + chance, 2)
            headers = {"Retry-After": str(call.retry_after)}
            return await self._finish(request, call, "busy", web.json_response({}, status=503, headers=headers))
        if fault == "drop_before" or self._outlived(call):
            return self._dropped(request, call, "dropped")
        made = self._take(call, visible)
        self.moment("taken", call)
        if fault == "drop_after":
            return self._dropped(request, call, "dropped")
        if fault == "late":
            await asyncio.sleep(ATTEMPT + 0.2)
        return await self._finish(request, call, "ok", web.json_response({"object": made}))

    async def _finish(
        self, request: web.Request, call: Call, outcome: str, response: web.Response
    ) -> web.StreamResponse:
        call.outcome, call.answered = outcome, self.now()
        try:
            await response.prepare(request)
            await response.write_eof()
        except ConnectionError:  # nobody listens any more: it gave up, or was killed
            call.outcome, call.answered = f"{outcome}, unheard", None
        self.moment("answered", call)
        return response

    def _outlived(self, call: Call) -> bool:
        """Whether whoever called has given up: a service must not take a request up for ever (PROMISES 1.4)."""
        return call.ticks is not None and self.clock.monotonic() > call.ticks + ATTEMPT

    def _dropped(self, request: web.Request, call: Call, outcome: str) -> web.StreamResponse:
        call.outcome = outcome
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    def _fault(self, call: Call, rng: random.Random) -> str | None:
        planned = self.planned.get(call.meaning.partition("/")[2])
        if planned:
            return planned.pop(0)
        if call.identity.startswith("hotwash.digest/"):
            return None  # the pauses between its attempts are those of people's days: killing it is enough
        chance, which = rng.random(), rng.random()
        if chance >= self.likely or self._met[call.identity] >= self.most:
            return None
        self._met[call.identity] += 1
        fault = self.faults[int(which * len(self.faults))]
        # a question's time-out is that of its answer, so an attempt has a minute: nobody wants to wait for that
        return "slow" if fault == "late" and call.what == "ask" else fault

    def _take(self, call: Call, visible: float) -> str:
        known = self._native.get(call.token) if call.kind == "native" else None
        call.taken = self.now()
        if known is None:
            name = f"O{len(self.made) + 1}"
            known = Made(name, call.kind, call.what, call.identity, call.meaning, self.clock.monotonic() + visible)
            if call.kind != "idempotent":
                self.made.append(known)
            if call.kind == "native":
                self._native[call.token] = known
                self.on_taken(call)
        return known.name

    # --- the journal, as others may read it --------------------------------------------------------------------------

    def _is_written(self, identity: str) -> bool:
        """Whether the journal has an effect: in whatever state, for a call may come in when its caller has given up."""
        return bool(self._read("SELECT 1 FROM effects WHERE identity = ?", identity))

    def _identity_of(self, meaning: str) -> str | None:
        found = self._read(
            "SELECT identity FROM effects WHERE action = 'http.request' AND instr(inputs, ?)",
            f'"{meaning}"',
        )
        return found[0][0] if found else None

    def _read(self, query: str, *values: str) -> list[tuple[str, ...]]:
        with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
            return connection.execute(query, values).fetchall()
