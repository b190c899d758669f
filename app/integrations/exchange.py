"""One HTTP exchange: a request out, an answer in, of bounded size, in terms of our own errors."""

import email.utils
import math
import time
from dataclasses import dataclass

import httpx

from app.integrations.errors import Malformed, PartnerError, RateLimited, Rejected, TimedOut, TooLarge, Unavailable

_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-correlation-id", "x-amzn-requestid")
_NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_LONGEST_ID = 128
_LONGEST_CODE = 64


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read to its end."""

    status: int
    headers: httpx.Headers
    content: bytes

    @property
    def request_id(self) -> str | None:
        """The partner's own name for the exchange, for its support desk."""
        found = next((self.headers[name] for name in _REQUEST_ID_HEADERS if name in self.headers), None)
        return found[:_LONGEST_ID] if found else None

    @property
    def retry_after(self) -> float | None:
        """Seconds, from either form of the header; None when it is missing or nonsense."""
        return _retry_after(self.headers.get("retry-after", ""))


async def exchange(client: httpx.AsyncClient, request: httpx.Request, *, max_bytes: int) -> Reply:
    """Send and read to the end, but no further than `max_bytes`. Raises PartnerError for what the wire does."""
    try:
        response = await client.send(request, stream=True)
        try:
            reply = Reply(response.status_code, response.headers, b"")
            content = await _read(response, reply, max_bytes)
        finally:
            await response.aclose()
    except _NOTHING_SENT as error:
        raise Unavailable(_reason(error), sent=False) from error
    except httpx.TimeoutException as error:
        raise TimedOut(_reason(error)) from error
    except (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError) as error:
        raise Unavailable(_reason(error)) from error
    return Reply(reply.status, reply.headers, content)


async def _read(response: httpx.Response, reply: Reply, max_bytes: int) -> bytes:
    # We ask for none: a small body could unfold into one of any size.
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise Malformed("the answer is compressed, which was not asked for", request_id=reply.request_id)
    declared = response.headers.get("content-length", "")
    too_large = TooLarge(f"the answer is larger than {max_bytes} bytes", request_id=reply.request_id)
    if declared.isdecimal() and int(declared) > max_bytes:
        raise too_large
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > max_bytes:
            raise too_large
    return bytes(content)


def refusal(reply: Reply, *, code: str | None = None) -> PartnerError | None:
    """What a status alone says: None for 2xx."""
    said, request_id = f"answered {reply.status}", reply.request_id
    if 200 <= reply.status < 300:
        return None
    if reply.status == 429:
        return RateLimited(said, sent=False, request_id=request_id, retry_after=reply.retry_after)
    if reply.status in {408, 425} or (reply.status >= 500 and reply.status != 501):
        return Unavailable(said, request_id=request_id, retry_after=reply.retry_after)
    if 300 <= reply.status < 400:
        return Malformed(f"{said}: redirects are not followed", request_id=request_id)
    code = code[:_LONGEST_CODE] if code else None
    return Rejected(f"{said} {code or ''}".rstrip(), status=reply.status, code=code, request_id=request_id)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__} {error}".rstrip()


def _retry_after(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
