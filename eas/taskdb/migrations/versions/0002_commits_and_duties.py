"""Tables by which lost commits are found, and housekeeping is shared out."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MYSQL = {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_bin"}
OPTIONS: dict[str, Any] = {
    f"{dialect}_{key}": value for dialect in ("mysql", "mariadb") for key, value in MYSQL.items()
}


def upgrade() -> None:
    """Move to this revision."""
    op.create_table(
        "commits",
        sa.Column("token", sa.String(length=32), nullable=False),
        sa.Column("committed_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_commits")),
        **OPTIONS,
    )
    op.create_index(op.f("ix_commits_committed_at"), "commits", ["committed_at"], unique=False)
    op.create_table(
        "duties",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("done_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_duties")),
        **OPTIONS,
    )


def downgrade() -> None:
    """Move back to the one before."""
    op.drop_table("duties")
    op.drop_table("commits")
