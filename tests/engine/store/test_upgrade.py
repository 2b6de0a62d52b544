"""A database of an older program is copied and brought up; the way up ends at exactly the schema of the tables."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import threading
from contextlib import closing
from datetime import UTC, datetime
from functools import partial

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from engine import wiring
from engine.store import schema
from engine.store.journal import Journal, connect
from engine.store.metadata import metadata
from engine.testing import World

NEXT = """
from alembic import op
import sqlalchemy as sa

revision, down_revision, branch_labels, depends_on = "0900", "{head}", None, None


def upgrade():
    op.add_column("runs", sa.Column("mood", sa.Text()))
    op.execute("UPDATE runs SET mood = 'calm'")
    {more}
"""


@pytest.fixture
def database(tmp_path):
    """Give a database of this program with a run in it."""
    path = tmp_path / "hotwash.db"
    schema.prepare(path)
    with closing(connect(path)) as connection:
        connection.execute(
            "INSERT INTO runs (uid, workflow, key, version, round, round_event, event, trigger, state, depth, wake,"
            " created, updated) VALUES ('run_1', 'flow', 'k', 'v', 1, 1, 1, 't', 'waiting', 0, 0, 0, 0)"
        )
    return path


@pytest.fixture
def later(tmp_path):
    """Give what makes the migrations of a later program: one revision more than this one has."""

    def make(more="pass"):
        folder = tmp_path / "migrations"
        (folder / "versions").mkdir(parents=True)
        versions = (f"versions/{path.name}" for path in (schema.MIGRATIONS / "versions").glob("0*.py"))
        for name in ("env.py", *versions):
            (folder / name).write_bytes((schema.MIGRATIONS / name).read_bytes())
        (folder / "versions" / "0900_mood.py").write_text(NEXT.format(head=schema.HEAD, more=more))
        return folder

    return make


def test_the_way_up_ends_at_exactly_the_schema_of_the_tables(database):
    engine = create_engine(f"sqlite:///{database}", poolclass=NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_way_up_makes_every_index_as_the_tables_have_it(database, tmp_path):
    def indexes(path):
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql NOT NULL"
            ).fetchall()
        return dict(rows)

    engine = create_engine(f"sqlite:///{tmp_path / 'made.db'}", poolclass=NullPool)
    metadata.create_all(engine)
    assert indexes(database) == indexes(tmp_path / "made.db")


def test_an_empty_file_is_made_as_all_the_revisions_make_it(tmp_path):
    revisions = shutil.copytree(schema.MIGRATIONS, tmp_path / "migrations")
    schema.prepare(tmp_path / "up.db", migrations=revisions)
    assert schema.statements(tmp_path / "up.db") == schema.MADE.read_text("utf-8")


def test_the_newest_revision_is_the_one_that_the_program_asks_for():
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    revisions = [one.revision for one in ScriptDirectory.from_config(config).walk_revisions()]
    assert revisions[0] == schema.HEAD
    assert revisions == sorted(revisions, reverse=True)


def test_an_older_database_is_upgraded_with_what_is_in_it_after_a_backup(database, later):
    saved = schema.prepare(database, head="0900", migrations=later())
    assert saved == database.with_name("hotwash.db.before-0900")
    assert (schema.revision_of(saved), schema.revision_of(database)) == (schema.HEAD, "0900")
    with closing(connect(database, readonly=True)) as reader:
        assert tuple(reader.execute("SELECT uid, mood FROM runs").fetchone()) == ("run_1", "calm")
    assert schema.prepare(database, head="0900") is None


def test_an_upgrade_that_fails_leaves_the_database_as_it_was(database, later):
    with pytest.raises(ValueError, match="no"):
        schema.prepare(database, head="0900", migrations=later("raise ValueError('no')"))
    assert schema.revision_of(database) == schema.HEAD
    with closing(connect(database, readonly=True)) as reader:
        assert "mood" not in reader.execute("SELECT * FROM runs").fetchone().keys()  # noqa: SIM118  a row is no mapping


def test_a_database_of_a_later_program_is_refused(database, later):
    schema.prepare(database, head="0900", migrations=later())
    with pytest.raises(schema.NewerSchema, match="install the newer Hotwash or restore a backup"):
        schema.prepare(database)


# --- backups ---


async def test_an_engine_starts_from_a_backup_that_was_made_while_another_ran(tmp_path):
    start = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        (folder / "workflows").mkdir(parents=True)
        (folder / "hotwash.yaml").write_text("timezone: UTC\n")
    (first / "workflows" / "nap.yaml").write_text("on: incident.declared\nsteps:\n  - wait: 3d\n")
    (second / ".hotwash").mkdir()
    async with World(first, start, wiring.open_application) as world:
        await world.incident("declared", title="Slow")
        schema.backup(world.application.journal.path, second / ".hotwash" / "hotwash.db")
        await world.incident("declared", "pager:P2", title="Later")
    async with World(second, start, wiring.open_application) as world:
        assert [run["state"] for run in world.runs()] == ["waiting"]
        await world.move("3d")
        assert [run["state"] for run in world.runs()] == ["finished"]


def put_pair(cursor, number):
    """Write two rows in one transaction."""
    pair = [("x", f"{number}/{half}", "{}") for half in "ab"]
    cursor.executemany("INSERT INTO rows VALUES (?, ?, ?)", pair)


def test_a_backup_under_writes_is_whole(tmp_path):
    schema.prepare(tmp_path / "hotwash.db")
    journal = Journal(tmp_path / "hotwash.db")
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            journal.transact_now(partial(put_pair, number=number))

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for number in range(5):
            schema.backup(journal.path, tmp_path / f"copy-{number}.db")
    finally:
        stop.set()
        writing.join()
        journal.close()
    for number in range(5):
        with closing(sqlite3.connect(tmp_path / f"copy-{number}.db")) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert copy.execute("SELECT count(*) % 2 FROM rows").fetchone() == (0,)


def test_a_backup_takes_the_place_of_nothing(database, tmp_path):
    target = tmp_path / "copy.db"
    target.write_text("mine")
    with pytest.raises(FileExistsError):
        schema.backup(database, target)
    assert target.read_text() == "mine"


def test_a_backup_that_cannot_be_made_leaves_nothing(tmp_path):
    (tmp_path / "broken.db").write_bytes(b"this is no database, and long enough to be seen as none" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        schema.backup(tmp_path / "broken.db", tmp_path / "copy.db")
    assert [path.name for path in tmp_path.iterdir()] == ["broken.db"]


def test_only_its_owner_can_read_a_backup(database, tmp_path):
    schema.backup(database, tmp_path / "copy.db")
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
