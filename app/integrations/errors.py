"""What a call to a partner may end in.

All are a core `Unavailable`: one that nobody handles is a 503 that names no partner in a request, and a reason to try
again in a job. The text of the exception, for logs and the ledger, names partner, operation and the partner's own id of
the request; it never holds a header or a body of ours.
"""

from typing import ClassVar

from app.core import errors


class PartnerError(errors.Unavailable):
    """A call that brought no answer to use."""

    message = "A partner of ours does not answer as it should; try again later."
    outcome: ClassVar[str] = "error"
    transient: ClassVar[bool] = False
    """Whether another attempt may end better."""
    harms: ClassVar[bool] = False
    """Whether it counts against the partner's circuit."""

    def __init__(
        self, reason: str, *, sent: bool = True, request_id: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(retry_after=2 if retry_after is None else max(1, round(retry_after)))
        self.reason = reason
        self.sent = sent
        """Whether the partner may have acted: False only when it certainly has not."""
        self.request_id = request_id
        self.asked_wait = retry_after
        """Seconds that the partner, or our own limit, asks to wait; None when neither said."""
        self.vendor = self.operation = "?"

    def __str__(self) -> str:
        of = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.vendor}.{self.operation}: {self.reason}{of}"


class Unavailable(PartnerError):
    """Nobody there, the connection broke, or a 5xx."""

    outcome = "unavailable"
    transient = True
    harms = True


class TimedOut(Unavailable):
    """No complete answer in time; the partner may have acted."""

    outcome = "timeout"


class RateLimited(Unavailable):
    """429: the partner refused without acting."""

    outcome = "rate_limited"
    harms = False


class Busy(Unavailable):
    """Our own limit of calls at once, or per second, left no room in time; nothing was sent."""

    outcome = "busy"
    transient = False
    harms = False


class CircuitOpen(Unavailable):
    """The partner failed too often; nothing was sent."""

    outcome = "circuit_open"
    transient = False
    harms = False


class Rejected(PartnerError):
    """A 4xx: the same request would be refused again. `partner_code` is its reason, when it gave one."""

    outcome = "rejected"

    def __init__(self, reason: str, *, status: int, code: str | None = None, request_id: str | None = None) -> None:
        super().__init__(reason, request_id=request_id)
        self.status = status
        self.partner_code = code


class Malformed(PartnerError):
    """An answer that is not what was agreed on; the partner may have acted."""

    outcome = "malformed"
    transient = True
    harms = True


class TooLarge(PartnerError):
    """The answer exceeds the cap; reading stopped there."""

    outcome = "too_large"
    harms = True
