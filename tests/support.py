"""What the tests share: people, doctors, times and the ledger, made through the service's own code."""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from itertools import count
from typing import Any

import httpx
from sqlalchemy import insert, select, text

from app.core.enums import Role
from app.core.jobs import JobMessage
from app.models import AuthSession, Doctor, Job, Product, User
from app.services.calendar import instant
from app.services.container import Container
from app.tasks.attempt import Runner
from app.tasks.bodies import bodies
from tests.emptying import empty

API = "/api/v1"
PASSWORD = "correct horse battery"
ALL_DAY = [{"weekday": day, "start": "00:00", "end": "24:00"} for day in range(7)]
_numbers = count(1)


@dataclass(frozen=True)
class Person:
    """An account that is signed in."""

    id: int
    email: str
    role: Role
    headers: dict[str, str]
    session_id: int


class World:
    """Makes what a test needs in the database, and looks at what became of it."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.database = container.database

    async def person(
        self, role: Role = Role.CLIENT, *, password: str | None = None, email: str | None = None, **values: Any
    ) -> Person:
        """A user with a session of their own; without a password they can't sign in by one."""
        address = email or f"person{next(_numbers)}@example.com"
        hashed = await self.container.hasher.hash(password) if password else "!"
        row = {"email": address, "full_name": "Pat Ient", "password_hash": hashed, "role": role, "email_verified": True}
        async with self.database.session_scope() as session:
            user_id = (await session.execute(insert(User).values(row | values).returning(User.id))).scalar_one()
            session_id = (
                await session.execute(insert(AuthSession).values(user_id=user_id).returning(AuthSession.id))
            ).scalar_one()
        token, _ = self.container.auth.access_tokens.issue(
            user_id=user_id, session_id=session_id, role=role.value, scope=""
        )
        return Person(user_id, address, role, {"Authorization": f"Bearer {token}"}, session_id)

    async def admin(self) -> Person:
        return await self.person(Role.ADMIN)

    async def superadmin(self) -> Person:
        return await self.person(Role.SUPERADMIN)

    async def doctor(self, **values: Any) -> int:
        """A doctor who is there around the clock, unless said otherwise; returns the id."""
        row = {"full_name": "Dr. House", "specialty": "Diagnostics", "slot_minutes": 30, "hours": ALL_DAY}
        async with self.database.session_scope() as session:
            return (await session.execute(insert(Doctor).values(row | values).returning(Doctor.id))).scalar_one()

    async def product(self, **values: Any) -> int:
        """A product that can be ordered, unless said otherwise; returns the id."""
        row = {"sku": f"SKU-{next(_numbers)}", "name": "Plaster", "price": 250, "currency": "EUR", "stock": 10}
        async with self.database.session_scope() as session:
            return (await session.execute(insert(Product).values(row | values).returning(Product.id))).scalar_one()

    async def rows(self, sql: str, **parameters: Any) -> Sequence[Any]:
        async with self.database.engine.connect() as connection:
            return (await connection.execute(text(sql), parameters)).all()

    async def scalar(self, sql: str, **parameters: Any) -> Any:
        return (await self.rows(sql, **parameters))[0][0]

    async def count(self, table: str) -> int:
        return int(await self.scalar(f"SELECT count(*) FROM {table}"))

    async def execute(self, sql: str, **parameters: Any) -> None:
        async with self.database.engine.begin() as connection:
            await connection.execute(text(sql), parameters)

    async def empty(self) -> None:
        """Take everything out that tests have written."""
        async with self.database.engine.begin() as connection:
            await empty(connection)
            # Processes remember principals by session, and are not told of a TRUNCATE: no session's number comes twice.
            await connection.execute(
                text("SELECT setval(pg_get_serial_sequence('auth_sessions', 'id'), :number)"),
                {"number": 1 + secrets.randbelow(2**31)},
            )
        await self.container.redis.flushdb()
        for file in self.container.settings.mail.directory.glob("*.eml"):
            file.unlink()

    async def enqueued(self, kind: type[JobMessage]) -> list[Any]:
        """The messages of this kind in the ledger, oldest first."""
        statement = select(Job.payload).where(Job.name == kind.name).order_by(Job.id)
        return [kind.model_validate(row.payload) for row in await self.database.read.all(statement)]

    async def assert_enqueued(self, kind: type[JobMessage], /, **expected: Any) -> None:
        """Exactly one job of this kind has these fields."""
        found = [
            message
            for message in await self.enqueued(kind)
            if all(getattr(message, name) == value for name, value in expected.items())
        ]
        assert len(found) == 1, f"{len(found)} jobs {kind.name} with {expected}, not one"

    def mails(self) -> dict[str, str]:
        """The text of every mail that was sent, by its subject."""
        folder = self.container.settings.mail.directory
        parsed = [message_from_bytes(file.read_bytes(), policy=default) for file in folder.glob("*.eml")]
        return {str(mail["Subject"]): mail.get_body(("plain",)).get_content() for mail in parsed}  # type: ignore[union-attr]  # ours have one

    async def run_jobs(self) -> int:
        """Attempt every due job here and now, as a worker would, until none is due; returns how many attempts."""
        known = bodies(self.container)
        runner, names = Runner(self.database, known, self.container.settings.jobs), {kind.name for kind in known}
        attempts = 0
        while due := await self.rows(
            "SELECT id, name FROM jobs WHERE status = 'queued' AND run_at <= now() ORDER BY id"
        ):
            for row in due:
                assert row.name in names, f"{row.name} has no body: its line in app/tasks/bodies/ is missing"
                await runner.run(row.id)
                attempts += 1
        return attempts


def next_weekday(weekday: int = 1, *, weeks: int = 1) -> date:
    """A day at least a week away with this weekday (0 is Monday)."""
    day = datetime.now(UTC).date() + timedelta(days=7 * weeks)
    return day + timedelta(days=(weekday - day.weekday()) % 7)


def clinic_time(container: Container, day: date, clock: str) -> str:
    """The instant at which the clinic's clock shows `clock` on `day`, as the API writes it."""
    return instant(day, clock, container.settings.clinic.zone).isoformat().replace("+00:00", "Z")


async def eventually(check: Callable[[], Awaitable[Any]], *, seconds: float = 15, every: float = 0.05) -> Any:
    """The first truthy answer of `check`; fails when there is none in time."""
    import asyncio

    deadline = asyncio.get_running_loop().time() + seconds
    while not (answer := await check()):
        assert asyncio.get_running_loop().time() < deadline, f"{check} stayed {answer!r} for {seconds} s"
        await asyncio.sleep(every)
    return answer


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The answer is a problem with this status and code, complete as the contract has it; returns its body."""
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json"), (
        response.status_code,
        response.text,
        response.request.url,
        response.request.content,
    )
    body: dict[str, Any] = response.json()
    assert (body["status"], body["code"]) == (status, code), body
    assert {"type", "title", "detail", "instance"} <= body.keys()
    assert body["title"]
    assert body["detail"]
    assert body["instance"] == response.request.url.path
    # A replayed answer names the request that was answered first.
    if "idempotency-replayed" not in response.headers:
        assert body["request_id"] == response.headers["x-request-id"]
    if code == "validation_error":
        assert body["errors"]
        assert all(one.keys() == {"loc", "msg", "type"} and isinstance(one["loc"], list) for one in body["errors"])
    return body


async def sign_in(client: httpx.AsyncClient, email: str, password: str = PASSWORD) -> httpx.Response:
    """Ask for a token by password."""
    form = {"grant_type": "password", "username": email, "password": password}
    return await client.post(f"{API}/auth/token", data=form)


async def waiting_for_lock(world: World) -> bool:
    """Whether a transaction of the service waits for a row that somebody else holds."""
    waiting = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    return bool(await world.scalar(waiting))
