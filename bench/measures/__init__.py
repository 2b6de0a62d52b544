"""What is measured, one module for each row of the table in the project's promises of speed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import project
from bench.processes import MIB, ROOT, Child, Unavailable, Worker, free_port, pause, python
from bench.report import Report, Row


@dataclass(slots=True)
class Bench:
    """What a measure is given: where, how long, against whom, and the report to write into."""

    folder: Path
    seconds: float  #: of one round
    rounds: int
    peers: tuple[str, ...]
    scale: float = 1.0  #: of the numbers of rows and files that are made beforehand; less than 1 only to try it
    report: Report = field(default_factory=Report)

    def many(self, number: int) -> int:
        return max(10, int(number * self.scale))

    def tell(self, text: str) -> None:
        self.report.note(text)

    def load(self, stack: ExitStack, *flags: str) -> Worker:
        """Start a load generator that ends with the stack."""
        return stack.enter_context(Worker(python("bench.load", *flags)))

    def add(self, *rows: Row) -> None:
        self.report.add(*rows)


@dataclass(slots=True)
class Product:
    """`hotwash run` on a project."""

    folder: Path
    port: int
    child: Child

    @property
    def database(self) -> Path:
        return project.database(self.folder)

    def memory(self) -> float:
        """Give the most it has held, in MiB."""
        return self.child.memory().most / MIB

    def wait_until(self, query: str, value: Any, seconds: float) -> None:
        """Wait until a query gives a value.

        Raises:
            Unavailable: it does not in time.
        """
        for _ in range(int(seconds / 0.01)):
            if (found := project.scalar(self.database, query)) == value:
                return
            pause(0.01)
        raise Unavailable(f"after {seconds:.0f} s '{query}' gives {found}, not {value}")

    def all_ended(self, seconds: float = 60.0) -> None:
        """Wait until no event is new and no run goes on."""
        self.wait_until("SELECT count(*) FROM events WHERE state = 'new'", 0, seconds)
        self.wait_until("SELECT count(*) FROM runs WHERE ended IS NULL", 0, seconds)


def run_product(stack: ExitStack, folder: Path, *, seconds: float = 120.0) -> tuple[Product, float]:
    """Run a project until the stack ends; give it, and the seconds from start to ready."""
    port = free_port()
    child = stack.enter_context(hotwash("run", "--port", str(port), folder=folder))
    return Product(folder, port, child), child.answers(port, "/readyz", seconds)


def hotwash(*arguments: str, folder: Path, environ: Mapping[str, str] | None = None) -> Child:
    """Start a `hotwash` command of this tree on a project."""
    command = [*python_command(), *arguments]
    env = {"BENCH_SECRET": project.SECRET, **(environ or {})}
    return Child([*command, "--project", str(folder)], cwd=ROOT, env=env, log=folder / f"{arguments[0]}.log")


def python_command() -> list[str | Path]:
    """Give the command that is `hotwash`, as this tree has it and not as it may be installed."""
    return [python("")[0], "-c", "import sys; from engine.cli import main; sys.exit(main())"]
