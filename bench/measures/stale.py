"""The check for stale tickets, over many local ones: from when it falls due to when all its events are there."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

from bench import project
from bench.measures import Bench, run_product
from bench.processes import Unavailable
from bench.report import Row
from engine.clock import SystemClock
from engine.plugins import Fact

TICKETS, STALE = 100_000, 1000
#: The check falls due this long after the tickets are there: the engine is ready by then.
AHEAD = timedelta(seconds=6)
MOST_SECONDS, MOST_MEMORY = 10.0, 200  #: MiB

WORKFLOW = """\
on:
  ticket.stale:
    for: 7d
    where: {{labels: [postmortem]}}
    runs_per_check: {runs}
steps:
  - finish: seen
"""


def measure(bench: Bench) -> None:
    tickets, stale = bench.many(TICKETS), bench.many(STALE)
    folder = project.write(bench.folder / "stale", {"nudge": WORKFLOW.format(runs=stale)}, plugin=False)
    now = SystemClock().now()
    fields = {"title": f"Ticket {project.TOKEN}", "labels": ("postmortem",), "key": project.TOKEN}
    fresh = {**fields, "created_at": now, "active_at": now}
    project.let_happen(folder, Fact("ticket.created", now, "ticket", f"local:{project.TOKEN}", fresh, id="first"))
    path = project.database(folder)
    _copy_tickets(path, tickets, stale, now.isoformat(), (now - timedelta(days=30)).isoformat())
    due = SystemClock().now() + AHEAD
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE schedules SET due = ? WHERE due IS NOT NULL", (int(due.timestamp() * 1_000_000),))
    with ExitStack() as stack:
        product, _ = run_product(stack, folder)
        if SystemClock().now() >= due:
            raise Unavailable("the check fell due before the engine was ready")
        product.wait_until("SELECT count(*) FROM events WHERE type = 'ticket.stale'", stale, 120)
        took = (SystemClock().now() - due).total_seconds()
        held = product.memory()
    work = f"stale check, {tickets:,} tickets, {stale:,} stale"
    bench.add(
        Row(work, took, "s", tickets, took, must=f"{MOST_SECONDS:g} s", reached=took < MOST_SECONDS),
        Row("  memory meanwhile, at most", held, "MiB", must=f"{MOST_MEMORY} MiB", reached=held < MOST_MEMORY),
    )


def _copy_tickets(path: Path, tickets: int, stale: int, fresh: str, old: str) -> None:
    """Write copies of the one ticket, of which so many were touched long ago; and let the check fall due."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        found = connection.execute("SELECT * FROM subjects WHERE type = 'ticket'")
        names = [column[0] for column in found.description]
        row = found.fetchone()
        if row is None:
            raise Unavailable("the ticket that is to be copied was not kept")
        marks = ", ".join("?" * len(names))

        def copy(number: int) -> list[object]:
            token, at = f"{number:016x}", old if number % (tickets // stale) == 0 else fresh
            return [v.replace(project.TOKEN, token).replace(fresh, at) if isinstance(v, str) else v for v in row]

        def write() -> None:
            connection.execute("DELETE FROM subjects WHERE type = 'ticket'")
            statement = f"INSERT INTO subjects ({', '.join(names)}) VALUES ({marks})"
            connection.executemany(statement, (copy(number) for number in range(tickets)))

        project.with_bulk(connection, write)
