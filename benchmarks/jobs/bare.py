"""The engines bare: `python -m benchmarks.jobs.bare arq|celery URL`, with a job that does nothing."""

import asyncio
import json
import sys
import time
from typing import Any

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.worker import Worker, func
from celery import Celery
from redis import Redis

ARQ_QUEUE, CELERY_QUEUE, STARTS = "bare:arq", "bare-celery", "bare:starts"
POLL_SECONDS = 0.05


def dump(value: Any) -> bytes:
    return json.dumps(value).encode()


async def noop(_: dict[str, Any]) -> None:
    return None


async def moment(context: dict[str, Any]) -> None:
    started = time.time()
    await context["redis"].rpush(STARTS, started)


async def arq_pool(url: str) -> ArqRedis:
    return await create_pool(
        RedisSettings.from_dsn(url), job_serializer=dump, job_deserializer=json.loads, default_queue_name=ARQ_QUEUE
    )


async def serve_arq(url: str, poll: float, slots: int) -> None:
    worker = Worker(
        functions=[func(one, name=one.__name__, max_tries=1, keep_result=0) for one in (noop, moment)],  # type: ignore[arg-type]
        redis_pool=await arq_pool(url),
        queue_name=ARQ_QUEUE,
        handle_signals=False,
        poll_delay=poll,
        max_jobs=slots,
        keep_result=0,
        job_serializer=dump,
        job_deserializer=json.loads,
    )
    await worker.async_run()


def celery_app(url: str) -> Celery:
    """Celery as it is by default, except that it keeps no results."""
    app = Celery("bare", broker=url)
    app.conf.update(task_default_queue=CELERY_QUEUE, task_ignore_result=True, broker_connection_retry_on_startup=True)

    def celery_noop() -> None:
        return None

    def celery_moment() -> None:
        started = time.time()
        with Redis.from_url(url) as redis:
            redis.rpush(STARTS, started)

    app.task(celery_noop, name="noop")
    app.task(celery_moment, name="moment")
    return app


def main() -> None:
    engine, url, *rest = sys.argv[1:]
    if engine == "arq":
        asyncio.run(serve_arq(url, float(rest[0]), int(rest[1])))
    else:
        app = celery_app(url)
        app.worker_main(["worker", "--pool=prefork", "--concurrency=1", "--loglevel=error"])


if __name__ == "__main__":
    main()
