"""The long form of the crash test: `python -m tests.crash --kills 500 --seed 7`, or `make crash KILLS=500`.

Sessions of at most a hundred kills at random, some beside one another, then one run that is cut at each of its
commits. Ends with 1 where a promise was broken; the sessions' folders are kept then.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from engine.clock import SystemClock
from tests.crash.child import Launcher
from tests.crash.commits import MOST, cut_at
from tests.crash.driver import Crash
from tests.crash.verdict import Verdict

#: Kills of one session, and sessions beside one another.
KILLS, BESIDE = 100, 3


@dataclass
class Total:
    """What all sessions together have come to."""

    counts: Counter[str] = field(default_factory=Counter)
    clock: SystemClock = field(default_factory=SystemClock)

    def __post_init__(self) -> None:
        self.start = self.clock.monotonic()

    def say(self, line: str) -> None:
        sys.stdout.write(f"{self.clock.monotonic() - self.start:6.0f} s  {line}\n")
        sys.stdout.flush()

    def take(self, verdict: Verdict) -> None:
        crash = verdict.crash
        accepted = sum(one.accepted is not None for one in crash.deliveries)
        self.counts.update(
            {
                "kills": sum(crash.ended.values()),
                "deliveries accepted": accepted,
                "runs": len(verdict.runs),
                "effects": sum(verdict.effects.values()),
                "calls": len(verdict.calls),
                "looks": crash.recorder.looks,
                "lost": verdict.lost,
                "doubled": verdict.doubled,
                "wrong": len(verdict.wrong),
            }
        )


async def at_random(folder: Path, launcher: Launcher, seed: int, kills: int, total: Total) -> None:
    async with Crash(folder, seed, launcher, say=lambda line: total.say(f"seed {seed}: {line}")) as crash:
        await crash.lives(kills)
        await crash.settle()
    verdict = Verdict(crash).reach()
    total.take(verdict)
    total.say("\n" + verdict.report())


async def at_commits(folder: Path, launcher: Launcher, total: Total) -> None:
    """Cut one run before and after each of its commits."""
    for moment in ("before", "after"):
        for first in range(1, MOST, 6):
            numbers = range(first, min(first + 6, MOST))
            ended = await asyncio.gather(*(cut_at(folder / f"{moment}-{n}", launcher, **{moment: n}) for n in numbers))
            for number, crash in zip(numbers, ended, strict=True):
                verdict = Verdict(crash).reach()
                total.take(verdict)
                if verdict.wrong:
                    total.say(f"cut {moment} commit {number}\n{verdict.report()}")
            total.say(f"cut {moment} commits {numbers.start} to {numbers.stop - 1}")


async def run(kills: int, seed: int, folder: Path, total: Total) -> None:
    with Launcher() as launcher:
        turns = asyncio.Semaphore(BESIDE)

        async def session(number: int) -> None:
            async with turns:
                name, size = str(seed + number), min(KILLS, kills - number * KILLS)
                await at_random(folder / name, launcher, seed + number, size, total)

        await asyncio.gather(*(session(number) for number in range(-(-kills // KILLS))))
        await at_commits(folder, launcher, total)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--kills", type=int, default=500, help="kills at random (500)")
    parser.add_argument("--seed", type=int, help="by default any")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    folder, total = Path(tempfile.mkdtemp(prefix="hotwash-crash-")), Total()
    total.say(f"{given.kills} kills at random from seed {seed}, in {folder}")
    asyncio.run(run(given.kills, seed, folder, total))
    total.say(", ".join(f"{number} {name}" for name, number in total.counts.items()))
    if total.counts["wrong"]:
        total.say(f"a promise is broken: what is left behind lies in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
