"""Slots of runs that may not go on side by side, and who waits for a turn."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("slot", sa.Text()))
    going = sa.text("slot IS NOT NULL AND ended IS NULL")
    op.create_index("runs_slot", "runs", ["workflow", "slot"], sqlite_where=going)
    op.create_index("waits_turn", "waits", ["run"], sqlite_where=sa.text("kind = 'turn'"))


def downgrade() -> None:
    raise NotImplementedError("a database is brought back by its backup")
