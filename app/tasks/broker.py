"""How messages travel: the names of the queues, and the clients of both engines. JSON only, never pickle."""

import json
from typing import Any

from arq import ArqRedis
from celery import Celery

from app.config import Settings
from app.core.redis import make_pool

ARQ_QUEUE = "frontdesk:io"
CELERY_QUEUE = "frontdesk-cpu"
TASK = "run_job"
MESSAGE_LIFETIME_MS = 24 * 3600 * 1000


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value, default=str).encode()


def make_arq(settings: Settings) -> ArqRedis:
    """ARQ's client: connects when it is used, and again after Redis was away."""
    return ArqRedis(
        make_pool(settings.redis),
        job_serializer=_dump,
        job_deserializer=json.loads,
        default_queue_name=ARQ_QUEUE,
        expires_extra_ms=MESSAGE_LIFETIME_MS,
    )


def make_celery(settings: Settings) -> Celery:
    """Celery's application, for producing and for consuming. The ledger owns retries, so Celery's are off."""
    url = (settings.jobs.broker_url or settings.redis.url).get_secret_value()
    app = Celery("frontdesk", broker=url)
    app.conf.update(
        task_default_queue=CELERY_QUEUE,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=False,
        task_publish_retry=False,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_timeout=settings.redis.timeout,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_timeout": 5,
            "socket_connect_timeout": settings.redis.timeout,
            "retry_on_timeout": True,
            "health_check_interval": 10,
        },
    )
    return app
