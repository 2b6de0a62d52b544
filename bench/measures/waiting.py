"""Many waiting runs, half of them for an event with an equality: what they cost while they wait, and when they end."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter

from bench import messages, project
from bench.measures import Bench, Product, run_product
from bench.processes import MIB, Unavailable, Worker, pause
from bench.report import Rounds, Row
from engine.clock import SystemClock

WAITING, DUE = 100_000, 10_000
MORE_MEMORY, START, TIMES, ADVANCED = 20, 1.0, 2.0, 3.0  #: MiB, seconds, times, seconds
CLIENTS = 8
#: Seconds in which two engines have started and what is to fall due has been copied, beside what is measured then.
AHEAD = 14.0

WORKFLOWS = {
    "pause": "on: incident.declared\nif: incident.severity == 'sev3'\nsteps:\n  - wait: 30d\n",
    "await": (
        "on: incident.declared\nif: incident.severity == 'sev4'\nsteps:\n  - wait:\n      for: 30d\n"
        "      until:\n        webhook: event.data.title == run.event.data.title\n"
    ),
    "soon": (
        "on: incident.declared\nif: incident.severity == 'sev5'\nsteps:\n  - wait:\n      at: ${{ event.data.at }}\n"
    ),
}
SETTINGS = (
    'connections:\n  hooks: {provider: generic, scheme: hmac, webhook_secret: "${BENCH_SECRET}", header: X-Signature}\n'
)
SIGNATURE = {"header": "X-Signature", "prefix": "", "secret": project.SECRET}


@dataclass(frozen=True, slots=True)
class Started:
    """A product that has just become ready."""

    product: Product
    ready: float  #: seconds from the start of the process; the median of several starts
    memory: float  #: MiB


def measure(bench: Bench) -> None:
    waiting, due = bench.many(WAITING), bench.many(DUE)
    many = project.write(bench.folder / "waiting", WORKFLOWS, SETTINGS, plugin=False)
    none = project.write(bench.folder / "waiting-none", WORKFLOWS, SETTINGS, plugin=False)
    project.let_happen(none)
    half = waiting // 2
    _fill(many, "sev3", half - due)
    _fill(many, "sev4", half)
    at = SystemClock().now() + timedelta(seconds=AHEAD + bench.rounds * (2 * bench.seconds + 4))
    _fill(many, "sev5", due, at)
    _must_wait(many, waiting)
    with ExitStack() as stack:
        load = bench.load(stack)
        empty, full = _start(bench, stack, none), _start(bench, stack, many)
        cost_empty, cost_full = Rounds(), Rounds()
        for _ in range(bench.rounds):
            cost_empty.add(*_events(bench, load, empty.product))
            cost_full.add(*_events(bench, load, full.product))
        bench.add(*_costs(waiting, empty, full, cost_empty, cost_full))
        bench.add(_advanced(full.product, due, at))


def _fill(folder: Path, severity: str, copies: int, at: datetime | None = None) -> None:
    """Let the run of a severity begin, copy it while it waits, and take it out of the way."""
    token, path = project.TOKEN, project.database(folder)
    data = {"title": token, "at": at.isoformat() if at is not None else None}
    fact = project.declared(SystemClock().now(), severity=severity, title=token)
    project.let_happen(folder, replace(fact, data=data, id=severity))
    run = int(project.scalar(path, "SELECT max(id) FROM runs"))
    project.copy_run(path, run, copies, "waiting")
    _end(path, run)


def _must_wait(folder: Path, waiting: int) -> None:
    found = project.scalar(project.database(folder), "SELECT count(*) FROM runs WHERE state = 'waiting'")
    waits = project.scalar(project.database(folder), "SELECT count(*) FROM waits")
    if found < waiting or waits < waiting:
        raise Unavailable(f"{waiting:,} runs should wait: {found:,} do, with {waits:,} waits")


def _end(path: Path, run: int) -> None:
    """Take the run that was copied out of the way, with its incident, for the next one to have its id."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE runs SET state = 'cancelled', ended = updated, subject = 'gone' WHERE id = ?", (run,)
        )
        connection.execute("DELETE FROM waits WHERE run = ?", (run,))
        connection.execute("DELETE FROM subjects WHERE id = ?", (f"local:{project.TOKEN}",))


def _start(bench: Bench, stack: ExitStack, folder: Path) -> Started:
    """Start the product several times; the last one goes on."""
    found = []
    for _ in range(bench.rounds - 1):
        with ExitStack() as alone:
            found.append(run_product(alone, folder)[1])
    product, ready = run_product(stack, folder)
    pause(1.0)  # what is done just after the start counts
    return Started(product, median([*found, ready]), product.child.memory().now / MIB)


def _events(bench: Bench, load: Worker, product: Product) -> tuple[int, float]:
    """Post events that nothing waits for; give how many were matched in how long."""
    answer = load.ask(
        head=messages.head(product.port, "/hooks/hooks"),
        body='{"title":"@ID@","text":"something happened"}',
        signature=SIGNATURE,
        port=product.port,
        clients=CLIENTS,
        seconds=bench.seconds / 2,
    )
    if answer["refused"] or answer["unfinished"]:
        raise Unavailable(f"webhooks were not accepted: {answer}")
    start = perf_counter()
    product.wait_until("SELECT count(*) FROM events WHERE state = 'new'", 0, 60)
    return answer["count"], answer["seconds"] + perf_counter() - start


def _costs(waiting: int, empty: Started, full: Started, cost_empty: Rounds, cost_full: Rounds) -> list[Row]:
    more = full.memory - empty.memory
    ratio = cost_empty.rate / cost_full.rate
    return [
        Row(
            f"{waiting:,} waiting runs: memory more than with none",
            more,
            "MiB",
            waiting,
            ratio=full.memory / empty.memory,
            against="with none",
            must=f"{MORE_MEMORY} MiB",
            reached=more < MORE_MEMORY,
        ),
        Row(
            "  start of the process to ready",
            full.ready,
            "s",
            ratio=full.ready / empty.ready,
            against="with none",
            must=f"{START:g} s",
            reached=full.ready < START,
        ),
        cost_full.row(
            "  events that come in meanwhile, accepted and matched",
            ratio=ratio,
            against="cost with none",
            must=f"{TIMES:g} x",
            reached=ratio <= TIMES,
        ),
    ]


def _advanced(product: Product, due: int, at: datetime) -> Row:
    """Give how long it takes from the instant at which many fall due until all of them have ended."""
    left = (at - SystemClock().now()).total_seconds()
    early = project.scalar(product.database, "SELECT count(*) FROM runs WHERE workflow = 'soon' AND state = 'finished'")
    if left <= 0 or early:
        raise Unavailable(f"{early:,} of the waits that were to fall due had ended before they could be watched")
    product.wait_until(
        f"SELECT count(*) >= {due} FROM runs WHERE workflow = 'soon' AND state = 'finished'", 1, left + 90
    )
    ended = project.scalar(product.database, "SELECT max(ended) FROM runs WHERE workflow = 'soon'")
    first = project.scalar(
        product.database, "SELECT min(ended) FROM runs WHERE workflow = 'soon' AND state = 'finished'"
    )
    micros = int(at.timestamp() * 1_000_000)
    if first < micros:
        raise Unavailable("a wait ended before its due instant")
    took = (ended - micros) / 1_000_000
    work = f"  {due:,} of them fall due at one instant: until all have ended"
    return Row(work, took, "s", due, took, must=f"{ADVANCED:g} s", reached=took < ADVANCED)
