"""`Idempotency-Key`: the key is looked up before the effect and stored in its transaction.

This half decides whether the request is new; routers/route.py holds the other half, which stores the answer.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request
from sqlalchemy.ext.asyncio import AsyncSessionTransaction

from app.core.database import WriteSession
from app.core.errors import IdempotencyInFlight, IdempotencyMismatch
from app.core.sealing import Sealer
from app.crud.idempotency_keys import KEPT, idempotency_keys
from app.dependencies.resources import Auth, container_of
from app.dependencies.session import Write

STORED_HEADERS = ("content-type", "location", "etag")


class StoredAnswer(Exception):
    """The first answer to this key."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(status)
        self.status, self.headers, self.body = status, headers, body


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A request under a key that is held until its transaction ends; `effect` is the savepoint of its work."""

    session: WriteSession
    effect: AsyncSessionTransaction
    owner: str
    route: str
    key: str
    request_hash: bytes
    sealer: Sealer

    async def store(self, *, status: int, headers: dict[str, str], body: bytes) -> None:
        """Keep the answer. Its body may show a secret that is shown once, so it is sealed."""
        kept = {name: headers[name] for name in STORED_HEADERS if name in headers}
        await idempotency_keys.store(
            self.session,
            owner=self.owner,
            route=self.route,
            key=self.key,
            request_hash=self.request_hash,
            status=status,
            headers=kept,
            body=self.sealer.seal(_purpose(self.owner, self.route, self.key), body),
        )


async def idempotency_key(
    request: Request,
    session: Write,
    auth: Auth,
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=255,
            pattern=r"^[\x20-\x7e]+$",
            description="send the same key to repeat a request safely: the first answer is given again, for 24 h",
        ),
    ] = None,
) -> None:
    if key is None:
        return
    principal = getattr(request.state, "principal", None)
    owner = f"user:{principal.id}" if principal else "anonymous"
    route, sealer = f"{request.method} {request.url.path}", container_of(request).answers
    # Keyed: a body may hold a password, which a plain hash would let whoever reads the table guess at.
    request_hash = auth.opaque_tokens.sign("idempotent-request", await request.body())
    if not await idempotency_keys.try_lock(session, owner=owner, route=route, key=key):
        raise IdempotencyInFlight
    stored = await idempotency_keys.find(session, owner=owner, route=route, key=key, kept=KEPT)
    if stored is None:
        effect = await session.begin_nested()
        request.state.idempotent = IdempotentRequest(session, effect, owner, route, key, request_hash, sealer)
        return
    if stored.request_hash != request_hash:
        raise IdempotencyMismatch
    body: bytes = stored.body
    # JSON does not begin like this: answers that were stored before they were sealed are told apart.
    if body.startswith(b"\x01"):
        body = sealer.open(_purpose(owner, route, key), body)
    raise StoredAnswer(stored.status, stored.headers, body)


def _purpose(owner: str, route: str, key: str) -> str:
    return f"idempotent-answer {owner} {route} {key}"


Idempotent = Depends(idempotency_key)
