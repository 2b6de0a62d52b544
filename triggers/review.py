"""Start workflows when a review is booked."""

from __future__ import annotations

from engine.domain import Event
from engine.plugins import Discreet, trigger


class Scheduled(Discreet):
    """Start when a review is booked.

    Example:
        on:
          review.scheduled:
    """


@trigger("review.scheduled", Scheduled, subject="review", available=False)
def scheduled(params: Scheduled, event: Event) -> bool:
    """Fit every review."""
    return True
