"""How many requests a user, or an address, may make in a minute, by the class of the request (decision 0033).

Writes and sign-ins are counted on Redis, exactly. Reads are counted in this process, exactly, and told to the others
once a second: a read that waited for Redis would cost what reading itself does.
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from contextvars import Context
from dataclasses import dataclass
from typing import Literal

from limits.aio.storage import Storage
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import RateLimited
from app.core.metrics import LIMITED
from app.core.rate_limit import AWAY, SharedStorage

Kind = Literal["read", "write", "auth"]
WINDOW = 60
SYNC_EVERY = 1.0
SYNC_KEYS = 50
MAX_KEYS = 50_000
BASE = "/api/v1/"
_PARTNERS = re.compile(BASE + "webhooks/[^/]*")
_READS = frozenset({"GET", "HEAD", "OPTIONS"})


def kind_of(method: str, path: str) -> Kind | None:
    """The class of a request; None for one that nobody limits: probes, metrics, pages, and what partners send."""
    if not path.startswith(BASE) or (method == "POST" and _PARTNERS.fullmatch(path)):
        return None
    if method in _READS:
        return "read"
    return "auth" if path.startswith(BASE + "auth/") else "write"


@dataclass(slots=True)
class _Count:
    """Of one key in this window: by this process, by the others as far as known, and what they were told."""

    own: int = 0
    others: int = 0
    told: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    limit: int
    used: int
    reset: int

    @property
    def exceeded(self) -> bool:
        return self.used > self.limit


class RequestLimits:
    """Fixed windows of a minute. `amounts` has the limit of each class; 0 is none."""

    def __init__(
        self, storage: Storage, amounts: Mapping[Kind, int], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._shared = SharedStorage(storage)
        self._amounts = amounts
        self._window = 0
        self._counts: dict[str, _Count] = {}
        self._synced_at = 0.0
        self._syncing: asyncio.Task[None] | None = None

    async def hit(self, kind: Kind, caller: str) -> Standing | None:
        """Count one request; None when nobody limits its class."""
        limit = self._amounts[kind]
        if not limit:
            return None
        now = self._clock()
        window = int(now) // WINDOW
        if window != self._window:
            self._window, self._counts = window, {}
        reset = max(1, (window + 1) * WINDOW - int(now))
        key = f"{kind}/{caller}"
        if kind == "read":
            return Standing(limit, self._count(key), reset)
        if self._shared.usable:
            try:
                return Standing(limit, await self._told(key, 1), reset)
            except AWAY as error:
                self._shared.shun(error)
        return Standing(limit, self._count(key, share=False), reset)

    def _count(self, key: str, *, share: bool = True) -> int:
        count = self._counts.get(key)
        if count is None:
            if len(self._counts) >= MAX_KEYS:
                # So many callers at once are no single one's doing, and memory is dearer than counting them.
                return 1
            count = self._counts[key] = _Count()
        count.own += 1
        if share and time.monotonic() - self._synced_at >= SYNC_EVERY and self._syncing is None:
            # On nobody's behalf: in the context of this request it would be part of its trace and of its log lines.
            self._syncing = asyncio.create_task(self._sync(), context=Context())
        return count.own + count.others

    async def _sync(self) -> None:
        """Tell the others the largest of what they don't know, and learn what they told."""
        window, counts = self._window, self._counts
        try:
            reads = [(key, one) for key, one in counts.items() if key.startswith("read/") and one.own > one.told]
            reads.sort(key=lambda pair: pair[1].told - pair[1].own)
            for key, count in reads[:SYNC_KEYS]:
                news = count.own - count.told
                total = await self._told(key, news, window)
                count.told += news
                count.others = total - count.told
        except AWAY as error:
            self._shared.shun(error)
        finally:
            self._synced_at = time.monotonic()
            self._syncing = None

    async def _told(self, key: str, news: int, window: int | None = None) -> int:
        return await self._shared.storage.incr(f"requests/{window or self._window}/{key}", 2 * WINDOW, news)


def _headers(standing: Standing) -> list[tuple[bytes, bytes]]:
    return [
        (b"ratelimit-policy", b"%d;w=%d" % (standing.limit, WINDOW)),
        (b"ratelimit-limit", b"%d" % standing.limit),
        (b"ratelimit-remaining", b"%d" % max(0, standing.limit - standing.used)),
        (b"ratelimit-reset", b"%d" % standing.reset),
    ]


class RequestLimitMiddleware:
    """Refuses with 429 what is too much, and says with every limited answer how much is left."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Callable[[Scope], RequestLimits],
        caller: Callable[[Scope, Kind], str],
        refuse: Callable[[Request, RateLimited], Response],
    ) -> None:
        self.app = app
        self._limits = limits
        self._caller = caller
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = kind_of(scope["method"], scope["path"]) if scope["type"] == "http" else None
        standing = await self._limits(scope).hit(kind, self._caller(scope, kind)) if kind is not None else None
        if standing is None:
            await self.app(scope, receive, send)
            return

        async def respond(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_headers(standing)]
            await send(message)

        if standing.exceeded:
            LIMITED.labels(kind).inc()
            await self._refuse(Request(scope), RateLimited(standing.reset))(scope, receive, respond)
        else:
            await self.app(scope, receive, respond)
