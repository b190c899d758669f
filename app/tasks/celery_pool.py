"""Celery's prefork pool, except that a child that has ended is replaced at once."""

from typing import Any

from celery.concurrency.asynpool import AsynPool
from celery.concurrency.prefork import TaskPool

REAP_SECONDS = 0.02


class PromptPool(AsynPool):  # type: ignore[misc]  # Celery has no types
    """The kernel closes a process's pipes before it can be waited for. Celery looks when they close, finds on a single
    core that the child still lives, and looks again five seconds later: until then nobody works in its place.
    """

    def _event_process_exit(self, hub: Any, proc: Any) -> None:
        super()._event_process_exit(hub, proc)
        self._look_again(hub, proc)

    def _look_again(self, hub: Any, proc: Any) -> None:
        if proc in self._pool:
            hub.call_later(REAP_SECONDS, self._replace, hub, proc)

    def _replace(self, hub: Any, proc: Any) -> None:
        self.maintain_pool()
        self._look_again(hub, proc)


class PromptTaskPool(TaskPool):  # type: ignore[misc]  # Celery has no types
    Pool = PromptPool
