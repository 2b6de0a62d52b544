# It runs in the peer's environment, whose packages ours does not have.
# mypy: ignore-errors
"""Three durable steps with Restate, that do nothing or call the sink whose port is in SINK."""

import os

import aiohttp
import restate

bench = restate.Service("Bench")
_session = None


async def nothing() -> int:
    return 1


async def call(title: str, number: int) -> int:
    global _session
    if _session is None:
        _session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    url = f"http://127.0.0.1:{os.environ['SINK']}/{title}/{number}"
    async with _session.post(url, json={"title": title}) as response:
        await response.read()
        response.raise_for_status()
        return response.status


@bench.handler()
async def three(ctx: restate.Context, event: dict) -> int:
    return sum([await ctx.run_typed(name, nothing) for name in ("one", "two", "three")])


@bench.handler()
async def product(ctx: restate.Context, event: dict) -> str:
    data = event["event"]["data"]
    if data["urgency"] != "high":
        return "no"
    for number in (1, 2, 3):
        await ctx.run_typed(f"call {number}", call, title=data["title"], number=number)
    return "yes"


app = restate.app([bench])
