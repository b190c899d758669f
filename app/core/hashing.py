"""Password hashing off the event loop: a bounded pool of low-priority threads with a wait limit (decisions 6, 15)."""

import asyncio
import os
import sys
import threading
import time
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from passlib.hash import bcrypt, bcrypt_sha256

from app.config import HashingSettings
from app.core.addresses import subscriber
from app.core.context import current_cause
from app.core.errors import Unavailable
from app.core.metrics import HASHING_REFUSED, HASHING_SECONDS, HASHING_WAITING
from app.core.turns import Crowded, Turns

T = TypeVar("T")
BCRYPT_BYTES = 72
# libpass raises for more. A password that was ever set has at most 3,072: 256 characters, each up to 12 bytes in NFC.
MAX_BYTES = 4096


def _lower_priority(niceness: int) -> None:
    # Linux alone has a priority per thread; elsewhere it would slow the whole process.
    if sys.platform == "linux" and niceness:
        # On top of what the process was started with: nobody but root may go below that.
        present = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(19, present + niceness))


def _cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class PasswordHasher:
    """Hashes and verifies with bcrypt over SHA-256, so that no password is truncated at 72 bytes; verifies plain bcrypt
    as well, which other systems have left.

    At most `max_waiting` calls wait, each for at most `wait` seconds; past that the work is dropped with Unavailable.
    Addresses take turns (decision 0111): a flood from one of them makes the others wait for a hash or two.
    """

    def __init__(self, settings: HashingSettings, *, processes: int = 1) -> None:
        self._scheme = bcrypt_sha256.using(rounds=settings.rounds)
        self._rounds = settings.rounds
        # Two on one core take turns: neither hash is done sooner, and whoever reads waits for both.
        threads = settings.threads or max(1, _cores() // processes)
        self._pool = ThreadPoolExecutor(threads, "hashing", initializer=_lower_priority, initargs=(settings.niceness,))
        self._turns = Turns(threads, room=settings.max_waiting)
        self._wait = settings.wait

    @property
    def waiting(self) -> int:
        """Calls that wait for a thread."""
        return self._turns.waiting

    async def hash(self, password: str, *, yields: bool = False) -> str:
        """`yields`: for a stranger, who lets those go first who have an account, if they have the same address."""
        return await self._run(lambda: str(self._scheme.hash(_normal(password))), yields=yields)

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Whether the password fits; takes as long for `None` (no such user) as for a wrong one."""
        return await self._run(lambda: self._verify(password, hashed))

    def is_outdated(self, hashed: str) -> bool:
        """Whether this usable hash is of another form, or cheaper, than `hash` makes them."""
        rounds = _rounds(hashed)
        return rounds is not None and (rounds < self._rounds or not self._scheme.identify(hashed))

    def _verify(self, password: str, hashed: str | None) -> bool:
        secret = _normal(password)
        # "!" and the like mark an account that no password fits.
        rounds = _rounds(hashed) if hashed is not None else None
        if hashed is None or rounds is None or len(secret) > MAX_BYTES:
            # An unknown user costs the same as a wrong password: there is always a hash to verify.
            _fits(secret[:MAX_BYTES], _decoy(self._rounds))
            return False
        fits = _fits(secret, hashed)
        # A hash of a lower cost, or a refusal would come sooner than for an unknown user: 2^r + 2^r + … = 2^rounds.
        for spare in range(rounds, self._rounds):
            _fits(secret, _decoy(spare))
        return fits

    async def _run(self, work: Callable[[], T], *, yields: bool = False) -> T:
        started = time.perf_counter()
        await self._turn(yields=yields)
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        # The thread stays taken until it is done, even when the caller has gone.
        future.add_done_callback(lambda _: self._turns.give_back())
        done = await asyncio.shield(future)
        HASHING_SECONDS.observe(time.perf_counter() - started)
        return done

    async def _turn(self, *, yields: bool) -> None:
        """Have a thread; Unavailable when that takes too long, or too many want one."""
        address = current_cause().address or ""
        HASHING_WAITING.inc()
        try:
            async with asyncio.timeout(self._wait):
                await self._turns.take(subscriber(address) or address, yields=yields)
        except (TimeoutError, Crowded) as error:
            HASHING_REFUSED.labels("full" if isinstance(error, Crowded) else "late").inc()
            raise Unavailable("Too many sign-ins at once; try again.") from None
        finally:
            HASHING_WAITING.dec()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _rounds(hashed: str) -> int | None:
    """The cost of a hash that a password may fit; None for anything else."""
    scheme = next((one for one in (bcrypt_sha256, bcrypt) if one.identify(hashed)), None)
    try:
        return int(scheme.from_string(hashed).rounds) if scheme else None
    except ValueError:
        return None


def _fits(secret: bytes, hashed: str) -> bool:
    if bcrypt_sha256.identify(hashed):
        return bool(bcrypt_sha256.verify(secret, hashed))
    if b"\0" in secret:
        # Plain bcrypt ends at a zero byte: no such password was ever stored by it.
        _fits(secret, _decoy(_rounds(hashed) or 4))
        return False
    return bool(bcrypt.verify(secret[:BCRYPT_BYTES], hashed))


def _decoy(rounds: int) -> str:
    """A hash that nothing hashes to."""
    return f"$bcrypt-sha256$v=2,t=2b,r={rounds}$a9GVbhDClAigiPnidaRW0O${'.' * 31}"


def _normal(password: str) -> bytes:
    # RFC 8265, 4.2.2: one password typed on two keyboards is the same password.
    return unicodedata.normalize("NFC", password).encode(errors="surrogatepass")
