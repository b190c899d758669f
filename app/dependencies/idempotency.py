"""`Idempotency-Key`: the key is looked up before the effect and stored in its transaction.

This half decides whether the request is new; routers/route.py holds the other half, which stores the answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Protocol

from fastapi import Depends, Header, Request
from sqlalchemy.ext.asyncio import AsyncSessionTransaction

from app.core.database import WriteSession
from app.core.errors import IdempotencyInFlight, IdempotencyMismatch, Invalid
from app.core.sealing import Sealer
from app.crud.idempotency_keys import KEPT, idempotency_keys
from app.dependencies.resources import Auth, container_of
from app.dependencies.session import Write
from app.services.auth import AuthService

STORED_HEADERS = ("content-type", "location", "etag")


class StoredAnswer(Exception):
    """The first answer to this key."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(status)
        self.status, self.headers, self.body = status, headers, body


class Reservation(Protocol):
    """What holds the key before the transaction of the request begins (idempotent_steps.py)."""

    def answered(self) -> None:
        """The answer is stored, and there is nothing to give back."""


class Keeper(Protocol):
    """What the route does with the answer to a request under a key."""

    @property
    def effect(self) -> AsyncSessionTransaction | None:
        """The savepoint of the work, when it is in the transaction of the request."""

    async def keep(self, *, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Keep the answer with its effect."""


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request that carries a key."""

    owner: str
    route: str
    key: str
    request_hash: bytes
    sealer: Sealer

    @property
    def named(self) -> dict[str, str]:
        return {"owner": self.owner, "route": self.route, "key": self.key}

    async def admit(self, session: WriteSession, *, reserved: bool = False) -> None:
        """Hold the key until the transaction ends. Raises StoredAnswer, IdempotencyMismatch or IdempotencyInFlight.

        `reserved`: what is under way is this very request.
        """
        if not await idempotency_keys.try_lock(session, **self.named):
            raise IdempotencyInFlight
        stored = await idempotency_keys.find(session, **self.named, kept=KEPT)
        if stored is None:
            return
        if stored.request_hash != self.request_hash:
            raise IdempotencyMismatch
        if stored.status is None:
            if stored.under_way and not reserved:
                raise IdempotencyInFlight
            return
        body: bytes = stored.body
        # JSON does not begin like this: answers that were stored before they were sealed are told apart.
        if body.startswith(b"\x01"):
            body = self.sealer.open(self._purpose, body)
        raise StoredAnswer(stored.status, stored.headers, body)

    async def store(self, session: WriteSession, *, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Keep the answer. Its body may show a secret that is shown once, so it is sealed."""
        await idempotency_keys.store(
            session,
            **self.named,
            request_hash=self.request_hash,
            status=status,
            headers={name: headers[name] for name in STORED_HEADERS if name in headers},
            body=self.sealer.seal(self._purpose, body),
        )

    @property
    def _purpose(self) -> str:
        return f"idempotent-answer {self.owner} {self.route} {self.key}"


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A request whose key is held until its one transaction ends; `effect` is the savepoint of its work."""

    session: WriteSession
    effect: AsyncSessionTransaction
    keyed: KeyedRequest

    async def keep(self, *, status: int, headers: Mapping[str, str], body: bytes) -> None:
        await self.keyed.store(self.session, status=status, headers=headers, body=body)


KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x20-\x7e]+$",
        description="send it again with the same bytes to repeat a request safely: the first answer again, for 24 h",
    ),
]


async def keyed(request: Request, auth: AuthService, key: str) -> KeyedRequest:
    """The request under its key. Raises Invalid when it has several: a repeat might come with another of them alone."""
    if len(set(request.headers.getlist("idempotency-key"))) > 1:
        raise Invalid("is given more than once", loc=("header", "Idempotency-Key"), kind="repeated")
    principal = getattr(request.state, "principal", None)
    owner = f"user:{principal.id}" if principal else "anonymous"
    # Keyed: a body may hold a password, which a plain hash would let whoever reads the table guess at.
    request_hash = auth.opaque_tokens.sign("idempotent-request", await request.body())
    return KeyedRequest(owner, f"{request.method} {request.url.path}", key, request_hash, container_of(request).answers)


async def idempotency_key(request: Request, session: Write, auth: Auth, key: KeyHeader = None) -> None:
    if key is None:
        return
    first = await keyed(request, auth, key)
    reservation: Reservation | None = getattr(request.state, "reservation", None)
    await first.admit(session, reserved=reservation is not None)
    if reservation is not None:
        session.after_commit(reservation.answered)
    request.state.idempotent = IdempotentRequest(session, await session.begin_nested(), first)


Idempotent = Depends(idempotency_key)
