"""Stalls allowed for each job, the task that makes each product, and outputs that the chain does not name."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

OVER = ("done", "failed", "stalled", "blocked", "cancelled")


def upgrade() -> None:
    """Move to this revision."""
    op.add_column("jobs", sa.Column("max_stalls", sa.Integer(), nullable=False, server_default="5"))
    op.add_column("products", sa.Column("maker_task_id", sa.BigInteger(), nullable=True))
    op.add_column("task_products", sa.Column("dynamic", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.rename_table("duties", "periodic_locks")
    connection = op.get_bind()
    jobs = sa.table("jobs", sa.column("id"), sa.column("max_stalls"))
    tasks = sa.table("tasks", *map(sa.column, ("id", "job_id", "parent_id", "state", "stalls_left")))
    products = sa.table("products", sa.column("id"), sa.column("maker_task_id"))
    links = sa.table("task_products", *map(sa.column, ("task_id", "direction", "semantic", "product_id", "dynamic")))
    # The root task never runs: it still has the stalls that the job was submitted with.
    stalls = sa.select(sa.func.max(tasks.c.stalls_left)).where(tasks.c.job_id == jobs.c.id, tasks.c.parent_id.is_(None))
    connection.execute(sa.update(jobs).values(max_stalls=sa.func.coalesce(stalls.scalar_subquery(), 5)))
    maker = (
        sa.select(sa.func.min(tasks.c.id))
        .join(links, sa.and_(links.c.task_id == tasks.c.id, links.c.direction == "out"))
        .where(links.c.product_id == products.c.id, tasks.c.state.not_in(OVER))
    )
    connection.execute(sa.update(products).values(maker_task_id=maker.scalar_subquery()))
    # Until now such an output was recognised by its name alone.
    named = sa.literal("file_", sa.String(10)) + sa.cast(links.c.product_id, sa.String(20))
    unnamed = sa.update(links).where(links.c.direction == "out", links.c.semantic == named)
    connection.execute(unnamed.values(dynamic=sa.true()))


def downgrade() -> None:
    """Move back to the one before."""
    op.rename_table("periodic_locks", "duties")
    op.drop_column("task_products", "dynamic")
    op.drop_column("products", "maker_task_id")
    op.drop_column("jobs", "max_stalls")
