"""Erasing a person: what is erased, and what stays of them (decision 0092)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from app.core.audit import audit
from app.core.database import AnyRow, Database, WriteSession, hear_own_change
from app.core.enums import AppointmentStatus, Role
from app.core.errors import Conflict, NotFound
from app.crud import personal_addresses, personal_data
from app.crud.auth_sessions import auth_sessions
from app.integrations.storage import Storage
from app.schemas.erasures import Erasure
from app.services.appointments import AppointmentService
from app.services.orders import OrderService
from app.services.personal_accounts import the_account
from app.services.principal import Principal

FOLDER = "erasures"


@dataclass(frozen=True, slots=True)
class Erased:
    """`left` jobs about the person were running: the erasure is to be repeated."""

    user_id: int
    appointments: int
    orders: int
    counts: Mapping[str, int]
    left: int


@dataclass(frozen=True, slots=True)
class ErasureService:
    """`store` is where the backups are: what must outlive the database is kept with them."""

    database: Database
    store: Storage
    appointments: AppointmentService
    orders: OrderService

    async def erase(self, given: str, *, dry_run: bool = False) -> Erased:
        """Erase the account with this id or address. It may be repeated, and goes on wherever it was interrupted.

        Sessions end first; what is still to come is cancelled as the staff would, with its events; then all the rest
        goes in one transaction. NotFound; Conflict for the last superadmin, and for an address of several accounts. A
        dry run counts and changes nothing.
        """
        async with self.database.session_scope() as session:
            user = await the_account(session, given)
            if await personal_data.is_last_superadmin(session, user.id):
                raise Conflict("This is the last superadmin: make another one first.")
            coming, waiting = await personal_data.to_be_cancelled(session, user.id)
        if dry_run:
            return await self._try(user, len(coming), len(waiting))
        # Before anything is erased: whoever is on the list and was not erased yet is erased after the next restore.
        entry = Erasure(user_id=user.id, erased_at=datetime.now(UTC))
        await self.store.put(f"{FOLDER}/{user.id}.json", entry.model_dump_json().encode())
        async with self.database.session_scope() as session:
            await personal_data.turn_off(session, user.id)
            await auth_sessions.revoke_all(session, user.id)
        cancelled = await self._cancel(user.id)
        async with self.database.session_scope() as session:
            return await self._erase(session, user, *cancelled)

    async def erase_again(self, *, since: datetime | None = None) -> list[Erased]:
        """Erase everybody on the list, or who was put on it after `since`: a restored backup knows nothing of it."""
        done = []
        for entry in await self._list():
            if since is None or entry.erased_at >= since:
                try:
                    done.append(await self.erase(str(entry.user_id)))
                except NotFound:
                    continue  # the account is younger than the backup
        return done

    async def _list(self) -> list[Erasure]:
        entries = []
        for key in sorted([key async for key in self.store.keys(FOLDER)]):
            text = b"".join([chunk async for chunk in self.store.open(key)])
            entries.append(Erasure.model_validate_json(text))
        return entries

    async def _cancel(self, user_id: int) -> tuple[int, int]:
        """Each in a transaction of its own: with its event, and its stock given back."""
        async with self.database.session_scope() as session:
            coming, waiting = await personal_data.to_be_cancelled(session, user_id)
        for appointment_id in coming:
            async with self.database.session_scope() as session:
                await self.appointments.end(
                    session,
                    principal=_house(),
                    appointment_id=appointment_id,
                    status=AppointmentStatus.CANCELLED,
                    if_match=None,
                )
        for order_id in waiting:
            async with self.database.session_scope() as session:
                await self.orders.cancel(session, principal=_house(), order_id=order_id, if_match=None)
        return len(coming), len(waiting)

    async def _try(self, user: AnyRow, coming: int, waiting: int) -> Erased:
        async with self.database.session_scope() as session, session.begin_nested() as savepoint:
            found = await self._erase(session, user, coming, waiting)
            await savepoint.rollback()
        return found

    async def _erase(self, session: WriteSession, user: AnyRow, coming: int, waiting: int) -> Erased:
        await personal_data.lock(session, user.id)
        person = await personal_addresses.person(session, user)
        left = await personal_data.running_jobs(session, person)
        counts = await personal_data.erase(session, person)
        await hear_own_change(session)
        if any(counts.values()):
            await audit(session, action="user.erased", object_type="user", object_id=user.id, changes=counts)
        return Erased(user.id, coming, waiting, counts, left)


def _house() -> Principal:
    """The service itself, on behalf of the staff; no account has this id."""
    return Principal(
        session_id=0,
        id=0,
        email="",
        full_name="",
        role=Role.ADMIN,
        is_active=True,
        email_verified=True,
        created_at=datetime.now(UTC),
        version=1,
    )
