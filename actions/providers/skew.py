"""How far this machine's clock is from a vendor's, as the `Date` of its answers tells."""

from __future__ import annotations

from datetime import datetime
from email.utils import parsedate_to_datetime

#: Seconds that two clocks may differ.
MOST_SKEW = 60.0


def ahead(date: str | None, now: datetime) -> float | None:
    """Give the seconds that `now` is ahead of a vendor's `Date`; None where that says no instant."""
    try:
        told = parsedate_to_datetime(date) if date else None
    except ValueError:
        return None
    return (now - told).total_seconds() if told is not None and told.tzinfo is not None else None


def said(seconds: float, vendor: str) -> str | None:
    """Say how far this machine's clock is ahead of a vendor's, where that matters; None where it does not."""
    if abs(seconds) <= MOST_SKEW:
        return None
    side = "ahead of" if seconds > 0 else "behind"
    return (
        f"this machine's clock is {abs(seconds):.0f} seconds {side} {vendor}'s: set it by NTP, else signatures with a "
        "time are refused and things fall due at the wrong instant"
    )
