"""`Idempotency-Key` where the work takes several transactions, or begins before its only one (decisions 60 and 29).

No transaction may hold the key while a partner is asked, or a password hashed. So the first one reserves it by a row
with a lease, renewed while the work goes on; a process that dies leaves a key that is free again seconds later.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Annotated

from fastapi import Depends, Request
from pydantic import BaseModel

from app.core.database import Database, WriteSession, is_unavailable
from app.core.logging import get_logger
from app.core.once import Once, Unkeyed
from app.crud.idempotency_keys import idempotency_keys
from app.dependencies.idempotency import KeyedRequest, KeyHeader, keyed
from app.dependencies.resources import Auth, container_of

log = get_logger(__name__)
LEASE_SECONDS, RENEW_SECONDS = 3.0, 1.0


class IdempotentSteps:
    """The `Once` of a request with a key, and its `Keeper`."""

    def __init__(self, database: Database, keyed: KeyedRequest) -> None:
        self._database = database
        self._keyed = keyed
        self._renewing: asyncio.Task[None] | None = None
        self._reserved = self._answered = False
        self.effect = None

    async def begin(self, session: WriteSession) -> None:
        await self._keyed.admit(session)
        await idempotency_keys.reserve(
            session, **self._keyed.named, request_hash=self._keyed.request_hash, seconds=LEASE_SECONDS
        )
        session.after_commit(self._hold)

    async def end(self, session: WriteSession, answer: BaseModel) -> None:
        await self._keyed.store(session, status=200, headers={"content-type": "application/json"}, body=written(answer))
        session.after_commit(self.answered)

    async def keep(self, *, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Keep a refusal, which has no effect whose transaction it could share; what has ended is kept already."""
        if not self._answered:
            async with self._database.session_scope() as session:
                await self._keyed.store(session, status=status, headers=headers, body=body)
            self._answered = True

    def answered(self) -> None:
        self._answered = True

    async def close(self) -> None:
        """Give the key back unless it was answered: whatever failed may be tried again at once."""
        if self._renewing is not None:
            self._renewing.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewing
        if not self._reserved or self._answered:
            return
        try:
            async with self._database.session_scope() as session:
                await idempotency_keys.release(session, **self._keyed.named)
        except Exception as error:
            if not is_unavailable(error):
                raise
            log.warning("an idempotency key is given back by the end of its lease", error=repr(error))

    def _hold(self) -> None:
        self._reserved = True
        self._renewing = asyncio.get_running_loop().create_task(self._renew())

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                async with self._database.session_scope() as session:
                    await idempotency_keys.renew(session, **self._keyed.named, seconds=LEASE_SECONDS)
            except Exception as error:  # noqa: BLE001 - the lease ends by itself, and nothing is done twice
                log.debug("an idempotency key is not renewed", error=repr(error))


def written(answer: BaseModel) -> bytes:
    """The body of a 200, the same bytes for the first time and for a repeat."""
    return answer.model_dump_json().encode()


async def idempotent_steps(request: Request, auth: Auth, key: KeyHeader = None) -> AsyncIterator[Once]:
    if key is None:
        yield Unkeyed()
        return
    steps = IdempotentSteps(container_of(request).database, await keyed(request, auth, key))
    request.state.idempotent = steps
    try:
        yield steps
    finally:
        await steps.close()


async def reserved_key(request: Request, auth: Auth, key: KeyHeader = None) -> AsyncIterator[None]:
    if key is None:
        yield
        return
    database = container_of(request).database
    steps = IdempotentSteps(database, await keyed(request, auth, key))
    async with database.session_scope() as session:
        await steps.begin(session)
    request.state.reservation = steps
    try:
        yield
    finally:
        request.state.reservation = None
        await steps.close()


# For what is long and comes before the transaction: stands before `Idempotent`, which goes on with the reservation.
Reserved = Annotated[None, Depends(reserved_key, scope="function")]
InSteps = Annotated[Once, Depends(idempotent_steps, scope="function")]
