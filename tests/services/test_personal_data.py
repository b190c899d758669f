"""Export and erasure of one person's data."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import MetaData, Table
from sqlalchemy.dialects.postgresql import BYTEA, JSONB

from app.config import Settings
from app.core.database import Base
from app.core.database_address import DatabaseAddress
from app.core.enums import Role
from app.core.errors import Conflict
from app.crud import backups
from app.crud.personal_data import ERASED, EXPORTED, KEPT, NOT_EXPORTED
from app.integrations.storage import LocalStorage
from app.services.backups import BackupService, make_backup_storage, patient_database
from app.services.container import Container
from app.services.erasure import ErasureService
from app.services.personal_data_commands import erase, export
from app.services.restores import RestoreService
from tests.support import API, PASSWORD, Person, World, clinic_time, next_weekday, sign_in

MAY_NAME = {"email", "full_name", "address", "user_agent", "reason", "owner", "actor_id", "created_by", "patient_id"}
MAY_NAME |= {"phone", "birth_date", "note", "response_body", "checkout_url"}


def of_people(metadata: MetaData) -> set[str]:
    """Tables with a way to users over foreign keys, or with a column that may name somebody or hold anything."""

    def leads_to_users(table: Table, seen: frozenset[str] = frozenset()) -> bool:
        if table.name == "users":
            return True
        nexts = [key.column.table for key in table.foreign_keys if key.column.table.name not in seen]
        return any(leads_to_users(other, seen | {table.name}) for other in nexts)

    def may_name(table: Table) -> bool:
        return any(
            column.name in MAY_NAME or column.name.endswith("_user_id") or isinstance(column.type, JSONB | BYTEA)
            for column in table.columns
        )

    return {table.name for table in metadata.sorted_tables if leads_to_users(table) or may_name(table)}


def unclassified(metadata: MetaData) -> set[str]:
    found = of_people(metadata)
    return (found - EXPORTED.keys() - NOT_EXPORTED.keys()) | (found - ERASED.keys() - KEPT.keys())


def test_every_table_of_people_is_exported_or_excepted() -> None:
    """Each is exported or excepted, and erased or kept, with a reason; and a table that is neither is found."""
    assert unclassified(Base.metadata) == set(), "app/crud/personal_data.py says nothing of these"
    assert not EXPORTED.keys() & NOT_EXPORTED.keys()
    assert not ERASED.keys() & KEPT.keys()
    assert all(reason for reason in (*NOT_EXPORTED.values(), *KEPT.values()))
    for name, exported in EXPORTED.items():
        assert set(exported.hidden) <= set(Base.metadata.tables[name].columns.keys())


@pytest.mark.parametrize("column", ["email", "user_id", "anything"])
def test_a_new_table_of_people_is_found(column: str) -> None:
    """A table that nobody has classified is found by a name, a reference or a column that holds anything."""
    from sqlalchemy import Column, ForeignKey, Text

    metadata = MetaData()
    Table("users", metadata, Column("id", Text, primary_key=True))
    kinds: dict[str, Any] = {"email": Text(), "anything": JSONB()}
    made = Column(column, kinds[column]) if column in kinds else Column("of", ForeignKey("users.id"))
    Table("letters", metadata, made)
    assert unclassified(metadata) == {"letters"}


@pytest.fixture
def erasure(container: Container, tmp_path: Path) -> ErasureService:
    return ErasureService(container.database, LocalStorage(tmp_path), container.appointments, container.orders)


SEEDED = (
    "zelda.quux@example.com",
    "Zelda Quux",
    "a rash nobody knows of",
    "192.0.2.77",
    "QuuxBrowser/1",
    "zelda.before@example.com",
)
BEFORE = SEEDED[5]


async def moved(client: httpx.AsyncClient, world: World, *, before: str, after: str) -> None:
    """Give the account another address, as its owner does."""
    token = (await sign_in(client, before)).json()["access_token"]
    asked = {"email": after, "current_password": PASSWORD}
    await client.post(f"{API}/users/me/email", json=asked, headers={"Authorization": f"Bearer {token}"})
    await world.run_jobs()
    [link] = [text for text in world.mails().values() if "/confirm-email#token=" in text]
    [mailed] = re.findall(r"/confirm-email#token=(\S+)", link)
    assert (await client.post(f"{API}/auth/confirm-email", json={"token": mailed})).status_code == 204


async def lived(client: httpx.AsyncClient, world: World) -> Person:
    """Somebody who has left traces in every table that can hold any."""
    admin = await world.admin()
    await client.post(
        f"{API}/webhook-endpoints",
        json={"url": "https://93.184.215.14/in", "events": ["user.registered"]},
        headers=admin.headers,
    )
    registration = {"email": BEFORE, "full_name": SEEDED[1], "password": PASSWORD}
    made = await client.post(f"{API}/auth/register", json=registration, headers={"Idempotency-Key": "first"})
    assert made.status_code == 202
    found = await world.rows("SELECT id FROM users WHERE email = :email", email=BEFORE)
    await client.post(f"{API}/auth/password/forgot", json={"email": BEFORE})
    await moved(client, world, before=BEFORE, after=SEEDED[0])
    form = {"grant_type": "password", "username": SEEDED[0], "password": PASSWORD}
    signed_in = await client.post(f"{API}/auth/token", data=form, headers={"User-Agent": SEEDED[4]})
    headers = {"Authorization": f"Bearer {signed_in.json()['access_token']}"}
    person = Person(found[0].id, SEEDED[0], Role.CLIENT, headers, 0)
    await client.post(f"{API}/auth/password/forgot", json={"email": SEEDED[0].upper()})
    await client.post(f"{API}/auth/mfa/totp", headers=headers)
    doctor, product = await world.doctor(), await world.product()
    for clock in ("09:00", "10:00"):
        body = {
            "doctor_id": doctor,
            "starts_at": clinic_time(world.container, next_weekday(), clock),
            "reason": SEEDED[2],
        }
        made = await client.post(f"{API}/appointments", json=body, headers=headers | {"Idempotency-Key": clock})
        assert made.status_code == 201, made.text
    await world.execute("UPDATE appointments SET status = 'completed' WHERE id = 1")
    items = {"items": [{"product_id": product, "quantity": 2}]}
    assert (await client.post(f"{API}/orders", json=items, headers=headers)).status_code == 201
    note = {
        "template": "announcement",
        "subject": "News",
        "audience": {"user_ids": [person.id]},
        "context": {"body": "Hello"},
    }
    await client.post(f"{API}/notifications", json=note, headers=admin.headers)
    await world.run_jobs()
    await world.execute("UPDATE webhook_deliveries SET response_body = :said", said=f"hello {SEEDED[0]}")
    failed = {"failed": [{"user_id": person.id, "email": SEEDED[0]}, {"user_id": 999, "email": "x@example.com"}]}
    await world.execute(
        "UPDATE jobs SET result = CAST(:said AS jsonb) WHERE name = 'notification.send'", said=json.dumps(failed)
    )
    await world.execute(
        "UPDATE auth_sessions SET address = :address WHERE user_id = :id", address=SEEDED[3], id=person.id
    )
    return person


async def traces(world: World) -> dict[str, set[str]]:
    """Which seeded words stand in which table."""
    found: dict[str, set[str]] = {}
    for table in Base.metadata.sorted_tables:
        rows = await world.rows(f"SELECT lower(t::text) AS words FROM {table.name} AS t")
        if words := {word for word in SEEDED for row in rows if word.lower() in row.words}:
            found[table.name] = words
    return found


async def test_nothing_of_an_erased_person_is_left(
    client: httpx.AsyncClient, world: World, erasure: ErasureService
) -> None:
    """No table has their addresses, name, reason or device; accounts and statistics add up still."""
    person = await lived(client, world)
    before = await traces(world)
    assert {"users", "auth_sessions", "appointments", "jobs", "webhook_deliveries", "audit_events"} <= before.keys()
    tried = await erasure.erase(SEEDED[0].upper(), dry_run=True)
    assert await traces(world) == before
    assert (tried.appointments, tried.orders) == (1, 1)
    done = await erasure.erase(SEEDED[0])
    assert await traces(world) == {}
    assert {name for name, number in done.counts.items() if number} == set(ERASED)
    assert (await client.get(f"{API}/users/me", headers=person.headers)).status_code == 401
    assert (await world.rows("SELECT status FROM appointments ORDER BY id")) == [("completed",), ("cancelled",)]
    assert await world.scalar("SELECT status FROM orders") == "cancelled"
    assert await world.scalar("SELECT stock FROM products") == 10
    assert (
        await world.scalar("SELECT result -> 'failed' -> 0 ->> 'user_id' FROM jobs WHERE name = 'notification.send'")
        == "999"
    )
    [audited] = await world.rows("SELECT object_id, changes FROM audit_events WHERE action = 'user.erased'")
    assert (audited.object_id, audited.changes["users"]) == (person.id, 1)
    [kept] = await world.rows("SELECT changes FROM audit_events WHERE action = 'email.changed'")
    assert kept.changes == {"email": "erased"}
    again = await erasure.erase(str(person.id))
    assert not any(again.counts.values())
    await world.run_jobs()
    assert await world.count("audit_events WHERE action = 'user.erased'") == 1
    # The address is free again, for whoever it belongs to.
    registration = {"email": SEEDED[0], "full_name": "Somebody else", "password": PASSWORD}
    await client.post(f"{API}/auth/register", json=registration)
    assert await world.scalar("SELECT count(*) FROM users WHERE email = :email", email=SEEDED[0]) == 1


async def test_an_interrupted_erasure_is_finished_by_the_next(
    client: httpx.AsyncClient, world: World, erasure: ErasureService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off after the cancellations, nobody can sign in any more, and a repetition finishes it."""
    person = await lived(client, world)

    async def cut_off(*_: Any) -> Any:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(ErasureService, "_erase", cut_off)
        with pytest.raises(ConnectionError):
            await erasure.erase(str(person.id))
    assert (await client.get(f"{API}/users/me", headers=person.headers)).status_code == 401
    assert SEEDED[0] in (await traces(world))["users"]
    done = await erasure.erase(str(person.id))
    assert (done.appointments, done.orders) == (0, 0)
    assert await traces(world) == {}


async def test_the_last_superadmin_stays(world: World, erasure: ErasureService) -> None:
    """Whoever alone could let anybody in is not erased; beside another one they are."""
    last = await world.superadmin()
    with pytest.raises(Conflict, match="last superadmin"):
        await erasure.erase(str(last.id))
    await world.superadmin()
    await erasure.erase(str(last.id))
    assert await world.scalar("SELECT is_active FROM users WHERE id = :id", id=last.id) is False


def _at(settings: Settings, folder: Path) -> Settings:
    return settings.model_copy(update={"backup": settings.backup.model_copy(update={"directory": folder})})


async def test_an_export_has_all_and_no_secret(
    client: httpx.AsyncClient, world: World, settings: Settings, tmp_path: Path
) -> None:
    """One document with every table of the person, their own rows alone, and nothing that opens anything."""
    person, other = await lived(client, world), await world.person(full_name="Otto Other")
    file = tmp_path / "export.json"
    [line] = await export(settings, SEEDED[0], file)
    assert str(file) in line
    assert file.stat().st_mode & 0o777 == 0o600
    document = json.loads(file.read_text())
    assert document["user_id"] == person.id
    assert document["data"].keys() == EXPORTED.keys()
    filled = {name for name, rows in document["data"].items() if rows}
    assert filled >= {*EXPORTED} - {"webhook_endpoints", "payments", "recovery_codes", "audit_events"}
    assert [row["reason"] for row in document["data"]["appointments"]] == [SEEDED[2]] * 2
    text = file.read_text()
    assert other.email not in text
    for column in ("password_hash", "token_hash", "sealed_secret", "code_hash", "lease_token"):
        assert column not in text
    with pytest.raises(FileExistsError):
        await export(settings, SEEDED[0], file)


async def test_a_restore_erases_again(
    client: httpx.AsyncClient, world: World, settings: Settings, tmp_path: Path
) -> None:
    """Who was erased after the backup is not in what is restored from it."""
    person = await lived(client, world)
    given = _at(settings, tmp_path)
    address = DatabaseAddress.direct(settings.database)
    database = patient_database(settings, address)
    service = BackupService(given.backup, address, database, make_backup_storage(given))
    await service.make()
    [first, *_] = await erase(given, str(person.id), dry_run=False)
    assert "appointments cancelled: 1" in first
    elsewhere = address.other("restored_and_erased")
    try:
        done = await RestoreService(given, service, elsewhere).restore("latest", replace=None)
        assert done.erased == 1
        restored = patient_database(settings, elsewhere)
        async with restored.engine.connect() as connection:
            [row] = (await connection.exec_driver_sql(f"SELECT t::text FROM users AS t WHERE id = {person.id}")).all()
        await restored.close()
        assert "erased.invalid" in row[0]
        assert SEEDED[1] not in row[0]
    finally:
        server = patient_database(settings, address.other("postgres"))
        await backups.drop_database(server.single, elsewhere.name)
        await server.close()
        await database.close()
    assert await erase(given, None, dry_run=False) == [
        "1 accounts are on the list of the erased; 0 were here and are erased again"
    ]
