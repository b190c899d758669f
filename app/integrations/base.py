"""The ground of every partner's client: one pooled httpx client, called under one policy."""

import ssl
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from app import __version__
from app.core.context import current_cause
from app.integrations.circuit_shared import Circuits
from app.integrations.errors import Malformed
from app.integrations.exchange import Reply, exchange, refusal
from app.integrations.guard import Guard
from app.integrations.policy import Policy

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
# RFC 9110, 9.2.2: repeating them asks for nothing more.
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


@cache
def trusted_roots() -> ssl.SSLContext:
    """What all clients verify their partners with; loading it takes longer than all else in making a client."""
    return httpx.create_ssl_context()


class PartnerClient:
    """What a vendor's file derives from: it says who the vendor is and how its operations look.

    `headers` carry the credentials; they are sent with every request and never logged. `transport` replaces the
    network. Made once in a process and closed at its end.
    """

    vendor: ClassVar[str]
    policy: ClassVar[Policy] = Policy()

    def __init__(
        self,
        base_url: str,
        *,
        circuits: Circuits,
        headers: Mapping[str, str] | None = None,
        policy: Policy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._policy = rules = policy or self.policy
        self._client = httpx.AsyncClient(
            base_url=base_url,
            # Compressed answers are refused (exchange.py).
            headers={"User-Agent": f"frontdesk/{__version__}", "Accept-Encoding": "identity", **(headers or {})},
            timeout=httpx.Timeout(connect=rules.connect, read=rules.read, write=rules.write, pool=rules.connect),
            limits=httpx.Limits(max_connections=rules.concurrency, max_keepalive_connections=rules.concurrency),
            http2=True,
            verify=trusted_roots(),
            # Neither proxies nor a .netrc of the account: the settings alone say who is called how.
            trust_env=False,
            follow_redirects=False,
            transport=transport,
        )
        host = self._client.base_url.netloc.decode("ascii").rpartition("@")[2]
        self._guard = Guard(self.vendor, rules, circuits.of(f"{self.vendor}@{host}", rules))

    async def close(self) -> None:
        await self._client.aclose()

    async def call(self, operation: str, method: str, path: str, *, answer: type[M], **options: Any) -> M:
        """As `exchange`, and the JSON of the answer as `answer`, by its own validation."""
        return await self.exchange(operation, method, path, read=lambda reply: parsed(reply, answer), **options)

    async def exchange(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        read: Callable[[Reply], T],
        idempotency_key: str | None = None,
        repeatable: bool = False,
        headers: Mapping[str, str] | None = None,
        **content: Any,
    ) -> T:
        """Call the operation; `content` is httpx's (`json=`, `params=`, `content=`).

        Repeated after a failure only if the method is idempotent, or an `idempotency_key` goes with it, or the caller
        says that it is `repeatable` (a search by POST), or the partner certainly has not acted. Raises PartnerError.
        """
        sent = {**self._trace(), **(headers or {})}
        if idempotency_key is not None:
            sent["Idempotency-Key"] = idempotency_key

        async def attempt(_: float) -> T:
            request = self._client.build_request(method, path, headers=sent, **content)
            reply = await exchange(self._client, request, max_bytes=self._policy.max_bytes)
            self.judge(reply)
            return read(reply)

        safe = repeatable or idempotency_key is not None or method in _IDEMPOTENT
        return await self._guard.run(operation, attempt, repeatable=safe)

    def judge(self, reply: Reply) -> None:
        """Raise what the answer means, short of its content; a vendor with signs of its own overrides it."""
        if (error := refusal(reply, code=self.error_code(reply))) is not None:
            raise error

    def error_code(self, reply: Reply) -> str | None:
        """The vendor's code of an error, from a refusal's body; the common places unless overridden."""
        return _common_code(reply)

    @staticmethod
    def _trace() -> dict[str, str]:
        cause = current_cause()
        named = {"X-Request-ID": cause.request_id, "traceparent": cause.traceparent}
        return {name: value for name, value in named.items() if value}


def parsed(reply: Reply, answer: type[M]) -> M:
    """The JSON of the answer. Raises Malformed, which names the places but nothing that stood there."""
    try:
        return answer.model_validate_json(reply.content)
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['type']}" for one in error.errors()[:3])
        raise Malformed(f"not as agreed: {where}", request_id=reply.request_id) from None


class _CodeInside(BaseModel):
    code: str | int


class _CommonError(BaseModel):
    code: str | int | None = None
    error: _CodeInside | str | None = None


def _common_code(reply: Reply) -> str | None:
    if reply.status < 400 or len(reply.content) > 64 * 1024:
        return None
    try:
        found = _CommonError.model_validate_json(reply.content)
    except ValidationError:
        return None
    code = found.code if found.code is not None else found.error
    return str(code.code if isinstance(code, _CodeInside) else code) if code is not None else None
