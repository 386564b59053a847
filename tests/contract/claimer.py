"""A process that claims until nothing is left, and prints what it got."""

from __future__ import annotations

import sys

from eas.queues.base import JobQueue
from eas.queues.rabbitmq import RabbitMQQueue
from eas.queues.sql import SQLQueue
from eas.taskdb.attempt_claims import AttemptClaims
from eas.taskdb.engine import TaskDatabase


def main(database_url: str, queue_url: str, prefix: str, worker: str) -> None:
    database = TaskDatabase(database_url)
    store = AttemptClaims(database)
    queue: JobQueue = SQLQueue(store)
    if queue_url.startswith("amqp"):
        queue = RabbitMQQueue(queue_url, store, prefix=prefix)
    empty = 0
    while empty < 3:
        taken = queue.claim(worker, ["null", "error", "verify"], 5, 0.5)
        empty = 0 if taken else empty + 1
        print(*(each.attempt_id for each in taken))
    queue.close()
    database.close()


main(*sys.argv[1:])
