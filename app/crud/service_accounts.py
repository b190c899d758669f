"""Programs that sign in for themselves, and their secrets."""

from collections.abc import Sequence

from sqlalchemy import bindparam, func, select, update

from app.core.database import AnyRow, ReadSession, WriteSession, hear_own_change
from app.crud.base import CRUDBase
from app.models import ServiceAccount, ServiceAccountSecret

_PRINCIPAL = (
    select(
        ServiceAccount.id, ServiceAccount.name, ServiceAccount.scopes, ServiceAccount.created_at, ServiceAccount.version
    )
    .join(ServiceAccountSecret, ServiceAccountSecret.account_id == ServiceAccount.id)
    .where(
        ServiceAccount.id == bindparam("account_id"),
        ServiceAccount.deleted_at.is_(None),
        ServiceAccountSecret.id == bindparam("secret_id"),
        ServiceAccountSecret.revoked_at.is_(None),
    )
)


class ServiceAccountCRUD(CRUDBase[ServiceAccount]):
    async def principal(self, read: ReadSession, *, account_id: int, secret_id: int) -> AnyRow | None:
        """The account behind a live secret; None when either has ended."""
        return await read.first(_PRINCIPAL, {"account_id": account_id, "secret_id": secret_id})

    async def by_secret(self, read: ReadSession, *, account_id: int, secret_hash: bytes) -> AnyRow | None:
        """The account and its secret of this hash, both living."""
        statement = (
            select(ServiceAccount.id, ServiceAccount.scopes, ServiceAccountSecret.id.label("secret_id"))
            .join(ServiceAccountSecret, ServiceAccountSecret.account_id == ServiceAccount.id)
            .where(
                ServiceAccount.id == account_id,
                ServiceAccount.deleted_at.is_(None),
                ServiceAccountSecret.secret_hash == secret_hash,
                ServiceAccountSecret.revoked_at.is_(None),
            )
        )
        return await read.first(statement)

    async def secrets(self, read: ReadSession, account_ids: Sequence[int]) -> Sequence[AnyRow]:
        """The living secrets of these accounts, oldest first."""
        columns = ServiceAccountSecret.__table__.c
        statement = select(columns.id, columns.account_id, columns.created_at)
        living = statement.where(columns.account_id.in_(account_ids), columns.revoked_at.is_(None))
        return await read.all(living.order_by(columns.id))

    async def count_secrets(self, session: WriteSession, account_id: int) -> int:
        statement = select(func.count()).select_from(ServiceAccountSecret)
        living = statement.where(
            ServiceAccountSecret.account_id == account_id, ServiceAccountSecret.revoked_at.is_(None)
        )
        return int((await session.execute(living)).scalar_one())

    async def add_secret(self, session: WriteSession, *, account_id: int, secret_hash: bytes) -> ServiceAccountSecret:
        secret = ServiceAccountSecret(account_id=account_id, secret_hash=secret_hash)
        session.add(secret)
        await session.flush()
        return secret

    async def revoke_secret(self, session: WriteSession, *, account_id: int, secret_id: int) -> bool:
        """End a living secret and its tokens; False when there is none with this id."""
        statement = (
            update(ServiceAccountSecret)
            .where(
                ServiceAccountSecret.id == secret_id,
                ServiceAccountSecret.account_id == account_id,
                ServiceAccountSecret.revoked_at.is_(None),
            )
            .values(revoked_at=func.now())
            .returning(ServiceAccountSecret.id)
        )
        ended = (await session.execute(statement)).first() is not None
        await hear_own_change(session)
        return ended

    async def raise_version(self, session: WriteSession, account: ServiceAccount) -> None:
        """Its secrets have changed, and are shown with it."""
        account.version += 1
        await session.flush()

    async def soft_delete(self, session: WriteSession, obj: ServiceAccount) -> None:
        await super().soft_delete(session, obj)
        await hear_own_change(session)


service_accounts = ServiceAccountCRUD(ServiceAccount)
