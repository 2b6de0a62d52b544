"""Durable runs of three steps that do nothing, from accepted event to finished run, with runs in the database already.

Ours is held against DBOS on SQLite with a write-ahead log, and against Restate, which both begin empty: what is kept of
ended runs costs them nothing here. Each of our calls comes after the commit of its intent.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from bench import messages, project
from bench.measures import Bench
from bench.measures.disk import commits, syncs
from bench.peers import dbos, restate
from bench.processes import Unavailable, Worker, python
from bench.report import Rounds, Row
from engine.clock import SystemClock

IN_FLIGHT = (1, 20, 64, 200)
BEFORE = 100_000
#: What must be reached against a peer, by how many are in flight.
TIMES = {"dbos": {1: 4.0, 20: 10.0, 64: 10.0, 200: 10.0}, "restate": {1: 4.0, 20: 5.0, 64: 5.0, 200: 5.0}}
AT_64 = 3000


def measure(bench: Bench) -> None:
    before = bench.many(BEFORE)
    folder = project.write(bench.folder / "durable", {"three": "on: incident.declared\n" + project.THREE_STEPS})
    project.let_happen(folder, project.declared(SystemClock().now()))
    project.copy_run(project.database(folder), 1, before - 1)
    with ExitStack() as stack:
        sides = _sides(bench, stack)
        ours = stack.enter_context(Worker(python("bench.engine_side", folder), log=folder / "log"))
        ask = {"hotwash": lambda n: ours.ask(in_flight=n, seconds=bench.seconds, runs=1, fields={}), **sides}
        found = {(name, n): Rounds() for name in ask for n in IN_FLIGHT}
        disk, commit = Rounds(), Rounds()
        for _ in range(bench.rounds):
            disk.add(*syncs(bench.folder, bench.seconds / 4))
            commit.add(*commits(bench.folder, bench.seconds / 4))
            for n in IN_FLIGHT:
                for name, one in ask.items():
                    _count(found[name, n], one(n), name)
    _report(bench, found, disk, commit, before)
    for name in sides:
        bench.tell(f"{name} begins with an empty database, Hotwash with {before:,} ended runs in its own")


def _sides(bench: Bench, stack: ExitStack) -> dict[str, Any]:
    """Start the peers that are asked for; one that cannot be had is said, and left out."""
    sides: dict[str, Any] = {}
    if "dbos" in bench.peers:
        try:
            side = stack.enter_context(dbos.start(bench.folder / "dbos", bench.tell))
            sides["dbos"] = lambda n: side.ask(in_flight=n, seconds=bench.seconds)
        except Unavailable as why:
            bench.tell(str(why))
    if "restate" in bench.peers:
        load = bench.load(stack)
        try:
            server = stack.enter_context(restate.started(bench.folder / "restate", load.hello["sink"], bench.tell))
            asked = {
                "head": messages.head(server.port, "/Bench/three"),
                "body": '{"title":"@ID@"}',
                "port": server.port,
            }
            sides["restate"] = lambda n: load.ask(**asked, clients=n, seconds=bench.seconds)
        except Unavailable as why:
            bench.tell(str(why))
    return sides


def _count(rounds: Rounds, answer: dict[str, Any], name: str) -> None:
    lost = answer.get("unfinished", 0) + answer.get("refused", 0)
    if lost or answer.get("runs", answer["count"]) != answer["count"]:
        raise Unavailable(f"{name} did not finish what it was given: {answer}")
    rounds.add(answer["count"], answer["seconds"])


def _report(bench: Bench, found: dict[tuple[str, int], Rounds], disk: Rounds, commit: Rounds, before: int) -> None:
    bench.add(disk.row("fdatasync of a page, one at a time"))
    bench.add(commit.row("commit of one small row", ratio=commit.rate / disk.rate, against="fdatasyncs"))
    for n in IN_FLIGHT:
        ours = found["hotwash", n]
        limit: dict[str, Any] = {"ratio": ours.rate / disk.rate, "against": "fdatasyncs"}
        if n == 64:
            limit |= {"must": f"{AT_64:,}/s", "reached": ours.rate >= AT_64}
        row: Row = ours.row(f"durable three-step runs, {n} in flight, {before:,} there before", **limit)
        bench.add(row)
        for name, times in TIMES.items():
            if (name, n) in found:
                bench.add(ours.against(found[name, n], name, f"three steps, {n} in flight", times[n]))
