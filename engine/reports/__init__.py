"""Read what happened: runs, events, why and why not, and how things stand.

Every function takes a connection of `engine.store.journal.connect(path, readonly=True)` and gives plain JSON: records
are mappings of their fields, instants ISO 8601 in UTC, long texts cut. No engine needs to be running.
"""

from engine.reports.events import list_events, show_event
from engine.reports.explaining import explain_event
from engine.reports.overview import mutes, status
from engine.reports.runs import STATES, list_runs, show_run
from engine.store.naming import Ambiguous, NotFound

__all__ = [
    "STATES",
    "Ambiguous",
    "NotFound",
    "explain_event",
    "list_events",
    "list_runs",
    "mutes",
    "show_event",
    "show_run",
    "status",
]
