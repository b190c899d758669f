"""One call to a partner under its policy, whatever protocol the attempts speak."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from app.core.logging import get_logger
from app.core.metrics import PARTNER_CALLS, PARTNER_CIRCUIT_OPEN, PARTNER_RETRIES, PARTNER_SECONDS
from app.integrations.circuit import Circuit, Ticket
from app.integrations.deadline import Deadline
from app.integrations.errors import CircuitOpen, PartnerError, RateLimited, TimedOut
from app.integrations.limits import Gate, RetryBudget
from app.integrations.policy import Policy

log = get_logger(__name__)
T = TypeVar("T")
Attempt = Callable[[float], Awaitable[T]]
"""One try, told how many seconds it has. Raises PartnerError for whatever the partner does."""
# A call that has less than this left is not worth a retry.
_WORTH_IT = 0.05


@dataclass(slots=True)
class _Call:
    operation: str
    repeatable: bool
    deadline: Deadline
    attempts: int = 0
    ended: str = "ok"
    error: PartnerError | None = None
    started: float = field(default_factory=time.perf_counter)


class Guard:
    """Retries what is safe to repeat, within the deadline and the retry budget; keeps circuit and limits; measures."""

    def __init__(self, vendor: str, policy: Policy, circuit: Circuit) -> None:
        self._vendor = vendor
        self._policy = policy
        self._circuit = circuit
        self._gate = Gate(policy)
        self._budget = RetryBudget(policy)
        self._backoff = wait_random_exponential(multiplier=policy.backoff, max=policy.backoff_cap)

    async def run(self, operation: str, attempt: Attempt[T], *, repeatable: bool) -> T:
        """The outcome of `attempt`, repeated if that is safe: the partner has not acted, or may act twice for once.

        Ends within the policy's total and the caller's deadline (`within`). Raises PartnerError.
        """
        call = _Call(operation, repeatable, Deadline.after(self._policy.total))
        self._budget.earn()
        try:
            return await self._repeated(call, attempt)
        except PartnerError as error:
            call.ended, call.error = error.outcome, error
            raise
        except BaseException as error:
            call.ended = "cancelled" if isinstance(error, asyncio.CancelledError) else "error"
            raise
        finally:
            self._account(call)

    async def _repeated(self, call: _Call, attempt: Attempt[T]) -> T:
        async for one in AsyncRetrying(
            retry=retry_if_exception(lambda error: self._may_repeat(call, error)),
            wait=self._wait,
            stop=lambda state: self._enough(call, state),
            before_sleep=lambda state: self._retrying(call, state),
            reraise=True,
        ):
            with one:
                return await self._once(call, attempt)
        raise AssertionError("unreachable: tenacity re-raises")

    async def _once(self, call: _Call, attempt: Attempt[T]) -> T:
        call.attempts += 1
        try:
            async with self._gate.slot(call.deadline):
                return await self._admitted(call, attempt)
        except PartnerError as error:
            error.vendor, error.operation = self._vendor, call.operation
            raise

    async def _admitted(self, call: _Call, attempt: Attempt[T]) -> T:
        try:
            ticket = await self._circuit.admit()
        except CircuitOpen:
            self._show(is_open=True)
            raise
        seconds = min(self._policy.attempt, call.deadline.left())
        try:
            async with asyncio.timeout(seconds):
                answer = await attempt(seconds)
        except TimeoutError as error:
            await self._record(ticket, ok=False)
            raise TimedOut(f"no complete answer within {seconds:.1f} s") from error
        except PartnerError as error:
            await self._record(ticket, ok=not error.harms)
            if isinstance(error, RateLimited) and error.asked_wait is not None:
                self._gate.pause(min(error.asked_wait, self._policy.retry_after_cap))
            raise
        await self._record(ticket, ok=True)
        return answer

    async def _record(self, ticket: Ticket, *, ok: bool) -> None:
        self._show(is_open=await self._circuit.record(ticket, ok=ok))

    def _show(self, *, is_open: bool) -> None:
        PARTNER_CIRCUIT_OPEN.labels(self._vendor).set(is_open)

    def _may_repeat(self, call: _Call, error: BaseException) -> bool:
        return isinstance(error, PartnerError) and error.transient and (call.repeatable or not error.sent)

    def _wait(self, state: RetryCallState) -> float:
        error = _error_of(state)
        return max(self._backoff(state), (error.asked_wait or 0) if error else 0)

    def _enough(self, call: _Call, state: RetryCallState) -> bool:
        error = _error_of(state)
        asked = (error.asked_wait or 0) if error else 0
        return (
            state.attempt_number >= self._policy.attempts
            or asked > self._policy.retry_after_cap
            or state.upcoming_sleep + _WORTH_IT > call.deadline.left()
            or not self._budget.spend()
        )

    def _retrying(self, call: _Call, state: RetryCallState) -> None:
        error = _error_of(state)
        PARTNER_RETRIES.labels(self._vendor, call.operation).inc()
        log.info("partner call repeated", wait=round(state.upcoming_sleep, 3), **self._fields(call, error))

    def _account(self, call: _Call) -> None:
        seconds = time.perf_counter() - call.started
        PARTNER_CALLS.labels(self._vendor, call.operation, call.ended).inc()
        PARTNER_SECONDS.labels(self._vendor, call.operation).observe(seconds)
        write = log.info if call.ended in {"ok", "rejected"} else log.warning
        write("partner call", duration_ms=round(seconds * 1000, 1), **self._fields(call, call.error))

    def _fields(self, call: _Call, error: PartnerError | None) -> dict[str, object]:
        fields: dict[str, object] = {"vendor": self._vendor, "operation": call.operation, "attempts": call.attempts}
        fields["outcome"] = error.outcome if error else call.ended
        if error is not None:
            fields |= {"reason": error.reason, "partner_request_id": error.request_id}
        return fields


def _error_of(state: RetryCallState) -> PartnerError | None:
    error = state.outcome.exception() if state.outcome else None
    return error if isinstance(error, PartnerError) else None
