"""The journal: group commit, what a full or locked file leaves behind, one engine per file."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from engine.store.journal import AlreadyRunning, Journal, Lock, StorageUnavailable, connect

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path / "test.db")
    made.transact_now(lambda cursor: cursor.execute("CREATE TABLE lines (text TEXT UNIQUE)") and None)
    yield made
    made.close()


def put(text):
    def write(cursor):
        cursor.execute("INSERT INTO lines VALUES (?)", (text,))
        return cursor.execute("SELECT count(*) FROM lines").fetchone()[0]

    return write


def lines(journal):
    return [row["text"] for row in journal.reader().execute("SELECT text FROM lines ORDER BY rowid")]


class _Gate:
    """Holds the writer's thread until what comes meanwhile has gathered."""

    def __init__(self, journal):
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.held = asyncio.ensure_future(journal.transact(self._wait))

    def _wait(self, cursor):
        self.entered.set()
        self.go_on.wait()

    async def __aenter__(self):
        await asyncio.to_thread(self.entered.wait)

    async def __aexit__(self, *_):
        self.go_on.set()
        await self.held


async def gathered(journal, *works):
    """Hand in several works so that they share a commit."""
    async with _Gate(journal):
        waiting = [asyncio.ensure_future(journal.transact(work)) for work in works]
        await asyncio.sleep(0)
    return await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_caller_is_answered_after_its_commit(journal):
    assert await journal.transact(put("a")) == 1
    assert lines(journal) == ["a"]


async def test_what_gathers_shares_one_commit(journal):
    commits = []
    journal._connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    assert await gathered(journal, *(put(str(number)) for number in range(100))) == list(range(1, 101))
    assert len(commits) == 2  # the gate's own, and one for all


async def test_one_that_raises_is_undone_alone(journal):
    def write_and_raise(cursor):
        put("half")(cursor)
        raise KeyError("a bug")

    first, second, third = await gathered(journal, put("a"), write_and_raise, put("b"))
    assert (first, third) == (1, 2)
    assert isinstance(second, KeyError)
    assert lines(journal) == ["a", "b"]


async def test_a_statement_that_is_wrong_fails_alone(journal):
    wrong = lambda cursor: cursor.execute("INSERT INTO no_such_table VALUES (1)")  # noqa: E731
    first, second, third = await gathered(journal, put("a"), wrong, put("a"))
    assert first == 1
    assert isinstance(second, sqlite3.OperationalError)
    assert isinstance(third, sqlite3.IntegrityError)
    assert lines(journal) == ["a"]


async def test_a_full_database_is_unavailable_and_nothing_of_the_commit_is_written(journal):
    pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
    journal._connection.execute(f"PRAGMA max_page_count = {pages + 5}")
    small, large = await gathered(journal, put("small"), put("x" * 100_000))
    assert isinstance(small, StorageUnavailable)
    assert isinstance(large, StorageUnavailable)
    assert lines(journal) == []
    assert "full" in str(journal.failing)
    journal._connection.execute("PRAGMA max_page_count = 100000")
    assert await journal.transact(put("small")) == 1
    assert journal.failing is None


async def test_a_disk_that_fails_in_the_middle_of_a_commit_undoes_all_of_it(journal):
    def fail(cursor):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
        raise error

    answers = await gathered(journal, put("a"), fail, put("b"))
    assert [type(answer) for answer in answers] == [StorageUnavailable] * 3
    assert lines(journal) == []


async def test_a_locked_database_is_unavailable_until_it_is_released(journal):
    journal.patience = 0
    other = connect(journal.path)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable, match="locked"):
        await journal.transact(put("a"))
    other.execute("ROLLBACK")
    other.close()
    assert await journal.transact(put("a")) == 1


def draft(number):
    def write(tx):
        tx.execute("INSERT INTO lines VALUES (?)", (str(number),))

    return write


def ticking(seconds):
    """A stopwatch on which each commit takes so long."""
    ticks = itertools.count()
    return lambda: next(ticks) * seconds


async def writers(path, stopwatch, together=1):
    """Commit drafts one after another and give the names of the threads that wrote the last of them."""
    journal, names = Journal(path, stopwatch=stopwatch), []
    await journal.transact(lambda cursor: cursor.execute("CREATE TABLE lines (text TEXT UNIQUE)") and None)
    journal._connection.set_trace_callback(
        lambda sql: names.append(threading.current_thread().name) if sql.startswith("INSERT") else None
    )
    for round in range(80):
        await asyncio.gather(*(journal.commit(draft(f"{round}.{number}")) for number in range(together)))
    journal.close()
    return set(names[-10:])


async def test_a_small_draft_is_written_by_the_loop_once_commits_are_quick(tmp_path):
    assert await writers(tmp_path / "test.db", ticking(0.001)) == {threading.main_thread().name}


async def test_on_a_slow_disk_the_loop_writes_nothing_itself(tmp_path):
    assert await writers(tmp_path / "test.db", ticking(0.003)) == {"hotwash-writer"}


async def test_a_draft_of_many_is_written_by_the_thread(tmp_path):
    assert await writers(tmp_path / "test.db", ticking(0.001), together=3) == {"hotwash-writer"}


async def test_the_loop_goes_on_while_another_program_has_the_file(tmp_path):
    journal = Journal(tmp_path / "test.db", stopwatch=ticking(0.0))
    await journal.transact(lambda cursor: cursor.execute("CREATE TABLE lines (text TEXT UNIQUE)") and None)
    for number in range(80):
        await journal.commit(draft(number))
    other = connect(journal.path)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.ensure_future(journal.commit(draft("late")))
    for _ in range(5):
        await asyncio.sleep(0)  # the loop has its turns, and the thread waits for the file
    assert not waiting.done()
    other.execute("ROLLBACK")
    other.close()
    await waiting
    assert lines(journal)[-1] == "late"
    journal.close()


async def test_one_whose_caller_has_gone_is_written_all_the_same(journal):
    waiting = asyncio.ensure_future(journal.transact(put("a")))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await journal.transact(put("b")) == 2


async def test_a_closed_journal_refuses_what_comes_later(tmp_path):
    journal = Journal(tmp_path / "test.db")
    journal.close()
    with pytest.raises(StorageUnavailable, match="closed"):
        await journal.transact(put("a"))


async def test_what_is_queued_is_written_before_the_journal_closes(journal):
    waiting = [asyncio.ensure_future(journal.transact(put(str(number)))) for number in range(20)]
    await asyncio.sleep(0)
    await asyncio.to_thread(journal.close)
    assert await asyncio.gather(*waiting) == list(range(1, 21))


@pytest.mark.parametrize("readonly", [False, True])
def test_every_connection_writes_through_to_the_disk(journal, readonly):
    made = connect(journal.path, readonly=readonly)
    assert made.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert made.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    made.close()


def test_nothing_opens_a_database_but_the_function_that_sees_to_its_settings():
    opens = {
        path.relative_to(ROOT).as_posix(): path.read_text("utf-8").count("sqlite3.connect(")
        for folder in ("engine", "actions", "triggers")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {path: number for path, number in opens.items() if number} == {"engine/store/journal.py": 1}


def test_a_reader_cannot_write(journal):
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        journal.reader().execute("INSERT INTO lines VALUES ('a')")


# --- one engine per file ---


def test_a_second_engine_is_refused_with_the_number_of_the_first_process(tmp_path):
    first = Lock(tmp_path / "test.db")
    first.take()
    with pytest.raises(AlreadyRunning, match=str(os.getpid())) as refused:
        Lock(tmp_path / "test.db").take()
    assert refused.value.pid == os.getpid()
    first.release()
    second = Lock(tmp_path / "test.db")
    second.take()
    second.release()


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    root = Path(__file__).resolve().parents[3]
    code = (
        "import os, pathlib, sys; from engine.store.journal import Lock;"
        "Lock(pathlib.Path(sys.argv[1])).take(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "test.db")], cwd=root, check=False)
    assert done.returncode == -9
    assert (tmp_path / "test.db.lock").read_text() != ""
    lock = Lock(tmp_path / "test.db")
    lock.take()
    lock.release()
