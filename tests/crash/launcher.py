"""Start `hotwash run` quickly, many times: `python -m tests.crash.launcher PROJECT [OFFSET_FILE]`.

Everything is imported once; each line on stdin starts an engine in a forked process, whose number is printed. With a
file of an offset in seconds, the engine runs under a clock that is wrong by that much.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from contextlib import AsyncExitStack, suppress
from datetime import datetime, timedelta
from pathlib import Path

from engine import cli, wiring
from engine.cli import client, logs, project, running
from engine.clock import SystemClock
from engine.server import serving

__all__ = ["client", "project"]  # imported so that no engine has to


class OffsetClock(SystemClock):
    """The machine's clock, set wrong by what a file says. A new setting is noticed soon."""

    longest_nap = 0.1

    def __init__(self, file: Path) -> None:
        self._file = file

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=float(self._file.read_text("utf-8")))


async def run_under(clock: OffsetClock, folder: Path) -> None:
    """Serve a project as `hotwash run` does, under a clock of our own."""
    application = wiring.open_application(folder, clock=clock, tell=logs.Log("json", clock))
    stopping = running._told_to_stop()
    try:
        await application.start()
        async with AsyncExitStack() as stack:
            token = running._token(folder)
            address = await stack.enter_async_context(serving(application, token, "127.0.0.1", 0))
            await stack.enter_async_context(running._announced(application, address, token))
            await stopping.wait()
    finally:
        await application.stop()


def engine(folder: Path, offset: Path | None) -> int:
    """Be the engine; give the exit code."""
    if offset is not None:
        asyncio.run(run_under(OffsetClock(offset), folder))
        return 0
    return cli.run(["run", "--project", str(folder), "--port", "0", "--log-format", "json"])


def fork(folder: Path, offset: Path | None) -> int:
    number = os.fork()
    if number:
        return number
    code = 70
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(folder / "engine.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for stream in (1, 2):
            os.dup2(log, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        code = engine(folder, offset)
    except BaseException:  # noqa: BLE001  a forked process must never go on as its parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    folder, *more = (Path(argument) for argument in sys.argv[1:])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how an engine ended: the kernel forgets it
    number = None
    for _ in sys.stdin:
        number = fork(folder, more[0] if more else None)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
    if number is not None:  # whoever tests is gone
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


if __name__ == "__main__":
    main()
