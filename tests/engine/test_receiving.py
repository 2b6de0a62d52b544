"""What a delivery asks for is done before it is answered, or its sender hears of it later."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from engine import server
from engine.plugins import Declined, Fact, Late, Received
from tests.fakes import ADA


class Asking:
    """A source whose deliveries ask for `work`."""

    patience = 5.0

    def __init__(self, work=None, late=None, **received):
        self.received = Received(work=work, late=late, **received)

    def authenticate(self, headers, body, now):
        """Let everybody in."""

    def read(self, headers, body, now):
        return self.received


async def post(world, source):
    world.application.sources["chat"] = source
    transport = httpx.ASGITransport(app=server.create_app(world.application))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return await client.post("/hooks/chat", content=b"")


async def declare(desk, **more):
    done = await desk.perform("declare_incident", ADA, title="Checkout is slow", severity=None, **more)
    return Received(response={"text": done.message})


async def test_what_somebody_asks_for_is_done_before_they_are_answered(engine):
    async with engine() as world:
        answer = await post(world, Asking(declare))
        assert (answer.status_code, answer.json()) == (200, {"text": "INC-1 is declared: Checkout is slow"})
        assert world.events("incident.declared")[0].actor.id == "ada"


async def test_what_cannot_be_done_is_said_in_a_sentence(engine):
    async def resolve(desk):
        with pytest.raises(Declined, match="no incident is called 'INC-9'"):
            await desk.perform("resolve_incident", ADA, incident="INC-9")
        return Received(ignored="there is no such incident", response={"text": "no"})

    async with engine() as world:
        answer = await post(world, Asking(resolve))
        assert (answer.json(), world.events()[0].type) == ({"text": "no"}, "webhook.ignored")


async def test_a_vendor_that_wants_an_empty_answer_gets_one(engine):
    async with engine() as world:
        answer = await post(world, Asking(response={}))
        assert (answer.status_code, answer.content, world.events()) == (200, b"", [])


async def test_who_cannot_wait_is_answered_at_once_and_hears_later(engine):
    go, told = asyncio.Event(), []

    async def slow(desk):
        await go.wait()
        return await declare(desk)

    async def tell(received):
        told.append(received.response)

    async with engine() as world:
        source = Asking(slow, Late({"text": "one moment"}, tell))
        source.patience = 0.0
        assert (await post(world, source)).json() == {"text": "one moment"}
        go.set()
        await world.settle()
        assert told == [{"text": "INC-1 is declared: Checkout is slow"}]


async def test_facts_that_take_too_long_are_asked_for_again_and_kept_all_the_same(engine):
    go = asyncio.Event()

    async def slow(desk):
        await go.wait()
        return Received([Fact("webhook", world.now, id="one")])

    async with engine() as world:
        source = Asking(slow)
        source.patience = 0.0
        answer = await post(world, source)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        go.set()
        await world.settle()
        source.patience = 5.0
        assert (await post(world, source)).json() == {"accepted": 0, "duplicates": 1}


async def test_stopping_lets_what_was_asked_for_end(engine):
    async def slow(desk):
        await asyncio.sleep(0)
        return await declare(desk)

    async with engine() as world:
        source = Asking(slow, Late({}, lambda received: asyncio.sleep(0)))
        source.patience = 0.0
        await post(world, source)
        await world.application.stop()
        await world.restart()
        assert [one.title for one in world.subjects("incident")] == ["Checkout is slow"]


async def test_what_fails_after_the_answer_is_in_the_log(engine):
    go = asyncio.Event()

    async def broken(desk):
        await go.wait()
        raise ZeroDivisionError("of the source")

    async with engine() as world:
        source = Asking(broken)
        source.patience = 0.0
        await post(world, source)
        go.set()
        await world.settle()
        told = dict(world.told)["request.failed"]
        assert told == "chat: what was asked for took long and then failed: ZeroDivisionError: of the source"


async def test_what_a_source_fetches_itself_goes_the_same_way(engine):
    class Fetching:
        async def astart(self, take):
            self.take = take

        async def aclose(self):
            self.closed = True

    async with engine() as world:
        source = world.application.sources["chat"] = Fetching()
        await world.application.start_sources()
        assert await source.take(Received(work=declare)) == {"text": "INC-1 is declared: Checkout is slow"}
    assert source.closed
