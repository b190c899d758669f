"""Accounts."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.dialects.postgresql import insert

from app.core.database import AnyRow, ReadSession, WriteSession, hear_own_change
from app.core.enums import Role
from app.core.listing import Filter, Operator
from app.crud.base import CRUDBase
from app.models import User


def _same(email: str) -> ColumnElement[bool]:
    # The database lowers both sides: Python and a collation do not agree on every letter.
    return func.lower(User.email) == func.lower(email)


_SAME: Mapping[Operator, Callable[[Any], ColumnElement[bool]]] = {
    "eq": _same,
    "ne": lambda email: ~_same(email),
    "in": lambda emails: func.lower(User.email).in_([func.lower(email) for email in emails]),
}


class UserCRUD(CRUDBase[User]):
    async def by_email(self, read: ReadSession, email: str) -> AnyRow | None:
        return await read.first(self.select(_same(email)))

    async def id_by_email(self, session: WriteSession, email: str) -> int | None:
        statement = select(User.id).where(_same(email), *self.live())
        return (await session.execute(statement)).scalar_one_or_none()

    async def lock_superadmins(self, session: WriteSession) -> set[int]:
        """The ids of those who can sign in, their rows locked in one order by every caller."""
        statement = select(User.id).where(User.role == Role.SUPERADMIN, User.is_active, *self.live())
        locked = statement.order_by(User.id).with_for_update(key_share=True)
        return set((await session.execute(locked)).scalars())

    async def replace_hash(self, session: WriteSession, user_id: int, *, old: str, new: str) -> None:
        """Keep the same password under another hash, unless it was changed meanwhile."""
        statement = update(User).where(User.id == user_id, User.password_hash == old)
        await session.execute(statement.values(password_hash=new))

    async def add_if_free(self, session: WriteSession, **values: Any) -> User | None:
        """The new account, or None when its e-mail is taken; two rivals for one address never both win."""
        statement = (
            insert(User)
            .values(**values)
            .on_conflict_do_nothing(index_elements=[func.lower(User.email)], index_where=User.deleted_at.is_(None))
        )
        return (await session.execute(statement.returning(User))).scalar_one_or_none()

    async def patch(self, session: WriteSession, obj: User, changes: Mapping[str, Any]) -> User:
        user = await super().patch(session, obj, changes)
        await hear_own_change(session)
        return user

    async def soft_delete(self, session: WriteSession, obj: User) -> None:
        await super().soft_delete(session, obj)
        await hear_own_change(session)

    def _condition(self, one: Filter) -> ColumnElement[bool]:
        # An address is one however it is written; the order of a list is that of the letters as they are.
        if one.field == "email" and one.operator in _SAME:
            return _SAME[one.operator](one.value)
        return super()._condition(one)


users = UserCRUD(User)
