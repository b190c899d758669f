"""Jobs for real workers: sent through the service's own code, held in mid-run by a lock, seen in the ledger."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import insert, text

from app.core.jobs import JobMessage, enqueue_many
from app.core.wakeup import CHANNEL
from app.models import Appointment
from app.schemas.messages.mails import AppointmentMail, SendAppointmentMail
from app.schemas.messages.reports import DrawUtilisationReport
from app.schemas.reports import ReportFormat
from app.tasks.broker import CELERY_LIST
from tests.support import World, eventually


class Ledger:
    """What the tests of this folder do to the ledger, and wait for in it."""

    def __init__(self, world: World, redis_url: str) -> None:
        self.world = world
        self._redis_url = redis_url

    async def send(self, *messages: JobMessage) -> list[int]:
        """Accept jobs and wake the relay, as a request does; their ids."""
        async with self.world.database.session_scope() as session:
            ids = await enqueue_many(session, messages)
        redis = Redis.from_url(self._redis_url)
        with suppress(RedisError):
            await redis.publish(CHANNEL, b"1")
        await redis.aclose()
        return ids

    async def mail(self) -> JobMessage:
        """A message that sends the mail of a booking, and the booking for it."""
        doctor_id, patient = await self.world.doctor(), await self.world.person()
        starts_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
        values = {
            "doctor_id": doctor_id,
            "patient_id": patient.id,
            "starts_at": starts_at,
            "ends_at": starts_at + timedelta(minutes=30),
        }
        async with self.world.database.session_scope() as session:
            statement = insert(Appointment).values(values).returning(Appointment.id)
            appointment_id = (await session.execute(statement)).scalar_one()
        return SendAppointmentMail(appointment_id=appointment_id, kind=AppointmentMail.BOOKED, starts_at=starts_at)

    async def left_in_celerys_queue(self) -> int:
        """How many messages Celery has not taken yet."""
        redis: Redis = Redis.from_url(self._redis_url)
        number = await cast("Awaitable[int]", redis.llen(CELERY_LIST))
        await redis.aclose()
        return number

    @staticmethod
    def report() -> JobMessage:
        today = datetime.now(UTC).date()
        return DrawUtilisationReport(from_day=today, to_day=today + timedelta(days=7), format=ReportFormat.CSV)

    async def job(self, job_id: int) -> Any:
        return (await self.world.rows("SELECT * FROM jobs WHERE id = :id", id=job_id))[0]

    async def reached(self, job_id: int, status: str, *, seconds: float = 25, attempt: int = 0) -> Any:
        """The job's row, once it has this status and at least this attempt."""

        async def check() -> Any:
            job = await self.job(job_id)
            return job if job.status == status and job.attempt >= attempt else None

        return await eventually(check, seconds=seconds)

    async def drained(self, *, seconds: float = 25) -> dict[str, int]:
        """How many jobs ended in which status, once none waits or runs."""

        async def check() -> dict[str, int] | None:
            # What the clock adds meanwhile (reminders every minute) is none of the test's jobs.
            clock = "('housekeeping.prune', 'appointments.remind')"
            counting = f"SELECT status, count(*) FROM jobs WHERE name NOT IN {clock} GROUP BY 1"
            counted = dict(tuple(row) for row in await self.world.rows(counting))
            return None if {"queued", "running"} & counted.keys() else counted

        result: dict[str, int] = await eventually(check, seconds=seconds)
        return result

    @asynccontextmanager
    async def held(self, table: str) -> AsyncIterator[None]:
        """No job body can read `table` until the block ends."""
        async with self.world.database.engine.connect() as connection:
            await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '60s'"))
            await connection.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
            yield
            await connection.rollback()
