"""Projects to measure: their files, and databases filled with copies of what the engine itself has written."""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.processes import Unavailable
from engine import wiring
from engine.clock import Clock
from engine.plugins import Fact

#: What the signatures of webhooks are made with.
SECRET = "bench-secret-of-this-run"
#: Stands in rows that are copied for what each copy has of its own.
TOKEN = "0000feedbeef0000"

#: An action that does nothing and must not be repeated: so there is a real intent before each call.
PLUGIN = '''\
"""An action that does nothing."""

from dataclasses import dataclass, field

from engine.plugins import Context, EffectClass, Field, Params, action


class Nothing(Params):
    """Do nothing.

    Example:
        uses: bench.nothing
        with: {number: 1}
    """

    number: int = Field(description="What is given back.")


@dataclass(frozen=True, slots=True)
class Number:
    number: int = field(metadata={"doc": "What was given."})


@action("bench.nothing", Nothing, returns=Number, lasts=False, via=None, effect=EffectClass.AT_MOST_ONCE)
async def nothing(params: Nothing, ctx: Context) -> Number:
    return Number(params.number)
'''

THREE_STEPS = """\
steps:
  - uses: bench.nothing
    with: {number: 1}
  - uses: bench.nothing
    with: {number: 2}
  - uses: bench.nothing
    with: {number: 3}
"""


def write(folder: Path, workflows: Mapping[str, str], settings: str = "", *, plugin: bool = True) -> Path:
    """Write a project with workflows by id; give its folder."""
    (folder / "workflows").mkdir(parents=True)
    for name, text in workflows.items():
        (folder / "workflows" / f"{name}.yaml").write_text(text)
    if plugin:
        (folder / "plugins").mkdir()
        (folder / "plugins" / "nothing.py").write_text(PLUGIN)
    (folder / "hotwash.yaml").write_text(f"timezone: UTC\n{settings}")
    return folder


def database(folder: Path) -> Path:
    return folder / ".hotwash" / "hotwash.db"


def let_happen(folder: Path, *facts: Fact, connection: str = "local", clock: Clock | None = None) -> None:
    """Run the project's engine until everything that follows from facts has happened, and stop it."""

    async def happen() -> None:
        environ = {**os.environ, "BENCH_SECRET": SECRET}
        application = wiring.open_application(folder, clock=clock, environ=environ)
        async with application.running():
            faults = [problem for problem in application.library.problems if problem.severity == "error"]
            if faults:
                raise SystemExit(f"the benchmark's own workflow is wrong: {faults[0]}")
            if facts:
                await application.accept(connection, list(facts))
            await application.settled()

    asyncio.run(happen())


def declared(at: datetime, token: str = TOKEN, **fields: Any) -> Fact:
    """Give the fact that an incident was declared; its id and title hold the token."""
    given = {"title": f"Incident {token}", "key": token, **fields}
    return Fact("incident.declared", at, "incident", f"local:{token}", given, id=token)


# --- copies ----------------------------------------------------------------------------------------------------------

_OF_RUN = {
    "events": "id = (SELECT event FROM runs WHERE id = :run)",
    "subjects": "id = (SELECT subject FROM runs WHERE id = :run)",
    "verdicts": "run = :run",
    "runs": "id = :run",
    "steps": "run = :run",
    "effects": "run = :run",
    "waits": "run = :run",
}
#: Columns that count up with the copies: of events, and of runs.
_EVENT, _RUN = ("event", "round_event", "cursor"), ("run",)
#: Rows that are made before they are handed to the database.
_CHUNK = 2000


def copy_run(path: Path, run: int, copies: int, state: str = "finished") -> None:
    """Write as many copies of a run, with its event, its subject and all its rows, under ids of their own.

    What differs between the copies is the token in their texts, and their printable ids: random both, as real ones.

    Raises:
        Unavailable: the run is not in the state that it should be in.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        rows = {table: _rows(connection, table, where, run) for table, where in _OF_RUN.items()}
        (found,), (event,) = rows["runs"], rows["events"]
        if found["state"] != state:
            raise Unavailable(f"the run to copy is {found['state']}, not {state}: {found['reason'] or found['error']}")
        uids = [str(found["uid"]), str(event["uid"])]
        firsts = {"event": _next(connection, "events"), "run": _next(connection, "runs")}
        writers = [_copier(connection, table, one, uids, firsts) for table, listed in rows.items() for one in listed]
        with_bulk(connection, lambda: _write_copies(connection, writers, copies, uids))


def _rows(connection: sqlite3.Connection, table: str, where: str, run: int) -> list[sqlite3.Row]:
    return connection.execute(f"SELECT * FROM {table} WHERE {where} ORDER BY rowid", {"run": run}).fetchall()


def _next(connection: sqlite3.Connection, table: str) -> int:
    number: int = connection.execute(f"SELECT coalesce(max(id), 0) + 1 FROM {table}").fetchone()[0]
    return number


_Texts = Sequence[tuple[str, str]]
_Make = Callable[[int, _Texts], list[Any]]


def _copier(
    connection: sqlite3.Connection, table: str, row: sqlite3.Row, uids: Sequence[str], firsts: Mapping[str, int]
) -> tuple[str, _Make]:
    """Give the INSERT for copies of one row, and what makes the values of the copy with a number."""
    own_id = table in ("events", "runs")
    names = [name for name in row.keys() if name != "id" or own_id or table == "subjects"]  # noqa: SIM118  a Row's
    values = [row[name] for name in names]
    counted = []
    for place, name in enumerate(names):
        if name in _EVENT and values[place] is not None:
            counted.append((place, firsts["event"]))
        elif name in _RUN:
            counted.append((place, firsts["run"]))
        elif name == "id" and own_id:
            counted.append((place, firsts[table.removesuffix("s")]))
    places = {place for place, _ in counted}
    texts = [
        place
        for place, value in enumerate(values)
        if place not in places and isinstance(value, str) and any(text in value for text in (TOKEN, *uids))
    ]
    fresh = [place for place, name in enumerate(names) if name == "delivery" and values[place] is not None]

    def make(number: int, replaced: _Texts) -> list[Any]:
        copy = values.copy()
        for place, first in counted:
            copy[place] = first + number
        for place in texts:
            for old, new in replaced:
                copy[place] = copy[place].replace(old, new)
        for place in fresh:
            copy[place] = secrets.token_hex(13)
        return copy

    marks = ", ".join("?" * len(names))
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", make


def _write_copies(
    connection: sqlite3.Connection, writers: Sequence[tuple[str, _Make]], copies: int, uids: Sequence[str]
) -> None:
    for begin in range(0, copies, _CHUNK):
        numbers = range(begin, min(begin + _CHUNK, copies))
        replaced = [_replaced(uids) for _ in numbers]
        grouped: dict[str, list[list[_Make]]] = {}
        for statement, make in writers:
            grouped.setdefault(statement, [[]])[0].append(make)
        for statement, (makers,) in grouped.items():
            made = (make(number, replaced[number - begin]) for number in numbers for make in makers)
            connection.executemany(statement, made)


def _replaced(uids: Sequence[str]) -> list[tuple[str, str]]:
    fresh = [(uid, uid.partition("_")[0] + "_" + secrets.token_hex(8)) for uid in uids]
    return [(TOKEN, secrets.token_hex(len(TOKEN) // 2)), *fresh]


def with_bulk(connection: sqlite3.Connection, write: Callable[[], None]) -> None:
    """Write much at once, with nothing synced before its end."""
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -400000")
    connection.execute("BEGIN")
    write()
    connection.execute("COMMIT")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA journal_mode = WAL")
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def scalar(path: Path, query: str) -> Any:
    """Give the single value of a query, read as committed."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
        return connection.execute(query).fetchone()[0]


def size(path: Path) -> int:
    """Give the bytes of a database that are in use, without what is free in it."""
    pages, free, length = (scalar(path, f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size"))
    return int((pages - free) * length)
