"""Measure what is promised of speed, against peers and the disk, in one run: `make bench`, `make bench PEERS=all`."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import NoReturn

from bench.measures import Bench, checking, durable, listeners, product, stale, waiting, webhooks
from bench.peers import QUICK, SLOW, chosen
from bench.processes import Unavailable

_ENDING = (signal.SIGINT, signal.SIGTERM)
HERE = Path(__file__).resolve().parent
MEASURES: dict[str, Callable[[Bench], None]] = {
    "durable": durable.measure,
    "product": product.measure,
    "webhooks": webhooks.measure,
    "listeners": listeners.measure,
    "waiting": waiting.measure,
    "stale": stale.measure,
    "checking": checking.measure,
}


def main() -> int:
    """Measure, print the table and keep it; 1 with --strict where something is not reached."""
    given = _arguments()
    for number in _ENDING:
        signal.signal(number, _end)
    start = perf_counter()
    with tempfile.TemporaryDirectory(dir=given.out.parent, prefix=".data-", ignore_cleanup_errors=True) as name:
        bench = Bench(Path(name), given.seconds, given.rounds, chosen(given.peers), given.scale)
        left = [peer for peer in QUICK + SLOW if peer not in bench.peers]
        if left:
            bench.tell(f"left out: {', '.join(left)}; they are measured with PEERS=all (installing them takes minutes)")
        for only in given.only or MEASURES:
            _measure(bench, only)
    print(bench.report.table())
    bench.report.save(given.out, perf_counter() - start, bench.peers)
    return 1 if given.strict and bench.report.missed else 0


def _measure(bench: Bench, name: str) -> None:
    print(f"measuring {name} …", end=" ", file=sys.stderr, flush=True)
    start = perf_counter()
    try:
        MEASURES[name](bench)
    except Unavailable as why:
        bench.tell(f"{name} could not be measured: {why}")
    print(f"{perf_counter() - start:.0f} s", file=sys.stderr, flush=True)


def _end(number: int, _: object) -> NoReturn:
    """Let what was started be ended; told again meanwhile, it is not disturbed in that."""
    for one in _ENDING:
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


def _arguments() -> argparse.Namespace:
    options = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    options.add_argument("--only", action="append", choices=list(MEASURES), help="measure this; may be given again")
    options.add_argument("--seconds", type=float, default=2.0, help="how long one round of a figure is measured")
    options.add_argument("--rounds", type=int, default=3, help="how many rounds, of which the median counts")
    options.add_argument("--peers", default="", help="the quick ones without it; all, none, or names with commas")
    options.add_argument("--strict", action="store_true", help="end with 1 where a figure is below what it must reach")
    options.add_argument("--scale", type=float, default=1.0, help="how much of what is made beforehand, to try it out")
    options.add_argument("--out", type=Path, default=HERE / "results.json", help="where to keep the result")
    given = options.parse_args()
    given.out = given.out.resolve()
    try:
        chosen(given.peers)
    except ValueError as error:
        options.error(str(error))
    return given


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
