"""The time of a line, as RFC 3339 in UTC with microseconds."""

from functools import lru_cache
from time import gmtime, strftime


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds))


def timestamp(at_ns: int) -> str:
    """Of nanoseconds since 1970. All lines of a second share most of it."""
    seconds, rest = divmod(at_ns, 1_000_000_000)
    return f"{_second(seconds)}.{rest // 1000:06d}Z"
