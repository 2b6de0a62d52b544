from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine import calendars
from tests.fakes import FakeConnection


class FakeTickets:
    """A tracker that finds what it was given, and remembers how it was asked."""

    def __init__(self, *tickets):
        self.tickets = tickets
        self.asked = []

    async def search(self, where, query):
        self.asked.append((where, query))
        return self.tickets


@pytest.fixture
def check_at():
    """Make what a due check or a look may use, at an instant."""

    def make(now, *tickets, due=None, zone="UTC", calendar=calendars.WEEKDAYS_9_TO_5, incidents=(), **more):
        async def open_incidents():
            for one in incidents:
                yield one

        given = {"people": None, "cursor": None, **more}
        return SimpleNamespace(
            now=now,
            due=due or now,
            zone=zone,
            tickets=FakeTickets(*tickets),
            calendar=calendar,
            open_incidents=open_incidents,
            **given,
        )

    return make


@pytest.fixture
def connection():
    """A connection as sources and providers are given it, as far as they look."""
    return FakeConnection(Path(), "pager")


@pytest.fixture
def now():
    return datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
