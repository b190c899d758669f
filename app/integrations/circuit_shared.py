"""One circuit for all processes, kept in Redis; while Redis is away each process keeps its own."""

import asyncio
import time

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.core.logging import get_logger
from app.core.metrics import PARTNER_CIRCUIT_OPEN
from app.core.vitals import is_being_cancelled
from app.integrations.circuit import FORGOTTEN_AFTER, Circuit, LocalCircuit, Ticket
from app.integrations.errors import CircuitOpen
from app.integrations.policy import Policy

log = get_logger(__name__)
RETRY_REDIS_AFTER = 5.0
LOOK_EVERY = 5.0
_CLOSED, _PROBE = 0, -1
_NOW = "local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)"

# KEYS: the circuit. ARGV: milliseconds that a probe may take. Answers 0, -1 for a probe, or the milliseconds to wait.
_ADMIT = f"""
{_NOW}
local c = redis.call('HMGET', KEYS[1], 'until', 'probe')
if not c[1] then return 0 end
local wait = math.max(tonumber(c[1]), tonumber(c[2] or '0')) - now
if wait > 0 then return wait end
redis.call('HSET', KEYS[1], 'probe', now + ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[1] * 4)
return -1
"""
# ARGV: is it a probe, is it good, failures, ratio, window in ms, open_for in ms. Answers whether it is open.
_RECORD = f"""
{_NOW}
local probe, good = ARGV[1] == '1', ARGV[2] == '1'
local window, open_for = tonumber(ARGV[5]), tonumber(ARGV[6])
local c = redis.call('HMGET', KEYS[1], 'until', 'window', 'good', 'bad', 'good_before', 'bad_before')
local function open()
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'until', now + open_for)
  redis.call('PEXPIRE', KEYS[1], open_for * {FORGOTTEN_AFTER})
  return 1
end
if c[1] then
  if not probe then return 1 end
  if not good then return open() end
  redis.call('DEL', KEYS[1])
  return 0
end
local this, last = math.floor(now / window), tonumber(c[2] or '-9')
local g, b, g0, b0 = tonumber(c[3] or 0), tonumber(c[4] or 0), tonumber(c[5] or 0), tonumber(c[6] or 0)
if last == this - 1 then g0, b0, g, b = g, b, 0, 0 elseif last ~= this then g0, b0, g, b = 0, 0, 0, 0 end
if good then g = g + 1 else b = b + 1 end
if not good and b + b0 >= tonumber(ARGV[3]) and b + b0 >= tonumber(ARGV[4]) * (g + b + g0 + b0) then return open() end
redis.call('HSET', KEYS[1], 'window', this, 'good', g, 'bad', b, 'good_before', g0, 'bad_before', b0)
redis.call('PEXPIRE', KEYS[1], window * 2)
return 0
"""
# One that is closed and counts has a key too.
_LOOK = "return redis.call('HEXISTS', KEYS[1], 'until')"


class Circuits:
    """Makes circuits, one for each partner and host: shared through Redis when it is given and there."""

    def __init__(self, redis: Redis | None) -> None:
        self._redis = redis
        self._shared_again_at = 0.0
        self._made: dict[str, Circuit] = {}

    def of(self, name: str, policy: Policy) -> Circuit:
        """The circuit of `VENDOR@HOST`."""
        local = LocalCircuit(policy)
        made = local if self._redis is None else SharedCircuit(self, self._redis, name, policy, local)
        self._made[name] = made
        return made

    async def watch(self) -> None:
        """Show until cancelled which are open: a call of our own may come hours after another process's closed it."""
        while not is_being_cancelled():
            for name, circuit in list(self._made.items()):
                PARTNER_CIRCUIT_OPEN.labels(name.partition("@")[0]).set(await circuit.is_open())
            await asyncio.sleep(LOOK_EVERY)

    def usable(self) -> bool:
        return time.monotonic() >= self._shared_again_at

    def shun(self, error: Exception) -> None:
        # Without this every call would wait for the same dead Redis.
        self._shared_again_at = time.monotonic() + RETRY_REDIS_AFTER
        log.warning("Redis is away; circuits are kept in this process", error=repr(error))


class SharedCircuit:
    def __init__(self, circuits: Circuits, redis: Redis, name: str, policy: Policy, local: LocalCircuit) -> None:
        self._circuits = circuits
        self._policy = policy
        self._local = local
        self._key = f"frontdesk:circuit:{name}"
        self._admit, self._record = redis.register_script(_ADMIT), redis.register_script(_RECORD)
        self._look = redis.register_script(_LOOK)

    async def admit(self) -> Ticket:
        if self._circuits.usable():
            try:
                wait = int(await self._admit([self._key], [_ms(self._policy.total)]))
            except (RedisError, OSError, TimeoutError) as error:
                self._circuits.shun(error)
            else:
                if wait > _CLOSED:
                    raise CircuitOpen("the circuit is open", sent=False, retry_after=wait / 1000)
                return Ticket(probe=wait == _PROBE)
        return await self._local.admit()

    async def record(self, ticket: Ticket, *, ok: bool) -> bool:
        policy = self._policy
        # Kept up in any case: it is what is left when Redis goes away.
        local = await self._local.record(ticket, ok=ok)
        if not self._circuits.usable():
            return local
        rules = [policy.failures, policy.failure_ratio, _ms(policy.window), _ms(policy.open_for)]
        try:
            return bool(await self._record([self._key], [int(ticket.probe), int(ok), *rules]))
        except (RedisError, OSError, TimeoutError) as error:
            self._circuits.shun(error)
            return local

    async def is_open(self) -> bool:
        if self._circuits.usable():
            try:
                return bool(await self._look([self._key]))
            except (RedisError, OSError, TimeoutError) as error:
                log.debug("circuit not looked at", key=self._key, error=repr(error))
        return await self._local.is_open()


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
