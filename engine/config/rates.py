"""`rate:` and `burst:` of a connection: how often it is called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

_RATE = re.compile(r"([0-9]{1,9})\s*/\s*([a-z]+)")
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_SPELLINGS = {"sec": "s", "second": "s", "m": "min", "minute": "min", "hour": "h", "day": "d"}
#: The most calls a second that a rate may say: beyond it, it limits nothing.
MOST_A_SECOND = 10_000


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `calls` in each `unit` (s, min, h, d) in the long run, and `burst` of them at once."""

    calls: int
    unit: str
    burst: int

    @property
    def interval(self) -> timedelta:
        """The time in which one call becomes free."""
        return timedelta(seconds=_SECONDS[self.unit]) / self.calls

    def __str__(self) -> str:
        return f"{self.calls}/{self.unit}"


def parse_rate(text: str, burst: int | None = None) -> Rate:
    """Read `50/min`. Without a burst of its own, a tenth of the calls may come at once, and at least one.

    Raises:
        ValueError: it is none; the text says what is allowed.
    """
    found = _RATE.fullmatch(text.strip())
    unit = _SPELLINGS.get(found[2], found[2]) if found else ""
    if found is None or unit not in _SECONDS or not 1 <= int(found[1]) <= MOST_A_SECOND * _SECONDS[unit]:
        raise ValueError("must be calls in a length of time, such as 10/s, 50/min, 1000/h or 5000/d")
    calls = int(found[1])
    return Rate(calls, unit, burst or max(1, calls // 10))
