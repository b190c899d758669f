"""How messages travel: the names of the queues, and the clients of both engines. JSON only, never pickle."""

import json
import ssl
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from arq import ArqRedis
from arq.constants import job_key_prefix
from arq.jobs import serialize_job
from arq.utils import timestamp_ms
from celery import Celery

from app.config import Settings
from app.config.sentinel import is_sentinel, parse_sentinels
from app.core.database import AnyRow
from app.core.jobs import Priority
from app.core.redis import make_pool, tls_options

ARQ_QUEUE = "frontdesk:io"
CELERY_QUEUE = "frontdesk-cpu"
TASK = "run_job"
MESSAGE_LIFETIME_MS = 24 * 3600 * 1000
PRIORITY_STEP_MS = 24 * 3600 * 1000
# Redis has a list for each step and looks into the lowest first; RabbitMQ takes the highest number first.
ON_REDIS = {Priority.HIGH: 0, Priority.NORMAL: 3, Priority.LOW: 6}
CELERY_LIST = f"{CELERY_QUEUE}\x06\x16{ON_REDIS[Priority.NORMAL]}"
"""Where kombu keeps messages of normal priority in Redis."""
TOGETHER = 8
"""How many jobs one message to Celery names at most, and how many such messages make a crowd."""
ON_RABBITMQ = {Priority.HIGH: 9, Priority.NORMAL: 5, Priority.LOW: 1}


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value, default=str).encode()


def arq_order(priority: int, *, now_ms: int) -> int:
    """Where in ARQ's queue a message stands: it is ordered by time, so a priority is a day's seniority.

    The lowest has a day of it, too: ARQ leaves alone what is dated later than its own clock, and clocks differ.
    """
    return now_ms - PRIORITY_STEP_MS * (Priority(priority) - Priority.LOW + 1)


async def put_arq_messages(arq: ArqRedis, messages: Mapping[str, tuple[int, int]]) -> None:
    """Put messages into ARQ's queue, in this order: by their names, the job's id and its priority.

    One round trip for all, where ARQ's `enqueue_job` makes three for each.
    """
    if not messages:
        return
    now_ms = timestamp_ms()
    async with arq.pipeline(transaction=False) as pipe:
        for name, (job_id, _) in messages.items():
            body = serialize_job(TASK, (job_id,), {}, None, now_ms, serializer=arq.job_serializer)
            pipe.psetex(job_key_prefix + name, MESSAGE_LIFETIME_MS, body)
        orders = [arq_order(priority, now_ms=now_ms - 1) for _, priority in messages.values()]
        # Parts of the millisecond that is over, since ARQ orders equals by their names, of which "10" is before "9".
        places = {
            name: order + place / len(orders) for place, (name, order) in enumerate(zip(messages, orders, strict=True))
        }
        pipe.zadd(ARQ_QUEUE, places)
        await pipe.execute()


def celery_priority(app: Celery, priority: int) -> int:
    """The number by which Celery's broker knows the priority."""
    return (ON_RABBITMQ if str(app.conf.broker_url).startswith("amqp") else ON_REDIS)[Priority(priority)]


def celery_messages(rows: Sequence[AnyRow], *, small: Collection[str]) -> Iterator[tuple[list[int], int]]:
    """The ids that each message names, and their priority.

    Of a crowd several travel in one message, if they are of the names in `small`. Not of a few: those are shared out
    among the children. And not what is published again: it may be what ended its child, or did not get its turn there.
    """
    crowd = {row.id for row in rows if row.name in small and row.publications == 1}
    size = min(TOGETHER, max(1, len(crowd) // TOGETHER))
    for priority in sorted({row.priority for row in rows}, reverse=True):
        ids = [row.id for row in rows if row.priority == priority]
        together = [one for one in ids if one in crowd]
        yield from (([one], priority) for one in ids if one not in crowd)
        yield from ((together[start : start + size], priority) for start in range(0, len(together), size))


def make_arq(settings: Settings) -> ArqRedis:
    """ARQ's client: connects when it is used, and again after Redis was away."""
    return ArqRedis(
        make_pool(settings.redis),
        job_serializer=_dump,
        job_deserializer=json.loads,
        default_queue_name=ARQ_QUEUE,
        expires_extra_ms=MESSAGE_LIFETIME_MS,
    )


def _broker(url: str) -> tuple[str, dict[str, Any]]:
    """The address as Celery writes it, and what it wants to know of it besides."""
    if not is_sentinel(url):
        return url, {}
    known = parse_sentinels(url)
    login = f"{quote(known.username or '', safe='')}:{quote(known.password or '', safe='')}@"
    urls = [f"sentinel://{login}{host}:{port}/{known.database}" for host, port in known.addresses]
    own = {"password": known.own_password} if known.own_password else {}
    return ";".join(urls), {
        "master_name": known.service,
        "sentinel_kwargs": {"socket_timeout": 1, "socket_connect_timeout": 1, **own},
    }


def _broker_tls(url: str, settings: Settings) -> dict[str, Any]:
    """Without a word from us Celery encrypts and looks at nobody's certificate."""
    ca_file = settings.jobs.broker_ca_file if settings.jobs.broker_url else settings.redis.ca_file
    if not url.startswith("amqps:"):
        return tls_options(url, ca_file)
    authorities = {"ca_certs": str(ca_file)} if ca_file else {}
    # No name is kombu's word for the one in the address; without the key it looks at none.
    return {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None, **authorities}


def make_celery(settings: Settings) -> Celery:
    """Celery's application, for producing and for consuming. The ledger owns retries, so Celery's are off."""
    url, options = _broker((settings.jobs.broker_url or settings.redis.url).get_secret_value())
    app = Celery("frontdesk", broker=url)
    app.conf.update(
        broker_use_ssl=_broker_tls(url, settings),
        task_default_queue=CELERY_QUEUE,
        task_queue_max_priority=10,
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
        # A Redis that is full refuses to note who has a message: otherwise Celery would end of it.
        broker_channel_error_retry=True,
        broker_transport_options={
            "priority_steps": sorted(ON_REDIS.values()),
            "socket_timeout": 5,
            "socket_connect_timeout": settings.redis.timeout,
            "retry_on_timeout": True,
            "health_check_interval": 10,
            **options,
        },
    )
    return app
