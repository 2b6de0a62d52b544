"""Business time: durations, working calendars, and arithmetic on both. Pure functions; nothing here asks for the time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from functools import total_ordering

_SHORT = re.compile(r"(\d+(?:\.\d+)?)(bd|[smhdw])")
_ISO = re.compile(r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@total_ordering
@dataclass(frozen=True, slots=True)
class Duration:
    """A length of time: exact seconds, working days, and calendar months.

    `7d` is 7 x 24 h. Working days and months have no fixed length: such a duration can be added to an instant, and
    compared only with another of the same shape.
    """

    seconds: float = 0.0
    business_days: int = 0
    months: int = 0

    @property
    def exact(self) -> bool:
        """Whether it is seconds alone."""
        return not self.business_days and not self.months

    def timedelta(self) -> timedelta:
        """Give it as a timedelta.

        Raises:
            ValueError: it holds working days or months.
        """
        if not self.exact:
            raise ValueError(f"{self} has no fixed length: add it to an instant")
        return timedelta(seconds=self.seconds)

    def __lt__(self, other: Duration) -> bool:
        if not (self.exact and other.exact):
            raise ValueError(f"{self} and {other} cannot be compared: one has no fixed length")
        return self.seconds < other.seconds

    def __str__(self) -> str:
        """Give the shortest text that `parse_duration` reads as this value."""
        parts = [f"{self.business_days}bd"] if self.business_days else []
        if self.months:
            return f"P{self.months}M" + (f"T{self.seconds:g}S" if self.seconds else "")
        left = self.seconds
        for unit in ("w", "d", "h", "m"):
            count, rest = divmod(left, _SECONDS[unit])
            if unit == "w" and rest:
                continue
            if count:
                parts.append(f"{int(count)}{unit}")
            left = rest
        if left or not parts:
            parts.append(f"{left:g}s")
        return "".join(parts)


def parse_duration(text: str) -> Duration:
    """Read `30s 15m 2h 7d 2w`, several in a row, working days `3bd`, or ISO 8601 `P7D P1M PT15M`.

    Raises:
        ValueError: it is none of these; the message says what is allowed.
    """
    bare = text.strip()
    if bare.startswith("P") and len(bare) > 1 and (found := _ISO.fullmatch(bare)) and not bare.endswith("T"):
        years, months, weeks, days, hours, minutes, seconds = (float(g or 0) for g in found.groups())
        total = weeks * 604800 + days * 86400 + hours * 3600 + minutes * 60 + seconds
        return Duration(total, 0, int(years * 12 + months))
    pieces = _SHORT.findall(bare)
    if pieces and "".join(number + unit for number, unit in pieces) == bare:
        days = [number for number, unit in pieces if unit == "bd"]
        if any("." in number for number in days):
            raise ValueError(f"working days are whole: '{text}'")
        return Duration(
            sum(float(number) * _SECONDS[unit] for number, unit in pieces if unit != "bd"),
            sum(int(number) for number in days),
        )
    raise ValueError(f"must be a duration such as 30s, 15m, 2h, 7d, 3bd or P1M, not '{text}'")
