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
import re
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
    """Give the known word that `word` was probably meant to be, or None; swapped letters are nearer than others."""
    found = difflib.get_close_matches(word, list(known), n=3, cutoff=0.6)
    return next((one for one in found if sorted(one) == sorted(word)), found[0] if found else None)


def did_you_mean(word: str, known: Iterable[str], what: str = "known") -> str:
    """Give the hint for an unknown word: the nearest known one, or the list of what is known."""
    choices = sorted(known)
    near = nearest(word, choices)
    if near is not None:
        return f"did you mean '{near}'?"
    if not choices:
        return "there is none to choose from"
    return f"{what}: {', '.join(choices[:20])}{', …' if len(choices) > 20 else ''}"


def width(text: str) -> int:
    """Count the terminal columns that `text` takes (East Asian wide characters take two, combining marks none)."""
    return sum(_columns(ch) for ch in text)


def _columns(char: str) -> int:
    if char.isascii():
        return 1
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def visible(text: str) -> str:
    """Replace, one for one, what a terminal would obey instead of showing: control characters, text direction."""
    return _UNSEEN.sub(_picture, text)


#: C0, DEL and C1 controls; line and paragraph separators; marks that turn the direction of text; lone surrogates.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"


def render(problem: Problem) -> str:
    """Print one problem in the form at the top of this module, without a final line break."""
    place = f"{problem.span}: " if problem.span else ""
    kind = "warning: " if problem.severity == "warning" else ""
    lines = [visible(f"{place}{kind}{problem.message} [{problem.code}]")]
    gutter = " " * len(str(problem.span.line)) if problem.span else ""
    if problem.span and problem.excerpt is not None:
        lines += _excerpt(problem.span, problem.excerpt, gutter)
    if problem.hint:
        lines.append(f"{gutter} = {visible(problem.hint)}")
    return "\n".join(lines)


def render_all(problems: Iterable[Problem]) -> str:
    """Print problems in order, an empty line between them and none at the end."""
    return "\n\n".join(render(problem) for problem in sort(problems))


_WIDEST = 160  #: of an excerpt; a longer line is shown around its caret
_LOOKED_AT = 4 * _WIDEST  #: characters of each part of a line that are measured: it may be as long as a file
_LEAD = 60  #: of what is shown before the caret then
_TAB = "    "


def _excerpt(span: Span, line: str, gutter: str) -> list[str]:
    """Show the line and mark the span in it; one that goes on below is marked to the end of the line."""
    line = line.rstrip()
    start = span.column - 1
    end = max(start + 1, span.end_column - 1 if span.end_line == span.line else len(line))
    parts = line[max(0, start - _LOOKED_AT) : start], line[start:end][:_LOOKED_AT], line[end : end + _LOOKED_AT]
    before, marked, after = map(_cells, parts)
    if width(before + marked + after) > _WIDEST:
        before, marked, after = _shortened(before, marked, after)
    return [
        f"{gutter} |",
        f"{span.line} | {before}{marked}{after}".rstrip(),
        f"{gutter} | {' ' * width(before)}{'^' * max(1, width(marked))}",
    ]


def _cells(text: str) -> str:
    return visible(text.replace("\t", _TAB))


def _shortened(before: str, marked: str, after: str) -> tuple[str, str, str]:
    if width(before) > _LEAD:
        before = "…" + _last(before, _LEAD - 1)
    if width(marked) > _WIDEST - _LEAD:
        return before, _first(marked, _WIDEST - _LEAD - 1) + "…", ""
    room = _WIDEST - width(before) - width(marked)
    return before, marked, after if width(after) <= room else _first(after, room - 1) + "…"


def _first(text: str, columns: int) -> str:
    """Give the longest beginning of a text that fits."""
    used = 0
    for index, char in enumerate(text):
        used += _columns(char)
        if used > columns:
            return text[:index]
    return text


def _last(text: str, columns: int) -> str:
    """Give the longest end of a text that fits."""
    return _first(text[::-1], columns)[::-1]


def sort(problems: Iterable[Problem]) -> list[Problem]:
    """Put problems in the order of their places, those without a place first.

    What is said twice of one place is kept once, and an error rather than a warning.
    """
    every = list(dict.fromkeys(problems))
    errors = {(p.code, p.span) for p in every if p.severity == "error"}
    kept = [p for p in every if p.severity == "error" or p.span is None or (p.code, p.span) not in errors]
    return sorted(kept, key=lambda p: (p.span is not None, p.span or Span("", 0, 0, 0, 0), p.code))


def warning(problem: Problem) -> Problem:
    """Give the same problem as a warning."""
    return replace(problem, severity="warning")
