"""The engine as a process that is started, killed and started again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from engine.clock import SystemClock

ROOT = Path(__file__).resolve().parents[2]
#: How often is looked whether a process is up, or gone, in seconds.
LOOK = 0.003
#: An engine that is not up after so many seconds will not come up.
PATIENCE = 30.0


class NotUp(Exception):
    """The engine did not start; the text is the end of its log."""


@dataclass
class Child:
    """One project's engine, one process at a time."""

    folder: Path
    offset: Path | None = None  #: a file with the seconds by which its clock is wrong
    pid: int | None = None
    address: str | None = None
    started: int = 0
    _launcher: asyncio.subprocess.Process | None = None
    _process: asyncio.subprocess.Process | None = None
    clock: SystemClock = field(default_factory=SystemClock)

    @property
    def up(self) -> bool:
        return self.address is not None

    async def spawn(self, *, for_real: bool = False) -> None:
        """Begin to start an engine; `for_real` by the command as people give it, which takes longer."""
        assert self.pid is None
        self.started += 1
        if for_real:
            await self._spawn_command()
            return
        if self._launcher is None:
            arguments = [str(self.folder), *([str(self.offset)] if self.offset else [])]
            self._launcher = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.crash.launcher", *arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                cwd=ROOT,
            )
        assert self._launcher.stdin is not None
        assert self._launcher.stdout is not None
        self._launcher.stdin.write(b"\n")
        self.pid = int(await self._launcher.stdout.readline())

    async def _spawn_command(self) -> None:
        command = (sys.executable, "-c", "from engine.cli import main; main()")
        options = ("run", "--project", str(self.folder), "--port", "0", "--log-format", "json")
        with (self.folder / "engine.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, *options, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT
            )
        self.pid = self._process.pid

    async def ready(self) -> None:
        """Return when it listens, or when it is gone.

        Raises:
            NotUp: it ended by itself, or takes too long.
        """
        late = self.clock.monotonic() + PATIENCE
        while self.pid is not None:
            self.address = self._announced()
            if self.address is not None:
                return
            if not self._there() or self.clock.monotonic() > late:
                raise NotUp(self.log()[-2000:])
            await asyncio.sleep(LOOK)

    def _announced(self) -> str | None:
        with suppress(OSError, ValueError):
            told = json.loads((self.folder / ".hotwash" / "server.json").read_text("utf-8"))
            if told["pid"] == self.pid:
                return str(told["address"])
        return None

    def _there(self) -> bool:
        if self.pid is None or (self._process is not None and self._process.returncode is not None):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> None:
        """Kill it where it is; what it asked of the kernel is not taken back."""
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.address = None

    async def gone(self) -> None:
        """Return when nothing is left of the process."""
        while self._there():
            await asyncio.sleep(LOOK)
        if self._process is not None:
            await self._process.wait()
        self.pid = self._process = self.address = None

    async def stop(self) -> None:
        """Tell it to stop, and wait until it has."""
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
        await asyncio.wait_for(self.gone(), PATIENCE)

    async def close(self) -> None:
        """End whatever is left."""
        self.kill()
        await self.gone()
        if self._launcher is not None and self._launcher.stdin is not None:
            self._launcher.stdin.close()
            await self._launcher.wait()

    def log(self) -> str:
        path = self.folder / "engine.log"
        return path.read_text("utf-8", errors="replace") if path.exists() else ""
