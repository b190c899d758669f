"""How far apart attempts are."""

from hypothesis import given
from hypothesis import strategies as st

from app.core.jobs import Retry

RETRIES = st.builds(Retry, max_attempts=st.integers(1, 50), base=st.floats(0.01, 60), cap=st.floats(60, 86400))


@given(RETRIES, st.integers(1, 2000))
def test_delays_stay_between_half_the_ceiling_and_the_ceiling(retry: Retry, attempt: int) -> None:
    """Attempt n is followed by a wait of 50 to 100 % of base * 2^(n-1), never more than the cap, however large n is."""
    ceiling = min(retry.cap, retry.base * 2.0 ** min(attempt - 1, 1000))
    assert ceiling / 2 <= retry.delay(attempt) <= ceiling


@given(RETRIES, st.integers(1, 12))
def test_delays_never_shrink(retry: Retry, attempt: int) -> None:
    """The longest wait after one attempt is no longer than the shortest after the next, until the cap is reached."""
    if retry.base * 2**attempt <= retry.cap:
        assert retry.delay(attempt) <= retry.delay(attempt + 1)


def test_delays_are_jittered() -> None:
    """Jobs that failed together do not come back together."""
    assert len({Retry().delay(3) for _ in range(100)}) > 90


def test_named_delays_are_kept_to() -> None:
    """One attempt more than there are delays; each is shortened by at most the jitter, the last one repeats."""
    delays = (5, 300, 1800, 7200)
    retry = Retry.after(*delays)
    assert retry.max_attempts == 5
    for attempt, most in enumerate((*delays, 7200, 7200), start=1):
        assert most * 0.8 <= retry.delay(attempt) <= most
    assert Retry.after(5, jitter=0).delay(1) == 5
    assert (Retry.after().max_attempts, Retry.after().delay(1)) == (1, 0)


def test_delays_may_be_computed() -> None:
    """A function of the failed attempt's number decides."""
    assert [Retry(delay_of=lambda attempt: attempt * 10.0, jitter=0).delay(n) for n in (1, 2, 9)] == [10, 20, 90]
