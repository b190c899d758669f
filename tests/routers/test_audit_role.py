"""The role that docs/operations.md gives the service: it does all of its work, and can't touch the audit record."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from app.config import Settings
from app.core.database import sqlstate
from app.services.container import Container, build
from app.tasks.attempt import Runner
from app.tasks.bodies import bodies
from tests.support import API, PASSWORD, World, sign_in

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
ROLE, INSUFFICIENT_PRIVILEGE = "frontdesk_app", "42501"


@pytest.fixture
async def restricted(app: FastAPI, container: Container, settings: Settings) -> AsyncIterator[World]:
    """The service, connected as the role that the document makes."""
    grants = re.search(rf"```sql\n(CREATE ROLE {ROLE} .*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert grants is not None
    owner = container.database.engine
    async with owner.begin() as connection:
        for statement in grants[1].split(";"):
            if statement.strip():
                await connection.exec_driver_sql(statement)
    url = make_url(settings.database.url.get_secret_value()).set(username=ROLE, password="…")
    database = settings.database.model_copy(update={"url": SecretStr(url.render_as_string(hide_password=False))})
    one = build(settings.model_copy(update={"database": database}), role="api")
    await one.keys.ensure()
    app.state.container = one
    yield World(one)
    await one.close()
    async with owner.begin() as connection:
        for statement in (f"DROP OWNED BY {ROLE}", f"DROP ROLE {ROLE}"):
            await connection.exec_driver_sql(statement)


async def test_the_service_works_with_its_own_role(client: httpx.AsyncClient, restricted: World, world: World) -> None:
    """Registering, signing in, an admin's change, a mail and the pruning of old events need no more than its grants."""
    assert await restricted.scalar("SELECT current_user") == ROLE
    admin = await restricted.person(password=PASSWORD)
    await restricted.execute("UPDATE users SET role = 'admin' WHERE id = :id", id=admin.id)
    new = {"email": "new@example.com", "password": PASSWORD, "full_name": "New"}
    made = await client.post(f"{API}/auth/register", json=new, headers={"Idempotency-Key": "k"})
    assert made.status_code == 202
    pair = (await sign_in(client, admin.email)).json()
    signed_in = {"Authorization": f"Bearer {pair['access_token']}"}
    body = {"full_name": "Dr. No", "specialty": "Islands"}
    assert (await client.post(f"{API}/doctors", json=body, headers=signed_in)).status_code == 201
    runner = Runner(restricted.database, bodies(restricted.container), restricted.container.settings.jobs)
    for job in await restricted.rows("SELECT id FROM jobs WHERE status = 'queued'"):
        await runner.run(job.id)
    assert await restricted.scalar("SELECT count(*) FROM jobs WHERE status <> 'succeeded'") == 0
    assert await restricted.count("audit_events") == 2
    await world.execute(
        "INSERT INTO audit_events (at, actor_type, action, object_type)"
        " VALUES (now() - interval '60 days', 'system', 'x', 'x')"
    )
    assert await restricted.scalar("SELECT prune_audit_events(30, 100)") == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET action = 'nothing'",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
        "DROP TABLE audit_events",
        "ALTER TABLE audit_events DISABLE TRIGGER ALL",
        "DROP TRIGGER audit_events_rows ON audit_events",
        "DROP FUNCTION prune_audit_events(bigint, bigint)",
        "SET session_replication_role = replica",
        "UPDATE alembic_version SET version_num = '0001'",
    ],
)
async def test_the_role_can_not_clean_the_record(restricted: World, statement: str) -> None:
    """Whoever has the service's connection can write events, and neither change them nor take the guard away."""
    await restricted.execute("INSERT INTO audit_events (actor_type, action, object_type) VALUES ('system', 'x', 'x')")
    with pytest.raises(DBAPIError) as refused:
        await restricted.execute(statement)
    assert sqlstate(refused.value) == INSUFFICIENT_PRIVILEGE
    assert await restricted.count("audit_events") == 1
