"""Which firings are due."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import ClassVar
from zoneinfo import ZoneInfo

import pytest

from app.core.jobs import JobMessage
from app.core.schedules import LATE, MOST_CAUGHT_UP, Misfire, Schedule

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


class Tick(JobMessage):
    name: ClassVar[str] = "test.tick"


def schedule(cron: str, misfire: Misfire = Misfire.ONCE, zone: str = "UTC") -> Schedule:
    return Schedule("tick", cron, lambda _: Tick(), zone=zone, misfire=misfire)


@pytest.mark.parametrize("misfire", Misfire)
def test_a_firing_in_time_is_made_once(misfire: Misfire) -> None:
    """A few seconds after its time a firing is due, alone, whatever happens to missed ones."""
    one = schedule("* * * * *", misfire)
    assert one.due(next_run_at=NOON, now=NOON) == [NOON]
    assert one.due(next_run_at=NOON, now=NOON + timedelta(seconds=59)) == [NOON]
    assert one.after(NOON + timedelta(seconds=59)) == NOON + MINUTE


def test_missed_firings_follow_the_policy() -> None:
    """After an outage of five minutes: the last one, none, or each of them oldest first."""
    now = NOON + 5 * MINUTE + timedelta(seconds=10)
    last = NOON + 5 * MINUTE
    assert schedule("* * * * *", Misfire.ONCE).due(next_run_at=NOON, now=now) == [last]
    every = [NOON + n * MINUTE for n in range(6)]
    assert schedule("* * * * *", Misfire.ALL).due(next_run_at=NOON, now=now) == every
    hourly = schedule("0 * * * *", Misfire.SKIP)
    assert hourly.due(next_run_at=NOON, now=NOON + LATE) == [NOON]
    assert hourly.due(next_run_at=NOON, now=NOON + LATE + timedelta(seconds=1)) == []
    assert hourly.due(next_run_at=NOON, now=NOON + timedelta(hours=2, seconds=1)) == [NOON + timedelta(hours=2)]


def test_a_long_outage_is_caught_up_within_bounds() -> None:
    """After a year a schedule for every minute makes good for a hundred firings, the last; a yearly one for its own."""
    now = NOON + 365 * DAY
    caught_up = schedule("* * * * *", Misfire.ALL).due(next_run_at=NOON, now=now)
    assert (len(caught_up), caught_up[-1], caught_up[0]) == (MOST_CAUGHT_UP, now, now - 99 * MINUTE)
    yearly = schedule("0 12 1 6 *", Misfire.ONCE)
    assert yearly.due(next_run_at=NOON, now=NOON + 30 * DAY) == [NOON]


def test_the_clock_is_that_of_the_zone() -> None:
    """Nine in Berlin is 8 UTC in winter and 7 UTC in summer; the hour that is skipped or repeated fires once."""
    nine = schedule("0 9 * * *", zone="Europe/Berlin")
    assert nine.after(datetime(2026, 1, 10, 0, tzinfo=UTC)).hour == 8
    assert nine.after(datetime(2026, 7, 10, 0, tzinfo=UTC)).hour == 7
    night = schedule("30 2 * * *", Misfire.ALL, zone="Europe/Berlin")
    for day in (datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)):
        first = night.after(day - timedelta(hours=4))
        fired = night.due(next_run_at=first, now=day + timedelta(hours=20))
        assert len(fired) == 1
        assert fired[0].astimezone(UTC).date() == day.date()


@pytest.mark.parametrize(("day", "hours"), [(29, 23), (28, 24)])
def test_every_hour_of_a_day_fires_in_spring(day: int, hours: int) -> None:
    """An hourly schedule has as many firings as the day has hours: 23 when one is skipped."""
    assert len(_hourly(datetime(2026, 3, day, tzinfo=BERLIN))) == hours


def test_every_hour_of_a_day_fires_in_autumn() -> None:
    """The hour that comes twice fires twice, an hour apart."""
    fired = _hourly(datetime(2026, 10, 25, tzinfo=BERLIN))
    assert [(after - before) for before, after in pairwise(fired)] == [timedelta(hours=1)] * 24


def _hourly(midnight: datetime) -> list[datetime]:
    """The firings of the day that begins then."""
    next_day = (midnight + DAY).astimezone(UTC)
    one = schedule("0 * * * *", Misfire.ALL, zone=BERLIN.key)
    return one.due(next_run_at=midnight.astimezone(UTC), now=next_day - timedelta(seconds=1))


def test_an_expression_that_makes_no_sense_is_refused() -> None:
    """A schedule that can't be computed says so when it is made, not in the night in which it should fire."""
    with pytest.raises(ValueError, match="99 9"):
        schedule("99 9 * * *")
    with pytest.raises(ValueError, match="Mars"):
        schedule("0 9 * * *", zone="Mars/Base")
