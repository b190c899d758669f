"""So many within a time, counted on Redis once for each thing, however often it is tried."""

from datetime import timedelta

from redis.asyncio import Redis

# KEYS: the key. ARGV: the thing, how many, within how many seconds. Answers whether it is granted.
_GRANT = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[3])
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 1 end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""


class Quota:
    """At most `amount` within any `within`, for each key. What was refused does not count."""

    def __init__(self, redis: Redis, amount: int, within: timedelta) -> None:
        self._grant = redis.register_script(_GRANT)
        self._amount = amount
        self._seconds = int(within.total_seconds())

    async def grants(self, key: str, thing: str) -> bool:
        """Whether this thing is one of the few; once granted it stays so, for as long as it counts.

        Raises what Redis raises when it is away: without a count nothing is granted.
        """
        return bool(await self._grant(keys=[f"quota/{key}"], args=[thing, self._amount, self._seconds]))
