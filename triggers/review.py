"""Start workflows when a review is booked, and when somebody declines."""

from __future__ import annotations

from engine.domain import Event
from engine.plugins import Discreet, trigger


class Scheduled(Discreet):
    """Start when a review is booked, and each time it is on at another time.

    A review that was called off and is on again counts too. `event.before` is null for one that is booked, and holds
    the review as it was for one that is moved. What our own steps book starts workflows as well: reviews are booked
    through them.

    Example:
        on:
          review.scheduled:
    """


class Declined(Discreet):
    """Start when somebody who must come to a review says that they will not.

    Who may stay away may decline as well: that starts nothing. `review.declined` holds everybody who has declined the
    time that it has now. Calendars that hear of answers are asked every few minutes.

    Example:
        on:
          review.declined:
    """


@trigger("review.scheduled", Scheduled, subject="review", own_may_start=True)
def scheduled(params: Scheduled, event: Event) -> bool:
    """Fit every review."""
    return True


@trigger("review.declined", Declined, subject="review")
def declined(params: Declined, event: Event) -> bool:
    """Fit every review."""
    return True
