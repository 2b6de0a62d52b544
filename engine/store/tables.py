"""The tables. Instants are whole microseconds since 1970 in UTC; JSON columns hold what `engine.store.codec` writes.

Rows are keyed by integers that grow; the printable identity stands beside them in `uid`. SQL for the hot path is
generated once from here (`insert`, `upsert`, `update`) and handed to the driver. What Alembic needs of them is made by
`engine.store.metadata`: SQLAlchemy is loaded for that only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Type = Literal["id", "big", "integer", "text", "json"]
_Id: Type = "id"  # an SQLite table's own row number
BigInteger: Type = "big"
Integer: Type = "integer"
Text: Type = "text"
JSON: Type = "json"


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: Type
    primary_key: bool = False
    nullable: bool = True
    unique: bool = False


class Index:
    """An index of columns; with `where`, of the rows of which that is true."""

    def __init__(self, name: str, *columns: str, where: str | None = None) -> None:
        self.name, self.columns, self.where = name, columns, where


class UniqueConstraint:
    def __init__(self, *columns: str, name: str) -> None:
        self.name, self.columns = name, columns


#: Every table, by its name.
TABLES: dict[str, Table] = {}


class Table:
    """A table with its indexes."""

    def __init__(self, name: str, *parts: Column | Index | UniqueConstraint) -> None:
        self.name, self.parts = name, parts
        self.columns = {part.name: part for part in parts if isinstance(part, Column)}
        self.primary_key = [column.name for column in self.columns.values() if column.primary_key]
        TABLES[name] = self


events = Table(
    "events",
    Column("id", _Id, primary_key=True),
    Column("uid", Text, nullable=False, unique=True),
    Column("type", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("subject_type", Text),
    Column("subject", Text),
    Column("actor", JSON),
    Column("data", JSON),
    Column("before", JSON),
    Column("after", JSON),
    Column("note", JSON),
    Column("delivery", Text, unique=True),
    Column("caused_by", Text),
    Column("cause_run", BigInteger),
    Column("own", Integer, nullable=False),
    Column("depth", Integer, nullable=False),
    Column("private", Integer, nullable=False),
    Column("state", Text, nullable=False),  # new, matched, ignored
    Column("reason", Text),
    Column("listeners", Text),  # hash of the set of versions that were listening
    Index("events_new", "state", where="state = 'new'"),
    Index("events_type", "type", "id"),
    Index("events_subject", "subject", "id"),
)

verdicts = Table(
    "verdicts",
    Column("id", _Id, primary_key=True),
    Column("event", BigInteger, nullable=False),
    Column("workflow", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("run", BigInteger),
    Column("detail", JSON),
    Column("at", BigInteger, nullable=False),
    Index("verdicts_event", "event"),
    Index("verdicts_workflow", "workflow", "id"),
)

listeners = Table(
    "listeners",
    Column("hash", Text, primary_key=True),
    Column("versions", JSON, nullable=False),  # [[workflow, version], …]
)

subjects = Table(
    "subjects",
    Column("type", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("key", Text),
    Column("connection", Text, nullable=False),
    Column("state", JSON, nullable=False),
    Column("incident", Text),
    Column("source_time", BigInteger),  # the newest event of its source, by that event's own time
    Column("engine_time", BigInteger),
    Column("first_seen", BigInteger, nullable=False),
    Column("refreshed", BigInteger, nullable=False),  # when its source last spoke of it, by our clock
    Column("changed_run", BigInteger),  # the run that caused the newest change, if one did
    Column("event", BigInteger),
    Index("subjects_key", "type", "key"),
    Index("subjects_incident", "incident"),
    Index("subjects_private", "id", where="json_extract(state, '$.private') = 1"),
)

workflow_versions = Table(
    "workflow_versions",
    Column("hash", Text, primary_key=True),
    Column("workflow", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("templates", JSON, nullable=False),
    Column("loaded", BigInteger, nullable=False),
)

runs = Table(
    "runs",
    Column("id", _Id, primary_key=True),
    Column("uid", Text, nullable=False, unique=True),
    Column("workflow", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("round_event", BigInteger, nullable=False),  # the event that the round began with
    Column("event", BigInteger, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("subject_type", Text),
    Column("subject", Text),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("error", JSON),
    Column("depth", Integer, nullable=False),
    Column("wake", Integer, nullable=False),  # something happened that it has not looked at
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("slot", Text),  # `concurrency`: what it shares with the runs that may not go on beside it
    Column("dry", Integer, nullable=False),  # a dry run, which has a space of keys of its own
    UniqueConstraint("workflow", "key", "dry", name="runs_key"),
    Index("runs_subject", "subject", "ended"),
    Index("runs_state", "state", "id"),
    Index("runs_going", "id", where="ended IS NULL"),
    Index("runs_slot", "workflow", "slot", where="slot IS NOT NULL AND ended IS NULL"),
)

steps = Table(
    "steps",
    Column("id", _Id, primary_key=True),
    Column("run", BigInteger, nullable=False),
    Column("path", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("data", JSON, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("steps_run", "run", "id"),
)

effects = Table(
    "effects",
    Column("id", _Id, primary_key=True),
    Column("identity", Text, nullable=False, unique=True),
    Column("run", BigInteger, nullable=False),
    Column("path", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("connection", Text),
    Column("class", Text, nullable=False),
    Column("inputs", JSON, nullable=False),
    Column("inputs_hash", Text, nullable=False),
    Column("state", Text, nullable=False),  # intent, done, failed, unknown, pending, held, skipped, dry_run
    Column("attempts", Integer, nullable=False),
    Column("result", JSON),
    Column("error", JSON),
    Column("created", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Index("effects_run", "run", "id"),
    Index("effects_open", "state", where="state IN ('intent', 'unknown')"),
)

waits = Table(
    "waits",
    Column("id", _Id, primary_key=True),
    Column("run", BigInteger),
    Column("path", Text, nullable=False),
    # timer, event, hold, deadline, pause, connection, effect, settle, turn, digest
    Column("kind", Text, nullable=False),
    Column("due", BigInteger),
    Column("event_type", Text),
    Column("field", Text),
    Column("value", Text),
    Column("cursor", BigInteger),  # the newest event that was examined for it
    Column("workflow", Text),  # settle: the workflow, its trigger, the subject and the event that began it
    Column("trigger", Text),
    Column("subject", Text),
    Column("event", BigInteger),
    Index("waits_due", "due"),
    Index("waits_run", "run", "path"),
    Index("waits_event", "event_type", "field", "value"),
    Index("waits_settle", "workflow", "trigger", "subject"),
    Index("waits_effect", "value", where="kind = 'effect'"),
    Index("waits_turn", "run", where="kind = 'turn'"),
    Index("waits_digest", "value", where="kind = 'digest'"),
)

outbox = Table(
    "outbox",  # messages that wait to be folded into one
    Column("id", _Id, primary_key=True),
    Column("place", Text, nullable=False),  # the connection, and the person or channel: what one digest is for
    Column("connection", Text, nullable=False),
    Column("person", JSON),
    Column("channel", Text),
    Column("run", BigInteger, nullable=False),
    Column("round", Integer, nullable=False),
    Column("path", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject_type", Text),
    Column("subject", Text),
    Column("open", Integer, nullable=False),  # whether there was something to do about its subject
    Column("text", Text, nullable=False),
    Column("during", Text),
    Column("at", BigInteger, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # waiting, taken, dropped
    Column("digest", BigInteger),  # the run that sends it
    Column("reason", Text),  # why it was dropped
    Index("outbox_waiting", "place", "id", where="state = 'waiting'"),
    Index("outbox_digest", "digest"),
)

sent = Table(
    "sent",  # messages to people, by which their daily limit counts
    Column("identity", Text, primary_key=True),
    Column("person", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Index("sent_person", "person", "at"),
)

mutes = Table(
    "mutes",
    Column("id", _Id, primary_key=True),
    Column("person", Text, nullable=False),
    Column("subject_type", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("by", JSON, nullable=False),  # whoever entered it
    Column("at", BigInteger, nullable=False),
    Column("ended", BigInteger),  # before its time
    Column("ended_by", JSON),
    Index("mutes_subject", "subject", "person"),
)

pauses = Table(
    "pauses",
    Column("workflow", Text, primary_key=True),  # empty: all
    Column("since", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("until", BigInteger),  # when it ended; nobody makes up for its time
)

moves = Table(
    "moves",  # names of workflows that were given up, with the present name of whoever took over
    Column("old", Text, primary_key=True),
    Column("new", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

schedules = Table(
    "schedules",
    Column("id", Text, primary_key=True),  # `workflow/trigger` or `connection/NAME`
    Column("due", BigInteger),
    Column("first", BigInteger, nullable=False),
    Column("cursor", JSON),
    Column("inputs", Text),  # hash of what the due instant was computed from
)

rows = Table(
    "rows",
    Column("connection", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("data", JSON, nullable=False),
)


class Rows:
    """A statement that takes many rows at once: `head (?, …), (?, …) tail`."""

    __slots__ = ("columns", "head", "single", "table", "tail")

    #: At most so many rows are written with one statement.
    MOST = 64

    def __init__(self, table: str, head: str, columns: Sequence[str], tail: str = "") -> None:
        self.table, self.head, self.columns, self.tail = table, head, tuple(columns), tail
        self.single = self.sql(1)

    def sql(self, count: int) -> str:
        """Give the statement for so many rows."""
        row = f"({', '.join('?' * len(self.columns))})"
        return f"{self.head} VALUES {', '.join([row] * count)}{self.tail}"


def insert(table: Table, *columns: str) -> Rows:
    """Give an INSERT of the named columns."""
    for name in columns:
        table.columns[name]  # a misspelt column is a KeyError here and not in the database
    return Rows(table.name, f"INSERT INTO {table.name} ({', '.join(columns)})", columns)


def upsert(table: Table, *columns: str) -> Rows:
    """Give an INSERT that overwrites the row of the same primary key."""
    rows, keys = insert(table, *columns), table.primary_key
    others = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in keys)
    return Rows(table.name, rows.head, columns, f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {others}")


def update(table: Table, key: str, *columns: str) -> Rows:
    """Give an UPDATE of columns in the rows whose `key`, the first of each row of values, is given."""
    for name in (key, *columns):
        table.columns[name]
    values = ", ".join(f"{name} = v.column{index}" for index, name in enumerate(columns, 2))
    head = f"UPDATE {table.name} SET {values} FROM ("
    return Rows(table.name, head, (key, *columns), f") AS v WHERE {table.name}.{key} = v.column1")
