"""What is private, to be told apart from everything else without a look at it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    private = sa.text("json_extract(state, '$.private') = 1")
    op.create_index("subjects_private", "subjects", ["id"], sqlite_where=private)


def downgrade() -> None:
    raise NotImplementedError("a database is brought back by its backup")
