"""Bring a database file to this program's schema: created, upgraded after a backup, or refused when it is newer."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path

#: The newest revision under `migrations/versions`.
HEAD = "0001"


class NewerSchema(Exception):
    """The database was written by a newer version of Hotwash; this one would not understand it."""


def revision_of(path: Path) -> str | None:
    """Give the schema revision of a file; None for a file that is not there or is empty."""
    if not path.exists():
        return None
    with closing(sqlite3.connect(path)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "alembic_version" not in tables:
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return row[0] if row else None


def prepare(path: Path) -> Path | None:
    """Create or upgrade the schema; give the backup's path where one was made.

    Raises:
        NewerSchema: the file's schema is newer than this program's.
    """
    found = revision_of(path)
    if found == HEAD:
        return None
    if found is not None and found > HEAD:
        raise NewerSchema(
            f"{path} has schema {found}, this program knows {HEAD}: install the newer Hotwash or restore a backup"
        )
    saved = None
    if found is not None:
        saved = _free(path.with_name(f"{path.name}.before-{HEAD}"))
        backup(path, saved)
    path.parent.mkdir(parents=True, exist_ok=True)
    _upgrade(path)
    return saved


def _free(path: Path) -> Path:
    """Give a name beside `path` that nothing has: a backup never takes the place of another."""
    names = (path.with_name(f"{path.name}.{number}") if number else path for number in itertools.count())
    return next(name for name in names if not name.exists())


def backup(path: Path, target: Path) -> None:
    """Copy the database, as committed, into a new file; the engine may go on meanwhile."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))


def _upgrade(path: Path) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    engine = create_engine(f"sqlite:///{path.absolute()}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    engine.dispose()
