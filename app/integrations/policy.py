"""How we call a partner: what every number of it means, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """Seconds unless said otherwise. The defaults fit a REST API that answers in well under a second."""

    connect: float = 2
    read: float = 5
    """Longest silence while an answer is awaited or read."""
    write: float = 5
    attempt: float = 6
    """One attempt as a whole, however steadily the answer drips."""
    total: float = 15
    """All attempts and the waits between them; the caller's own deadline may cut it shorter."""

    attempts: int = 3
    backoff: float = 0.2
    """Upper bound of the first wait; doubled each time, and drawn between zero and the bound."""
    backoff_cap: float = 3
    retry_after_cap: float = 10
    """A longer Retry-After ends the call: its caller may come back then."""
    retry_ratio: float = 0.1
    """Retries per call that are paid back; `retry_reserve` may be used up at once."""
    retry_reserve: float = 10

    max_bytes: int = 4 * 1024 * 1024
    """Largest body of an answer that is read."""
    concurrency: int = 16
    """Calls at once, in each process."""
    rate: float | None = None
    """Calls per second, in each process; None: no limit."""
    burst: int = 10
    queue: float = 2
    """Longest wait for room under those limits."""

    failures: int = 5
    """So many failures, and at least `failure_ratio` of the calls, within `window`, open the circuit."""
    failure_ratio: float = 0.5
    window: float = 10
    open_for: float = 5
    """Then one call tries; its outcome closes the circuit or keeps it open for as long again."""
