"""Work under an `Idempotency-Key` that takes several transactions, because it waits for the outer world in between."""

from typing import Protocol

from pydantic import BaseModel

from app.core.database import WriteSession


class Once(Protocol):
    """What a service tells of such work, in the very transactions that begin and end it (decision 60)."""

    async def begin(self, session: WriteSession) -> None:
        """In the first transaction, before all else. Raises when the request was answered already, or runs."""

    async def end(self, session: WriteSession, answer: BaseModel) -> None:
        """In the transaction of the effect: this is the answer, to every repeat as well."""


class Unkeyed:
    """A request without a key: nothing is remembered."""

    async def begin(self, session: WriteSession) -> None: ...

    async def end(self, session: WriteSession, answer: BaseModel) -> None: ...
