"""The job queue with RabbitMQ: a durable queue for each task type, with messages that wake workers.

A message holds the id of the attempt that it was published for, and represents *one more queued
attempt of this type*: its receiver claims the first attempt of the type in the task database, by priority, then
age. So the number of messages must equal that of due attempts, whichever their ids. Surplus messages find no
attempt and are dropped; ``republish_lost`` replaces lost ones.

Attempts that are not due yet are published when they become due, by the process that queued them, or by the
maintenance pass of another process if that one has ended.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence

from eas.errors import ServiceError
from eas.model import ClaimedAttempt, QueuedAttempt
from eas.queues.base import AttemptStore, JobQueue
from eas.queues.broker import Broker, BrokerDisconnectedError
from eas.queues.delayed import DelayedMessages

LOG = logging.getLogger("eas.queues")

PREFIX = "eas."
PUBLISH_CHUNK = 5_000
BROKER_TIMEOUT = 10.0
"""Maximum time [s] to wait for a restarting broker before falling back to the task database."""
POLL_INTERVAL = 0.1
"""Interval [s] at which the task database is polled while the broker is unreachable."""
SINGLE_LINGER, SERIES_LINGER = 0.05, 0.5
"""Time [s] for which delivered messages are kept for the next claim: of single tasks, and of series of short tasks."""
MAX_REPUBLISHED = 20_000
MAX_CHECKED = 500
"""Maximum numbers of messages that one pass republishes, or checks for being obsolete, per task type."""


class RabbitMQQueue(JobQueue):
    """Workers wait for messages and claim in the task database, which they poll while the broker is unreachable."""

    def __init__(self, url: str, store: AttemptStore, *, prefix: str = PREFIX) -> None:
        self.store = store
        self.prefix = prefix
        self.broker = Broker(url)
        self._delayed = DelayedMessages()
        self._lock = threading.Condition()
        self._delay_thread: threading.Thread | None = None
        self._closing = False
        self._claiming = 0
        self._claim_number = 0
        self._types: frozenset[str] = frozenset()
        self._declared_types: frozenset[str] = frozenset()
        self._prefetch = 1

    # -- publishing ----------------------------------------------------------------------------

    def publish(self, messages: Sequence[QueuedAttempt]) -> None:
        """Publish with confirmations; if the broker is unreachable, the next maintenance pass publishes."""
        if not messages:
            return
        with self._lock:
            self._declared_types |= {message.task_type for message in messages}
        now = self.store.now()
        due = [message for message in messages if message.available_at <= now]
        self._delay([message for message in messages if message.available_at > now])
        try:
            self._send(due)
        except BrokerDisconnectedError as error:
            LOG.warning("RabbitMQ is unreachable (%s): %d messages wait for the next maintenance pass", error, len(due))

    def _send(self, messages: Sequence[QueuedAttempt]) -> None:
        for start in range(0, len(messages), PUBLISH_CHUNK):
            part = [(self._queue(each.task_type), b"%d" % each.attempt_id) for each in messages[start:][:PUBLISH_CHUNK]]
            # Messages to a queue that was deleted meanwhile are returned: declare it again and retry once.
            lost = self.broker.publish(part, BROKER_TIMEOUT)
            if lost and self.broker.publish(lost, BROKER_TIMEOUT):
                raise ServiceError(
                    f"RabbitMQ at {self.broker.safe_url} does not take messages for {lost[0][0]}",
                    hint="check policies and limits of that queue; `eas queue init` declares it",
                )

    def _delay(self, messages: Iterable[QueuedAttempt]) -> None:
        with self._lock:
            for message in messages:
                self._delayed.add(message)
            if len(self._delayed) and self._delay_thread is None and not self._closing:
                self._delay_thread = threading.Thread(
                    target=self._publish_delayed, name="rabbitmq-delayed", daemon=True
                )
                self._delay_thread.start()
            self._lock.notify_all()

    def _publish_delayed(self) -> None:
        """Publish messages when they become due, in a separate thread, because a worker may be busy for hours."""
        while not self._closing:
            try:
                now = self.store.now()
                with self._lock:
                    due = self._delayed.take_due(now)
                    if not due:
                        next_due = self._delayed.next_due()
                        self._lock.wait(None if next_due is None else min(max(next_due - now, 0.001), 60.0))
                        continue
                self._send(due)
            except Exception as error:  # this thread must not end; the next maintenance pass publishes
                LOG.warning("delayed messages wait for the next maintenance pass: %s", error)
                time.sleep(1.0)

    # -- claiming ------------------------------------------------------------------------------

    def claim(self, worker_id: str, task_types: Sequence[str], limit: int, timeout: float) -> list[ClaimedAttempt]:
        """Claim the next attempts; see the base class."""
        deadline = time.monotonic() + timeout
        self._begin(task_types, limit)
        try:
            while True:
                try:
                    self.broker.session(0.0 if self.broker.was_connected else BROKER_TIMEOUT)
                except BrokerDisconnectedError:
                    claimed = self._claim_by_polling(worker_id, task_types, limit, deadline)
                    if claimed or deadline <= time.monotonic():
                        return claimed
                    continue
                self._listen()
                found = self.broker.wait(map(self._queue, task_types), deadline - time.monotonic())
                claimed = self._claim_by_messages(found, worker_id, limit) if found else []
                woken = not found and self.broker.connected  # else the connection was lost: poll the task database
                if claimed or woken or deadline <= time.monotonic():
                    return claimed
        finally:
            self._end()

    def _claim_by_messages(self, queues: Sequence[str], worker_id: str, limit: int) -> list[ClaimedAttempt]:
        """Claim the best attempts of one task type, by its messages, and then acknowledge these."""
        task_types = [queue.removeprefix(self.prefix) for queue in queues]
        task_type = self.store.next_task_type(task_types) if len(task_types) > 1 else task_types[0]
        tokens = self.broker.take(self._queue(task_type or task_types[0]), limit)
        if not tokens:
            return []  # another thread was quicker
        try:
            claimed = self.store.claim_next(worker_id, [task_type], len(tokens)) if task_type else []
        except BaseException:
            self.broker.settle(tokens, requeue=True)
            raise
        # Acknowledge all: messages without a queued attempt are obsolete.
        self.broker.settle(tokens)
        return claimed

    def _claim_by_polling(
        self, worker_id: str, task_types: Sequence[str], limit: int, deadline: float
    ) -> list[ClaimedAttempt]:
        """Claim by polling the database while the broker is unreachable; return [] if the broker returns first."""
        while True:
            claimed = self.store.claim_next(worker_id, task_types, limit)
            left = deadline - time.monotonic()
            if claimed or left <= 0:
                return claimed
            time.sleep(min(POLL_INTERVAL, left))
            if self.broker.connected:
                return []

    def _begin(self, task_types: Sequence[str], limit: int) -> None:
        """Request deliveries for these types and set the prefetch count.

        A limit of 1 means that the worker looks for work. A higher limit belongs to a series of short tasks, of which
        the next part is delivered while the current one runs.
        """
        prefetch = limit if limit == 1 else 2 * limit
        with self._lock:
            self._claiming += 1
            self._claim_number += 1
            self._types |= frozenset(task_types)
            self._declared_types |= self._types
            # Each change is a round trip to the broker, so small changes of the limit keep the prefetch count.
            if prefetch > self._prefetch or 1 < prefetch < self._prefetch // 4:
                self._prefetch = prefetch

    def _listen(self) -> None:
        with self._lock:
            queues, prefetch = frozenset(map(self._queue, self._types)), self._prefetch
        self.broker.listen(queues, prefetch)

    def _end(self) -> None:
        """Return surplus messages to the broker, unless another claim follows soon."""
        with self._lock:
            self._claiming -= 1
            serial, linger = self._claim_number, SINGLE_LINGER if self._prefetch == 1 else SERIES_LINGER
        self.broker.call_later(linger, lambda: self._stop_consuming_if_idle(serial))

    def _stop_consuming_if_idle(self, serial: int) -> None:
        with self._lock:
            if self._claiming or self._claim_number != serial:
                return
            self._types, self._prefetch = frozenset(), 1
        self.broker.stop_consuming()

    # -- maintenance ---------------------------------------------------------------------------

    def republish_lost(self) -> int:
        """Publish missing messages of queued attempts; drop messages of attempts that are not queued."""
        try:
            return self._republish_lost()
        except BrokerDisconnectedError as error:
            LOG.warning("lost messages are not republished: RabbitMQ is unreachable (%s)", error)
            return 0

    def _republish_lost(self) -> int:
        due, depths = self.store.due(), self.store.depths()
        held = self.message_counts({*depths, *due, *self._declared_types})
        self._prune({each: count - depths.get(each, 0) for each, count in held.items()})
        missing = {each: min(count - held[each], MAX_REPUBLISHED) for each, count in due.items() if count > held[each]}
        if not missing:
            return 0
        now = self.store.now()
        lost: list[QueuedAttempt] = []
        for message in self.store.queued():
            if missing.get(message.task_type, 0) > 0 and message.available_at <= now:
                missing[message.task_type] -= 1
                lost.append(message)
        self._send(lost)
        return len(lost)

    def _prune(self, surplus: Mapping[str, int]) -> None:
        """Drop obsolete messages of queues that have more messages than queued attempts."""
        for task_type, count in surplus.items():
            if count <= 0:
                continue
            tokens = self.broker.get(self._queue(task_type), min(count, MAX_CHECKED), BROKER_TIMEOUT)
            known = self.store.still_queued([int(token.body) for token in tokens])
            self.broker.settle([token for token in tokens if int(token.body) not in known])
            self.broker.settle([token for token in tokens if int(token.body) in known], requeue=True)

    def purge(self, task_types: Sequence[str]) -> None:
        """Empty the broker's queues of these types, and publish messages for attempts that are still queued."""
        try:
            self.broker.purge([self._queue(each) for each in task_types], BROKER_TIMEOUT)
            # If the process dies between these two lines, the next maintenance pass of any worker publishes.
            self._republish_lost()
        except (BrokerDisconnectedError, ServiceError) as error:
            LOG.warning("obsolete messages remain: RabbitMQ is unreachable (%s)", error)

    def message_counts(self, task_types: Iterable[str]) -> dict[str, int]:
        """Return how many messages the broker has for each task type, delivered ones not counted."""
        counts = self.broker.count([self._queue(each) for each in sorted(task_types)], BROKER_TIMEOUT)
        return {queue.removeprefix(self.prefix): count for queue, count in counts.items()}

    def declare(self, task_types: Iterable[str]) -> int:
        """Declare a queue for each task type; see the base class."""
        queues = [self._queue(each) for each in sorted(task_types)]
        try:
            self.broker.declare(queues, BROKER_TIMEOUT)
        except BrokerDisconnectedError as error:
            raise ServiceError(
                f"RabbitMQ at {self.broker.safe_url} does not declare the queues: {error}",
                hint="check that its user may configure, write and read queues",
            ) from error
        return len(queues)

    def wake(self) -> None:
        """End the wait of a ``claim``."""
        self.broker.wake()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        self.broker.close()

    def _queue(self, task_type: str) -> str:
        return f"{self.prefix}{task_type}"
