"""The block ``EASJobQueue``: the job queue."""

from __future__ import annotations

from typing import Literal, Self

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from blocks.urls import DOCUMENTATION, LOGOS, join, split
from eas.queues.base import JobQueue
from eas.queues.opening import SQL, open_queue, queue_kind
from eas.taskdb.attempt_claims import AttemptClaims
from eas.taskdb.engine import TaskDatabase


class EASJobQueue(Block):
    """The job queue of EAS: the task database alone, or RabbitMQ.

    Examples:
        Show how many attempts are queued:
        ```python
        from blocks import EASJobQueue, EASDatabase

        queue = EASJobQueue.load("BLOCK_NAME")
        database = EASDatabase.load("BLOCK_NAME").get_database()
        print(queue.get_queue(database).depths())
        ```
    """

    _block_type_name = "EAS Job Queue"
    _block_type_slug = "eas-job-queue"
    _documentation_url = DOCUMENTATION  # type: ignore[assignment]
    _logo_url = f"{LOGOS}/webhook.png"  # type: ignore[assignment]

    implementation: Literal["sql", "amqp", "amqps"] = Field(
        default="sql", description="The task database alone (sql), or RabbitMQ (amqp; amqps with TLS)."
    )
    host: str | None = Field(default=None, description="RabbitMQ: the broker's host.")
    port: int | None = Field(default=None, ge=1, le=65535, description="RabbitMQ: the broker's port.")
    username: str | None = Field(default=None, description="RabbitMQ: the user.")
    password: SecretStr | None = Field(default=None, description="RabbitMQ: the user's password.")
    virtual_host: str = Field(default="/", description="RabbitMQ: the virtual host.")

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Return the block of a queue's URL, ``sql:`` or ``amqp://...``. Raises SettingsError."""
        kind = queue_kind(url)
        if kind == SQL:
            return cls()
        parts = split(url, "job queue")
        return cls(
            implementation="amqp" if kind == "amqp" else "amqps",
            host=parts.host,
            port=parts.port,
            username=parts.username,
            password=SecretStr(str(parts.password)) if parts.password is not None else None,
            virtual_host=(parts.database or "/").replace("%2F", "/").replace("%2f", "/"),
        )

    def get_url(self) -> SecretStr:
        """Return the URL in the format of the setting ``EAS_QUEUE_URL``, password included."""
        if self.implementation == "sql":
            return SecretStr("sql:")
        path = self.virtual_host.replace("/", "%2F")
        url = join(
            self.implementation,
            self.password,
            host=self.host or "localhost",
            port=self.port,
            username=self.username,
        )
        return SecretStr(f"{url.get_secret_value().rstrip('/')}/{path}")

    def get_queue(self, database: TaskDatabase) -> JobQueue:
        """Return the job queue over a task database; close it after use."""
        return open_queue(self.get_url().get_secret_value(), AttemptClaims(database))
