"""First schema."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Whatever the server's default: every character, compared byte by byte.
MYSQL = {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_bin"}
OPTIONS: dict[str, Any] = {
    f"{dialect}_{key}": value for dialect in ("mysql", "mariadb") for key, value in MYSQL.items()
}


def _create_table(name: str, *columns: sa.schema.SchemaItem) -> None:
    op.create_table(name, *columns, **OPTIONS)


def upgrade() -> None:
    """Move to this revision."""
    _create_table(
        "hosts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "name",
            sa.String(length=255)
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=255), "mariadb")
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=255), "mysql"),
            nullable=False,
        ),
        sa.Column("cpus", sa.Integer(), nullable=True),
        sa.Column("memory", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hosts")),
        sa.UniqueConstraint("name", name=op.f("uq_hosts_name")),
    )
    _create_table(
        "id_blocks",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("next_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_id_blocks")),
    )
    _create_table(
        "jobs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column(
            "name",
            sa.String(length=255)
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=255), "mariadb")
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=255), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "working_directory",
            sa.String(length=500)
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=500), "mariadb")
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=500), "mysql"),
            nullable=False,
        ),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column(
            "chain",
            sa.Text().with_variant(mysql.LONGTEXT(), "mariadb").with_variant(mysql.LONGTEXT(), "mysql"),
            nullable=False,
        ),
        sa.Column("source", sa.String(length=500), nullable=False),
        sa.Column("seed", sa.String(length=80), nullable=False),
        sa.Column("if_exists", sa.String(length=10), nullable=False),
        sa.Column("retries", sa.Integer(), nullable=False),
        sa.Column("backoff", sa.Double(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("submitted_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("cancel_requested_at", sa.Double(), nullable=True),
        sa.Column("driver", sa.String(length=80), nullable=True),
        sa.Column("driver_seen_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(op.f("ix_jobs_name"), "jobs", ["name"], unique=False)
    op.create_index(op.f("ix_jobs_state"), "jobs", ["state"], unique=False)
    _create_table(
        "log_entries",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("attempt_id", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("logged_at", sa.Double(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column(
            "logger",
            sa.String(length=255)
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=255), "mariadb")
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=255), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "message",
            sa.Text().with_variant(mysql.LONGTEXT(), "mariadb").with_variant(mysql.LONGTEXT(), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "traceback",
            sa.Text().with_variant(mysql.LONGTEXT(), "mariadb").with_variant(mysql.LONGTEXT(), "mysql"),
            nullable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_entries")),
    )
    op.create_index(op.f("ix_log_entries_attempt_id"), "log_entries", ["attempt_id"], unique=False)
    op.create_index("ix_log_entries_errors", "log_entries", ["job_id", "level"], unique=False)
    _create_table(
        "products",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column(
            "working_directory",
            sa.String(length=500)
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=500), "mariadb")
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=500), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "name",
            sa.String(length=500)
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=500), "mariadb")
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=500), "mysql"),
            nullable=False,
        ),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("current_version_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_products")),
        sa.UniqueConstraint("key", name=op.f("uq_products_key")),
    )
    _create_table(
        "queue_settings",
        sa.Column(
            "task_type",
            sa.String(length=80)
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=80), "mariadb")
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=80), "mysql"),
            nullable=False,
        ),
        sa.Column("paused_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("task_type", name=op.f("pk_queue_settings")),
    )
    _create_table(
        "worker_types",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("cpu", sa.Double(), nullable=False),
        sa.Column("gpu", sa.Integer(), nullable=False),
        sa.Column("memory", sa.Double(), nullable=False),
        sa.Column("assigned_cpu", sa.Double(), nullable=True),
        sa.Column("assigned_gpu", sa.Integer(), nullable=True),
        sa.Column("assigned_memory", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_worker_types")),
    )
    _create_table(
        "product_versions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("product_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("attempt_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "semantic",
            sa.String(length=80)
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=80), "mariadb")
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=80), "mysql"),
            nullable=False,
        ),
        sa.Column("store_path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("passed_qc", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_product_versions_product_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_product_versions")),
    )
    op.create_index(op.f("ix_product_versions_attempt_id"), "product_versions", ["attempt_id"], unique=False)
    op.create_index(op.f("ix_product_versions_product_id"), "product_versions", ["product_id"], unique=False)
    _create_table(
        "task_types",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("worker_type", sa.String(length=80), nullable=True),
        sa.Column("control", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["worker_type"], ["worker_types.name"], name=op.f("fk_task_types_worker_type")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_task_types")),
    )
    _create_table(
        "tasks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("job_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("parent_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("address", sa.String(length=255), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column(
            "task_type",
            sa.String(length=80)
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=80), "mariadb")
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=80), "mysql"),
            nullable=True,
        ),
        sa.Column(
            "name",
            sa.String(length=255)
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=255), "mariadb")
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=255), "mysql"),
            nullable=True,
        ),
        sa.Column(
            "job_name",
            sa.String(length=255)
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=255), "mariadb")
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=255), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "working_directory",
            sa.String(length=500)
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=500), "mariadb")
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=500), "mysql"),
            nullable=False,
        ),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column(
            "metadata",
            sa.Text().with_variant(mysql.LONGTEXT(), "mariadb").with_variant(mysql.LONGTEXT(), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "settings",
            sa.Text().with_variant(mysql.LONGTEXT(), "mariadb").with_variant(mysql.LONGTEXT(), "mysql"),
            nullable=False,
        ),
        sa.Column("requires", sa.Text(), nullable=False),
        sa.Column("pending", sa.Boolean(), nullable=False),
        sa.Column("retries_left", sa.Integer(), nullable=False),
        sa.Column("stalls_left", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=True),
        sa.Column("accepted_attempt_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "reason",
            sa.Text().with_variant(mysql.LONGTEXT(), "mariadb").with_variant(mysql.LONGTEXT(), "mysql"),
            nullable=True,
        ),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_tasks_job_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["parent_id"], ["tasks.id"], name=op.f("fk_tasks_parent_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("parent_id", "ordinal", name=op.f("uq_tasks_parent_id_ordinal")),
    )
    op.create_index("ix_tasks_fingerprint", "tasks", ["fingerprint"], unique=False)
    op.create_index("ix_tasks_progress", "tasks", ["job_id", "task_type", "state"], unique=False)
    _create_table(
        "workers",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("host_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("machine", sa.String(length=160), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("process_started", sa.Double(), nullable=False),
        sa.Column("worker_types", sa.Text(), nullable=False),
        sa.Column("cpus", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("heartbeat_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_workers_host_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_index(op.f("ix_workers_state_heartbeat_at"), "workers", ["state", "heartbeat_at"], unique=False)
    _create_table(
        "attempts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("task_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column(
            "task_type",
            sa.String(length=80)
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=80), "mariadb")
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=80), "mysql"),
            nullable=False,
        ),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("available_at", sa.Double(), nullable=False),
        sa.Column("queued_at", sa.Double(), nullable=False),
        sa.Column("worker_id", sa.String(length=40), nullable=True),
        sa.Column("claimed_at", sa.Double(), nullable=True),
        sa.Column("heartbeat_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("unseen_by", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_attempts_task_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("task_id", "number", name=op.f("uq_attempts_task_id_number")),
    )
    op.create_index("ix_attempts_job", "attempts", ["job_id", "state"], unique=False)
    op.create_index(
        "ix_attempts_queue", "attempts", ["state", "task_type", "priority", "id", "available_at"], unique=False
    )
    op.create_index("ix_attempts_unseen", "attempts", ["unseen_by"], unique=False)
    op.create_index("ix_attempts_worker", "attempts", ["worker_id", "state"], unique=False)
    _create_table(
        "task_products",
        sa.Column("task_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("direction", sa.String(length=3), nullable=False),
        sa.Column(
            "semantic",
            sa.String(length=80)
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=80), "mariadb")
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=80), "mysql"),
            nullable=False,
        ),
        sa.Column("product_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_task_products_product_id")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_task_products_task_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("task_id", "direction", "semantic", name=op.f("pk_task_products")),
    )
    op.create_index("ix_task_products_product", "task_products", ["product_id", "direction", "task_id"], unique=False)
    _create_table(
        "attempt_inputs",
        sa.Column("attempt_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "semantic",
            sa.String(length=80)
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=80), "mariadb")
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=80), "mysql"),
            nullable=False,
        ),
        sa.Column("version_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempts.id"], name=op.f("fk_attempt_inputs_attempt_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["version_id"], ["product_versions.id"], name=op.f("fk_attempt_inputs_version_id")),
        sa.PrimaryKeyConstraint("attempt_id", "semantic", name=op.f("pk_attempt_inputs")),
    )
    _create_table(
        "attempt_results",
        sa.Column("attempt_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=False),
        sa.Column("wall", sa.Double(), nullable=False),
        sa.Column("cpu", sa.Double(), nullable=False),
        sa.Column("cpu_children", sa.Double(), nullable=False),
        sa.Column("peak_memory", sa.Double(), nullable=False),
        sa.Column("qc_passed", sa.Boolean(), nullable=True),
        sa.Column(
            "checks",
            sa.Text().with_variant(mysql.LONGTEXT(), "mariadb").with_variant(mysql.LONGTEXT(), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "output_metadata",
            sa.Text().with_variant(mysql.LONGTEXT(), "mariadb").with_variant(mysql.LONGTEXT(), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "reason",
            sa.Text().with_variant(mysql.LONGTEXT(), "mariadb").with_variant(mysql.LONGTEXT(), "mysql"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempts.id"], name=op.f("fk_attempt_results_attempt_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_attempt_results")),
    )


def downgrade() -> None:
    """Move back to the one before."""
    op.drop_table("attempt_results")
    op.drop_table("attempt_inputs")
    op.drop_table("task_products")
    op.drop_table("attempts")
    op.drop_table("workers")
    op.drop_table("tasks")
    op.drop_table("task_types")
    op.drop_table("product_versions")
    op.drop_table("worker_types")
    op.drop_table("queue_settings")
    op.drop_table("products")
    op.drop_table("log_entries")
    op.drop_table("jobs")
    op.drop_table("id_blocks")
    op.drop_table("hosts")
