"""Our engine in a process of its own: `python -m bench.engine_side FOLDER`.

Takes questions as lines of JSON: `in_flight` events at a time for `seconds`, each with `fields` and starting `runs`
runs; answers how many events there were and how long it took until their last run had finished.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.processes import reply
from bench.project import declared
from engine import wiring
from engine.application import Application
from engine.cli.running import collect_less, stay_together


class Driver:
    """Lets incidents be declared, as many at a time as are asked for, and waits for their runs."""

    def __init__(self, folder: Path) -> None:
        self.application: Application = wiring.open_application(folder, tell=self._hear)
        self.free = asyncio.Semaphore(0)
        self.finished = 0
        self.going = 0

    def _hear(self, event: str, sentence: str, /, **facts: Any) -> None:
        if event == "run.finished":
            self.finished += 1
            self.free.release()

    async def measure(self, in_flight: int, seconds: float, runs: int, fields: dict[str, Any]) -> dict[str, Any]:
        self.free, self.finished = asyncio.Semaphore(in_flight * runs), 0
        start, number = perf_counter(), 0
        async with asyncio.TaskGroup() as tasks:
            while perf_counter() - start < seconds:
                for _ in range(runs):
                    await self.free.acquire()
                number += 1
                tasks.create_task(self._declare(fields))
        for _ in range(in_flight * runs):
            await self.free.acquire()
        took = perf_counter() - start
        await self.application.settled()
        return {"count": number, "runs": self.finished, "seconds": took}

    async def _declare(self, fields: dict[str, Any]) -> None:
        fact = declared(self.application.clock.now(), secrets.token_hex(8), **fields)
        await self.application.accept("local", [fact])


async def serve(folder: Path) -> None:
    driver = Driver(folder)
    began = perf_counter()
    async with driver.application.running():
        faults = [problem for problem in driver.application.library.problems if problem.severity == "error"]
        collect_less()
        reply({"faults": [problem.message for problem in faults], "start": perf_counter() - began})
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        together = asyncio.create_task(stay_together(stopping))
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            reply(await driver.measure(**json.loads(line)))
        stopping.set()
        await together


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
