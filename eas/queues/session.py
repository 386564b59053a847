"""One connection to RabbitMQ, from opening to closing. Everything runs in one thread, so it needs no locks.

Nothing blocks: each call sends frames, and callbacks handle the answers. A ``Future`` parameter receives the
result, or an error if the connection ends first.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import pika
import pika.exceptions
from pika.adapters.select_connection import SelectConnection
from pika.channel import Channel

QUORUM_SINCE = (3, 10)
UNLIMITED_SINCE = (4, 0)
NOT_FOUND, PRECONDITION_FAILED = 404, 406

Outgoing = tuple[str, bytes]
"""Queue and body of a message to publish."""


class Delivery(NamedTuple):
    """A message that was delivered and is not acknowledged yet."""

    session: Session
    delivery_tag: int
    queue: str
    body: bytes


@dataclass
class _Batch:
    """Messages that were published together; ``trouble`` holds the undelivered ones."""

    done: Future[list[Outgoing]]
    left: int
    trouble: list[Outgoing] = field(default_factory=list)


class Session:
    """Declares, publishes with confirms, and consumes; ``run`` serves it until the connection ends."""

    def __init__(
        self, parameters: pika.URLParameters, ready: Callable[[Session], None], deliver: Callable[[Delivery], None]
    ) -> None:
        self._ready = ready
        self._deliver = deliver
        self._declared: set[str] = set()
        self._consumers: dict[str, str] = {}
        self._wanted: frozenset[str] = frozenset()
        self._prefetch = 0
        self._consumer_number = 0
        self._tag = 0
        self._unsettled: set[int] = set()
        self._unconfirmed: dict[int, tuple[_Batch, Outgoing]] = {}
        self._open: set[Future[Any]] = set()
        self._on_get_empty: Callable[[], None] = lambda: None
        # Serialises calls with the end of the session: a closed event loop must not be called.
        self._call_lock = threading.Lock()
        self._closing = False
        self.ended = False
        self.error: BaseException | None = None
        self._connection = SelectConnection(
            parameters,
            on_open_callback=self._opened,
            on_open_error_callback=self._closed,
            on_close_callback=self._closed,
        )

    # -- life ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve the connection until it ends."""
        try:
            self._connection.ioloop.start()
        except Exception as error:  # a broken connection can raise anywhere in pika
            self._end(error)
            self._close_all()
        finally:
            self._end(self.error or ConnectionError("the connection ended"))
            with self._call_lock:
                self._connection.ioloop.close()

    def _close_all(self) -> None:
        """Close the connection after an exception in the event loop."""
        with contextlib.suppress(Exception):
            if not (self._connection.is_closing or self._connection.is_closed):
                self._connection.close()
            self._connection.ioloop.call_later(0.2, self._connection.ioloop.stop)
            self._connection.ioloop.start()

    def call(self, work: Callable[[], None]) -> None:
        """Run ``work`` in the session's thread. Thread-safe."""
        with self._call_lock:
            if not self.ended:
                self._connection.ioloop.add_callback_threadsafe(lambda: self._do(work))

    def _do(self, work: Callable[[], None]) -> None:
        try:
            if not self.ended:
                work()
        except pika.exceptions.AMQPError as error:
            # The broker closed a channel. A waiting caller is notified when the connection ends, which is now.
            self.error = self.error or error
            if self._connection.is_open:
                self._connection.close()

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Run ``work`` in the session's thread after ``seconds``."""
        self._connection.ioloop.call_later(seconds, lambda: self._do(work))

    def track(self, future: Future[Any]) -> None:
        """Make sure that a future gets an error if the connection ends. Thread-safe."""
        with self._call_lock:
            if not self.ended:
                self._open.add(future)
                future.add_done_callback(self._open.discard)
                return
        future.set_exception(ConnectionError("the connection ended"))

    def close(self) -> None:
        """Close the connection, also one that is being opened; ``run`` then returns."""
        self._closing = True
        if not (self._connection.is_closing or self._connection.is_closed):
            self._connection.close()

    def _opened(self, _: Any) -> None:
        if self._closing:
            self._connection.close()
        else:
            self._connection.channel(on_open_callback=self._out_opened)

    def _out_opened(self, channel: Channel) -> None:
        self._out = channel
        channel.add_on_close_callback(self._channel_lost)
        channel.add_on_return_callback(self._returned)
        channel.confirm_delivery(self._confirmed)
        self._connection.channel(on_open_callback=self._in_opened)

    def _in_opened(self, channel: Channel) -> None:
        self._in = channel
        channel.add_on_close_callback(self._channel_lost)
        channel.add_on_cancel_callback(self._cancelled)
        channel.add_callback(lambda _: self._on_get_empty(), [pika.spec.Basic.GetEmpty], one_shot=False)
        self._ready(self)

    def _channel_lost(self, _: Channel, reason: BaseException) -> None:
        """Close the connection: the fate of messages in flight on a channel that the broker closed is unknown."""
        if self.error is None:
            self.error = reason
        if self._connection.is_open:
            self._connection.close()

    def _closed(self, _: Any, reason: BaseException) -> None:
        self._end(self.error or reason)
        # Stop later, because pika closes its socket in callbacks that are still pending.
        self._connection.ioloop.call_later(0.02, self._connection.ioloop.stop)

    def _end(self, error: BaseException) -> None:
        with self._call_lock:
            if self.ended:
                return
            self.ended, self.error = True, error
            waiting = list(self._open)
        for future in waiting:
            if not future.done():
                future.set_exception(ConnectionError(str(error) or type(error).__name__))

    # -- queues --------------------------------------------------------------------------------

    @property
    def version(self) -> tuple[int, ...]:
        """The broker's version."""
        text = str((self._connection.server_properties or {}).get("version", "0"))
        return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())

    @property
    def arguments(self) -> dict[str, Any]:
        """How queues are declared: quorum queues survive a broker of a cluster."""
        if self.version < QUORUM_SINCE:
            return {}
        # Since RabbitMQ 4.0, a message is dropped after 20 returns by default.
        limit = {"x-delivery-limit": -1} if self.version >= UNLIMITED_SINCE else {}
        return {"x-queue-type": "quorum", **limit}

    def declare(self, queues: Iterable[str], then: Callable[[], None], done: Future[Any]) -> None:
        """Declare those queues that this session has not declared yet, then call ``then``."""
        missing = [queue for queue in queues if queue not in self._declared]
        if not missing:
            then()
            return
        queue = missing[0]

        def declared(_: int) -> None:
            self._declared.add(queue)
            self.declare(missing[1:], then, done)

        def failed(code: int, reason: str) -> None:
            if code == PRECONDITION_FAILED:
                declared(0)  # it exists with other arguments, perhaps set by an administrator
            else:
                done.set_exception(ConnectionError(reason))

        self._ask(queue, declared, failed, passive=False)

    def count(self, queues: Sequence[str], found: dict[str, int], done: Future[dict[str, int]]) -> None:
        """Count the waiting messages of each of ``queues``; a missing queue has none."""
        if not queues:
            done.set_result(found)
            return

        def counted(messages: int) -> None:
            found[queues[0]] = messages
            self.count(queues[1:], found, done)

        def failed(code: int, reason: str) -> None:
            if code == NOT_FOUND:
                self._declared.discard(queues[0])
                counted(0)
            else:
                done.set_exception(ConnectionError(reason))

        self._ask(queues[0], counted, failed, passive=True)

    def purge(self, queues: Sequence[str], done: Future[None]) -> None:
        """Drop the messages that wait in each of ``queues``."""

        def purge(left: Sequence[str]) -> None:
            if left:
                self._out.queue_purge(left[0], callback=lambda _: purge(left[1:]))
            else:
                done.set_result(None)

        # Declare first: purging a missing queue would close the channel.
        self.declare(queues, partial(purge, queues), done)

    def _ask(
        self, queue: str, then: Callable[[int], None], failed: Callable[[int, str], None], *, passive: bool
    ) -> None:
        """Declare one queue on a separate channel, because a refusal closes the channel."""
        answered = False

        def ok(frame: Any) -> None:
            nonlocal answered
            answered = True
            channel.close()
            then(frame.method.message_count)

        def closed(_: Channel, reason: BaseException) -> None:
            if not answered and not self.ended:
                failed(getattr(reason, "reply_code", 0), str(reason))

        def opened(opened_channel: Channel) -> None:
            opened_channel.add_on_close_callback(closed)
            arguments = None if passive else self.arguments
            opened_channel.queue_declare(queue, passive=passive, durable=True, arguments=arguments, callback=ok)

        channel = self._connection.channel(on_open_callback=opened)

    # -- publishing ----------------------------------------------------------------------------

    def publish(self, messages: Sequence[Outgoing], done: Future[list[Outgoing]]) -> None:
        """Publish persistent messages; when all are confirmed, ``done`` gets the undelivered ones."""
        self.declare(dict.fromkeys(queue for queue, _ in messages), partial(self._send, messages, done), done)

    def _send(self, messages: Sequence[Outgoing], done: Future[list[Outgoing]]) -> None:
        batch = _Batch(done, len(messages))
        for message in messages:
            self._tag += 1
            self._unconfirmed[self._tag] = (batch, message)
            properties = pika.BasicProperties(delivery_mode=2, message_id=str(self._tag))
            self._out.basic_publish("", message[0], message[1], properties, mandatory=True)

    def _returned(self, _: Channel, method: Any, properties: Any, __: bytes) -> None:
        """Record a message that no queue accepted; its confirmation follows."""
        batch, message = self._unconfirmed[int(properties.message_id)]
        batch.trouble.append(message)
        self._declared.discard(method.routing_key)

    def _confirmed(self, frame: Any) -> None:
        last: int = frame.method.delivery_tag
        tags = [last]
        if frame.method.multiple:
            tags = [tag for tag in self._unconfirmed if tag <= last]
        for tag in tags:
            batch, message = self._unconfirmed.pop(tag)
            if isinstance(frame.method, pika.spec.Basic.Nack):
                batch.trouble.append(message)
            batch.left -= 1
            if batch.left == 0 and not batch.done.done():
                batch.done.set_result(batch.trouble)

    # -- consuming -----------------------------------------------------------------------------

    def listen(self, queues: frozenset[str], prefetch: int) -> None:
        """Consume from these queues and no others, up to ``prefetch`` unacknowledged messages of each."""
        self._wanted = queues
        stay = queues if prefetch == self._prefetch else frozenset()
        for queue in self._consumers.keys() - stay:
            self._in.basic_cancel(self._consumers.pop(queue))
        if new := sorted(queues - self._consumers.keys()):
            failed: Future[Any] = Future()
            self.declare(new, partial(self._consume, new, prefetch), failed)

    def _consume(self, queues: Sequence[str], prefetch: int) -> None:
        """Start consuming from queues that are still wanted after they were declared."""
        if self._prefetch != prefetch:
            self._prefetch = prefetch
            self._in.basic_qos(prefetch_count=prefetch)
        for queue in self._wanted.intersection(queues) - self._consumers.keys():
            self._consumer_number += 1
            tag = f"{queue}/{self._consumer_number}"
            self._consumers[queue] = tag
            self._in.basic_consume(queue, partial(self._message, queue), consumer_tag=tag)

    def _message(self, queue: str, _: Channel, method: Any, __: Any, body: bytes) -> None:
        self._unsettled.add(method.delivery_tag)
        if queue not in self._consumers:  # it was delivered after the consumer was cancelled
            self._answer([method.delivery_tag], requeue=True)
        else:
            self._deliver(Delivery(self, method.delivery_tag, queue, body))

    def _cancelled(self, frame: Any) -> None:
        """The broker ended a consumer: its queue was deleted."""
        queue = str(frame.method.consumer_tag).rpartition("/")[0]
        self._consumers.pop(queue, None)
        self._declared.discard(queue)

    def settle(self, tokens: Iterable[Delivery], *, requeue: bool = False) -> None:
        """Acknowledge or requeue messages."""
        if self._in.is_open:
            self._answer([token.delivery_tag for token in tokens if token.session is self], requeue=requeue)

    def _answer(self, tags: Sequence[int], *, requeue: bool) -> None:
        """Settle deliveries, with a single frame if no older delivery remains unsettled."""
        self._unsettled.difference_update(tags)
        if not tags:
            return
        last = max(tags)
        if multiple := min(self._unsettled, default=last + 1) > last:
            tags = [last]
        for tag in tags:
            if requeue:
                self._in.basic_nack(tag, multiple=multiple, requeue=True)
            else:
                self._in.basic_ack(tag, multiple=multiple)

    def get(self, queue: str, count: int, done: Future[list[Delivery]]) -> None:
        """Take up to ``count`` messages that wait in a queue; one call at a time."""
        got: list[Delivery] = []

        def message(_: Channel, method: Any, __: Any, body: bytes) -> None:
            self._unsettled.add(method.delivery_tag)
            got.append(Delivery(self, method.delivery_tag, queue, body))
            if len(got) < count and method.message_count:
                self._in.basic_get(queue, message)
            else:
                done.set_result(got)

        self._on_get_empty = partial(done.set_result, got)
        self._in.basic_get(queue, message)
