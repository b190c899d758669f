"""What all contenders stand on: PostgreSQL with the service's own tables, Valkey, people, doctors, 100,000 rows."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import jwt
from passlib.hash import bcrypt_sha256
from pydantic import SecretStr

from app.config import AuthSettings, DatabaseSettings, HashingSettings
from app.core.access_tokens import AccessTokens
from app.core.database import Database
from app.core.key_ring import KeyRing
from app.services.signing_keys import SigningKeyService
from benchmarks.servers import ROOT, UVICORN, Cores, Server, free_port, pin
from benchmarks.webhooks import SECRET as WEBHOOK_SECRET
from deploy.local.engines import PostgresEngine, ValkeyEngine

HOST = "clinic.example.org"
SECRET = "a-secret-of-the-benchmark-and-of-nothing-else-0123456789"  # noqa: S105
PASSWORD = "correct horse battery staple"  # noqa: S105
CLIENTS, APPOINTMENTS, DOCTORS, SLOT = 32, 100_000, 200, timedelta(minutes=5)
ALL_DAY = [{"weekday": day, "start": "00:00", "end": "24:00"} for day in range(7)]
_PEOPLE = """
    INSERT INTO users (email, full_name, password_hash, role, email_verified)
    SELECT 'person' || n || '@example.org', 'Person ' || n, $1, CASE n WHEN 1 THEN 'admin' ELSE 'client' END, true
    FROM generate_series(1, 1000) n
"""
_SESSIONS = "INSERT INTO auth_sessions (user_id) SELECT id FROM users ORDER BY id"
_DOCTORS = """
    INSERT INTO doctors (full_name, specialty, slot_minutes, hours)
    SELECT 'Dr. ' || n, 'General', 5, $2::jsonb FROM generate_series(1, $1) n
"""
# The first half of the doctors have the rows that lists read, the second half the slots that are booked.
_APPOINTMENTS = """
    INSERT INTO appointments (doctor_id, patient_id, starts_at, ends_at)
    SELECT 1 + n % $2, 1 + n % 1000, slot, slot + $4::interval
    FROM generate_series(0, $1::int - 1) n, LATERAL (SELECT $3::timestamptz + n / $2::int * $4::interval) _ (slot)
"""


@dataclass(frozen=True, slots=True)
class Account:
    """The n-th person; session and user have the same number."""

    id: int
    email: str

    @property
    def form(self) -> str:
        return f"grant_type=password&username={self.email.replace('@', '%40')}&password={PASSWORD.replace(' ', '+')}"


class Stage:
    """Started engines and filled tables; `close` ends them."""

    def __init__(self, state: Path, cores: Cores) -> None:
        self.state, self.cores = state, cores
        self.postgres, self.valkey = PostgresEngine(state), ValkeyEngine(state)
        self.accounts = [Account(number, f"person{number}@example.org") for number in range(1, CLIENTS + 1)]
        self._auth, self._ring = AuthSettings(secret_key=SecretStr(SECRET)), KeyRing()
        self._tokens = AccessTokens(self._auth, self._ring)
        # Slots far enough away that none passes while the run lasts.
        self._first_day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=7)
        self._next_slot = 0

    def open(self) -> None:
        self.postgres.start()
        self.valkey.start()
        for engine in (self.postgres, self.valkey):
            assert engine.pid is not None
            pin(engine.pid, self.cores.rest)
        subprocess.run([sys.executable, "-m", "app", "migrate"], env=self.service_env(0), cwd=ROOT, check=True)
        asyncio.run(self._fill())

    def close(self) -> None:
        self.valkey.stop()
        self.postgres.stop()

    @property
    def dsn(self) -> str:
        return self.postgres.url.replace("postgresql+asyncpg", "postgresql")

    async def _fill(self) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            hashed = bcrypt_sha256.using(rounds=HashingSettings().rounds).hash(PASSWORD)
            await connection.execute(_PEOPLE, hashed)
            await connection.execute(_SESSIONS)
            await connection.execute(_DOCTORS, 2 * DOCTORS, json.dumps(ALL_DAY))
            await connection.execute(_APPOINTMENTS, APPOINTMENTS, DOCTORS, self._first_day, SLOT)
            await connection.execute("VACUUM ANALYZE")
            await connection.execute("CHECKPOINT")
        finally:
            await connection.close()
        database = Database(DatabaseSettings(url=SecretStr(self.postgres.url)), role="worker", pooled=False)
        await SigningKeyService(self._auth, database, self._ring).ensure()
        await database.close()

    def slots(self, amount: int) -> Iterator[tuple[int, str]]:
        """Free slots that nobody was given before: a doctor and a start each."""
        for number in range(self._next_slot, self._next_slot + amount):
            starts_at = self._first_day + number // DOCTORS * SLOT
            yield DOCTORS + 1 + number % DOCTORS, starts_at.isoformat().replace("+00:00", "Z")
        self._next_slot += amount

    def stored_webhooks(self) -> int:
        async def ask() -> int:
            connection = await asyncpg.connect(self.dsn)
            try:
                return int(await connection.fetchval("SELECT count(*) FROM webhook_events"))
            finally:
                await connection.close()

        return asyncio.run(ask())

    def service_token(self, account: Account) -> str:
        return self._tokens.issue(user_id=account.id, session_id=account.id, role="client", scope="")[0]

    def floor_token(self, account: Account) -> str:
        return jwt.encode({"sub": str(account.id), "exp": datetime.now(UTC) + timedelta(hours=1)}, SECRET, "HS256")

    def _env(self) -> dict[str, str]:
        """What a process needs of ours; the settings of whoever runs the benchmark play no part."""
        return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}

    def service_env(self, port: int) -> dict[str, str]:
        """Production, every demand of its settings met."""
        return self._env() | {
            "ENVIRONMENT": "production",
            "PORT": str(port or 8000),
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.valkey.url,
            "AUTH_SECRET_KEY": SECRET,
            "FIRST_SUPERADMIN_PASSWORD": PASSWORD,
            "API_ALLOWED_HOSTS": HOST,
            "API_CORS_ORIGINS": f"https://{HOST}",
            "API_TRUSTED_PROXIES": "127.0.0.1",
            "PUBLIC_URL": f"https://{HOST}",
            "MAIL_BACKEND": "smtp",
            "MAIL_HOST": "mail.invalid",
            "MAIL_SENDER": f"Clinic <clinic@{HOST}>",
            "STORAGE_DIRECTORY": str(self.state / "storage"),
            "PAYMENTS_URL": "https://payments.invalid",
            "PAYMENTS_API_KEY": SECRET,
            "PAYMENTS_WEBHOOK_SECRETS": WEBHOOK_SECRET,
            "MARKETPLACE_URL": "https://marketplace.invalid",
            "MARKETPLACE_API_KEY": SECRET,
            "MARKETPLACE_WEBHOOK_SECRETS": SECRET,
            # One account asks more often than a person may: each request is counted, none is refused.
            "LIMITS_READ": "100000000",
            "LIMITS_WRITE": "100000000",
            "LIMITS_AUTH": "100000000",
            "LOG_FORMAT": "json",
            "PROMETHEUS_MULTIPROC_DIR": str(self.state / "metrics"),
        }

    def start_service(
        self, name: str = "F", *, program: Sequence[str] = ("-m", "benchmarks.shipped", "api"), **environment: str
    ) -> Server:
        """With what `environment` says besides or instead."""
        port = free_port()
        return self._start(name, list(program), self.service_env(port) | environment, port)

    def start_floor(self, name: str, module: str) -> Server:
        port = free_port()
        env = self._env() | {"FLOOR_URL": self.postgres.url, "FLOOR_DSN": self.dsn, "FLOOR_SECRET": SECRET}
        env["FLOOR_WEBHOOK_SECRET"] = WEBHOOK_SECRET
        return self._start(name, [*UVICORN, "--port", str(port), f"benchmarks.floors.{module}:app"], env, port)

    def _start(self, name: str, arguments: list[str], env: dict[str, str], port: int) -> Server:
        log = self.state / f"{name}.log"
        return Server(name, arguments, env=env, port=port, core=self.cores.server, log=log)
