"""Work that comes back by the clock: which firings are due, computed from the database's clock and no other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from app.core.jobs import JobMessage

LATE = timedelta(minutes=2)
"""A firing that is older than this was missed: no worker ran at its time."""
LOOK_BACK = timedelta(days=2)
MOST_CAUGHT_UP = 100


class Misfire(StrEnum):
    """What becomes of firings that were missed."""

    ONCE = "once"
    """However many there were, the last one is made good for."""
    SKIP = "skip"
    """None is made good for."""
    ALL = "all"
    """Each is, oldest first; at most a hundred of the last two days."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Enqueues `make(time)` whenever `cron` says so in `zone`; `time` is the one it was due at, however late it is.

    Cron has five fields, as Debian's: a time that daylight saving skips fires when the hour is over, one that it
    repeats fires once, unless the expression is one for every hour or minute.
    """

    name: str
    cron: str
    make: Callable[[datetime], JobMessage]
    zone: str = "UTC"
    misfire: Misfire = Misfire.ONCE

    def __post_init__(self) -> None:
        try:
            self.after(datetime.now(UTC))
        except (CronSimError, KeyError, StopIteration) as error:
            raise ValueError(f"schedule {self.name}: {self.cron!r} in {self.zone!r} names no time") from error

    def after(self, moment: datetime) -> datetime:
        """The first firing after `moment`."""
        return next(self._times(moment))

    def due(self, *, next_run_at: datetime, now: datetime) -> list[datetime]:
        """The firings to make, when the next one was planned for `next_run_at` and it is `now`."""
        passed = [next_run_at]
        for time in self._times(max(next_run_at, now - LOOK_BACK)):
            if time > now:
                break
            passed.append(time)
        if self.misfire is Misfire.ALL:
            return passed[-MOST_CAUGHT_UP:]
        if self.misfire is Misfire.SKIP and now - passed[-1] > LATE:
            return []
        return passed[-1:]

    def _times(self, moment: datetime) -> Iterator[datetime]:
        for time in CronSim(self.cron, moment.astimezone(ZoneInfo(self.zone))):
            yield time.astimezone(UTC)
