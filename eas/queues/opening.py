"""Opens the job queue of a URL; the only module that lists the kinds of queues."""

from __future__ import annotations

from eas.errors import SettingsError
from eas.queues.base import AttemptStore, JobQueue
from eas.queues.sql import SQLQueue

SQL = "sql"
RABBITMQ = ("amqp", "amqps")


def open_queue(url: str, store: AttemptStore) -> JobQueue:
    """Return the job queue that ``url`` names, not connected yet; close it after use.

    Raises SettingsError for a URL of an unknown kind.
    """
    if queue_kind(url) == SQL:
        return SQLQueue(store)
    from eas.queues.rabbitmq import RabbitMQQueue  # pika takes a tenth of a second to import

    return RabbitMQQueue(url, store)


def queue_kind(url: str) -> str:
    """Return the kind of a job queue's URL: *sql*, *amqp* or *amqps*. Raises SettingsError for others."""
    kind = url.partition(":")[0]
    if kind != SQL and kind not in RABBITMQ:
        # Only the kind is shown: the rest of the URL may hold a password.
        raise SettingsError(
            f"unknown kind of job queue {kind!r}", hint="choose sql: or amqp://user:password@host:5672/%2F"
        )
    return kind
