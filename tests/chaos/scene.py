"""What a fault works with, and how the time to recovery is taken."""

import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from app.core.database import Database
from tests.chaos.invariants import UNFINISHED
from tests.chaos.load import Producer
from tests.chaos.look import look
from tests.chaos.stage import Stage
from tests.support import eventually

# Of the jobs that were accepted before the fault was over and not done by then: when the last of them was.
_RECOVERY = """
    SELECT extract(epoch FROM finished_at - CAST(:at AS timestamptz)) AS seconds,
        format('%s %s, attempts %s, messages %s, waited %s s before it started',
            name, id, attempt, publications, round(extract(epoch FROM started_at - created_at), 1)) AS slowest
    FROM jobs WHERE created_at <= :at AND finished_at > :at AND id <> ALL (:apart)
    ORDER BY finished_at DESC LIMIT 1
"""
_DONE = f"""
    SELECT count(*) = 0 FROM jobs WHERE created_at <= CAST(:at AS timestamptz) AND {UNFINISHED} AND id <> ALL (:apart)
"""


@dataclass
class Scene:
    """The stage, the producer and a source of chance for one fault."""

    stage: Stage
    database: Database
    producer: Producer
    rng: random.Random
    share: float
    """Of the runs of the long form; 0 is the short form."""
    runs: int = 0
    last: Any = None
    lone: list[Any] = field(default_factory=list)
    """When the faults ended after which the service was left alone until it had recovered."""
    apart: set[int] = field(default_factory=set)
    """Jobs whose time says nothing of a recovery: they are slow, or have to fail."""
    broken: list[str] = field(default_factory=list)

    def times(self, full: int, short: int) -> int:
        return max(short, round(full * self.share))

    async def hit(self) -> None:
        """The fault is over: from now on the service has to recover by itself."""
        self.runs += 1
        self.last = await self.scalar("SELECT clock_timestamp()")

    async def series(self, length: int = 5) -> None:
        """After so many hits, one on top of the other, leave the service alone until it has recovered."""
        if self.runs % length == 0:
            await self.recovered()

    async def recovered(self, *, seconds: float = 60) -> None:
        """Wait until all that was accepted before the last hit is done. What is still there then, the count finds."""
        if self.last not in self.lone:
            self.lone.append(self.last)
        with suppress(AssertionError):
            await self.until(_DONE, seconds=seconds, at=self.last, apart=sorted(self.apart))

    def expect(self, holds: bool, what: str) -> None:
        """A property of this fault alone, beside those of the whole ledger."""
        if not holds:
            self.broken.append(what)

    async def rows(self, sql: str, **values: Any) -> Sequence[Any]:
        return await look(self.database, sql, **values)

    async def scalar(self, sql: str, **values: Any) -> Any:
        return (await self.rows(sql, **values))[0][0]

    async def until(self, sql: str, *, seconds: float = 30, **values: Any) -> None:
        """Wait for a query to say true."""

        async def check() -> bool:
            return bool(await self.scalar(sql, **values))

        try:
            await eventually(check, seconds=seconds, every=0.02)
        except AssertionError:
            raise AssertionError(f"{sql} did not come true in {seconds:g} s") from None

    async def recoveries(self) -> list[tuple[float, str]]:
        """Seconds from the end of each fault until all that was accepted before it was done, and the slowest job."""
        slowest = [await self.rows(_RECOVERY, at=at, apart=sorted(self.apart)) for at in self.lone]
        return [(float(rows[0].seconds), rows[0].slowest) if rows else (0.0, "nothing was waiting") for rows in slowest]


@dataclass(frozen=True, slots=True)
class Fault:
    """`within`: seconds in which everything accepted before the end of the fault has to be done."""

    name: str
    what: str
    processes: Sequence[str]
    run: Callable[[Scene], Awaitable[None]]
    within: float
    holds: str = "accepted = succeeded + failed, each effect once"
    in_short: bool = False
    per_second: float = 15
    env: dict[str, str] = field(default_factory=dict)
    env_of: dict[str, dict[str, str]] = field(default_factory=dict)
    needs: str = ""
    """What is missing on this machine; the fault is skipped then, and the run says so."""
