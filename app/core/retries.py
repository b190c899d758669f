"""When a failed attempt is repeated."""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how far apart a job is tried; delays in seconds, doubled each time, of which half is jitter.

    `Retry.after(5, 300, 1800)` names the delays instead, `delay_of` computes them from the number of the failed
    attempt. `jitter` is the share of a delay that chance may take away.
    """

    max_attempts: int = 8
    base: float = 2
    cap: float = 600
    delay_of: Callable[[int], float] | None = None
    jitter: float = 0.5

    @classmethod
    def after(cls, *delays: float, jitter: float = 0.2) -> "Retry":
        """One attempt, and one more after each of these delays."""

        def delay_of(attempt: int) -> float:
            return delays[min(attempt, len(delays)) - 1] if delays else 0.0

        return cls(max_attempts=len(delays) + 1, delay_of=delay_of, jitter=jitter)

    def delay(self, attempt: int) -> float:
        """Seconds to wait after failed attempt number `attempt` (1 is the first)."""
        if self.delay_of is not None:
            ceiling = self.delay_of(attempt)
        else:
            ceiling = min(self.cap, self.base * 2.0 ** min(attempt - 1, 60))
        return ceiling * random.uniform(1 - self.jitter, 1)  # noqa: S311 - jitter, not a secret
