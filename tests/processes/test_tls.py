"""The processes of the service, with TLS before each of the engines."""

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.config import Settings
from deploy.local.engines import ValkeyEngine
from tests.processes.ledger import Ledger
from tests.processes.process import Spawn
from tests.tls_front import LOOPBACK, Authority, TlsFront, by_tls, postgresql, redis_by_tls, valkey


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_work_is_done_over_tls(
    ledger: Ledger, spawn: Spawn, settings: Settings, own_valkey: ValkeyEngine, tmp_path: Path
) -> None:
    """Both workers reach PostgreSQL and Redis by TLS alone, and do what they are told to as without."""
    settings = settings.model_copy(
        update={"redis": settings.redis.model_copy(update={"url": SecretStr(own_valkey.url)})}
    )
    authority = Authority(tmp_path / "authority")
    shown = authority.serves(LOOPBACK)
    database = TlsFront(shown, postgresql(settings), speaks_postgresql=True)
    redis = TlsFront(shown, valkey(settings), speaks_postgresql=False)
    async with database.listening(), redis.listening():
        reached = by_tls(settings, database.port, mode="verify-full", ca_file=authority.ca_file)
        over = {
            "DATABASE_URL": reached.url.get_secret_value(),
            "DATABASE_CA_FILE": str(authority.ca_file),
            "REDIS_URL": redis_by_tls(settings, "rediss", redis.port).get_secret_value(),
            "REDIS_CA_FILE": str(authority.ca_file),
        }
        await asyncio.gather(*(spawn(name, **over).ready() for name in ("worker", "celery")))
        for job_id in await ledger.send(await ledger.mail(), ledger.report()):
            assert (await ledger.reached(job_id, "succeeded", seconds=60)).attempt == 1
    assert database.greeted > 1
    assert redis.greeted > 1
