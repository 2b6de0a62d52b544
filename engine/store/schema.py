"""Bring a database file to this program's schema: created, upgraded after a backup, or refused when it is newer."""

from __future__ import annotations

import itertools
import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

from engine.store.journal import connect

#: The newest revision under `migrations/versions`; revisions sort as texts.
HEAD = "0007"
MIGRATIONS = Path(__file__).parent / "migrations"
#: What all revisions together make of an empty file; `python -m engine.store.schema` writes it anew.
MADE = Path(__file__).parent / "schema.sql"


class NewerSchema(Exception):
    """The database was written by a newer version of Hotwash; this one would not understand it."""


def revision_of(path: Path) -> str | None:
    """Give the schema revision of a file; None for a file that is not there or is empty."""
    if not path.exists() or not path.stat().st_size:
        return None
    with closing(connect(path, readonly=True)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "alembic_version" not in tables:
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return row[0] if row else None


def prepare(path: Path, *, head: str = HEAD, migrations: Path = MIGRATIONS) -> Path | None:
    """Create or upgrade the schema; give the backup's path where one was made.

    An upgrade that fails leaves the file as it was.

    Args:
        path: the file; nobody else may have it open for writing.
        head: the newest revision.
        migrations: the folder with Alembic's environment and revisions.

    Raises:
        NewerSchema: the file's schema is newer than this program's.
    """
    found = revision_of(path)
    if found == head:
        return None
    if found is not None and found > head:
        raise NewerSchema(
            f"{path} has schema {found}, this program knows {head}: install the newer Hotwash or restore a backup"
        )
    saved = None
    if found is not None:
        saved = _free(path.with_name(f"{path.name}.before-{head}"))
        backup(path, saved)
    path.parent.mkdir(parents=True, exist_ok=True)
    if found is None and head == HEAD and migrations == MIGRATIONS:
        _create(path)
    else:
        _upgrade(path, migrations)
    return saved


def _free(path: Path) -> Path:
    """Give a name beside `path` that nothing has: a backup never takes the place of another."""
    names = (path.with_name(f"{path.name}.{number}") if number else path for number in itertools.count())
    return next(name for name in names if not name.exists())


def backup(path: Path, target: Path) -> None:
    """Copy the database, as committed, into a new file; the engine may go on meanwhile.

    The file has its name when it is whole, only its owner can read it, and it is compact.

    Raises:
        FileExistsError: the target is there already; it stays as it is.
        OSError, sqlite3.Error: it cannot be written; nothing is left of it.
    """
    if os.path.lexists(target):
        raise FileExistsError(f"{target} is there already")
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with closing(connect(path, readonly=True)) as connection:
            connection.execute("VACUUM INTO ?", (str(draft),))
        _to_disk(draft)
        _name(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    _to_disk(target.parent)


def _name(draft: Path, target: Path) -> None:
    """Give a file its name, unless another took it meanwhile."""
    try:
        os.link(draft, target)
    except FileExistsError:
        raise FileExistsError(f"{target} is there already") from None
    except OSError:  # a file system without links
        draft.rename(target)


def _to_disk(path: Path) -> None:
    """Have a file, or the names in a folder, written to the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _create(path: Path) -> None:
    """Make the newest schema in an empty file, all in one transaction, without Alembic and what it loads."""
    with closing(_writable(path)) as connection:
        connection.executescript(f"BEGIN IMMEDIATE;\n{MADE.read_text('utf-8')}COMMIT;")


def statements(path: Path) -> str:
    """Give the statements that make the schema of a file that Alembic made."""
    with closing(connect(path, readonly=True)) as connection:
        order = "tbl_name, type DESC, name"  # each table before its indexes
        rows = connection.execute(f"SELECT sql FROM sqlite_master WHERE sql NOT NULL ORDER BY {order}").fetchall()
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    made = [sql for (sql,) in rows] + [f"INSERT INTO alembic_version VALUES ('{revision}')"]
    lines = ";\n".join([*made, ""]).replace("\t", "  ").splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _upgrade(path: Path, migrations: Path) -> None:
    """Run the revisions that are missing, all in one transaction."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import NullPool

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    engine = create_engine("sqlite://", creator=lambda: _writable(path), poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def _begin(connection: object) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # type: ignore[attr-defined]  # the driver begins none for DDL

    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    engine.dispose()


def _writable(path: Path) -> sqlite3.Connection:
    """Open a file to build its schema; a new one can shrink again after much was pruned."""
    new = not path.exists() or not path.stat().st_size
    connection = connect(path) if not new else _made(path)
    connection.row_factory = None
    return connection


def _made(path: Path) -> sqlite3.Connection:
    connection = connect(path)
    connection.execute(
        "PRAGMA auto_vacuum = INCREMENTAL"
    )  # the write-ahead log has written a page: it needs the vacuum
    connection.execute("VACUUM")
    return connection


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        _upgrade(Path(folder) / "made.db", MIGRATIONS)
        MADE.write_text(statements(Path(folder) / "made.db"), "utf-8")
