"""Start `hotwash run` quickly, many times: each line on stdin is an order, as JSON, and its engine's number is printed.

An engine is started and stopped once, so that everything is imported and known; each order then forks a process. It
names the project's `folder`, and may have more:

- `offset`, a file with seconds: the engine runs under a clock that is wrong by that much;
- `before` or `after`, a number: the engine kills itself before or after so many commits, where a kill from outside
  would hit by luck only;
- `when`, a query: it kills itself after the commit from which on that finds something.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from engine import cli, wiring
from engine.cli import logs, running
from engine.clock import SystemClock
from engine.server import serving
from engine.store.journal import Journal
from tests.crash.project import write_project

#: A commit that does not come about is held up for so long, in seconds: what does not wait for it gets out.
HELD_UP = 0.1


class OffsetClock(SystemClock):
    """The machine's clock, set wrong by what a file says. A new setting is noticed soon."""

    longest_nap = 0.1

    def __init__(self, file: Path) -> None:
        self._file = file

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=float(self._file.read_text("utf-8")))


async def run_under(clock: SystemClock, folder: Path, stopping: asyncio.Event | None = None) -> None:
    """Serve a project as `hotwash run` does, under a clock of our own."""
    application = wiring.open_application(folder, clock=clock, tell=logs.Log("json", clock))
    stopping = stopping or running._told_to_stop()
    try:
        await application.start()
        async with AsyncExitStack() as stack:
            token = running._token(folder)
            address = await stack.enter_async_context(serving(application, token, "127.0.0.1", 0))
            await stack.enter_async_context(running._announced(application, address, token))
            await stopping.wait()
    finally:
        await application.stop()


def engine(order: Mapping[str, Any]) -> int:
    """Be the engine; give the exit code."""
    _die_at_a_commit(order)
    if "offset" in order:
        asyncio.run(run_under(OffsetClock(Path(order["offset"])), Path(order["folder"])))
        return 0
    return cli.run(["run", "--project", order["folder"], "--port", "0", "--log-format", "json"])


def _die_at_a_commit(order: Mapping[str, Any]) -> None:
    if not {"before", "after", "when"} & set(order):
        return
    commit, numbers = Journal._commit, itertools.count(1)

    def commit_and_die(self: Journal, job: Any) -> None:
        number = next(numbers)
        if number == order.get("before"):
            threading.Event().wait(HELD_UP)
            os.kill(os.getpid(), signal.SIGKILL)
        commit(self, job)
        if number == order.get("after") or ("when" in order and self._connection.execute(order["when"]).fetchone()):
            os.kill(os.getpid(), signal.SIGKILL)

    Journal._commit = commit_and_die


def fork(order: Mapping[str, Any]) -> int:
    number = os.fork()
    if number:
        return number
    code = 70
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(Path(order["folder"]) / "engine.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for stream in (1, 2):
            os.dup2(log, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        code = engine(order)
    except BaseException:  # noqa: BLE001  a forked process must never go on as its parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def warm_up() -> None:
    """Run an engine on a project like those to come, and keep what that leaves out of the collector's sight."""
    import watchfiles  # noqa: F401  an engine watches its files

    stopped = asyncio.Event()
    stopped.set()
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w", encoding="utf-8") as nowhere:
        write_project(Path(folder), "http://127.0.0.1:9")
        errors, sys.stderr = sys.stderr, nowhere
        try:
            asyncio.run(run_under(SystemClock(), Path(folder), stopped))
        finally:
            sys.stderr = errors
    gc.collect()
    gc.freeze()


def main() -> None:
    warm_up()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how an engine ended: the kernel forgets it
    for line in sys.stdin:
        sys.stdout.write(f"{fork(json.loads(line))}\n")
        sys.stdout.flush()
    if os.getpgrp() == os.getpid():  # whoever tests is gone: so is every engine, and this
        os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
