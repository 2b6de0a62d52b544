"""Services that hang, say 429, or have trouble: nobody else waits, and what is tried again is a due row."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from engine.domain import Ticket
from engine.plugins import Fact, at_most_once
from engine.testing import RecordingTickets

BOTH = """
steps:
  - id: both
    for_each: "['chat', 'tickets']"
    steps:
      - if: item == "tickets"
        uses: ticket.create
        connection: tracker
        with: {title: b}
      - if: item == "chat"
        uses: chat.post
        with: {text: a}
"""
TRACKED = "connections: {tracker: {provider: local, key: TR}}\n"
COUNT = 100


class Hanging(RecordingTickets):
    """A tracker that does not answer, asked by a client that waits for it in the loop."""

    def __init__(self):
        super().__init__()
        self.go_on, self.begun = asyncio.Event(), 0

    @at_most_once
    async def create(self, draft, *, effect):
        self.begun += 1
        await self.go_on.wait()
        return await super().create(draft, effect=effect)

    def release(self):
        self.go_on.set()


class Synchronous(Hanging):
    """The same, with a client that blocks the thread that calls it."""

    def __init__(self):
        super().__init__()
        self.answers = threading.Event()

    @at_most_once
    async def create(self, draft, *, effect):
        await asyncio.to_thread(self._block)
        return await RecordingTickets.create(self, draft, effect=effect)

    def _block(self):
        self.begun += 1
        self.answers.wait(60)

    def release(self):
        self.answers.set()


@pytest.mark.parametrize("slow", [Hanging, Synchronous])
async def test_a_vendor_that_hangs_holds_up_no_other(engine, slow):
    tracker = slow()
    async with engine(BOTH, project=TRACKED, providers={"tracker": tracker}) as world:
        names = [f"pager:{number}" for number in range(COUNT)]
        facts = [Fact("incident.declared", world.now, "incident", name, {"title": name}) for name in names]
        try:
            await world.application.accept("pager", facts)
            async with asyncio.timeout(30):
                while len(world.said) < COUNT:
                    await asyncio.sleep(0.001)
                written = await asyncio.to_thread(lambda: "in a thread")
        finally:
            tracker.release()
        assert (written, 0 < tracker.begun <= world.application.executor.max_calls) == ("in a thread", True)
        await world.settle()
        assert (len(tracker.tickets), {run["state"] for run in world.runs()}) == (COUNT, {"finished"})


# --- over HTTP ---

CLOSE = "steps:\n  - {uses: http.request, with: {method: PUT, path: /a}, retry: {max: 4, every: 10s, at_most: 1m}}\n"
SITE = 'connections: {{site: {{provider: http, base_url: "{url}", rate: 60/min, burst: 60}}}}\nuse: {{http: site}}\n'


@pytest.fixture
def site(engine):
    """Give what begins a world with a service that answers with what is left of `answers`, then with 200."""

    @asynccontextmanager
    async def run(*answers):
        left, at = list(answers), []

        async def answer(request):
            at.append(world.now)
            status, headers = left.pop(0) if left else (200, {})
            return web.Response(status=status, headers=headers)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        listening = web.TCPSite(runner, "127.0.0.1", 0)
        await listening.start()
        url = f"http://127.0.0.1:{listening._server.sockets[0].getsockname()[1]}"
        try:
            async with engine(CLOSE, project=SITE.format(url=url)) as world:
                yield world, at
        finally:
            await runner.cleanup()

    return run


def seconds(world, at):
    return [round((one - at[0]).total_seconds()) for one in at]


async def test_a_429_is_a_due_row_that_outlives_a_crash_and_holds_the_whole_connection(site):
    async with site((429, {"Retry-After": "300"})) as (world, at):
        await world.declared()
        due = world.application.reader.execute("SELECT count(*) FROM waits WHERE due IS NOT NULL AND kind = 'timer'")
        assert (due.fetchone()[0], world.application.executor.active) == (1, {})
        await world.incident("declared", "pager:P2", title="another")
        await world.crash()
        await world.restart()
        await world.move("299s")
        assert len(at) == 1
        await world.move("10s")
        assert (len(at), min(seconds(world, at)[1:]) >= 300) == (3, True)


@pytest.mark.parametrize("trouble", [(500, {}), (502, {}), (503, {})])
async def test_trouble_is_tried_again_by_due_rows_over_a_crash(site, trouble):
    async with site(trouble, trouble) as (world, at):
        await world.declared()
        assert (len(at), world.application.executor.active) == (1, {})
        await world.crash()
        await world.restart()
        await world.move("2m")
        first, second, third = seconds(world, at)
        assert (first, 10 <= second <= 13, 30 <= third <= 40, world.state) == (0, True, True, "finished")


# --- what takes a turn ---


async def test_a_check_for_stale_tickets_takes_a_turn(engine):
    class Counting(RecordingTickets):
        looks = 0

        async def search(self, where, query):
            self.looks += 1
            return await super().search(where, query)

    project = "connections: {tracker: {provider: local, key: TR, rate: 1/h, burst: 1}}\nuse: {ticket: tracker}\n"
    text = "on: {ticket.stale: {for: 7d, poll: {every: 10m}}}\nsteps:\n  - {uses: chat.post, with: {text: a}}\n"
    tracker = Counting(Ticket("tracker:T1", "T1", "t"))
    async with engine(text, project=project, providers={"tracker": tracker}) as world:
        await world.move("185m")
        assert tracker.looks == 3  # at ten minutes, and then one an hour


async def test_ticket_search_takes_a_turn(engine):
    project = "connections: {tracker: {provider: local, key: TR, rate: 1/h, burst: 1}}\nuse: {ticket: tracker}\n"
    text = "steps:\n  - {uses: ticket.search, with: {where: {done: false}}}\n"
    async with engine(text, project=project, providers={"tracker": RecordingTickets()}) as world:
        for name in ("pager:a", "pager:b"):
            await world.incident("declared", name, title=name)
        assert [run["state"] for run in world.runs()] == ["finished", "held"]
