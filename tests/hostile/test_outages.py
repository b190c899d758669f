"""Postgres and Redis gone, hanging or full: what the service answers meanwhile, and that it heals by itself.

On engines of their own, which these tests stop; one process of the API lives through all of it.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psutil  # type: ignore[import-untyped]  # has no types
import pytest
from pydantic import SecretStr
from sqlalchemy import literal, select

import app.core.database as database_module
from app.config import DatabaseSettings, PaymentsSettings, Settings
from app.core.database import Database
from deploy.local.engines import PostgresEngine, ValkeyEngine
from tests.conftest import FAST_POSTGRES
from tests.hostile.process import ROOT, Answer, ApiProcess
from tests.support import API, eventually, next_weekday
from tests.webhooks import body, payment

PASSWORD = "a password of the tests"
EMAIL = "outage@example.com"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ALL_AT_ONCE = 40
REDIS_TIMEOUT = 2.0
SLACK = 2.0
"""How much longer than it a promised time may take on a machine that is busy with other things."""


class Clinic:
    """A whole service of its own: both engines and the API, with a signed-in superadmin and free slots."""

    def __init__(self, directory: Path) -> None:
        self.postgres = PostgresEngine(directory / "state", settings=FAST_POSTGRES)
        self.valkey = ValkeyEngine(directory / "state")
        self._directory = directory

    async def open(self) -> None:
        self.postgres.start()
        self.valkey.start()
        environment = {
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.valkey.url,
            "REDIS_TIMEOUT": str(REDIS_TIMEOUT),
            "FIRST_SUPERADMIN_EMAIL": EMAIL,
            "FIRST_SUPERADMIN_PASSWORD": PASSWORD,
            "LOG_FORMAT": "json",
        }
        for command in ("migrate", "seed"):
            self._run(command, environment)
        self.api = ApiProcess(self._directory, environment)
        await self.api.start()
        self.headers = {"Authorization": f"Bearer {(await self.sign_in()).json()['access_token']}"}
        self.me = (await self.api.get(f"{API}/users/me", self.headers)).json()["id"]
        day = next_weekday(0)
        slots = await self.api.get(f"{API}/doctors/1/slots?from={day}&to={next_weekday(0, weeks=4)}")
        self._free = iter(slots.json()["items"])

    def _run(self, command: str, environment: dict[str, str]) -> None:
        env = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
        arguments = [sys.executable, "-m", "app", command]
        subprocess.run(arguments, cwd=self._directory, env=env, check=True, stdout=subprocess.DEVNULL)

    def close(self) -> None:
        self.api.stop()
        self.valkey.stop()
        self.postgres.stop()

    async def sign_in(self) -> Answer:
        body = f"grant_type=password&username={EMAIL}&password={PASSWORD}".encode()
        return await self.api.ask("POST", f"{API}/auth/token", FORM, body)

    async def book(self) -> Answer:
        body = {"doctor_id": 1, "patient_id": self.me, "starts_at": next(self._free)["starts_at"]}
        return await self.api.ask("POST", f"{API}/appointments", self.headers, body)

    async def needing_postgres(self) -> list[Answer]:
        """One of each kind, all at once: public read, own list, write, sign-in, a partner's webhook."""
        kinds = [self.api.get(f"{API}/doctors"), self.api.get(f"{API}/appointments", self.headers)]
        return list(await asyncio.gather(*kinds, self.book(), self.sign_in(), self.webhook()))

    async def webhook(self) -> Answer:
        sent = body()
        secret = PaymentsSettings().webhook_secrets[0].get_secret_value()
        return await self.api.ask("POST", f"{API}/webhooks/payments", payment("msg_1", secret, sent), sent)

    async def well(self) -> bool:
        answers = [*(await self.needing_postgres()), await self.api.get("/health/ready")]
        odd = [answer.body for answer in answers if answer.status not in (200, 201, 202, 503)]
        assert not odd
        away = [answer.body for answer in answers if answer.status == 503]
        print(away)  # shown when it stays so
        return not away

    async def failing_parts(self) -> set[str]:
        """What `/health/ready` names; live answers 200 all the while."""
        assert (await self.api.get("/health/live")).status == 200
        answer = await self.api.get("/health/ready")
        parts: dict[str, str] = answer.json()["parts"]
        failing = {part for part, state in parts.items() if state != "ok"}
        assert answer.status == (503 if failing else 200)
        assert ("retry-after" in answer.headers) is bool(failing)
        assert not failing or answer.code == "unavailable"
        return failing

    async def sql(self, statement: str) -> Any:
        connection = await self.connect()
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    async def connect(self) -> Any:
        return await asyncpg.connect(self.postgres.url.replace("+asyncpg", ""))


@pytest.fixture(scope="module")
async def clinic(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Clinic]:
    clinic = Clinic(tmp_path_factory.mktemp("clinic"))
    try:
        await clinic.open()
        yield clinic
    finally:
        clinic.close()


def refused(answers: list[Answer]) -> None:
    for answer in answers:
        assert (answer.status, answer.code) == (503, "unavailable"), answer.body
        assert int(answer.headers["retry-after"]) > 0


@contextmanager
def frozen(pid: int | None) -> Iterator[None]:
    """The process and its children stand still: connections are there, and nothing ever answers."""
    assert pid is not None
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    for one in family:
        one.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for one in family:
            one.send_signal(signal.SIGCONT)


async def test_postgres_stopped(clinic: Clinic) -> None:
    """Without Postgres all that needs it is 503 at once and readiness names it; with it back, all is well again."""
    clinic.postgres.stop()
    started = time.monotonic()
    refused(await clinic.needing_postgres())
    assert time.monotonic() - started < 1 + SLACK
    assert await clinic.failing_parts() == {"database", "migrations"}
    clinic.postgres.start()
    await eventually(clinic.well)


async def test_postgres_killed_between_requests(clinic: Clinic) -> None:
    """After a crash of Postgres under open connections no answer is a 500, and none is needed twice once it is back."""
    assert clinic.postgres.pid is not None
    os.kill(clinic.postgres.pid, signal.SIGKILL)
    for _ in range(3):
        assert {answer.status for answer in await clinic.needing_postgres()} <= {200, 201, 503}
    clinic.postgres.stop()
    clinic.postgres.start()
    await eventually(clinic.well)


async def test_postgres_hanging(clinic: Clinic) -> None:
    """A Postgres that accepts and never answers makes 503 within 5 s, for 40 clients at once as for one."""
    assert await clinic.well()
    with frozen(clinic.postgres.pid):
        started = time.monotonic()
        lists = [clinic.api.get(f"{API}/appointments", clinic.headers) for _ in range(ALL_AT_ONCE)]
        kinds, *answers = await asyncio.gather(clinic.needing_postgres(), asyncio.gather(*lists))
        assert time.monotonic() - started < 5 + SLACK
        refused(kinds + answers[0])
        assert await clinic.failing_parts() == {"database", "migrations"}
    await eventually(clinic.well)


async def test_patience_is_the_whole_of_it(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is given up on a hung server is given up at once, in reads and in transactions: no polite good-bye."""
    monkeypatch.setattr(database_module, "ANSWER_WITHIN", 1)
    database = Database(DatabaseSettings(url=SecretStr(clinic.postgres.url)), role="api")
    one = select(literal(1))

    async def write() -> None:
        async with database.session_scope() as session:
            await session.execute(one)

    await asyncio.gather(database.read.scalar(one), write())
    with frozen(clinic.postgres.pid):
        started = time.monotonic()
        failures = await asyncio.gather(database.read.scalar(one), write(), return_exceptions=True)
        assert time.monotonic() - started < 1 + SLACK
    assert [type(failure) for failure in failures] == [TimeoutError, TimeoutError]
    assert await database.read.scalar(one) == 1
    await database.close()


async def test_every_connection_of_the_pool_taken(clinic: Clinic) -> None:
    """While a lock holds every connection of the pool, requests are 503 within 5 s; when it is let go, all is well."""
    assert await clinic.well()
    connection = await clinic.connect()
    async with connection.transaction():
        await connection.execute("LOCK TABLE doctors IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        lists = await asyncio.gather(*[clinic.api.get(f"{API}/doctors") for _ in range(ALL_AT_ONCE)])
        assert time.monotonic() - started < 5 + SLACK
        refused(list(lists))
    await connection.close()
    assert await clinic.well()


async def test_postgres_full_and_its_connections_ended(clinic: Clinic) -> None:
    """When others hold every connection the server grants, requests are 503; with some free again, all is well."""
    operator = await clinic.connect()
    others = [operator]
    end_ours = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'frontdesk-api'"
    await operator.execute(end_ours)
    try:
        while True:
            others.append(await clinic.connect())
    except asyncpg.TooManyConnectionsError:
        pass
    refused(await clinic.needing_postgres())
    for connection in others:
        await connection.close()
    await eventually(clinic.well)


async def test_redis_stopped(clinic: Clinic) -> None:
    """Without Redis readiness names it, while bookings, their jobs and sign-ins go on as fast as ever."""
    assert await clinic.well()
    before = await clinic.sql("SELECT count(*) FROM jobs WHERE name = 'mail.appointment'")
    clinic.valkey.stop()
    assert await clinic.failing_parts() == {"redis"}
    started = time.monotonic()
    answers = [await clinic.book(), await clinic.book(), await clinic.sign_in()]
    assert time.monotonic() - started < REDIS_TIMEOUT
    assert [answer.status for answer in answers] == [201, 201, 200]
    assert await clinic.sql("SELECT count(*) FROM jobs WHERE name = 'mail.appointment'") == before + 2
    clinic.valkey.start()
    await eventually(clinic.well)


async def test_redis_hanging(clinic: Clinic) -> None:
    """A Redis that never answers delays no booking, one sign-in by its time limit, and the next ones not at all."""
    with frozen(clinic.valkey.pid):
        started = time.monotonic()
        booked = await asyncio.gather(*[clinic.book() for _ in range(10)])
        assert time.monotonic() - started < REDIS_TIMEOUT
        assert {answer.status for answer in booked} == {201}
        for limit in (2 * REDIS_TIMEOUT, REDIS_TIMEOUT):
            started = time.monotonic()
            assert (await clinic.sign_in()).status == 200
            assert time.monotonic() - started < limit
        assert await clinic.failing_parts() == {"redis"}
    await eventually(clinic.well)


async def test_a_fault_of_ours_says_nothing_of_itself(clinic: Clinic) -> None:
    """When a table is missing the answer is a plain 500 with an id; the reason stands in the log, without any value."""
    await clinic.sql("ALTER TABLE appointments RENAME TO lost")
    answers = [await clinic.book(), await clinic.api.get(f"{API}/appointments", clinic.headers)]
    await clinic.sql("ALTER TABLE lost RENAME TO appointments")
    for answer in answers:
        assert (answer.status, answer.code) == (500, "internal_error")
        assert answer.json()["detail"] == "Something went wrong on our side; it has been logged."

    async def logged() -> bool:
        log = clinic.api.log.read_text()
        return '"unhandled error"' in log and all(answer.headers["x-request-id"] in log for answer in answers)

    await eventually(logged)
    log = clinic.api.log.read_text()
    assert "[parameters:" not in log
    assert PASSWORD not in log
    assert await clinic.well()
