"""What operators do to running jobs: a job's revision, and tasks that are kept out of the queue."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Move to this revision."""
    op.add_column("jobs", sa.Column("revision", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("tasks", sa.Column("held_at", sa.Double(), nullable=True))


def downgrade() -> None:
    """Move back to the one before."""
    op.drop_column("tasks", "held_at")
    op.drop_column("jobs", "revision")
