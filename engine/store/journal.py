"""The journal: one writer thread, many callers, one commit for what has gathered.

A caller hands in a function of a cursor; it runs in the writer's thread inside the common transaction, sees what the
functions before it wrote, and is answered after the commit. One that raises is undone alone. Reading is done on
connections of one's own and sees what is committed.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Work = Callable[[sqlite3.Cursor], T]


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


class AlreadyRunning(Exception):
    """Another process works on this database file."""

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(f"{path} is in use by process {pid}" if pid else f"{path} is in use by another process")
        self.pid = pid


def connect(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    """Open the file with the settings that the promises rest on, and assert them."""
    mode = "ro" if readonly else "rwc"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=10
    )
    connection.execute("PRAGMA busy_timeout = 10000")
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


@dataclass(slots=True)
class _Unit:
    work: Work[Any]
    loop: asyncio.AbstractEventLoop | None
    future: asyncio.Future[Any] | None
    done: threading.Event | None = None
    result: Any = None
    error: BaseException | None = None


class Journal:
    """The writer of one SQLite file."""

    #: At most this many callers share a commit.
    batch = 512

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = connect(path)
        self._readers: list[sqlite3.Connection] = []
        self._queue: queue.SimpleQueue[_Unit | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._write, name="hotwash-writer", daemon=True)
        self.failing: str | None = None  #: why the last commit failed, until one works again
        self._thread.start()

    async def transact(self, work: Work[T]) -> T:
        """Run `work` in the writer's thread and give its result after the commit.

        Raises:
            StorageUnavailable: the commit failed; nothing of it is in the database.
        """
        self._check_open()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(_Unit(work, loop, future))
        return await future

    def transact_now(self, work: Work[T]) -> T:
        """Do the same from a thread without an event loop, and wait for it."""
        self._check_open()
        unit = _Unit(work, None, None, threading.Event())
        self._queue.put(unit)
        assert unit.done is not None
        unit.done.wait()
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
        self._queue.put(None)
        self._thread.join()
        for reader in self._readers:
            reader.close()
        self._connection.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StorageUnavailable("the journal is closed")

    def _write(self) -> None:
        while (first := self._queue.get()) is not None:
            units, last = self._gather(first)
            try:
                self._commit(units)
            except BaseException as error:  # noqa: BLE001  the writer must outlive it, and the callers must hear of it
                self._undo(units, error)
            self._answer(units)
            if last:
                return

    def _gather(self, first: _Unit) -> tuple[list[_Unit], bool]:
        units = [first]
        while len(units) < self.batch:
            try:
                unit = self._queue.get_nowait()
            except queue.Empty:
                break
            if unit is None:
                return units, True
            units.append(unit)
        return units, False

    def _commit(self, units: list[_Unit]) -> None:
        cursor = self._connection.cursor()
        try:
            cursor.execute("BEGIN IMMEDIATE")
            for unit in units:
                self._perform(cursor, unit)
            cursor.execute("COMMIT")
            self.failing = None
        finally:
            cursor.close()

    def _undo(self, units: list[_Unit], error: BaseException) -> None:
        self.failing = f"{type(error).__name__}: {error}"
        if self._connection.in_transaction:
            self._connection.rollback()
        for unit in units:
            unit.error = StorageUnavailable(str(error))

    @staticmethod
    def _perform(cursor: sqlite3.Cursor, unit: _Unit) -> None:
        cursor.execute("SAVEPOINT unit")
        try:
            unit.result = unit.work(cursor)
        except BaseException as error:
            if _unavailable(error):
                raise  # the disk is full or the file is locked: it fails for everybody
            cursor.execute("ROLLBACK TO unit")
            unit.error = error
        cursor.execute("RELEASE unit")

    @staticmethod
    def _answer(units: Iterable[_Unit]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_Unit]] = {}
        for unit in units:
            if unit.done is not None:
                unit.done.set()
            elif unit.loop is not None:
                by_loop.setdefault(unit.loop, []).append(unit)
        for loop, answered in by_loop.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, answered)


def _unavailable(error: BaseException) -> bool:
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
