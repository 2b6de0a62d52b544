"""The simulated world: a clock that a test moves, providers that record, and an engine on a real SQLite file."""

from engine.testing.clock import MovableClock
from engine.testing.providers import RecordingChat, RecordingTickets
from engine.testing.world import World

__all__ = ["MovableClock", "RecordingChat", "RecordingTickets", "World"]
