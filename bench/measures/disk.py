"""What the disk can do: the limit that durable work is held against."""

from __future__ import annotations

import os
from pathlib import Path
from time import perf_counter

from engine.store.journal import connect

_PAGE = bytes(4096)


def syncs(folder: Path, seconds: float) -> tuple[int, float]:
    """Append pages to a file, each made durable with fdatasync; give how many, and how long it took."""
    path = folder / "syncs"
    with open(path, "ab", buffering=0) as file:
        start, count = perf_counter(), 0
        while perf_counter() - start < seconds:
            file.write(_PAGE)
            os.fdatasync(file.fileno())
            count += 1
        took = perf_counter() - start
    path.unlink()
    return count, took


def commits(folder: Path, seconds: float) -> tuple[int, float]:
    """Commit small rows one after the other, with the settings that the engine writes with; give the same."""
    path = folder / "commits.db"
    connection = connect(path)
    connection.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, data TEXT)")
    start, count = perf_counter(), 0
    while perf_counter() - start < seconds:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO rows (data) VALUES (?)", ("x" * 100,))
        connection.execute("COMMIT")
        count += 1
    took = perf_counter() - start
    connection.close()
    return count, took
