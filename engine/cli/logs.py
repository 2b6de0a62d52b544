"""What `hotwash run` shows: a line on stderr for everything that happens, and on stdout what the console says."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from engine.cli import output
from engine.cli.output import safe
from engine.clock import Clock
from engine.faults import masked
from engine.problems import Problem

Form = Literal["text", "json"]

#: What a provider shows to whoever watches; it goes to stdout.
SAID = "said"


class Log:
    """Take what happens (`engine.log.Tell`) and write each as a line, to the second and in UTC."""

    def __init__(self, form: Form, clock: Clock, lines: TextIO | None = None, said: TextIO | None = None) -> None:
        self._clock = clock
        self._line: Callable[..., str] = _json_line if form == "json" else _text_line
        self._lines, self._said = _Lines(lines or sys.stderr), _Lines(said or sys.stdout)

    def __call__(self, event: str, sentence: str, /, **facts: Any) -> None:
        if event == SAID:
            self._said.put(safe(sentence))
        else:
            self._lines.put(self._line(self._clock.now(), event, sentence, facts))

    def flush(self) -> None:
        """Write what has not been written yet."""
        self._lines.flush()
        self._said.flush()

    def problems(self, found: Sequence[Problem]) -> None:
        """Write problems of the project's files: as `check` prints them, or each as a line for programs."""
        if self._line is _text_line:
            self._lines.flush()
            with suppress(OSError, ValueError):
                output.problems(found, file=self._lines.stream)
            return
        for problem in found:
            self("project.problem", problem.message, **problem.as_record())


class _Lines:
    """Writes lines, those of one turn of the event loop together: thousands of them may come a second."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._waiting: deque[str] = deque()

    def put(self, text: str) -> None:
        """Write a line soon; at once where no event loop runs."""
        self._waiting.append(text)
        if len(self._waiting) > 1:
            return
        try:
            asyncio.get_running_loop().call_soon(self.flush)
        except RuntimeError:
            self.flush()

    def flush(self) -> None:
        """Write what waits; that nobody reads any more must not stop the engine."""
        lines = []
        while self._waiting:
            lines.append(self._waiting.popleft())
        with suppress(OSError, ValueError):
            self.stream.write("".join(f"{line}\n" for line in lines))
            self.stream.flush()


class Handler(logging.Handler):
    """Turn what libraries log (the HTTP server, asyncio) into lines of the same form."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        facts: dict[str, Any] = {}
        if record.exc_info:
            facts["traceback"] = masked(logging.Formatter().formatException(record.exc_info))
        self._log(f"library.{record.name}", masked(record.getMessage()), **facts)


def _text_line(at: datetime, event: str, sentence: str, facts: dict[str, Any]) -> str:
    text = safe(f"{_second(at)}  {event:<18} {sentence}".replace("\n", " "))
    return f"{text}\n{safe(str(facts['traceback']))}" if "traceback" in facts else text


def _json_line(at: datetime, event: str, sentence: str, facts: dict[str, Any]) -> str:
    line = {"at": at.astimezone(UTC).isoformat(), "event": event, "message": sentence, **facts}
    return json.dumps(line, default=_plain)


def _second(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")[:19] + "Z"


def _plain(value: Any) -> Any:
    from engine.reports.values import plain
    from engine.store.codec import encode

    if isinstance(value, datetime):
        return value.isoformat()
    try:
        return plain(encode(value))
    except TypeError:
        return str(value)
