"""Accounts."""

from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.dialects.postgresql import insert

from app.core.database import ReadSession, WriteSession
from app.crud.base import CRUDBase
from app.models import User


class UserCRUD(CRUDBase[User]):
    async def by_email(self, read: ReadSession, email: str) -> Row[Any] | None:
        return await read.first(self.select(func.lower(User.email) == email.lower()))

    async def id_by_email(self, session: WriteSession, email: str) -> int | None:
        statement = select(User.id).where(func.lower(User.email) == email.lower(), *self.live())
        return (await session.execute(statement)).scalar_one_or_none()

    async def add_if_free(self, session: WriteSession, **values: Any) -> User | None:
        """The new account, or None when its e-mail is taken; two rivals for one address never both win."""
        statement = (
            insert(User)
            .values(**values)
            .on_conflict_do_nothing(index_elements=[func.lower(User.email)], index_where=User.deleted_at.is_(None))
        )
        return (await session.execute(statement.returning(User))).scalar_one_or_none()


users = UserCRUD(User)
