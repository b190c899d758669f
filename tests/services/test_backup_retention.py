"""Which backups are kept."""

from datetime import UTC, datetime, timedelta

from app.services.backup_retention import kept

NOW = datetime(2026, 11, 25, 14, 30, tzinfo=UTC)


def name(days: float) -> str:
    return f"{NOW - timedelta(days=days):%Y%m%dT%H%M%SZ}-{int(days * 10):08x}"


def test_the_newest_of_each_day_and_week_is_kept() -> None:
    """A year of two backups a day leaves those of seven days and of five weeks, the newest of each."""
    names = [name(half / 2) for half in range(730)]
    left = kept(names, daily=7, weekly=5)
    assert left >= {name(0), *(name(day) for day in (1, 2, 3, 4, 5, 6))}
    weeks = {datetime.strptime(one[:8], "%Y%m%d").replace(tzinfo=UTC).isocalendar()[:2] for one in left}
    assert len(weeks) == 5
    assert len(left) == 7 + 3


def test_what_is_old_stays_while_nothing_newer_comes() -> None:
    """Backups that are all a year old are not deleted: days without a backup do not count."""
    names = [name(365), name(366), name(367)]
    assert kept(names, daily=7, weekly=5) == set(names)
    assert kept(names, daily=1, weekly=0) == {name(365)}
