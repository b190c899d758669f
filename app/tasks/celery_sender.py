"""Hands messages to Celery's broker over a connection that is kept: to make one costs five times as much as to send."""

import threading
from collections.abc import Collection, Sequence

from celery import Celery
from kombu import Connection, Producer

from app.core.database import AnyRow
from app.tasks.broker import TASK, celery_messages, celery_priority


class CelerySender:
    """Sends in one thread at a time. Redis answers each message, so its connection is kept.

    RabbitMQ does not: only the proper end of a connection says that it has them all.
    """

    def __init__(self, celery: Celery, *, small: Collection[str], patience: float) -> None:
        """`small` names the jobs of which several may travel in one message; a connection is made in `patience` s."""
        self._celery = celery
        self._small = small
        self._patience = patience
        self._keeps = not str(celery.conf.broker_url).startswith("amqp")
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def send(self, rows: Sequence[AnyRow]) -> None:
        """Send every job's message, which blocks. Whatever the broker says is raised; some may have been sent then.

        What is raised ends the connection, too: the next sending makes another, of whoever answers then.
        """
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._celery.connection_for_write()
                    self._connection.ensure_connection(max_retries=1, timeout=self._patience)
                self._send(self._connection, rows)
            except BaseException:
                self._drop()
                raise
            if not self._keeps:
                self._end()

    def close(self) -> None:
        """End the connection; the next message makes another."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.release()
            self._connection = None

    def _drop(self) -> None:
        # A proper end would talk to a broker that may not answer.
        if self._connection is not None:
            self._connection.collect()
            self._connection = None

    def _send(self, connection: Connection, rows: Sequence[AnyRow]) -> None:
        producer: Producer = self._celery.amqp.Producer(connection)
        for ids, priority in celery_messages(rows, small=self._small):
            self._celery.send_task(
                TASK,
                args=ids,
                producer=producer,
                ignore_result=True,
                priority=celery_priority(self._celery, priority),
            )
