"""What `hotwash run` shows: a line on stderr for everything that happens, and on stdout what the console says."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from engine.cli import output
from engine.cli.output import safe
from engine.clock import Clock
from engine.problems import Problem

Form = Literal["text", "json"]

#: What a provider shows to whoever watches; it goes to stdout.
SAID = "said"


class Log:
    """Take what happens (`engine.log.Tell`) and write each as a line, to the second and in UTC."""

    def __init__(self, form: Form, clock: Clock, lines: TextIO | None = None, said: TextIO | None = None) -> None:
        self._clock = clock
        self._line: Callable[..., str] = _json_line if form == "json" else _text_line
        self._lines, self._said = lines or sys.stderr, said or sys.stdout

    def __call__(self, event: str, sentence: str, /, **facts: Any) -> None:
        if event == SAID:
            _write(self._said, safe(sentence))
        else:
            _write(self._lines, self._line(self._clock.now(), event, sentence, facts))

    def problems(self, found: Sequence[Problem]) -> None:
        """Write problems of the project's files: as `check` prints them, or each as a line for programs."""
        if self._line is _text_line:
            with suppress(OSError, ValueError):
                output.problems(found, file=self._lines)
            return
        for problem in found:
            self("project.problem", problem.message, **problem.as_record())


class Handler(logging.Handler):
    """Turn what libraries log (the HTTP server, asyncio) into lines of the same form."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        facts: dict[str, Any] = {}
        if record.exc_info:
            facts["traceback"] = logging.Formatter().formatException(record.exc_info)
        self._log(f"library.{record.name}", record.getMessage(), **facts)


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


def _write(stream: TextIO, text: str) -> None:
    """Write a line; that nobody reads any more must not stop the engine."""
    with suppress(OSError, ValueError):
        stream.write(text + "\n")
        stream.flush()
