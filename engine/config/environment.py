"""`.hotwash/env`: variables that hotwash.yaml names, where they are not in the process's environment.

One `NAME=VALUE` a line; empty lines and lines that begin with `#` are passed over, and so is `export `. The value is
taken as it stands, without the quotes around it. What is in the environment counts before it. Read again while the
engine runs, it lets credentials be replaced without a restart.
"""

from __future__ import annotations

import re
from pathlib import Path

from engine.config.reader import BAD_SETTING
from engine.problems import Problem, Span

#: Its path in the project's folder.
ENVIRONMENT_FILE = ".hotwash/env"
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_MOST_BYTES = 256 * 1024


def read_environment(folder: Path) -> tuple[dict[str, str], list[Problem]]:
    """Give the variables of a project's file, and what is wrong with it; without one there are none."""
    try:
        with open(folder / ENVIRONMENT_FILE, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        return {}, [_problem(f"cannot be read: {(error.strerror or 'unknown').lower()}", 1)]
    if len(data) > _MOST_BYTES:
        return {}, [_problem(f"is larger than {_MOST_BYTES // 1024} KiB", 1)]
    found: dict[str, str] = {}
    problems = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        read = _LINE.fullmatch(text)
        if read is None:  # the line may hold a secret: it is not shown
            problems.append(_problem("holds lines of the form NAME=VALUE, and this is none", number))
        else:
            found[read[1]] = _unquoted(read[2].strip())
    return found, problems


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def _problem(what: str, line: int) -> Problem:
    return Problem(BAD_SETTING, f"'{ENVIRONMENT_FILE}' {what}", Span(ENVIRONMENT_FILE, line, 1, line, 1))
