"""Hours on the wall clock to slots in UTC, whatever a zone's offset does."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.services.calendar import day_bounds, free, instant, merge, moment, open_spans, slot_at, slots

BERLIN = ZoneInfo("Europe/Berlin")
# Skipped and repeated midnights, half-hour changes, odd offsets, a skipped day, no changes at all.
ZONES = [
    "Europe/Berlin",
    "America/Santiago",
    "Asia/Beirut",
    "America/Havana",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "America/St_Johns",
    "Africa/Casablanca",
    "America/Sao_Paulo",
    "UTC",
]
CLOCKS = st.integers(0, 24 * 60).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")


@st.composite
def weeks(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Hours that the schema would let pass: in order, not overlapping on one weekday."""
    rows = []
    for weekday in draw(st.sets(st.integers(0, 6), min_size=1)):
        edges = sorted(draw(st.sets(CLOCKS, min_size=2, max_size=6)))
        rows += [{"weekday": weekday, "start": a, "end": b} for a, b in zip(edges[::2], edges[1::2], strict=False)]
    return rows


def days_near_changes() -> st.SearchStrategy[date]:
    """Any day of two decades, and more often one of the months in which clocks change."""
    some = st.dates(date(2008, 1, 1), date(2030, 12, 1))
    return some | some.map(lambda day: day.replace(month=[3, 4, 9, 10, 11, 12][day.month % 6], day=min(day.day, 28)))


def clock_of(at: datetime, zone: ZoneInfo) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None)


@settings(max_examples=250, deadline=None)
@given(weeks(), days_near_changes(), st.sampled_from(ZONES), st.integers(5, 480))
def test_slots_never_overlap_and_stay_inside_the_hours(
    hours: list[dict[str, Any]], first: date, name: str, minutes: int
) -> None:
    """In any zone and week: in order, apart, of full real length, and where the wall clock is within the hours."""
    zone, last = ZoneInfo(name), first + timedelta(days=9)
    offered = list(slots(open_spans(hours, first, last, zone), minutes))
    assert all(end - start == timedelta(minutes=minutes) for start, end in offered)
    assert all(before[1] <= after[0] for before, after in pairwise(offered))
    for start, end in offered:
        assert first <= start.astimezone(zone).date() < last
        # Each minute of the slot is shown by the clock as one within the hours.
        for at in (start, start + (end - start) / 2, end - timedelta(minutes=1)):
            if at.astimezone(zone).fold:
                # An hour that the clock shows again belongs to whatever hours run over the change.
                continue
            wall = clock_of(at, zone)
            shown = f"{wall:%H:%M}"
            assert any(row["weekday"] == wall.weekday() and row["start"] <= shown < row["end"] for row in hours), (
                name,
                at,
                wall,
            )


@settings(max_examples=150, deadline=None)
@given(weeks(), days_near_changes(), st.sampled_from(ZONES), st.integers(5, 480))
def test_what_is_offered_can_be_booked(hours: list[dict[str, Any]], first: date, name: str, minutes: int) -> None:
    """Every offered slot is one to the booking as well; a minute beside it is none unless another begins there."""
    zone = ZoneInfo(name)
    offered = list(slots(open_spans(hours, first, first + timedelta(days=8), zone), minutes))
    starts = {start for start, _ in offered}
    for slot in offered[:: max(1, len(offered) // 12)]:
        assert slot_at(hours, minutes, slot[0], zone) == slot
        beside = slot[0] + timedelta(minutes=1)
        assert (slot_at(hours, minutes, beside, zone) is not None) == (beside in starts)
        assert slot_at(hours, minutes, slot[0] + timedelta(microseconds=1), zone) is None


@settings(max_examples=150, deadline=None)
@given(days_near_changes(), st.sampled_from(ZONES), st.integers(1, 20))
def test_a_range_of_days_splits_anywhere(first: date, name: str, days: int) -> None:
    """What two ranges of days offer is what the one over both offers: no slot is lost or doubled at a midnight."""
    zone = ZoneInfo(name)
    hours = [{"weekday": day, "start": "00:00", "end": "24:00"} for day in range(7)]
    middle, last = first + timedelta(days=days // 2), first + timedelta(days=days)
    parts = [*open_spans(hours, first, middle, zone), *open_spans(hours, middle, last, zone)]
    assert parts == list(open_spans(hours, first, last, zone))
    start, end = day_bounds(first, last, zone)
    # Open around the clock is open for all the time that really passes.
    assert sum((b - a for a, b in parts), timedelta()) == end - start


@settings(max_examples=300, deadline=None)
@given(days_near_changes(), CLOCKS, CLOCKS, st.sampled_from(ZONES))
def test_the_clock_never_runs_backwards(day: date, one: str, other: str, name: str) -> None:
    """A later clock time is never an earlier instant, and a clock time that exists is the instant that shows it."""
    zone, (early, late) = ZoneInfo(name), sorted((one, other))
    assert instant(day, early, zone) <= instant(day, late, zone)
    at = instant(day, one, zone)
    wall = datetime.combine(day, time.min) + timedelta(hours=int(one[:2]), minutes=int(one[3:]))
    exists = any(clock_of(wall.replace(tzinfo=zone, fold=fold).astimezone(UTC), zone) == wall for fold in (0, 1))
    if exists:
        assert clock_of(at, zone) == wall
        assert clock_of(at - timedelta(hours=1), zone) != wall
    else:
        # The moment of the change: the clock jumped over `wall` just then.
        assert clock_of(at - timedelta(minutes=1), zone) < wall < clock_of(at, zone)


@pytest.mark.parametrize(
    ("zone", "wall", "expected"),
    [
        ("Europe/Berlin", "2027-03-28T02:30", "2027-03-28T01:00"),
        ("Europe/Berlin", "2027-03-28T03:00", "2027-03-28T01:00"),
        ("Europe/Berlin", "2027-10-31T02:30", "2027-10-31T00:30"),
        ("Europe/Berlin", "2027-10-31T03:00", "2027-10-31T02:00"),
        ("Asia/Beirut", "2025-03-30T00:00", "2025-03-29T22:00"),
        ("Asia/Beirut", "2025-03-30T00:30", "2025-03-29T22:00"),
        ("America/Santiago", "2025-09-07T00:15", "2025-09-07T04:00"),
        ("Australia/Lord_Howe", "2025-10-05T02:10", "2025-10-04T15:30"),
        ("Pacific/Apia", "2011-12-30T12:00", "2011-12-30T10:00"),
        ("Europe/Berlin", "2027-03-28T02:30:30.5", "2027-03-28T01:00"),
    ],
)
def test_times_that_a_change_skips_or_repeats(zone: str, wall: str, expected: str) -> None:
    """A skipped time is the moment of the change, a repeated one its first occurrence."""
    at = moment(datetime.fromisoformat(wall), ZoneInfo(zone))
    assert at == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "first", "last", "number"),
    [
        # 01:00 to 04:00 on the wall: two hours pass in spring, four in autumn.
        (date(2027, 3, 28), "00:00", "01:30", 4),
        (date(2027, 10, 31), "23:00", "02:30", 8),
        (date(2027, 6, 6), "23:00", "01:30", 6),
    ],
)
def test_both_changes_of_the_year_in_berlin(day: date, first: str, last: str, number: int) -> None:
    """Hours over a change have as many slots as time really passes."""
    hours = [{"weekday": 6, "start": "01:00", "end": "04:00"}]
    offered = list(slots(open_spans(hours, day, day + timedelta(days=1), BERLIN), 30))
    assert len(offered) == number
    assert (f"{offered[0][0]:%H:%M}", f"{offered[-1][0]:%H:%M}") == (first, last)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=12),
    st.integers(1, 5),
)
def test_free_is_what_nothing_touches(taken: list[tuple[int, int]], length: int) -> None:
    """Exactly the candidates that overlap no taken span are free, however these overlap each other."""
    base = datetime(2027, 1, 1, tzinfo=UTC)

    def at(minute: int) -> datetime:
        return base + timedelta(minutes=minute)

    busy = [(at(start), at(start + size)) for start, size in taken]
    candidates = [(at(start), at(start + length)) for start in range(0, 60, length)]
    expected = [one for one in candidates if not any(one[0] < end and start < one[1] for start, end in busy)]
    assert list(free(candidates, busy)) == expected
    merged = merge(busy)
    assert all(before[1] < after[0] for before, after in pairwise(merged))
