"""Second factors and their recovery codes."""

from collections.abc import Sequence

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from app.core.database import AnyRow, WriteSession
from app.models import RecoveryCode, TotpCredential


class SecondFactorCRUD:
    async def lock(self, session: WriteSession, user_id: int) -> AnyRow | None:
        """The user's factor, its row locked until the transaction ends: of many codes at once each is looked at when
        those before it have been counted."""
        statement = select(TotpCredential.__table__).where(TotpCredential.user_id == user_id)
        return (await session.execute(statement.with_for_update(key_share=True))).first()

    async def enrol(self, session: WriteSession, *, user_id: int, sealed_secret: bytes) -> bool:
        """Keep a secret that waits for its confirmation; False when one has been confirmed already."""
        statement = insert(TotpCredential).values(user_id=user_id, sealed_secret=sealed_secret)
        statement = statement.on_conflict_do_update(
            index_elements=["user_id"],
            set_={"sealed_secret": sealed_secret, "last_step": 0},
            where=TotpCredential.confirmed_at.is_(None),
        )
        return (await session.execute(statement.returning(TotpCredential.user_id))).first() is not None

    async def use_step(self, session: WriteSession, *, user_id: int, step: int, sealed_secret: bytes) -> bool:
        """Use up the codes up to `step` in one statement: of rivals with one code one gets True."""
        statement = (
            update(TotpCredential)
            .where(
                TotpCredential.user_id == user_id,
                TotpCredential.last_step < step,
                TotpCredential.sealed_secret == sealed_secret,
            )
            .values(last_step=step)
            .returning(TotpCredential.user_id)
        )
        return (await session.execute(statement)).first() is not None

    async def confirm(self, session: WriteSession, *, user_id: int, code_hashes: Sequence[bytes]) -> None:
        await session.execute(
            update(TotpCredential).where(TotpCredential.user_id == user_id).values(confirmed_at=func.now())
        )
        await session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
        await session.execute(insert(RecoveryCode), [{"user_id": user_id, "code_hash": one} for one in code_hashes])

    async def use_recovery_code(self, session: WriteSession, *, user_id: int, code_hash: bytes) -> bool:
        """Use up a recovery code in one statement."""
        statement = (
            update(RecoveryCode)
            .where(RecoveryCode.user_id == user_id, RecoveryCode.code_hash == code_hash, RecoveryCode.used_at.is_(None))
            .values(used_at=func.now())
            .returning(RecoveryCode.id)
        )
        return (await session.execute(statement)).first() is not None

    async def remove(self, session: WriteSession, user_id: int) -> bool:
        """Whether there was one, confirmed or not."""
        statement = delete(TotpCredential).where(TotpCredential.user_id == user_id)
        return (await session.execute(statement.returning(TotpCredential.user_id))).first() is not None


second_factors = SecondFactorCRUD()
