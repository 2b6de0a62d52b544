"""One event against many workflows that listen to its type, of which three match: the cost until their runs ended."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from bench import project
from bench.measures import Bench
from bench.processes import Unavailable, Worker, python
from bench.report import Rounds, Row

WORKFLOWS = (10, 1000, 10_000)
MATCHING = 3
TIMES = 2.0
#: Events at a time.
IN_FLIGHT = 4


def measure(bench: Bench) -> None:
    with ExitStack() as stack:
        sides: dict[int, Worker] = {}
        found: dict[int, Rounds] = {}
        for number in (bench.many(number) for number in WORKFLOWS):
            folder = project.write(bench.folder / f"listeners-{number}", workflows(number), plugin=False)
            sides[number] = stack.enter_context(Worker(python("bench.engine_side", folder), log=folder / "log"))
            found[number] = Rounds()
        for _ in range(bench.rounds):
            for number, side in sides.items():
                answer = side.ask(in_flight=IN_FLIGHT, seconds=bench.seconds, runs=MATCHING, fields={"title": "hit"})
                if answer["runs"] != MATCHING * answer["count"]:
                    raise Unavailable(f"{number} workflows: {answer['count']} events started {answer['runs']} runs")
                found[number].add(answer["count"], answer["seconds"])
    few, *more = found
    bench.add(_row(few, found[few]))
    for number in more:
        ratio = found[few].rate / found[number].rate
        last: dict[str, Any] = {"must": f"{TIMES:g} x", "reached": ratio <= TIMES} if number == max(found) else {}
        bench.add(_row(number, found[number], ratio=ratio, against=f"with {few}", **last))


def _row(number: int, rounds: Rounds, **more: Any) -> Row:
    each = [1000 / rate for rate in rounds.rates]
    work = f"one event, {number:,} workflows listen, {MATCHING} start"
    return Row(work, 1000 / rounds.rate, "ms", sum(rounds.counts), sum(rounds.seconds), each, **more)


def workflows(number: int) -> dict[str, str]:
    """Give files whose conditions have an equality or a membership with constants; the first three match."""
    conditions = ['incident.title == "hit"'] * MATCHING
    for one in range(MATCHING, number):
        other = f'== "title {one}"' if one % 2 else f'in ["title {one}", "other title {one}"]'
        conditions.append(f"incident.title {other} and not incident.drill")
    return {
        f"listener-{place}": f"on: incident.declared\nif: '{condition}'\nsteps:\n  - finish: seen\n"
        for place, condition in enumerate(conditions)
    }
