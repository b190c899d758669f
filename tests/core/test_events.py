"""Domain events: recorded on a session, handled in its transaction."""

from collections.abc import AsyncIterator
from typing import ClassVar

import httpx
import pytest

from app.config import Settings
from app.core.database import Database, WriteSession
from app.core.errors import DomainError
from app.core.events import Dispatcher, Event, record
from app.models import Doctor
from app.schemas import events
from app.schemas.messages.mails import SendAppointmentMail
from app.services.handlers import event_handlers
from tests.support import API, World, clinic_time, next_weekday


class Opened(Event):
    name: ClassVar[str] = "door.opened"
    object_type: ClassVar[str] = "door"


class Rang(Event):
    name: ClassVar[str] = "bell.rang"
    object_type: ClassVar[str] = "bell"


class Ended(DomainError):
    keeps_effects = True


@pytest.fixture
def handled() -> list[str]:
    return []


@pytest.fixture
async def database(settings: Settings, handled: list[str]) -> AsyncIterator[Database]:
    async def note(_: WriteSession, event: Event) -> None:
        handled.append(f"note {event.name} {event.id}")

    async def ring(session: WriteSession, event: Opened) -> None:
        if event.id == 13:
            raise ValueError("the bell is broken")
        record(session, Rang(id=event.id))

    dispatcher = Dispatcher({Opened: (note, ring), Rang: (note,)})
    database = Database(settings.database, role="api", before_commit=dispatcher)
    yield database
    await database.close()


async def test_events_are_handled_in_the_order_of_their_recording(database: Database, handled: list[str]) -> None:
    """Each event meets its handlers in the order of the table; what a handler records comes after what was there."""
    async with database.session_scope() as session:
        record(session, Opened(id=1))
        record(session, Opened(id=2))
        assert handled == []
    assert handled == ["note door.opened 1", "note door.opened 2", "note bell.rang 1", "note bell.rang 2"]


async def test_what_is_rolled_back_has_not_happened(database: Database, handled: list[str]) -> None:
    """Neither an event of a transaction that fails is handled, nor one of a savepoint that is undone inside another."""

    async def fail() -> None:
        async with database.session_scope() as session:
            record(session, Opened(id=1))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with database.session_scope() as session:
        record(session, Opened(id=2))
        kept = await session.begin_nested()
        record(session, Rang(id=3))
        await kept.commit()
        undone = await session.begin_nested()
        record(session, Rang(id=4))
        await undone.rollback()
        record(session, Rang(id=5))
    assert handled == ["note door.opened 2", "note bell.rang 3", "note bell.rang 5", "note bell.rang 2"]


async def test_an_inner_savepoint_goes_with_the_outer(database: Database, handled: list[str]) -> None:
    """What was recorded in a savepoint that was kept is forgotten when the savepoint around it is undone."""
    async with database.session_scope() as session:
        outer = await session.begin_nested()
        async with session.begin_nested():
            record(session, Rang(id=1))
        await outer.rollback()
    assert handled == []


async def test_a_failing_handler_fails_the_transaction(database: Database, world: World) -> None:
    """Nothing of the cause is kept when one of its consequences can't be written."""

    async def open_door() -> None:
        async with database.session_scope() as session:
            session.add(Doctor(full_name="Dr. House", specialty="Diagnostics", slot_minutes=30, hours=[]))
            record(session, Opened(id=13))

    with pytest.raises(ValueError, match="broken"):
        await open_door()
    assert await world.count("doctors") == 0


async def test_effects_that_an_error_keeps_have_their_consequences(database: Database, handled: list[str]) -> None:
    """An error whose effects are committed all the same has its events handled, too."""

    async def end() -> None:
        async with database.session_scope() as session:
            record(session, Rang(id=1))
            raise Ended

    with pytest.raises(Ended):
        await end()
    assert handled == ["note bell.rang 1"]


def test_every_event_has_its_row() -> None:
    """No event of the clinic is recorded that the table of handlers does not know, and names are never given twice."""
    kinds = [
        kind
        for kind in vars(events).values()
        if isinstance(kind, type) and issubclass(kind, Event) and "name" in vars(kind)
    ]
    assert kinds
    assert event_handlers().keys() == set(kinds)
    assert len({kind.name for kind in kinds}) == len(kinds)


async def test_a_refused_booking_mails_nobody(client: httpx.AsyncClient, world: World) -> None:
    """A conflict under an idempotency key is stored, and what led to it leaves no mail: only the winner gets one."""
    doctor_id = await world.doctor()
    body = {"doctor_id": doctor_id, "starts_at": clinic_time(world.container, next_weekday(), "10:00")}
    for key, status in (("one", 201), ("two", 409)):
        person = await world.person()
        headers = person.headers | {"Idempotency-Key": key}
        answer = await client.post(f"{API}/appointments", json=body, headers=headers)
        assert answer.status_code == status
    assert len(await world.enqueued(SendAppointmentMail)) == 1
