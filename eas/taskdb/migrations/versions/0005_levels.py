"""The index by which warnings and errors of all jobs are found."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Move to this revision."""
    op.create_index("ix_log_entries_level", "log_entries", ["level"])


def downgrade() -> None:
    """Move back to the one before."""
    op.drop_index("ix_log_entries_level", "log_entries")
