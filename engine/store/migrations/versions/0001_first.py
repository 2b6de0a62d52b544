"""The first schema, frozen: what changes later is a revision of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _what_happened()
    _what_is_known()
    _runs()
    _rows()


def _what_happened() -> None:
    op.create_table(
        "events",
        sa.Column("id", _Id, primary_key=True),
        sa.Column("uid", sa.Text(), nullable=False, unique=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("subject_type", sa.Text()),
        sa.Column("subject", sa.Text()),
        sa.Column("actor", sa.JSON()),
        sa.Column("data", sa.JSON()),
        sa.Column("before", sa.JSON()),
        sa.Column("after", sa.JSON()),
        sa.Column("note", sa.JSON()),
        sa.Column("delivery", sa.Text(), unique=True),
        sa.Column("caused_by", sa.Text()),
        sa.Column("cause_run", sa.BigInteger()),
        sa.Column("own", sa.Integer(), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("private", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("listeners", sa.Text()),
    )
    op.create_index("events_new", "events", ["state"], sqlite_where=sa.text("state = 'new'"))
    op.create_index("events_subject", "events", ["subject", "id"])
    op.create_index("events_type", "events", ["type", "id"])
    op.create_table(
        "verdicts",
        sa.Column("id", _Id, primary_key=True),
        sa.Column("event", sa.BigInteger(), nullable=False),
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("run", sa.BigInteger()),
        sa.Column("detail", sa.JSON()),
        sa.Column("at", sa.BigInteger(), nullable=False),
    )
    op.create_index("verdicts_event", "verdicts", ["event"])
    op.create_index("verdicts_workflow", "verdicts", ["workflow", "id"])
    op.create_table(
        "listeners",
        sa.Column("hash", sa.Text(), primary_key=True),
        sa.Column("versions", sa.JSON(), nullable=False),
    )


def _what_is_known() -> None:
    op.create_table(
        "subjects",
        sa.Column("type", sa.Text(), primary_key=True),
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text()),
        sa.Column("connection", sa.Text(), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.Column("incident", sa.Text()),
        sa.Column("source_time", sa.BigInteger()),
        sa.Column("engine_time", sa.BigInteger()),
        sa.Column("first_seen", sa.BigInteger(), nullable=False),
        sa.Column("refreshed", sa.BigInteger(), nullable=False),
        sa.Column("changed_run", sa.BigInteger()),
        sa.Column("event", sa.BigInteger()),
    )
    op.create_index("subjects_incident", "subjects", ["incident"])
    op.create_index("subjects_key", "subjects", ["type", "key"])
    op.create_table(
        "workflow_versions",
        sa.Column("hash", sa.Text(), primary_key=True),
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("templates", sa.JSON(), nullable=False),
        sa.Column("loaded", sa.BigInteger(), nullable=False),
    )


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", _Id, primary_key=True),
        sa.Column("uid", sa.Text(), nullable=False, unique=True),
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("round_event", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.BigInteger(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("subject_type", sa.Text()),
        sa.Column("subject", sa.Text()),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("error", sa.JSON()),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("wake", sa.Integer(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger()),
        sa.UniqueConstraint("workflow", "key", name="runs_key"),
    )
    op.create_index("runs_going", "runs", ["id"], sqlite_where=sa.text("ended IS NULL"))
    op.create_index("runs_state", "runs", ["state", "id"])
    op.create_index("runs_subject", "runs", ["subject", "ended"])
    op.create_table(
        "steps",
        sa.Column("id", _Id, primary_key=True),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
    )
    op.create_index("steps_run", "steps", ["run", "id"])
    op.create_table(
        "effects",
        sa.Column("id", _Id, primary_key=True),
        sa.Column("identity", sa.Text(), nullable=False, unique=True),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("connection", sa.Text()),
        sa.Column("class", sa.Text(), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.Column("inputs_hash", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("result", sa.JSON()),
        sa.Column("error", sa.JSON()),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger()),
    )
    op.create_index("effects_open", "effects", ["state"], sqlite_where=sa.text("state IN ('intent', 'unknown')"))
    op.create_index("effects_run", "effects", ["run", "id"])
    op.create_table(
        "waits",
        sa.Column("id", _Id, primary_key=True),
        sa.Column("run", sa.BigInteger()),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("due", sa.BigInteger()),
        sa.Column("event_type", sa.Text()),
        sa.Column("field", sa.Text()),
        sa.Column("value", sa.Text()),
        sa.Column("cursor", sa.BigInteger()),
        sa.Column("workflow", sa.Text()),
        sa.Column("trigger", sa.Text()),
        sa.Column("subject", sa.Text()),
        sa.Column("event", sa.BigInteger()),
    )
    op.create_index("waits_due", "waits", ["due"])
    op.create_index("waits_effect", "waits", ["value"], sqlite_where=sa.text("kind = 'effect'"))
    op.create_index("waits_event", "waits", ["event_type", "field", "value"])
    op.create_index("waits_run", "waits", ["run", "path"])
    op.create_index("waits_settle", "waits", ["workflow", "trigger", "subject"])


def _rows() -> None:
    op.create_table(
        "schedules",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("due", sa.BigInteger()),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("cursor", sa.JSON()),
        sa.Column("inputs", sa.Text()),
    )
    op.create_table(
        "rows",
        sa.Column("connection", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("data", sa.JSON(), nullable=False),
    )


def downgrade() -> None:
    raise NotImplementedError("a database is brought back by its backup")
