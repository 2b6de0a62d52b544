"""Messages to people: those that wait for a digest, those that count to a daily limit, and mutes."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", _Id, primary_key=True),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("connection", sa.Text(), nullable=False),
        sa.Column("person", sa.JSON()),
        sa.Column("channel", sa.Text()),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject_type", sa.Text()),
        sa.Column("subject", sa.Text()),
        sa.Column("open", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("during", sa.Text()),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("digest", sa.BigInteger()),
        sa.Column("reason", sa.Text()),
    )
    op.create_index("outbox_digest", "outbox", ["digest"])
    op.create_index("outbox_waiting", "outbox", ["place", "id"], sqlite_where=sa.text("state = 'waiting'"))
    op.create_index("waits_digest", "waits", ["value"], sqlite_where=sa.text("kind = 'digest'"))
    op.create_table(
        "sent",
        sa.Column("identity", sa.Text(), primary_key=True),
        sa.Column("person", sa.Text(), primary_key=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
    )
    op.create_index("sent_person", "sent", ["person", "at"])
    op.create_table(
        "mutes",
        sa.Column("id", _Id, primary_key=True),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.JSON(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger()),
        sa.Column("ended_by", sa.JSON()),
    )
    op.create_index("mutes_subject", "mutes", ["subject", "person"])


def downgrade() -> None:
    raise NotImplementedError("a database is brought back by its backup")
