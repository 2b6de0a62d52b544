"""DBOS: durable execution as a Python library, on SQLite with a write-ahead log."""

from __future__ import annotations

from pathlib import Path

from bench.peers import PROGRAMS, Tell, environment, from_pypi
from bench.processes import Worker

PACKAGES = ("dbos==3.4.0",)


def start(folder: Path, tell: Tell) -> Worker:
    """Start the program that drives DBOS in its own process; asked as `bench.engine_side` is.

    Raises:
        Unavailable: it cannot be installed, or does not start.
    """
    home = environment("dbos", from_pypi(*PACKAGES), tell)
    folder.mkdir()
    return Worker([home / "bin" / "python", PROGRAMS / "dbos_program.py", folder], cwd=folder, log=folder / "log")
