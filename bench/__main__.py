"""Measure durable runs against the disk they are written to: `make bench`.

Both sides are measured in the same run, on the same disk: how many commits a second SQLite does there with nothing
else to do, and how many runs of three steps the whole engine finishes, each with its event, three effects written down
before they are tried, and their results. The ratio is what to compare between machines; the counts beside it say what
it rests on. `bench/results.json` keeps the last run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sqlite3
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from engine import wiring
from engine.application import Application
from engine.plugins import Fact
from engine.store.journal import connect
from engine.testing import RecordingChat

HERE = Path(__file__).resolve().parent
IN_FLIGHT = 64

WORKFLOW = """\
on: incident.declared
steps:
  - uses: chat.post
    with: {text: "${{ incident.title }}: first"}
  - uses: chat.post
    with: {text: "${{ incident.title }}: second"}
  - uses: chat.post
    with: {text: "${{ incident.title }}: third"}
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """So many of something, in so many seconds."""

    name: str
    count: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.count / self.seconds


def commits(folder: Path, length: float) -> Measured:
    """Count commits of one small row, one after the other, with the settings that the engine writes with."""
    connection = connect(folder / "commits.db")
    connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, data TEXT)")
    start, count = perf_counter(), 0
    while perf_counter() - start < length:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO rows (data) VALUES (?)", ("x" * 100,))
        connection.execute("COMMIT")
        count += 1
    seconds = perf_counter() - start
    connection.close()
    return Measured("commits", count, seconds)


async def runs(folder: Path, name: str, in_flight: int, length: float) -> Measured:
    """Count runs that finished, with so many events under way at the same time."""
    (folder / "workflows").mkdir(parents=True)
    (folder / "workflows" / "three-steps.yaml").write_text(WORKFLOW)
    (folder / "hotwash.yaml").write_text("timezone: UTC\n")
    free = asyncio.Semaphore(in_flight)

    def tell(event: str, sentence: str, /, **facts: Any) -> None:
        if event == "run.finished":
            free.release()

    application = wiring.open_application(folder, providers={"console": RecordingChat()}, tell=tell)
    async with application.running():
        start, number = perf_counter(), 0
        async with asyncio.TaskGroup() as tasks:
            while perf_counter() - start < length:
                await free.acquire()
                number += 1
                tasks.create_task(_declare(application, number))
        await application.settled()
        seconds = perf_counter() - start
        states = dict(application.reader.execute("SELECT state, count(*) FROM runs GROUP BY state").fetchall())
    if states != {"finished": number}:
        raise SystemExit(f"{name}: {number} events, but the runs are {states}")
    return Measured(name, number, seconds)


async def _declare(application: Application, number: int) -> None:
    fields = {"status": "declared", "title": f"Incident {number}"}
    fact = Fact("incident.declared", application.clock.now(), "incident", f"local:{number}", fields)
    await application.accept("local", [fact])


def main(length: float, out: Path) -> None:
    """Measure each part for `length` seconds and until what it has begun ends; print, and keep the result."""
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".data-") as name:
        folder = Path(name)
        disk = commits(folder, length)
        single = asyncio.run(runs(folder / "single", "runs, one at a time", 1, length))
        many = asyncio.run(runs(folder / "many", f"runs, {IN_FLIGHT} in flight", IN_FLIGHT, length))
    for one in (disk, single, many):
        print(f"{one.name:24} {one.count:7} in {one.seconds:5.1f} s  {one.rate:8.0f} a second")
    ratio = round(many.rate / disk.rate, 3)
    print(f"{'ratio':24} {ratio:7.3f} durable runs of three steps for each raw commit")
    result = {
        "measured": [asdict(one) | {"rate": round(one.rate, 1)} for one in (disk, single, many)],
        "ratio": ratio,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "platform": sys.platform,
    }
    out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    options = argparse.ArgumentParser(prog="python -m bench", description="Measure durable runs against the disk.")
    options.add_argument("--seconds", type=float, default=5.0, help="how long to measure each of the three parts")
    options.add_argument("--out", type=Path, default=HERE / "results.json", help="where to keep the result")
    given = options.parse_args()
    main(given.seconds, given.out.resolve())
