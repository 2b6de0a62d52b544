"""The engine as a process that is started, killed and started again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.clock import SystemClock

ROOT = Path(__file__).resolve().parents[2]
#: How often is looked whether a process is up, or gone, in seconds.
LOOK = 0.003
#: An engine that is not up after so many seconds will not come up.
PATIENCE = 60.0


class NotUp(Exception):
    """The engine did not start; the text is the end of its log."""


class Launcher:
    """The process that forks engines; several projects may share it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            (sys.executable, "-m", "tests.crash.launcher"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            start_new_session=True,
        )
        self._lock = threading.Lock()

    def fork(self, order: dict[str, Any]) -> int:
        """Start an engine; give its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it, and whatever it has started."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()

    def __enter__(self) -> Launcher:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@dataclass
class Child:
    """One project's engine, one process at a time."""

    folder: Path
    launcher: Launcher
    offset: Path | None = None  #: a file with the seconds by which its clock is wrong
    pid: int | None = None
    address: str | None = None
    dies: bool = False  #: whether it was told to kill itself
    _process: asyncio.subprocess.Process | None = None
    clock: SystemClock = field(default_factory=SystemClock)

    @property
    def up(self) -> bool:
        return self.address is not None

    @property
    def died(self) -> bool:
        """Whether it is gone that was up, and nobody killed it."""
        return self.up and not self.there

    async def spawn(self, *, for_real: bool = False, **dies: Any) -> None:
        """Begin to start an engine; `for_real` by the command as people give it, which takes longer.

        Args:
            for_real: by the command.
            dies: how it kills itself: `before`, `after` or `when` of the launcher.
        """
        assert self.pid is None
        self.dies = bool(dies)
        if for_real:
            await self._spawn_command()
            return
        order = {"folder": str(self.folder), **dies}
        if self.offset is not None:
            order["offset"] = str(self.offset)
        self.pid = await asyncio.to_thread(self.launcher.fork, order)

    async def _spawn_command(self) -> None:
        command = (sys.executable, "-c", "from engine.cli import main; main()")
        options = ("run", "--project", str(self.folder), "--port", "0", "--log-format", "json")
        with (self.folder / "engine.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, *options, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT
            )
        self.pid = self._process.pid

    async def ready(self) -> None:
        """Return when it listens, or when it has killed itself as it was told.

        Raises:
            NotUp: it ended by itself, or takes too long.
        """
        late = self.clock.monotonic() + PATIENCE
        while self.pid is not None:
            self.address = self._announced()
            if self.address is not None:
                return
            if not self.there:
                if self.dies:
                    return
                raise NotUp(self.log()[-2000:])
            if self.clock.monotonic() > late:
                raise NotUp(f"not within {PATIENCE:g} s: {self.log()[-2000:]}")
            await asyncio.sleep(LOOK)

    def _announced(self) -> str | None:
        with suppress(OSError, ValueError):
            told = json.loads((self.folder / ".hotwash" / "server.json").read_text("utf-8"))
            if told["pid"] == self.pid:
                return str(told["address"])
        return None

    @property
    def there(self) -> bool:
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
        while self.there:
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

    def log(self) -> str:
        path = self.folder / "engine.log"
        return path.read_text("utf-8", errors="replace") if path.exists() else ""
