"""A file is created, upgraded after a backup, or refused; and the queries of the hot path use an index."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from alembic.util import CommandError

from engine.runs.discretion import ANY_PRIVATE
from engine.store import schema
from engine.store.journal import connect
from engine.store.lookups import SUBJECT_BY_ID, SUBJECTS_BY_KEY
from engine.store.metadata import metadata
from engine.store.tables import Rows, effects, events, insert, update


@pytest.fixture
def database(tmp_path):
    schema.prepare(tmp_path / "hotwash.db")
    return tmp_path / "hotwash.db"


def test_a_new_file_gets_every_table_and_index(database):
    with closing(connect(database, readonly=True)) as reader:
        rows = reader.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
    made = {(row["type"], row["name"]) for row in rows} - {("table", "alembic_version")}
    tables = {("table", table.name) for table in metadata.tables.values()}
    indexes = {("index", index.name) for table in metadata.tables.values() for index in table.indexes}
    assert made == tables | indexes


def test_a_file_of_this_schema_is_left_as_it_is(database):
    before = database.read_bytes()
    assert schema.prepare(database) is None
    assert database.read_bytes() == before


def test_an_older_file_is_copied_before_it_is_touched_and_no_copy_is_written_over(database):
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("INSERT INTO rows VALUES ('local', 'a', '{}')")
        connection.execute("UPDATE alembic_version SET version_num = '0000'")  # for which there is no way up
        connection.commit()
    for _ in range(2):
        with pytest.raises(CommandError):
            schema.prepare(database)
    copies = sorted(database.parent.glob("hotwash.db.before-*"))
    assert [path.name for path in copies] == [f"hotwash.db.before-{schema.HEAD}", f"hotwash.db.before-{schema.HEAD}.1"]
    with closing(sqlite3.connect(copies[0])) as copy:
        assert copy.execute("SELECT key FROM rows").fetchall() == [("a",)]


def test_a_newer_file_is_refused_and_left_as_it_is(database):
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    before = database.read_bytes()
    with pytest.raises(schema.NewerSchema, match="9999"):
        schema.prepare(database)
    assert database.read_bytes() == before


def test_a_misspelt_column_is_noticed_before_the_database_is_asked():
    with pytest.raises(KeyError, match="tpye"):
        insert(events, "tpye")


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("SELECT * FROM events WHERE state = 'new' ORDER BY id LIMIT ?", "events_new"),
        ("SELECT 1 FROM events WHERE delivery = ?", "delivery=?"),
        ("SELECT * FROM events WHERE type = ? AND id > ? AND state != 'ignored' ORDER BY id", "events_type"),
        ("SELECT cause_run FROM events WHERE subject = ? ORDER BY id LIMIT 1", "events_subject"),
        ("SELECT id FROM runs WHERE subject = ? AND ended IS NULL", "runs_subject"),
        ("SELECT id FROM runs WHERE workflow = ? AND key = ? AND dry = ?", "workflow=? AND key=? AND dry=?"),
        ("SELECT id FROM runs WHERE workflow = ? AND subject = ? AND ended IS NULL", "runs_subject"),
        (
            "SELECT id FROM runs WHERE ended IS NULL AND (wake > 0 OR state IN ('running', 'held')) ORDER BY id",
            "runs_going",
        ),
        ("SELECT run FROM waits WHERE event_type = ? AND field = ? AND value = ? AND run IS NOT NULL", "waits_event"),
        ("SELECT min(field) FROM waits WHERE event_type = ? AND field > ?", "waits_event"),
        ("SELECT run FROM waits WHERE kind = 'effect' AND value = ?", "waits_effect"),
        ("SELECT min(due) AS due FROM waits WHERE due IS NOT NULL", "waits_due"),
        ("SELECT id, run, kind FROM waits WHERE due <= ? ORDER BY due, id LIMIT ?", "waits_due"),
        ("DELETE FROM waits WHERE kind = 'settle' AND workflow = ? AND trigger = ? AND subject = ?", "waits_settle"),
        ("SELECT path FROM waits WHERE run = ? AND due IS NOT NULL", "waits_run"),
        ("SELECT path, kind, data FROM steps WHERE run = ? ORDER BY id", "steps_run"),
        ("SELECT * FROM effects WHERE identity = ?", "identity=?"),
        ("SELECT count(*) AS n FROM sent WHERE person = ? AND at >= ? AND identity != ?", "sent_person"),
        ("SELECT max(until) AS until FROM mutes WHERE subject = ? AND person = ? AND until > ?", "mutes_subject"),
        ("SELECT id, due FROM waits WHERE kind = 'digest' AND value = ?", "waits_digest"),
        ("SELECT * FROM outbox WHERE place = ? AND state = 'waiting' ORDER BY id LIMIT 1", "outbox_waiting"),
        (SUBJECT_BY_ID, "type=? AND id=?"),
        (SUBJECTS_BY_KEY, "type=? AND key=?"),
        (ANY_PRIVATE, "subjects_private"),
    ],
)
def test_a_query_of_the_hot_path_searches_by_an_index(database, query, index):
    with closing(connect(database, readonly=True)) as reader:
        plan = [row["detail"] for row in reader.execute(f"EXPLAIN QUERY PLAN {query}", (1,) * query.count("?"))]
    assert any(index in line for line in plan), plan
    assert not any(line.startswith("SCAN") and "USING INDEX" not in line for line in plan), plan
    assert not any("TEMP B-TREE" in line for line in plan), plan


@pytest.mark.parametrize("count", [1, 2, Rows.MOST])
def test_an_update_of_many_rows_finds_each_by_its_index(database, count):
    query = update(effects, "identity", "state", "ended").sql(count)
    with closing(connect(database, readonly=True)) as reader:
        plan = [row["detail"] for row in reader.execute(f"EXPLAIN QUERY PLAN {query}", (1,) * query.count("?"))]
    assert plan[-1].startswith("SEARCH effects USING COVERING INDEX")
