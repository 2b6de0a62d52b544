"""What commands print: rich for people at a terminal, plain when piped, JSON for programs.

Texts may come from outside (an incident's title, somebody's workflow file), so everything printed for people goes
through `safe`, which leaves no control characters for a terminal to obey.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

from engine.problems import Problem, render, width

if TYPE_CHECKING:
    from rich.text import Text

_KEPT = frozenset("\n\t\u200d")  # the last one joins emoji


def safe(text: str) -> str:
    """Give `text` with every control and direction-changing character replaced by `�`."""
    if text.isprintable():  # then it holds none of them, whatever the script
        return text
    return "".join(ch if ch in _KEPT or unicodedata.category(ch) not in ("Cc", "Cf", "Cs") else "�" for ch in text)


def say(text: str = "") -> None:
    """Print a line on stdout."""
    print(safe(text))


def note(text: str) -> None:
    """Print a line on stderr, for what is not the command's result."""
    print(safe(text), file=sys.stderr)


def failure(message: str, hint: str | None = None) -> None:
    """Print on stderr why a command did not do what was asked, and what to do about it."""
    note(f"hotwash: {message}")
    if hint:
        note(f"  = {hint}")


def as_json(value: Any) -> None:
    """Print a value as JSON on stdout; instants are ISO 8601, everything else without a JSON form is its text."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "") -> None:
    """Print a table on stdout; without rows, the line `empty`. None is shown as nothing."""
    texts = [["" if cell is None else safe(str(cell)) for cell in row] for row in rows]
    if not texts:
        say(empty)
    elif sys.stdout.isatty():
        _rich_table(headings, texts)
    else:
        _plain_table(headings, texts)


def _rich_table(headings: Sequence[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        grid.add_column(heading, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    Console().print(grid)


def _plain_table(headings: Sequence[str], rows: list[list[str]]) -> None:
    lines = [list(headings), *([cell.replace("\n", " ") for cell in row] for row in rows)]
    widths = [max(width(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        padded = (cell + " " * (wide - width(cell)) for cell, wide in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip())


def problems(found: Sequence[Problem], *, file: TextIO | None = None) -> None:
    """Print problems, on stdout unless told otherwise, with an empty line between two and a count after several."""
    stream = file or sys.stdout
    for number, problem in enumerate(found):
        if number:
            print(file=stream)
        _print_problem(problem, stream)
    if len(found) > 1:
        print(f"\n{count(found)}", file=stream)


def count(found: Sequence[Problem]) -> str:
    """Say how many problems there are: `2 errors, 1 warning`."""
    kinds = [problem.severity for problem in found]
    counts = [(kinds.count(kind), kind) for kind in ("error", "warning")]
    return ", ".join(f"{number} {kind}{'s' * (number > 1)}" for number, kind in counts if number) or "no problems"


def _print_problem(problem: Problem, stream: TextIO) -> None:
    text = safe(render(problem))
    if not stream.isatty():
        print(text, file=stream)
        return
    from rich.console import Console

    Console(file=stream).print(_coloured(text, problem), soft_wrap=True, highlight=False)


def _coloured(text: str, problem: Problem) -> Text:
    from rich.text import Text

    colour = "red" if problem.severity == "error" else "yellow"
    first, *rest = text.split("\n")
    place = f"{problem.span}: " if problem.span else ""
    start = len(place) if first.startswith(place) else 0
    shown = Text.assemble((first[:start], "bold"), (first[start:], colour))
    for line in rest:
        style = "cyan" if line.lstrip().startswith("= ") else colour if set(line) <= set(" |^\t") else ""
        shown.append("\n")
        shown.append(line, style=style)
    return shown
