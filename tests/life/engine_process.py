"""An engine in a process of its own: `python -m tests.life.engine_process FOLDER INSTANT CLOCK`.

Whoever started it moves its clock. Each line on stdin is an order as JSON, and is answered with a line on stdout:
`{"move": "3h"}` stops wherever something falls due, `{"jump": "3d"}` does not, as where the machine slept, and
`{"settle": true}` lets happen what can happen now. The clock's time stands in a file, so that those outside have the
same at each moment. It is served on 127.0.0.1 as `hotwash run` does it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import datetime
from pathlib import Path

from engine import wiring
from engine.calendars import parse_duration
from engine.server import serving
from engine.testing import MovableClock, World

WIDTH = 40


class ToldClock(MovableClock):
    """A clock whose time others read from a file."""

    def __init__(self, start: datetime, file: Path) -> None:
        super().__init__(start)
        self._file = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        self.move_to(start)

    def move_to(self, instant: datetime) -> None:
        super().move_to(instant)
        os.pwrite(self._file, instant.isoformat().ljust(WIDTH).encode(), 0)


async def live(folder: Path, start: datetime, told: Path) -> None:
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    clock = ToldClock(start, told)
    async with (
        World(folder, start, wiring.open_application, environ=os.environ, clock=clock) as world,
        serving(world.application, "token", "127.0.0.1", 0) as address,
    ):
        say({"address": address})
        while line := await orders.readline():
            order = json.loads(line)
            if "move" in order:
                await world.move(order["move"])
            elif "jump" in order:
                clock.move_to(clock.now() + parse_duration(order["jump"]).timedelta())
            await world.settle()
            say({"now": clock.now().isoformat(), "told": world.told})
            world.told.clear()


def say(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(live(Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2]), Path(sys.argv[3])))
