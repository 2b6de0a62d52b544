"""Processes that the benchmark starts: each in a group of its own, found in /proc, and ended with all it started."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import IO, Any, Self

ROOT = Path(__file__).resolve().parents[1]
MIB = 1024 * 1024
#: Seconds that a process has to end when it is told to.
PATIENCE = 15.0


class Unavailable(Exception):
    """Something cannot be measured here; the text is one line for people."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of a process and all it started: what is held now, and the sum of each one's most."""

    now: int
    most: int


class Child:
    """A running process. Use as a context manager: at the end it is told to stop, then killed."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        talks: bool = False,
    ) -> None:
        self.name = Path(command[0]).name
        self.log = log
        self._out: IO[bytes] | int = open(log, "wb") if log else subprocess.DEVNULL  # noqa: SIM115  closed by stop()
        pipe = subprocess.PIPE if talks else None
        self.process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=pipe or subprocess.DEVNULL,
            stdout=pipe or self._out,
            stderr=self._out,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, with everything that it started."""
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)
        self._signal(signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._out):
            if stream is not None and not isinstance(stream, int):
                with suppress(OSError):
                    stream.close()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def memory(self) -> Memory:
        """Give what it and what it started hold."""
        found = [_memory(pid) for pid in _group(self.pid)]
        return Memory(sum(now for now, _ in found), sum(most for _, most in found))

    def answers(self, port: int, path: str, seconds: float, status: int = 200) -> float:
        """Wait until it answers an HTTP request with a status; give the seconds that took.

        Raises:
            Unavailable: it ended, or did not answer in time.
        """
        start = perf_counter()
        while perf_counter() - start < seconds:
            if self.process.poll() is not None:
                raise Unavailable(f"{self.name} ended with {self.process.returncode} at its start{self._said()}")
            if http_status(port, "GET", path) == status:
                return perf_counter() - start
            pause(0.01)
        raise Unavailable(f"{self.name} does not answer after {seconds:.0f} s{self._said()}")

    def _said(self) -> str:
        with suppress(OSError, IndexError, TypeError):
            return f": {Path(str(self.log)).read_text('utf-8', 'replace').strip().splitlines()[-1][:160]}"
        return ""


class Worker(Child):
    """A process that is asked by lines of JSON on stdin, and answers each with one on stdout."""

    def __init__(self, command: Sequence[str | Path], *, cwd: Path = ROOT, log: Path | None = None, **env: str) -> None:
        super().__init__(command, cwd=cwd, env=env, log=log, talks=True)
        self.hello = self._read()

    def ask(self, **question: Any) -> dict[str, Any]:
        """Give its answer.

        Raises:
            Unavailable: it ended in place of answering.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(question).encode() + b"\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.stop()
            raise Unavailable(f"{self.name} ended with {self.process.returncode}{self._said()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def python(module: str, *arguments: str | Path) -> list[str | Path]:
    """Give the command that runs a module of ours."""
    return [sys.executable, "-m", module, *arguments]


def answering(hello: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Be a worker: say hello, give each question; `reply` answers it."""
    reply(hello)
    for line in sys.stdin:
        yield json.loads(line)


def reply(answer: Mapping[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def pause(seconds: float) -> None:
    Event().wait(seconds)


def free_port() -> int:
    """Give a port of the loopback address that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def http_status(port: int, method: str, path: str, body: bytes = b"") -> int | None:
    """Send a small request to this machine and give the status; None where there is no answer."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body or None, {"Content-Type": "application/json"} if body else {})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _group(leader: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[2]) == leader:
                    found.append(int(entry.name))
    return found


def _memory(pid: int) -> tuple[int, int]:
    with suppress(OSError):
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
        return _bytes(lines.get("VmRSS", "0 kB")), _bytes(lines.get("VmHWM", "0 kB"))
    return 0, 0


def _bytes(text: str) -> int:
    return int(text.split()[0]) * 1024
