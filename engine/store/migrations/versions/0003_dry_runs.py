"""Dry runs, which have a space of keys of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("dry", sa.Integer(), nullable=False, server_default="0"))
        runs.drop_constraint("runs_key", type_="unique")
        runs.create_unique_constraint("runs_key", ["workflow", "key", "dry"])


def downgrade() -> None:
    raise NotImplementedError("a database is brought back by its backup")
