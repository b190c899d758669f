"""The circuit breaker: a partner that keeps failing is left alone, then tried by one call at a time."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from app.integrations.errors import CircuitOpen
from app.integrations.policy import Policy

FORGOTTEN_AFTER = 20
"""So many times `open_for` an open circuit is kept when nobody calls; then nothing is known of the partner any more."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """The permission for one call; `probe` when the circuit's fate hangs on it."""

    probe: bool = False


class Circuit(Protocol):
    async def admit(self) -> Ticket:
        """Let one call through. Raises CircuitOpen."""
        ...

    async def record(self, ticket: Ticket, *, ok: bool) -> bool:
        """Note how an admitted call ended; whether the circuit is open now."""
        ...

    async def is_open(self) -> bool:
        """Whether the partner is left alone, for all that is known without a call."""
        ...


@dataclass(slots=True)
class _Counts:
    good: int = 0
    bad: int = 0


@dataclass(slots=True)
class LocalCircuit:
    """The circuit as this process alone knows it. Counts the present window of time and the one before."""

    policy: Policy
    clock: Callable[[], float] = time.monotonic
    _open_until: float | None = None
    _probe_until: float = 0.0
    _window: int = 0
    _now: _Counts = field(default_factory=_Counts)
    _before: _Counts = field(default_factory=_Counts)

    async def admit(self) -> Ticket:
        if self._open_until is None:
            return Ticket()
        now = self.clock()
        if (wait := max(self._open_until, self._probe_until) - now) > 0:
            raise CircuitOpen("the circuit is open", sent=False, retry_after=wait)
        # A probe that dies without a word must not keep the circuit open for good.
        self._probe_until = now + self.policy.total
        return Ticket(probe=True)

    async def record(self, ticket: Ticket, *, ok: bool) -> bool:
        now = self.clock()
        if self._open_until is not None:
            if ticket.probe:
                self._probe_until = 0.0
                self._open_until = None if ok else now + self.policy.open_for
                self._now, self._before = _Counts(), _Counts()
            # An answer to a call from before it opened says nothing new.
            return self._open_until is not None
        self._turn(int(now / self.policy.window))
        if ok:
            self._now.good += 1
            return False
        self._now.bad += 1
        bad = self._now.bad + self._before.bad
        calls = bad + self._now.good + self._before.good
        if bad >= self.policy.failures and bad >= self.policy.failure_ratio * calls:
            self._open_until = now + self.policy.open_for
        return self._open_until is not None

    async def is_open(self) -> bool:
        kept = (FORGOTTEN_AFTER - 1) * self.policy.open_for
        return self._open_until is not None and self.clock() < self._open_until + kept

    def _turn(self, window: int) -> None:
        if window != self._window:
            self._before = self._now if window == self._window + 1 else _Counts()
            self._now, self._window = _Counts(), window
