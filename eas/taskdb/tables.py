"""The task database's tables.

Times are Unix times in seconds (UTC) in double precision: every engine keeps them exactly and
orders them, whatever its time zone. JSON is kept as text, parsed only where it is needed. All
names, states and reasons are plain strings, so a person with a SQL shell can read them.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.dialects.mysql import LONGTEXT, VARCHAR

from eas import column_sizes

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMING)

# sqlite numbers rows by itself only in an INTEGER primary key.
ID = BigInteger().with_variant(Integer, "sqlite")
# MySQL's TEXT ends at 64 KB: tracebacks and chains may be longer.
LONG = Text().with_variant(LONGTEXT(), "mysql", "mariadb")
TIME: Double[float] = Double()


def name_type(length: int) -> String:
    """Return a string type that compares byte by byte: file names differ by case."""
    return String(length).with_variant(VARCHAR(length, collation="utf8mb4_bin"), "mysql", "mariadb")


STATE = String(12)

id_blocks = Table(
    "id_blocks",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("next_id", BigInteger, nullable=False),
)
"""The next free id of tables whose ids are reserved in blocks, so that bulk inserts know their ids."""

worker_types = Table(
    "worker_types",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("cpu", Double(), nullable=False),
    Column("gpu", Integer, nullable=False),
    Column("memory", Double(), nullable=False),
    Column("assigned_cpu", Double()),
    Column("assigned_gpu", Integer),
    Column("assigned_memory", Double()),
)
"""Worker types: resources requested by the registry and assigned by a deployment; memory [GB]."""

task_types = Table(
    "task_types",
    metadata,
    Column("name", String(column_sizes.TASK_TYPE), primary_key=True),
    Column("worker_type", ForeignKey("worker_types.name")),
    Column("control", Boolean, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=False),
    Column("name", name_type(column_sizes.NAME), nullable=False),
    Column("working_directory", name_type(column_sizes.PRODUCT), nullable=False),
    Column("state", STATE, nullable=False),
    Column("chain", LONG, nullable=False),
    Column("source", String(500), nullable=False),
    Column("seed", String(column_sizes.SEED), nullable=False),
    Column("if_exists", String(10), nullable=False),
    Column("retries", Integer, nullable=False),
    Column("backoff", Double(), nullable=False),
    Column("max_stalls", Integer, nullable=False, server_default="5"),
    Column("priority", Integer, nullable=False),
    Column("submitted_at", TIME, nullable=False),
    Column("started_at", TIME),
    Column("ended_at", TIME),
    Column("cancel_requested_at", TIME),
    # The lease of the orchestrator that drives the job.
    Column("driver", String(80)),
    Column("driver_seen_at", TIME),
    # Incremented by every other process that changes the job's tasks; its orchestrator then loads the job again.
    Column("revision", Integer, nullable=False, server_default="0"),
    Index(None, "state"),
    Index(None, "name"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=False),
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("parent_id", ForeignKey("tasks.id", ondelete="CASCADE")),
    Column("ordinal", Integer, nullable=False),
    Column("address", String(column_sizes.ADDRESS), nullable=False),
    Column("path", Text, nullable=False),
    Column("task_type", name_type(column_sizes.TASK_TYPE)),
    Column("name", name_type(column_sizes.NAME)),
    Column("job_name", name_type(column_sizes.NAME), nullable=False),
    Column("working_directory", name_type(column_sizes.PRODUCT), nullable=False),
    Column("state", STATE, nullable=False),
    Column("metadata", LONG, nullable=False),
    Column("settings", LONG, nullable=False),
    Column("requires", Text, nullable=False),
    Column("pending", Boolean, nullable=False),
    Column("retries_left", Integer, nullable=False),
    Column("stalls_left", Integer, nullable=False),
    # SHA-256 of all that determines its products; NULL for a task without products.
    Column("fingerprint", String(64)),
    # The attempt whose products and metadata are used; of another job if they were reused.
    Column("accepted_attempt_id", BigInteger),
    Column("reason", LONG),
    Column("created_at", TIME, nullable=False),
    Column("ended_at", TIME),
    # When an operator withdrew this waiting task from the queue.
    Column("held_at", TIME),
    UniqueConstraint("parent_id", "ordinal"),
    Index("ix_tasks_progress", "job_id", "task_type", "state"),
    Index("ix_tasks_fingerprint", "fingerprint"),
)

products = Table(
    "products",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=False),
    Column("working_directory", name_type(column_sizes.PRODUCT), nullable=False),
    Column("name", name_type(column_sizes.PRODUCT), nullable=False),
    # SHA-256 of both: MySQL cannot index 1,000 characters of utf8mb4.
    Column("key", String(64), nullable=False, unique=True),
    Column("current_version_id", BigInteger),
    # The task that has claimed to make it, see ``product_claims``.
    Column("maker_task_id", BigInteger),
)
"""File products; ``current_version_id`` is the newest version that passed QC."""

task_products = Table(
    "task_products",
    metadata,
    Column("task_id", ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("direction", String(3), primary_key=True),
    Column("semantic", name_type(column_sizes.SEMANTIC), primary_key=True),
    Column("product_id", ForeignKey("products.id"), nullable=False),
    # An output that the chain does not name: an attempt registered it while it ran.
    Column("dynamic", Boolean, nullable=False, server_default=false()),
    Index("ix_task_products_product", "product_id", "direction", "task_id"),
)
"""Which task reads (``in``) or makes (``out``) which file product, under which semantic name."""

product_versions = Table(
    "product_versions",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=False),
    Column("product_id", ForeignKey("products.id"), nullable=False),
    Column("attempt_id", BigInteger, nullable=False),
    Column("semantic", name_type(column_sizes.SEMANTIC), nullable=False),
    Column("store_path", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("passed_qc", Boolean, nullable=False),
    Column("created_at", TIME, nullable=False),
    Index(None, "product_id"),
    Index(None, "attempt_id"),
)

hosts = Table(
    "hosts",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", name_type(255), nullable=False, unique=True),
    Column("cpus", Integer),
    Column("memory", Double()),
)

workers = Table(
    "workers",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("host_id", ForeignKey("hosts.id"), nullable=False),
    # Identity of its process, so that other processes of the machine can check whether it is alive.
    Column("machine", String(160), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_started", Double(), nullable=False),
    Column("worker_types", Text, nullable=False),
    Column("cpus", Integer, nullable=False),
    Column("state", STATE, nullable=False),
    Column("started_at", TIME, nullable=False),
    Column("heartbeat_at", TIME, nullable=False),
    Column("ended_at", TIME),
    Column("reason", Text),
    Index(None, "state", "heartbeat_at"),
)
"""Workers, each with its own id: *alive*, *left* (exited normally) or *lost*."""

attempts = Table(
    "attempts",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=False),
    Column("task_id", ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("job_id", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),
    Column("task_type", name_type(column_sizes.TASK_TYPE), nullable=False),
    Column("state", STATE, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("available_at", TIME, nullable=False),
    Column("queued_at", TIME, nullable=False),
    Column("worker_id", String(40)),
    Column("claimed_at", TIME),
    Column("heartbeat_at", TIME),
    Column("ended_at", TIME),
    # The job id until the job's orchestrator has processed this ended attempt, then NULL.
    Column("unseen_by", BigInteger),
    UniqueConstraint("task_id", "number"),
    # The claim reads this index only, in order.
    Index("ix_attempts_queue", "state", "task_type", "priority", "id", "available_at"),
    Index("ix_attempts_worker", "worker_id", "state"),
    Index("ix_attempts_unseen", "unseen_by"),
    Index("ix_attempts_job", "job_id", "state"),
)
"""Scheduling attempts. ``priority``: lower runs earlier (it is the negated user's priority)."""

attempt_results = Table(
    "attempt_results",
    metadata,
    Column("attempt_id", ForeignKey("attempts.id", ondelete="CASCADE"), primary_key=True),
    Column("started_at", TIME, nullable=False),
    Column("ended_at", TIME, nullable=False),
    Column("wall", Double(), nullable=False),
    Column("cpu", Double(), nullable=False),
    Column("cpu_children", Double(), nullable=False),
    Column("peak_memory", Double(), nullable=False),
    Column("qc_passed", Boolean),
    Column("checks", LONG, nullable=False),
    Column("output_metadata", LONG, nullable=False),
    Column("reason", LONG, nullable=False),
)
"""How an attempt ended: a table of its own, so that results go in by one bulk insert while the
guarded update of ``attempts`` stays one statement for any number of rows. Times in Unix seconds,
``wall``, ``cpu`` and ``cpu_children`` (children included) in seconds, ``peak_memory`` in MB;
``qc_passed`` is NULL where QC never ran."""

attempt_inputs = Table(
    "attempt_inputs",
    metadata,
    Column("attempt_id", ForeignKey("attempts.id", ondelete="CASCADE"), primary_key=True),
    Column("semantic", name_type(column_sizes.SEMANTIC), primary_key=True),
    Column("version_id", ForeignKey("product_versions.id"), nullable=False),
)
"""Which version of each input an attempt read."""

log_entries = Table(
    "log_entries",
    metadata,
    Column("id", ID, primary_key=True),
    Column("attempt_id", BigInteger, nullable=False),
    Column("job_id", BigInteger, nullable=False),
    Column("logged_at", TIME, nullable=False),
    Column("level", Integer, nullable=False),
    Column("logger", name_type(255), nullable=False),
    Column("message", LONG, nullable=False),
    Column("traceback", LONG),
    Index(None, "attempt_id"),
    Index("ix_log_entries_errors", "job_id", "level"),
    # Warnings and errors of all jobs, the newest first.
    Index("ix_log_entries_level", "level"),
)

queue_settings = Table(
    "queue_settings",
    metadata,
    Column("task_type", name_type(column_sizes.TASK_TYPE), primary_key=True),
    Column("paused_at", TIME),
)
"""Task types whose queue an operator paused."""

commits = Table(
    "commits",
    metadata,
    Column("token", String(32), primary_key=True),
    Column("committed_at", TIME, nullable=False),
    Index(None, "committed_at"),
)
"""Tokens of recent transactions: a process that lost its connection checks here whether its commit succeeded."""

periodic_locks = Table(
    "periodic_locks",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("done_at", TIME, nullable=False),
)
"""When periodic work was last started by any process, so that only one process runs it."""
