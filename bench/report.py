"""The table: what was measured, how many times and how long, against what, and whether it is what was promised."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

_HEAD = ("WORK", "COUNT", "SECONDS", "FIGURE", "RATIO", "AGAINST", "MUST REACH", "REACHED")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure."""

    work: str
    figure: float
    unit: str  #: what the figure counts: `/s`, `ms`, `MiB`, `s`, `bytes`
    count: int = 0  #: how many things it rests on
    seconds: float = 0.0  #: how long they took
    rounds: Sequence[float] = ()  #: the figure of each round, of which it is the median
    ratio: float | None = None
    against: str = ""  #: what the ratio is to, measured in the same run
    must: str = ""
    reached: bool | None = None

    def cells(self) -> tuple[str, ...]:
        return (
            self.work,
            f"{self.count:,}" if self.count else "",
            f"{self.seconds:.1f}" if self.seconds else "",
            f"{_number(self.figure)} {self.unit}".replace(" /s", "/s"),
            f"{self.ratio:.3g} x" if self.ratio is not None else "",
            self.against,
            self.must,
            "" if self.reached is None else "yes" if self.reached else "NO",
        )

    def as_record(self) -> dict[str, Any]:
        record = {name: getattr(self, name) for name in self.__slots__}
        return {**record, "rounds": [round(one, 3) for one in self.rounds], "figure": round(self.figure, 3)}


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


@dataclass(slots=True)
class Rounds:
    """The same thing measured several times: counts and seconds."""

    counts: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add(self, count: int, seconds: float) -> None:
        self.counts.append(count)
        self.seconds.append(seconds)

    @property
    def rates(self) -> list[float]:
        return [count / seconds for count, seconds in zip(self.counts, self.seconds, strict=True)]

    @property
    def rate(self) -> float:
        return median(self.rates)

    def row(self, work: str, **more: Any) -> Row:
        return Row(work, self.rate, "/s", sum(self.counts), sum(self.seconds), self.rates, **more)

    def against(self, other: Rounds, name: str, work: str, times: float | None) -> Row:
        """Give the row that holds this against the same work of a peer, whose figure it shows."""
        ratio = self.rate / other.rate if other.rate else None
        must = f"{times:g} x" if times is not None else ""
        reached = ratio >= times if ratio is not None and times is not None else None
        return other.row(f"  {name}: {work}", ratio=ratio, against=f"ours / {name}", must=must, reached=reached)


@dataclass(slots=True)
class Report:
    """What has been measured so far."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *rows: Row) -> None:
        self.rows += rows

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    @property
    def missed(self) -> list[Row]:
        return [row for row in self.rows if row.reached is False]

    def table(self) -> str:
        """Give it as text."""
        lines = [_HEAD, *(row.cells() for row in self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
        right = (1, 2, 3, 4)
        shown = (
            "  ".join(
                cell.rjust(width) if column in right else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )
        return "\n".join([*shown, *(f"- {note}" for note in self.notes)])

    def save(self, path: Path, seconds: float, peers: Iterable[str] = ()) -> None:
        """Keep it as JSON, with what kind of machine it was, and which peers were asked for."""
        result = {
            "machine": {
                "python": platform.python_version(),
                "sqlite": sqlite3.sqlite_version,
                "platform": sys.platform,
                "cores": len(os.sched_getaffinity(0)),
            },
            "peers": list(peers),
            "seconds": round(seconds, 1),
            "measured": [row.as_record() for row in self.rows],
            "missed": [row.work.strip() for row in self.missed],
            "notes": self.notes,
        }
        path.write_text(json.dumps(result, indent=2) + "\n")
