"""Commands that people wait for: `hotwash check` on many files, and `hotwash --help`."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import perf_counter

from bench import project
from bench.measures import Bench, hotwash, python_command
from bench.processes import ROOT, Child, Unavailable
from bench.report import Row

FILES = 1000
CHECK, HELP = 2.0, 0.3  #: seconds

WORKFLOW = """\
name: Follow up {number}
on:
  incident.resolved: {{for: 30m}}
if: incident.severity in ["sev1", "sev2"] and "service-{number}" in incident.services
vars:
  days: 7d
steps:
  - id: report
    uses: bench.nothing
    with:
      number: {number}
  - if: steps.report.number > 3
    uses: chat.post
    with:
      text: "${{{{ incident.title }}}} took ${{{{ incident.time_to_resolve | duration }}}}."
  - wait:
      for: ${{{{ vars.days }}}}
      until: incident.reopened
"""


def measure(bench: Bench) -> None:
    count = bench.many(FILES)
    files = {f"follow-up-{number}": WORKFLOW.format(number=number) for number in range(count)}
    folder = project.write(bench.folder / "checking", files)
    checks = [_timed(hotwash("check", folder=folder)) for _ in range(bench.rounds)]
    shown = [
        _timed(Child([*python_command(), "--help"], cwd=ROOT, log=folder / "help.log"))
        for _ in range(2 * bench.rounds + 1)
    ]
    bench.add(_row(f"hotwash check, {count:,} files", checks, CHECK), _row("hotwash --help", shown, HELP))


def _timed(child: Child) -> float:
    """Give the seconds until a command has ended."""
    start = perf_counter()
    with child:
        code = child.process.wait(120)
        took = perf_counter() - start
    if code != 0:
        raise Unavailable(f"a command that is measured ended with {code}: {Path(str(child.log)).read_text()[-300:]}")
    return took


def _row(work: str, found: list[float], most: float) -> Row:
    figure = median(found)
    return Row(work, figure, "s", len(found), sum(found), found, must=f"{most:g} s", reached=figure < most)
