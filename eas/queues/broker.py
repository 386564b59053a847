"""The connection of one process to RabbitMQ: one thread owns it; other threads submit work to that thread and wait.

The connection is reopened automatically after a restart of the broker. Callers wait for it a bounded time, but
not for a broker that was never reached.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import pika
import pika.exceptions

from eas.errors import ServiceError, SettingsError
from eas.queues.session import Delivery, Outgoing, Session
from eas.queues.tls import without_tls

T = TypeVar("T")
LOG = logging.getLogger("eas.queues")

MIN_RECONNECT_DELAY, MAX_RECONNECT_DELAY = 0.1, 5.0
"""Minimum and maximum wait [s] before connecting again."""

ANSWER_TIMEOUT = 60.0
"""Timeout [s] for the answer of a connected broker."""


class BrokerDisconnectedError(Exception):
    """There is no connection now; the broker thread tries to reopen it."""


class Broker:
    """Keeps one session open, and buffers delivered messages until they are taken.

    Attributes
    ----------
    was_connected:
        Whether there ever was a connection.
    """

    def __init__(self, url: str) -> None:
        self.parameters = _parameters(url)
        self.safe_url = f"amqp://{self.parameters.host}:{self.parameters.port}/{self.parameters.virtual_host}"
        self._changed = threading.Condition()
        self._session: Session | None = None
        self._trying: Session | None = None
        self.was_connected = False
        self._failure: str | None = None
        self._tokens: dict[str, deque[Delivery]] = {}
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._wakes = 0
        # pika logs each lost connection in many lines; ``_run`` logs one.
        logging.getLogger("pika").setLevel(logging.CRITICAL)

    # -- the connection ------------------------------------------------------------------------

    def _run(self) -> None:
        pause = MIN_RECONNECT_DELAY
        while not self._closing.is_set():
            session = Session(self.parameters, self._on_open, self._deliver)
            self._trying = session
            if self._closing.is_set():
                return  # ``close`` came before it could see this session
            session.run()
            with self._changed:
                was_up = self._session is not None
                self._session = None
                self._tokens.clear()
                self._failure = _describe(session.error)
                self._changed.notify_all()
            if was_up and not self._closing.is_set():
                LOG.warning("the connection to RabbitMQ at %s was lost: %s", self.safe_url, self._failure)
                pause = MIN_RECONNECT_DELAY
            self._closing.wait(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, MAX_RECONNECT_DELAY)

    def _on_open(self, session: Session) -> None:
        with self._changed:
            self._session, self.was_connected, self._failure = session, True, None
            self._changed.notify_all()

    def _deliver(self, token: Delivery) -> None:
        with self._changed:
            self._tokens.setdefault(token.queue, deque()).append(token)
            self._changed.notify_all()

    def session(self, timeout: float) -> Session:
        """Return the open session; wait up to ``timeout`` seconds for it.

        Raises ServiceError if the broker was never reached, BrokerDisconnectedError if the connection was lost.
        """
        with self._changed:
            if self._closing.is_set():
                raise BrokerDisconnectedError("the queue is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="rabbitmq", daemon=True)
                self._thread.start()
            self._changed.wait_for(lambda: self._session or (self._failure and not self.was_connected), timeout=timeout)
            if self._session is not None:
                return self._session
            if self.was_connected or self._closing.is_set():
                raise BrokerDisconnectedError(self._failure or "no connection")
            raise ServiceError(
                f"RabbitMQ at {self.safe_url} cannot be reached: {self._failure or 'no answer'}",
                hint="check that it runs and that EAS_QUEUE_URL (or `eas queue init`) names it, with user and password",
            )

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._session is not None

    def call_later(self, seconds: float, work: Callable[[], None]) -> None:
        """Run ``work`` in the connection's thread after ``seconds``, if the connection is still open."""
        session = self._session
        if session is not None:
            session.call(lambda: session.later(seconds, work))

    def call(self, work: Callable[[Session, Future[T]], None], timeout: float) -> T:
        """Run ``work`` in the session's thread and return its result. Raises as ``session`` does."""
        session = self.session(timeout)
        answer: Future[T] = Future()
        session.track(answer)
        session.call(lambda: work(session, answer))
        try:
            return answer.result(ANSWER_TIMEOUT)
        except (ConnectionError, TimeoutError, pika.exceptions.AMQPError) as error:
            raise BrokerDisconnectedError(str(error) or "no answer") from error

    def close(self) -> None:
        """Close the connection; unacknowledged messages go back to the broker."""
        self._closing.set()
        session, thread = self._trying, self._thread
        if session is not None and not session.ended:
            session.call(session.close)
        if thread is not None:
            thread.join(5.0)
        self.wake()

    # -- verbs ---------------------------------------------------------------------------------

    def publish(self, messages: Sequence[Outgoing], timeout: float) -> list[Outgoing]:
        """Publish and wait for the confirmations; return the messages that no queue accepted."""
        return self.call(lambda session, done: session.publish(messages, done), timeout)

    def count(self, queues: Sequence[str], timeout: float) -> dict[str, int]:
        """Return how many messages wait in each queue, delivered ones not counted."""
        return self.call(lambda session, done: session.count(queues, {}, done), timeout)

    def declare(self, queues: Sequence[str], timeout: float) -> None:
        """Declare queues."""

        def work(session: Session, done: Future[None]) -> None:
            session.declare(queues, lambda: done.set_result(None), done)

        self.call(work, timeout)

    def purge(self, queues: Sequence[str], timeout: float) -> None:
        """Drop all waiting messages of these queues, but not those already delivered."""
        self.call(lambda session, done: session.purge(queues, done), timeout)

    def get(self, queue: str, count: int, timeout: float) -> list[Delivery]:
        """Take messages off a queue, to be settled."""
        return self.call(lambda session, done: session.get(queue, count, done), timeout)

    def listen(self, queues: frozenset[str], prefetch: int) -> None:
        """Start deliveries from these queues, if connected."""
        with self._changed:
            session = self._session
        if session is not None:
            session.call(lambda: session.listen(queues, prefetch))

    def stop_consuming(self) -> None:
        """Stop deliveries, and return the messages that were not taken."""
        with self._changed:
            session = self._session
            left = [token for tokens in self._tokens.values() for token in tokens]
            self._tokens.clear()
        if session is not None:
            session.call(lambda: session.listen(frozenset(), 0))
            session.call(lambda: session.settle(left, requeue=True))

    def settle(self, tokens: Iterable[Delivery], *, requeue: bool = False) -> None:
        """Acknowledge or requeue messages; messages of an earlier connection are ignored."""
        by_session: dict[int, tuple[Session, list[Delivery]]] = {}
        for token in tokens:
            by_session.setdefault(id(token.session), (token.session, []))[1].append(token)
        for session, mine in by_session.values():
            session.call(_settling(session, mine, requeue))

    def wait(self, queues: Iterable[str], timeout: float) -> list[str]:
        """Wait for messages; return the queues that have some. Empty after ``wake`` or a lost connection."""
        wanted = list(queues)

        def non_empty() -> list[str]:
            return [queue for queue in wanted if self._tokens.get(queue)]

        with self._changed:
            wakes = self._wakes
            self._changed.wait_for(
                lambda: non_empty() or self._wakes != wakes or self._session is None, timeout=max(timeout, 0.0)
            )
            return non_empty()

    def take(self, queue: str, limit: int) -> list[Delivery]:
        """Take up to ``limit`` delivered messages of a queue, to be settled."""
        with self._changed:
            tokens = self._tokens.get(queue) or deque()
            return [tokens.popleft() for _ in range(min(limit, len(tokens)))]

    def wake(self) -> None:
        """End the waits of all threads."""
        with self._changed:
            self._wakes += 1
            self._changed.notify_all()


def _settling(session: Session, tokens: Sequence[Delivery], requeue: bool) -> Callable[[], None]:
    return lambda: session.settle(tokens, requeue=requeue)


def _parameters(url: str) -> pika.URLParameters:
    try:
        plain, tls = without_tls(url)
        parameters = pika.URLParameters(plain)
    except (ValueError, AttributeError, TypeError):
        # The driver's message may hold the URL, and that a password.
        raise SettingsError(
            "the job queue's URL is not one that RabbitMQ's client understands",
            hint="e.g. amqp://user:password@host:5672/%2F",
        ) from None
    if tls is not None:
        parameters.ssl_options = tls
    parameters.socket_timeout = 10.0
    parameters.connection_attempts = 1
    parameters.heartbeat = 30
    parameters.blocked_connection_timeout = 120.0
    parameters.client_properties = {"connection_name": "eas"}
    return parameters


def _describe(error: BaseException | None) -> str:
    """Return a one-line description of an error; pika nests the actual error in others."""
    inner: Any = error
    while getattr(inner, "exceptions", None) or getattr(inner, "exception", None):
        inner = inner.exceptions[-1] if getattr(inner, "exceptions", None) else inner.exception
    while isinstance(inner, Exception) and inner.args:
        if not isinstance(inner.args[0], BaseException):
            break
        inner = inner.args[0]
    return f"{type(inner).__name__}: {inner}" if inner is not None else "no answer"
