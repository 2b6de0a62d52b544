"""The journal: one writer thread, many callers, one commit for what has gathered.

A caller hands in a function of a cursor; it runs in the writer's thread inside the common transaction, sees what the
functions before it wrote, and is answered after the commit. One that raises is undone alone. Reading is done on
connections of one's own and sees what is committed.

What is done thousands of times a second is *drafted*: such functions run on the caller's thread, read what is
committed and gather rows in memory, while the writer's thread commits the draft before; it then writes each table's
rows with one statement. Two threads that both work in Python would only wait for each other. A small draft is written
on the caller's thread as well, where the writer has nothing to do and the disk has lately been quick: handing it over
and back would take as long as the commit.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol, TypeVar

from engine.store.tables import Rows

T = TypeVar("T")
Work = Callable[[Any], T]


#: How long a connection waits for another program that has the file, in seconds.
PATIENCE = 10.0

#: SQLite's primary result codes that say that the file, not the statement, is the trouble.
_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)


class StorageUnavailable(Exception):
    """The database cannot be written: the disk is full, or another program holds it. Nothing was changed."""


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """Say of what goes wrong while a database is made ready that it is the database which cannot be had.

    Raises:
        StorageUnavailable: the disk is full, the folder cannot be written, or the file is no database.
    """
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        reason = (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
        raise StorageUnavailable(f"{path}: {reason}") from error


class AlreadyRunning(Exception):
    """Another process works on this database file."""

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(f"{path} is in use by process {pid}" if pid else f"{path} is in use by another process")
        self.pid = pid


def connect(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    """Open the file with the settings that the promises rest on, and assert them."""
    mode = "ro" if readonly else "rwc"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=PATIENCE,
        cached_statements=1024,
    )
    connection.execute(f"PRAGMA busy_timeout = {PATIENCE * 1000:.0f}")
    if not readonly and connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise RuntimeError(f"SQLite cannot keep a write-ahead log beside {path}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA temp_store = MEMORY")
    if connection.execute("PRAGMA synchronous").fetchone()[0] != 2:
        raise RuntimeError("SQLite does not keep synchronous=FULL")
    connection.row_factory = sqlite3.Row
    return connection


class Lock:
    """One engine per database file: an advisory lock on a file beside it, with the holder's process id inside."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".lock")
        self._file: Any = None

    def take(self) -> None:
        """Take it.

        Raises:
            AlreadyRunning: another process has it.
        """
        import fcntl

        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = open(self.path, "a+")  # noqa: SIM115  it stays open as long as the lock is held
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            text = file.read().strip()
            file.close()
            raise AlreadyRunning(self.path, int(text) if text.isdigit() else None) from None
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class Undrafted(Exception):
    """This cannot be decided before what was drafted beside it is committed: it is done in the writer's thread."""


class Writing(Protocol):
    """What a unit of work writes to: a draft of the next commit, or the open transaction itself."""

    @property
    def drafted(self) -> bool:
        """Whether it is a draft, so that nothing is in the database before the commit."""

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection that the open transaction can be read on."""

    def add(self, rows: Rows, values: Sequence[Any]) -> None:
        """Write a row of one of the statements that are gathered."""

    def insert(self, rows: Rows, values: Sequence[Any]) -> int:
        """Write a row whose first column is its id, which is given."""

    def amend(self, rows: Rows, number: int, **values: Any) -> None:
        """Change columns of the row with an id that was inserted just now."""

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """Write with a statement of its own, after all rows that are gathered."""

    def one(self, sql: str, values: Sequence[Any], about: Hashable, *, own: bool = False) -> Any:
        """Read a row; None where there is none. `about` names what must not have been touched in this draft.

        With `own`, what this unit itself has touched is no bar.
        """

    def all(self, sql: str, values: Sequence[Any], about: Hashable, *, own: bool = False) -> list[Any]:
        """Read rows, as `one`."""

    def touch(self, *about: Hashable) -> None:
        """Say that what others might read was changed."""

    def newest(self, table: str) -> int:
        """Give the greatest id of a table, 0 where it is empty."""


@cache
def _statement(rows: Rows, count: int) -> str:
    return rows.sql(count)


class Direct(sqlite3.Cursor):
    """The open transaction as a cursor that also writes row by row what drafts gather (`Writing`)."""

    drafted = False

    def add(self, rows: Rows, values: Sequence[Any]) -> None:
        self.execute(rows.single, values)

    def insert(self, rows: Rows, values: Sequence[Any]) -> int:
        self.execute(rows.single, (None, *values))
        return int(self.lastrowid or 0)

    def amend(self, rows: Rows, number: int, **values: Any) -> None:
        changes = ", ".join(f"{name} = ?" for name in values)
        self.execute(f"UPDATE {rows.table} SET {changes} WHERE id = ?", (*values.values(), number))

    def one(self, sql: str, values: Sequence[Any], about: Hashable, *, own: bool = False) -> Any:
        return self.execute(sql, values).fetchone()

    def all(self, sql: str, values: Sequence[Any], about: Hashable, *, own: bool = False) -> list[Any]:
        return self.execute(sql, values).fetchall()

    def touch(self, *about: Hashable) -> None:
        """Change nothing: all that follows sees what was written."""

    def newest(self, table: str) -> int:
        return int(self.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0])


class Draft:
    """What the next commit will write, gathered in memory by units of work that only read what is committed.

    A unit that would have to see what another unit of the same draft has written is told so by `Undrafted`, and is
    done after it in a transaction.
    """

    drafted = True

    @property
    def connection(self) -> sqlite3.Connection:
        raise Undrafted

    def __init__(self, reader: sqlite3.Connection, before: Draft | None = None) -> None:
        self._reader = reader
        self.lines: list[tuple[Rows, Any]] = []
        self.statements: list[tuple[str, Sequence[Any]]] = []
        self._touched: set[Hashable] = set()
        self._own: set[Hashable] = set()
        self._ids: dict[str, int] = {}
        self._begun = (0, 0)
        self._reading = False
        self._before: set[Hashable] = set()  #: what the draft touched that is being written
        if before is not None:
            self._before = before._touched | before._own
            self._ids |= before._ids

    def begin(self) -> None:
        """Begin a unit."""
        self._touched |= self._own
        self._own.clear()
        self._begun = len(self.lines), len(self.statements)

    def take_back(self) -> None:
        """Forget what the unit wrote. What it touched stays touched, which costs nothing but a transaction."""
        lines, statements = self._begun
        del self.lines[lines:], self.statements[statements:]

    @property
    def empty(self) -> bool:
        return not self.statements and not self.lines

    @property
    def rows(self) -> Mapping[Rows, list[Sequence[Any]]]:
        """The rows by their statement, inserts first: an update may be of a row that is inserted here."""
        found: dict[Rows, list[Sequence[Any]]] = {}
        for rows, values in self.lines:
            if rows in found:
                found[rows].append(values)
            else:
                found[rows] = [values]
        return dict(sorted(found.items(), key=lambda entry: not entry[0].head.startswith("INSERT")))

    def add(self, rows: Rows, values: Sequence[Any]) -> None:
        self.lines.append((rows, values))

    def insert(self, rows: Rows, values: Sequence[Any]) -> int:
        number = self._ids[rows.table] = self.newest(rows.table) + 1
        self.lines.append((rows, [number, *values]))
        return number

    def amend(self, rows: Rows, number: int, **values: Any) -> None:
        line = next(line for one, line in reversed(self.lines) if one is rows and line[0] == number)
        for name, value in values.items():
            line[rows.columns.index(name)] = value

    def execute(self, sql: str, values: Sequence[Any] = ()) -> None:
        self.statements.append((sql, values))

    def one(self, sql: str, values: Sequence[Any], about: Hashable, *, own: bool = False) -> Any:
        self._refuse(about, own)
        return self._read(sql, values).fetchone()

    def all(self, sql: str, values: Sequence[Any], about: Hashable, *, own: bool = False) -> list[Any]:
        self._refuse(about, own)
        return self._read(sql, values).fetchall()

    def _read(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Read in one transaction for the whole draft: each of its own would lock the file twice."""
        if not self._reading:
            self._reader.execute("BEGIN")
            self._reading = True
        return self._reader.execute(sql, values)

    def end(self) -> None:
        """Read no more."""
        if self._reading:
            self._reader.execute("COMMIT")
            self._reading = False

    def _refuse(self, about: Hashable, own: bool) -> None:
        if about in self._touched or about in self._before or (not own and about in self._own):
            raise Undrafted

    def touch(self, *about: Hashable) -> None:
        self._own.update(about)

    def newest(self, table: str) -> int:
        known = self._ids.get(table)
        if known is None:
            known = self._read(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]
            self._ids[table] = known
        return known


@dataclass(slots=True)
class _Unit:
    work: Work[Any]
    loop: asyncio.AbstractEventLoop | None
    future: asyncio.Future[Any] | None
    done: threading.Event | None = None
    drafts: bool = False  #: whether it is tried on a draft first
    result: Any = None
    error: BaseException | None = None


@dataclass(slots=True, eq=False)
class _Job:
    """What the thread commits at once: units to perform, or what units have drafted."""

    units: list[_Unit]
    draft: Draft | None = None
    refused: bool = False  #: whether the database refused the draft, so that its units were performed


class Journal:
    """The writer of one SQLite file."""

    #: At most this many callers share a commit.
    batch = 512
    #: At most this many units share a draft: the thread writes one while the loop makes the next.
    drafts = 128
    #: A draft of so few units may be written on the loop,
    few = 2
    #: as long as commits have lately taken less than this, in seconds.
    quick = 0.002

    def __init__(
        self, path: Path, *, stopwatch: Callable[[], float] = perf_counter, patience: float = PATIENCE
    ) -> None:
        self.path = path
        self._stopwatch = stopwatch
        self.patience = patience  #: how long the thread waits for another program that has the file, in seconds
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = connect(path)
        self._connection.execute("PRAGMA busy_timeout = 0")  # whoever can wait says so
        self._readers: list[sqlite3.Connection] = []
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting: deque[_Unit] = deque()  #: units of callers on the loop, in their order
        self._jobs: deque[_Job] = deque()  #: what the loop gave the thread and has no answer to, in its order
        self._called = False  #: whether the loop will look after what waits
        self._drafted: sqlite3.Connection | None = None
        self._writing = threading.Lock()  #: held by whoever uses the connection
        self._pace = 1.0  #: what a commit has lately taken, in seconds; at first unknown, and the thread finds out
        self._closed = False
        self.works = 0  #: transactions whose writes are not drafted: what is known of a run may be old after one
        self._thread = threading.Thread(target=self._write, name="hotwash-writer", daemon=True)
        self.failing: str | None = None  #: why the last commit failed, until one works again
        self._thread.start()

    async def transact(self, work: Work[T]) -> T:
        """Run `work` in the writer's thread and give its result after the commit.

        Raises:
            StorageUnavailable: the commit failed; nothing of it is in the database.
        """
        return await self._submit(work, drafts=False)

    async def commit(self, work: Callable[[Writing], T]) -> T:
        """Do the same with work that knows how to write to a draft: it runs here, and the thread has only to write.

        It must do the same where it is run twice: where it cannot be drafted, or where another unit's rows are
        refused by the database, it is run in the writer's thread.

        Raises:
            StorageUnavailable: the commit failed; nothing of it is in the database.
        """
        return await self._submit(work, drafts=True)

    def _submit(self, work: Work[T], *, drafts: bool) -> asyncio.Future[T]:
        self._check_open()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append(_Unit(work, loop, future, drafts=drafts))
        self._call(loop)
        return future

    def transact_now(self, work: Work[T]) -> T:
        """Do the same from a thread without an event loop, and wait for it."""
        self._check_open()
        unit = _Unit(work, None, None, threading.Event())
        self._queue.put(_Job([unit]))
        assert unit.done is not None
        unit.done.wait()
        self.works += 1
        if unit.error is not None:
            raise unit.error
        return unit.result  # type: ignore[no-any-return]

    def reader(self) -> sqlite3.Connection:
        """Open a connection that can only read; each read sees the newest commit. It is closed with the journal."""
        reader = connect(self.path, readonly=True)
        self._readers.append(reader)
        return reader

    def close(self) -> None:
        """Write what is queued, end the thread and close the readers. What comes later is refused."""
        if self._closed:
            return
        self._closed = True
        if self._waiting:
            self._queue.put(_Job(list(self._waiting)))
            self._waiting.clear()
        self._queue.put(None)
        self._thread.join()
        for reader in self._readers:
            reader.close()
        self._connection.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StorageUnavailable("the journal is closed")

    # --- on the loop -------------------------------------------------------------------------------------------------

    def _call(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look after what waits when everybody who is ready now has had their turn: they share the commit."""
        if not self._called and self._waiting:
            self._called = True
            loop.call_soon(self._pump, loop)

    def _pump(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand what waits to the thread, in its order: units to perform, or the draft of several."""
        self._called = False
        if self._closed or not self._waiting:
            return
        drafts = self._waiting[0].drafts
        if len(self._jobs) > 1 or (self._jobs and not (drafts and self._jobs[0].draft is not None)):
            return  # what is drafted must see what is performed, and at most one draft waits for the thread
        units: list[_Unit] = []
        most = self.drafts if drafts else self.batch
        while self._waiting and self._waiting[0].drafts is drafts and len(units) < most:
            units.append(self._waiting.popleft())
        job = self._draft(units) if drafts else _Job(units)
        if job.draft is not None and job.draft.empty:
            _resolve(job.units)
        elif self._written_here(job):
            self._answered(job, loop)
        else:
            self._jobs.append(job)
            self._queue.put(job)
        self._call(loop)

    def _draft(self, units: list[_Unit]) -> _Job:
        if self._drafted is None:
            self._drafted = self.reader()
        draft = Draft(self._drafted, self._jobs[0].draft if self._jobs else None)
        undrafted: list[_Unit] = []
        drafted: list[_Unit] = []
        for unit in units:
            draft.begin()
            try:
                unit.result = unit.work(draft)
            except Undrafted:
                draft.take_back()
                unit.drafts = False
                undrafted.append(unit)
                continue
            except Exception as error:  # noqa: BLE001  it is its caller's
                draft.take_back()
                unit.error = StorageUnavailable(str(error)) if unavailable(error) else error
            drafted.append(unit)
        draft.end()
        self._waiting.extendleft(reversed(undrafted))
        return _Job(drafted, draft)

    def _written_here(self, job: _Job) -> bool:
        """Write a small draft at once; False where the thread is to do it, because it works or might have to wait."""
        if job.draft is None or len(job.units) > self.few or self._jobs or self._pace > self.quick:
            return False
        if not self._writing.acquire(blocking=False):
            return False
        try:
            return self._try(job, patient=False)
        finally:
            self._writing.release()

    def _answered(self, job: _Job, loop: asyncio.AbstractEventLoop) -> None:
        if job in self._jobs:  # else it is what was left when the journal was closed
            self._jobs.remove(job)
        if job.draft is None or job.refused:
            self.works += 1
        _resolve(job.units)
        self._call(loop)

    # --- in the thread -----------------------------------------------------------------------------------------------

    def _write(self) -> None:
        while (job := self._queue.get()) is not None:
            with self._writing:
                self._try(job, patient=True)
            self._answer(job)

    # --- where the connection is held --------------------------------------------------------------------------------

    def _try(self, job: _Job, *, patient: bool) -> bool:
        """Commit a job or leave the error with its units; False where it would have had to wait, and is not patient."""
        begun = self._stopwatch()
        try:
            if not self._begin(patient):
                return False
            self._commit(job)
        except BaseException as error:  # noqa: BLE001  the writer must outlive it, and the callers must hear of it
            self._undo(job, error)
        self._pace += (self._stopwatch() - begun - self._pace) / 8
        return True

    def _begin(self, patient: bool) -> bool:
        """Take the file's lock; where another program has it, wait for it if that is asked for."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            if not patient:
                return False
            self._connection.execute(f"PRAGMA busy_timeout = {self.patience * 1000:.0f}")
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            finally:
                self._connection.execute("PRAGMA busy_timeout = 0")
        return True

    def _commit(self, job: _Job) -> None:
        cursor = self._connection.cursor(Direct)
        try:
            if job.draft is not None and not self._write_draft(cursor, job.draft):
                job.refused = True
                cursor.execute("BEGIN IMMEDIATE")
            if job.draft is None or job.refused:
                for unit in job.units:
                    self._perform(cursor, unit)
            cursor.execute("COMMIT")
            self.failing = None
        finally:
            cursor.close()

    def _write_draft(self, cursor: Direct, draft: Draft) -> bool:
        """Write what was drafted; where the database refuses a row, roll back and have it done unit by unit."""
        try:
            for rows, lines in draft.rows.items():
                _write_rows(cursor, rows, lines)
            for sql, values in draft.statements:
                cursor.execute(sql, values)
        except sqlite3.Error as error:
            if unavailable(error):
                raise
            self._connection.rollback()
            return False
        return True

    def _undo(self, job: _Job, error: BaseException) -> None:
        self.failing = f"{type(error).__name__}: {error}"
        if self._connection.in_transaction:
            self._connection.rollback()
        for unit in job.units:
            unit.error = StorageUnavailable(str(error))

    @staticmethod
    def _perform(cursor: Direct, unit: _Unit) -> None:
        if unit.error is not None:  # found while it was drafted
            return
        cursor.execute("SAVEPOINT unit")
        try:
            unit.result = unit.work(cursor)
        except BaseException as error:
            if unavailable(error):
                raise  # the disk is full or the file is locked: it fails for everybody
            cursor.execute("ROLLBACK TO unit")
            unit.error = error
        cursor.execute("RELEASE unit")

    def _answer(self, job: _Job) -> None:
        """Wake the callers: a thread that waits, or the loop that they are on."""
        for unit in job.units:
            if unit.done is not None:
                unit.done.set()
        loop = next((unit.loop for unit in job.units if unit.loop is not None), None)
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._answered, job, loop)


def _write_rows(cursor: sqlite3.Cursor, rows: Rows, lines: Sequence[Sequence[Any]]) -> None:
    """Write rows with as few statements as can be: each is one call that leaves Python to the others."""
    for begin in range(0, len(lines), Rows.MOST):
        chunk = lines[begin : begin + Rows.MOST]
        values = chunk[0] if len(chunk) == 1 else [one for line in chunk for one in line]
        cursor.execute(_statement(rows, len(chunk)), values)


def unavailable(error: BaseException) -> bool:
    """Whether an error of SQLite says that the file, not the statement, is the trouble."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _UNAVAILABLE


def _resolve(units: list[_Unit]) -> None:
    for unit in units:
        future = unit.future
        if future is None or future.done():
            continue
        if unit.error is not None:
            future.set_exception(unit.error)
        else:
            future.set_result(unit.result)
