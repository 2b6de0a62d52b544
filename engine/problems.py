"""Problems in files and configuration, and the one form in which they are printed.

The form, from LANGUAGE section 8::

    workflows/postmortem.yaml:15:11: no action is called 'document.creat' [unknown-action]
       |
    15 |     uses: document.creat
       |           ^^^^^^^^^^^^^^
       = did you mean 'document.create'?

`file:line:col`, a sentence in the file's own words, a stable code, the line, a caret, a hint that is an instruction.
Codes are stable and never reused; `CODES` says of each what `hotwash explain CODE` prints.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of a file. Lines and columns count from 1, columns in characters; the end is exclusive."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where, what, its code, and what to do about it."""

    code: str
    message: str
    span: Span | None = None
    hint: str | None = None
    excerpt: str | None = None  #: the line at `span.line`, already masked where it could hold a secret
    severity: Literal["error", "warning"] = "error"

    def as_record(self) -> dict[str, Any]:
        """Give the record that `check --format json` prints."""
        span = self.span
        return {
            "file": span.file if span else None,
            "line": span.line if span else None,
            "column": span.column if span else None,
            "end_line": span.end_line if span else None,
            "end_column": span.end_column if span else None,
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "hint": self.hint,
        }


class ProblemError(Exception):
    """Something a person wrote cannot be used; `problems` says what, all of it."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(str(problem.message) for problem in problems))
        self.problems = list(problems)


@dataclass(frozen=True, slots=True)
class Code:
    """What a problem code means, for `hotwash explain CODE`."""

    name: str
    meaning: str
    remedy: str


#: Every problem code, filled by the modules that report it through `declare`.
CODES: dict[str, Code] = {}


def declare(name: str, meaning: str, remedy: str) -> str:
    """Declare a problem code and give its name back, so that the module that reports it holds a constant."""
    if name in CODES:
        raise ValueError(f"problem code {name!r} is declared twice")
    CODES[name] = Code(name, meaning, remedy)
    return name


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Give the known word that `word` was probably meant to be, or None."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(word: str, known: Iterable[str], what: str = "known") -> str:
    """Give the hint for an unknown word: the nearest known one, or the list of what is known."""
    choices = sorted(known)
    near = nearest(word, choices)
    if near is not None:
        return f"did you mean '{near}'?"
    if not choices:
        return f"nothing is {what} here"
    return f"{what}: {', '.join(choices[:20])}{', …' if len(choices) > 20 else ''}"


def width(text: str) -> int:
    """Count the terminal columns that `text` takes (East Asian wide characters take two, combining marks none)."""
    return sum(0 if unicodedata.combining(ch) else 2 if unicodedata.east_asian_width(ch) in "WF" else 1 for ch in text)


def render(problem: Problem) -> str:
    """Print one problem in the form at the top of this module, without a final line break."""
    place = f"{problem.span}: " if problem.span else ""
    kind = "warning: " if problem.severity == "warning" else ""
    lines = [f"{place}{kind}{problem.message} [{problem.code}]"]
    gutter = " " * len(str(problem.span.line)) if problem.span else ""
    if problem.span and problem.excerpt is not None:
        lines += _excerpt(problem.span, problem.excerpt, gutter)
    if problem.hint:
        lines.append(f"{gutter} = {problem.hint}")
    return "\n".join(lines)


def _excerpt(span: Span, line: str, gutter: str) -> list[str]:
    start, cut = 0, line.rstrip("\r\n")
    if width(cut) > 200:  # a very long line is shown around its caret
        start = max(0, span.column - 61)
        cut = cut[start : start + 160]
    before = cut[: span.column - 1 - start]
    lead = "".join("\t" if ch == "\t" else " " * width(ch) for ch in before)
    end = span.end_column if span.end_line == span.line else len(line) + 1
    under = cut[span.column - 1 - start : max(span.column, end) - 1 - start]
    return [
        f"{gutter} |",
        f"{span.line} | {cut}".rstrip(),
        f"{gutter} | {lead}{'^' * max(1, width(under.rstrip()))}",
    ]


def sort(problems: Iterable[Problem]) -> list[Problem]:
    """Put problems in the order of their places, those without a place first, and drop repeated ones."""
    return sorted(
        dict.fromkeys(problems),
        key=lambda p: (p.span is not None, p.span or Span("", 0, 0, 0, 0), p.code),
    )


def warning(problem: Problem) -> Problem:
    """Give the same problem as a warning."""
    return replace(problem, severity="warning")
