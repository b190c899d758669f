"""`python -m benchmarks.webhook_delays`: 1,000 endpoints of which 50 hang, and how long the others' webhooks take.

A deliverer as the worker runs it, on PostgreSQL with its default durability; the receivers are another process. Each
second there is an event for every hanging endpoint and for `PER_SECOND` others. A delay is the time from the commit of
an event to the end of the attempt that delivered it.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from sqlalchemy import text

from app.config import get_settings
from app.core.database import Database
from app.core.logging import configure_logging
from app.core.memory import settle
from app.core.sealing import Sealer
from app.core.wakeup import RedisWaker, use_waker, wake_relay
from app.core.webhook_signatures import new_secret
from app.services.container import build
from app.services.webhook_endpoints import SEAL
from app.tasks.deliverer import Deliverer
from benchmarks.servers import ROOT, free_port
from deploy.local.engines import PostgresEngine, ValkeyEngine

ENDPOINTS, HANGING, PER_SECOND, SECONDS = 1000, 50, 150, 30
_PEOPLE = "INSERT INTO users (email, full_name, password_hash, role) VALUES ('a@example.org', 'A', '!', 'admin')"
_ENDPOINTS = """
    INSERT INTO webhook_endpoints (url, events, secret, created_by)
    SELECT 'http://127.0.0.1:' || :port || CASE WHEN n <= :hanging THEN '/hang' ELSE '/ok' END,
        '{user.registered}', :secret, (SELECT min(id) FROM users)
    FROM generate_series(1, :endpoints) n
"""
_EVENTS = """
    INSERT INTO webhook_deliveries (endpoint_id, event, object_type, object_id, payload, expires_at)
    SELECT id, 'user.registered', 'user', :number, '{"id": 1}', now() + interval '3 days' FROM webhook_endpoints
    WHERE url LIKE '%/hang' OR id IN (
        SELECT id FROM webhook_endpoints WHERE url LIKE '%/ok' ORDER BY random() LIMIT :some
    )
"""
_DELAYS = """
    SELECT count(*) AS number, count(*) FILTER (WHERE status <> 'succeeded') AS late,
        percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (
            ORDER BY extract(epoch FROM coalesce(finished_at, now()) - d.created_at)
        ) AS seconds
    FROM webhook_deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint_id WHERE e.url LIKE '%/ok'
"""
_RECEIVER = """
import asyncio, sys
async def serve(reader, writer):
    head = await reader.readuntil(b"\\r\\n\\r\\n")
    if b"/hang" in head.split(b"\\r\\n", 1)[0]:
        await asyncio.sleep(60)
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
    writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    async with server:
        await server.serve_forever()
asyncio.run(main())
"""


async def load(database: Database, *, port: int, secret: bytes) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text(_PEOPLE))
        values = {"port": str(port), "hanging": HANGING, "endpoints": ENDPOINTS, "secret": secret}
        await connection.execute(text(_ENDPOINTS), values)
    for number in range(SECONDS):
        async with database.engine.begin() as connection:
            await connection.execute(text(_EVENTS), {"number": number, "some": PER_SECOND})
        # As the service does after the commit of an event.
        wake_relay()
        await asyncio.sleep(1)


async def measure(port: int) -> None:
    configure_logging(get_settings().log, process="worker")
    container = build(get_settings(), role="worker")
    secret = Sealer(container.settings.auth).seal(SEAL, new_secret().encode())
    use_waker(RedisWaker(container.redis))
    deliverer = Deliverer(container)
    settle()
    running = asyncio.create_task(deliverer.run())
    await load(container.database, port=port, secret=secret)
    await asyncio.sleep(3)
    async with container.database.engine.connect() as connection:
        row = (await connection.execute(text(_DELAYS))).one()
    deliverer.stop()
    use_waker(None)
    await running
    await container.close()
    p50, p99, slowest = row.seconds
    print(f"{ENDPOINTS} endpoints, {HANGING} hang: {row.number} webhooks to the others, {row.late} not delivered")
    print(f"delay p50 {p50:.2f} s, p99 {p99:.2f} s, slowest {slowest:.2f} s; the target is a p99 of 2 s")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="frontdesk-webhooks-") as folder:
        state, port = Path(folder), free_port()
        # PostgreSQL runs as another account when we are root.
        state.chmod(0o755)
        postgres, valkey = PostgresEngine(state), ValkeyEngine(state)
        postgres.start()
        valkey.start()
        receiver = subprocess.Popen([sys.executable, "-c", _RECEIVER, str(port)])
        try:
            os.environ |= {"DATABASE_URL": postgres.url, "REDIS_URL": valkey.url, "LOG_LEVEL": "WARNING"}
            os.environ |= {"WEBHOOKS_ALLOW_PRIVATE": "127.0.0.1", "ENVIRONMENT": "test"}
            subprocess.run([sys.executable, "-m", "app", "migrate"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            with suppress(KeyboardInterrupt):
                asyncio.run(measure(port))
        finally:
            receiver.kill()
            receiver.wait()
            valkey.stop()
            postgres.stop()


if __name__ == "__main__":
    main()
