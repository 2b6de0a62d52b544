"""An engine with its HTTP server in a process of its own, for test_hostile_server: `child_server.py FOLDER`.

It prints its address; at the end of its input, what it told and what a logger said, with its largest size in MiB.
"""

import asyncio
import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

from hostile_bounds import largest

from engine import server, wiring
from engine.testing import World

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ENVIRON = {"SECRET": "s3cret", "STANDARD": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}


class Collected(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(self.format(record))


async def main(folder):
    loop = asyncio.get_running_loop()
    heard = Collected()
    logging.getLogger().addHandler(heard)
    loop.set_exception_handler(lambda _, context: heard.lines.append(f"unhandled: {context}"))
    async with World(folder, START, wiring.open_application, environ=ENVIRON) as world:
        async with server.serving(world.application, "the-token", "127.0.0.1", 0, patience=1.0) as address:
            say({"address": address})
            await loop.run_in_executor(None, sys.stdin.read)
            await world.settle()
            reached = largest()
        say({"told": world.told, "logged": heard.lines, "largest": reached})


def say(value):
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


asyncio.run(main(Path(sys.argv[1])))
