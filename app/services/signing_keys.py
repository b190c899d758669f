"""The life of the keys that sign access tokens: made, published, used, honoured, gone."""

import asyncio
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from app.config import KEY_SET_SECONDS, AuthSettings
from app.core.access_tokens import LEEWAY
from app.core.audit import audit
from app.core.database import AnyRow, Database, ReadSession, WriteSession, is_unavailable
from app.core.enums import KeyAlgorithm
from app.core.errors import Conflict, NotFound
from app.core.key_ring import KeyRing
from app.core.logging import get_logger
from app.core.sealing import SealBroken, Sealer
from app.core.signing_keys import SigningKey as LoadedKey
from app.core.signing_keys import new_key_pair, read_private, read_public
from app.crud.signing_keys import signing_keys
from app.models import SigningKey

log = get_logger(__name__)
# How often, at most, tokens of unknown keys make a process read the table: made-up key ids cost nothing.
LEARN_EVERY = 1.0
RETRY_AFTER = 2.0
_KID = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(slots=True)
class SigningKeyService:
    """`ring` is what this process knows, the table what there is. With HS256 there is nothing to do."""

    settings: AuthSettings
    database: Database
    ring: KeyRing
    _sealer: Sealer = field(init=False)
    _loading: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    _told: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _learned_at: float = field(init=False, default=float("-inf"))

    def __post_init__(self) -> None:
        self._sealer = Sealer(self.settings)

    @property
    def public_for_seconds(self) -> int:
        """How long others may keep the key set: shorter than the next key is in it before it signs."""
        return KEY_SET_SECONDS

    @property
    def shared(self) -> bool:
        """Whether one secret signs and verifies (HS256)."""
        return self.settings.algorithm == "HS256"

    async def reload(self) -> None:
        """Know what the table says."""
        if not self.shared:
            async with self._loading:
                self.ring.replace([self._load(row) for row in await signing_keys.living(self.database.read)])

    async def ensure(self) -> None:
        """Know a key that signs; of all processes that find none, one makes it."""
        if self.ring.can_sign:
            return
        await self.reload()
        if self.ring.can_sign:
            return
        async with self.database.session_scope() as session:
            keys = await signing_keys.lock(session)
            # A key whose private half does not open was sealed under another AUTH_SECRET_KEY: it only verifies.
            if not any(self._opens(key.kid, key.sealed) for key in keys):
                made = await self._make(session, ahead=timedelta())
                await signing_keys.expire_others(session, but=made.kid, after=self._until_last_token)
                log.info("signing key made", kid=made.kid, algorithm=made.algorithm.value)
        await self.reload()

    async def watch(self) -> None:
        """Know a key soon after the start, and look for others every `AUTH_KEY_RELOAD_SECONDS`, until cancelled."""
        while True:
            try:
                await self.ensure()
                await self.reload()
                pause: float = self.settings.key_reload_seconds
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("the signing keys can't be read")
                pause = RETRY_AFTER
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), pause)
            self._told.clear()

    def hear(self, _said: str) -> None:
        """The keys have changed: `watch` looks at once."""
        self._told.set()

    def hear_nothing(self) -> None:
        """Notices may be missed: `watch` looks at once, and again when it is time."""
        self._told.set()

    async def learn(self, kid: str) -> bool:
        """Whether a key that was unknown is known now, after a look into the table that is allowed now and then."""
        if self.shared or not _KID.fullmatch(kid) or time.monotonic() - self._learned_at < LEARN_EVERY:
            return False
        self._learned_at = time.monotonic()
        await self.reload()
        return self.ring.verifying(kid) is not None

    async def rotate(self, session: WriteSession, *, at_once: bool = False) -> SigningKey:
        """Publish the next key, which signs after `AUTH_KEY_PUBLISH_AHEAD_SECONDS`, or at once. The others verify
        until their last token has expired. Conflict while a next key waits already, unless it shall sign at once."""
        self._refuse_shared()
        keys = await signing_keys.lock(session)
        await signing_keys.prune(session)
        now = time.time()
        waiting = next((key for key in keys if key.signs_from.timestamp() > now), None)
        if waiting is not None and not at_once:
            raise Conflict(f"The next key {waiting.kid} is published already; it signs from {waiting.signs_from}.")
        ahead = timedelta() if at_once else timedelta(seconds=self.settings.key_publish_ahead_seconds)
        if waiting is not None:
            await signing_keys.begin(session, waiting)
            made = waiting
        else:
            made = await self._make(session, ahead=ahead)
        await signing_keys.expire_others(session, but=made.kid, after=ahead + self._until_last_token)
        await audit(session, action="signing_key.rotated", object_type="signing_key", changes={"kid": made.kid})
        return made

    async def retire(self, session: WriteSession, *, kid: str) -> SigningKey | None:
        """End a key and every token of it at once. The key that has to sign instead, when it is another than before."""
        self._refuse_shared()
        keys = await signing_keys.lock(session)
        key = next((key for key in keys if key.kid == kid), None)
        if key is None:
            raise NotFound("There is no such key.")
        await signing_keys.retire(session, key)
        await audit(session, action="signing_key.retired", object_type="signing_key", changes={"kid": kid})
        left = [other for other in keys if other is not key and other.verify_until is None]
        now = time.time()
        if any(other.signs_from.timestamp() <= now for other in left):
            return None
        if left:
            await signing_keys.begin(session, left[0])
            return left[0]
        made = await self._make(session, ahead=timedelta())
        await signing_keys.expire_others(session, but=made.kid, after=self._until_last_token)
        return made

    async def every(self, read: ReadSession) -> Sequence[AnyRow]:
        self._refuse_shared()
        return await signing_keys.every(read)

    async def key_set(self) -> dict[str, Any]:
        """RFC 7517; empty with HS256, whose key is nobody else's business."""
        if not self.shared:
            await self.ensure()
        return {"keys": self.ring.public()}

    @property
    def _until_last_token(self) -> timedelta:
        # A process that hears late signs with the old key until it reloads.
        settings = self.settings
        return timedelta(seconds=settings.access_token_seconds + 2 * LEEWAY + settings.key_reload_seconds)

    def _refuse_shared(self) -> None:
        if self.shared:
            raise Conflict("HS256 has one key, made of AUTH_SECRET_KEY: change that, or AUTH_ALGORITHM.")

    async def _make(self, session: WriteSession, *, ahead: timedelta) -> SigningKey:
        pair = new_key_pair(KeyAlgorithm(self.settings.algorithm))
        sealed = self._sealer.seal(_purpose(pair.kid), pair.private)
        key = SigningKey(kid=pair.kid, algorithm=pair.algorithm, sealed=sealed, public_jwk=pair.jwk)
        return await signing_keys.add(session, key, ahead=ahead)

    def _opens(self, kid: str, sealed: bytes) -> bool:
        return self._open(kid, sealed) is not None

    def _open(self, kid: str, sealed: bytes) -> bytes | None:
        try:
            return self._sealer.open(_purpose(kid), sealed)
        except SealBroken:
            return None

    def _load(self, row: AnyRow) -> LoadedKey:
        known = self.ring.get(row.kid)
        if known is None:
            private = self._open(row.kid, row.sealed)
            known_private, public = read_private(private) if private else None, read_public(row.public_jwk)
        else:
            known_private, public = known.private, known.public
        return LoadedKey(
            kid=row.kid,
            algorithm=row.algorithm.value,
            public=public,
            private=known_private,
            signs_from=row.signs_from.timestamp(),
            verifies_until=row.verify_until.timestamp() if row.verify_until else float("inf"),
            jwk=row.public_jwk,
        )


def _purpose(kid: str) -> str:
    # Each opens in its own row alone.
    return f"signing-key {kid}"
