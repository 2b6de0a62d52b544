"""Webhooks accepted: signature checked, events committed, answered with 2xx; and how long at a steady rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from bench import messages, project
from bench.measures import Bench, Product, hotwash, run_product
from bench.measures.disk import syncs
from bench.processes import Unavailable, Worker
from bench.report import Rounds, Row
from engine.testing import MovableClock

CLIENTS = 32
NONE, EACH = 4000, 1500  #: accepted a second when none starts a run, and when each starts one of three steps
RATE, P99 = 1000, 10.0  #: a second, and milliseconds
SYNCS = 8  #: or so many times the disk's fsync, where that is more
OLD = 10_000  #: ended runs that a prune may empty
#: Connections at a steady rate.
OPEN = 64
#: Seconds after which a prune is left.
LONGEST_PRUNE = 30.0

LISTENING = 'on: incident.declared\nif: incident.severity == "sev1"\n' + project.THREE_STEPS
STARTING = 'on: incident.declared\nif: incident.severity == "sev2"\n' + project.THREE_STEPS
SETTINGS = f"connections:\n{messages.CONNECTION}"


def measure(bench: Bench) -> None:
    """Measure both kinds of accepting, then latencies, then latencies while a prune goes on."""
    accepted, started, finished = Rounds(), Rounds(), Rounds()
    with ExitStack() as stack:
        load = bench.load(stack)
        none = _product(bench, stack, "hooks-none", LISTENING)
        each = _product(bench, stack, "hooks-each", STARTING)
        for _ in range(bench.rounds):
            count, seconds, _ = _accept(bench, load, none)
            accepted.add(count, seconds)
            count, seconds, until = _accept(bench, load, each)
            started.add(count, seconds)
            finished.add(count, until)
    reached = {"must": f"{NONE:,}/s", "reached": accepted.rate >= NONE}
    bench.add(accepted.row(f"webhooks accepted, none starts a run, {CLIENTS} clients", **reached))
    reached = {"must": f"{EACH:,}/s", "reached": started.rate >= EACH}
    bench.add(
        started.row(f"webhooks accepted, each starts three steps, {CLIENTS} clients", **reached),
        finished.row("  the same, until the last run has finished"),
    )
    with ExitStack() as stack:
        load = bench.load(stack, "--fine")
        product = _product(bench, stack, "hooks-paced", LISTENING, old=bench.many(OLD))
        _latencies(bench, load, product)


def _product(bench: Bench, stack: ExitStack, name: str, workflow: str, *, old: int = 0) -> Product:
    folder = project.write(bench.folder / name, {"listens": workflow}, SETTINGS)
    if old:
        _fill(folder, old)
    return run_product(stack, folder)[0]


def _fill(folder: Path, old: int) -> None:
    """Put runs into the database that ended long ago, each with an event as large as a webhook."""
    at = datetime(2024, 3, 4, 9, 0, tzinfo=UTC)
    fact = project.declared(at, severity="sev1")
    project.let_happen(folder, replace(fact, data={"details": messages.incident()}), clock=MovableClock(at))
    project.copy_run(project.database(folder), 1, old - 1)


# --- how many --------------------------------------------------------------------------------------------------------


def _accept(bench: Bench, load: Worker, product: Product) -> tuple[int, float, float]:
    """Give how many were accepted, in how long, and how long until all that followed had happened."""
    answer = _post(load, product, bench.seconds)
    if answer["refused"] or answer["unfinished"]:
        raise Unavailable(f"webhooks were not accepted: {answer}")
    start = perf_counter()
    product.all_ended()
    return answer["count"], answer["seconds"], answer["seconds"] + perf_counter() - start


def _post(load: Worker, product: Product, seconds: float, rate: float | None = None) -> dict[str, Any]:
    return load.ask(
        head=messages.head(product.port, "/hooks/pager"),
        body=messages.incident(),
        signature=messages.SIGNATURE,
        port=product.port,
        clients=CLIENTS if rate is None else OPEN,
        seconds=seconds,
        rate=rate,
    )


# --- how long --------------------------------------------------------------------------------------------------------


def _latencies(bench: Bench, load: Worker, product: Product) -> None:
    """Measure at a steady rate: with nothing else going on, then while what is old is removed."""
    sync, calm, busy = Rounds(), [], []
    empty = project.size(product.database)
    for _ in range(bench.rounds):
        sync.add(*syncs(bench.folder, bench.seconds / 4))
        calm.append(_post(load, product, bench.seconds, RATE))
    product.all_ended()
    each = (project.size(product.database) - empty) / sum(answer["count"] for answer in calm)
    took = 0.0
    with hotwash("prune", "--older-than", "30d", folder=product.folder) as prune:
        start = perf_counter()
        while prune.process.poll() is None and took < LONGEST_PRUNE:
            busy.append(_post(load, product, bench.seconds, RATE))
            took = perf_counter() - start
        done = prune.process.poll() is not None
    product.all_ended()
    limit = max(P99, SYNCS * 1000 / sync.rate)
    held = _row(f"p99 of webhooks at {RATE:,} a second, {OPEN} connections", calm)
    beside = _row("  p99 while prune removes what is old", busy or calm)
    syncs_long: dict[str, Any] = {"ratio": held.figure * sync.rate / 1000, "against": "one fdatasync"}
    without: dict[str, Any] = {"ratio": beside.figure / held.figure, "against": "without prune"}
    bench.add(
        replace(held, must=f"{limit:.1f} ms", reached=held.figure < limit, **syncs_long),
        replace(beside, must="2 x", reached=beside.figure < 2 * held.figure, **without),
    )
    old = bench.many(OLD)
    left = project.size(product.database) - each * sum(answer["count"] for answer in (*calm, *busy))
    work = f"  an old run after prune, of {old:,}" + ("" if done else " (prune had not ended)")
    bench.add(Row(work, left / old, "bytes", old, took, ratio=left / empty, against="before prune"))


def _row(work: str, answers: Sequence[Mapping[str, Any]]) -> Row:
    """Give the median of the rounds' p99. What was not answered at all makes a round's figure endless."""
    found = [inf if answer["unfinished"] or answer["refused"] else answer["ms"]["p99"] for answer in answers]
    count, seconds = (sum(answer[name] for answer in answers) for name in ("count", "seconds"))
    return Row(work, median(found), "ms", int(count), seconds, found)
