"""What every run of the tests says at its end: the seeds that tests chose for themselves, passed or not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from _pytest.terminal import TerminalReporter


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Show the seeds: whoever sees a failure later, or an odd success, can do the same again."""
    for line in dict.fromkeys(_seeds(terminalreporter)):
        terminalreporter.write_line(line)


def _seeds(reporter: TerminalReporter) -> Iterator[str]:
    reports = (report for found in reporter.stats.values() for report in found if isinstance(report, pytest.TestReport))
    for report in reports:
        for name, value in report.user_properties:
            if name.endswith("_SEED"):
                yield f"{name}={value} {report.nodeid}"
