"""Published hours on the wall clock to instants in UTC, right across daylight saving. Pure functions.

A clock time that a change of offset skips counts as the moment of the change; one that it repeats counts as its first
occurrence. So hours that do not overlap on the wall never overlap in time, and have the lengths that really pass.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

Span = tuple[datetime, datetime]
_MINUTE = timedelta(minutes=1)


def instant(day: date, clock: str, zone: ZoneInfo) -> datetime:
    """The UTC instant at which the wall clock in `zone` shows `clock` (HH:MM, up to 24:00) on `day`."""
    hours, minutes = int(clock[:2]), int(clock[3:])
    return moment(datetime.combine(day, time.min) + timedelta(hours=hours, minutes=minutes), zone)


def moment(wall: datetime, zone: ZoneInfo) -> datetime:
    """The UTC instant at which the clock in `zone` shows `wall`, which is without an offset."""
    before = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if before.astimezone(zone).replace(tzinfo=None) == wall:
        return before
    return _transition(wall.replace(tzinfo=zone, fold=1).astimezone(UTC), before, zone)


def _transition(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """The first whole minute after `low` and up to `high` with the offset that holds at `high`."""
    low = low.replace(second=0, microsecond=0)
    after = high.astimezone(zone).utcoffset()
    while high - low > _MINUTE:
        middle = low + ((high - low) // 2 // _MINUTE) * _MINUTE
        if middle.astimezone(zone).utcoffset() == after:
            high = middle
        else:
            low = middle
    return high


def day_bounds(from_day: date, to_day: date, zone: ZoneInfo) -> Span:
    """The instants at which local `from_day` and local `to_day` begin."""
    return instant(from_day, "00:00", zone), instant(to_day, "00:00", zone)


def open_spans(hours: Sequence[Mapping[str, Any]], from_day: date, to_day: date, zone: ZoneInfo) -> Iterator[Span]:
    """The spans in which `hours` are open on local days [from_day, to_day), in order."""
    ordered = sorted(hours, key=lambda one: str(one["start"]))
    for offset in range((to_day - from_day).days):
        day = from_day + timedelta(days=offset)
        for one in ordered:
            if one["weekday"] == day.weekday():
                start, end = instant(day, one["start"], zone), instant(day, one["end"], zone)
                if start < end:
                    yield start, end


def slots(spans: Iterable[Span], minutes: int) -> Iterator[Span]:
    """Consecutive slots of `minutes` that fit into each span."""
    length = timedelta(minutes=minutes)
    for start, end in spans:
        for number in range((end - start) // length):
            yield start + number * length, start + (number + 1) * length


def free(candidates: Iterable[Span], taken: Iterable[Span]) -> Iterator[Span]:
    """Those of the ordered `candidates` that overlap none of `taken`, in one pass over both."""
    busy = merge(taken)
    position = 0
    for start, end in candidates:
        while position < len(busy) and busy[position][1] <= start:
            position += 1
        if position == len(busy) or busy[position][0] >= end:
            yield start, end


def merge(spans: Iterable[Span]) -> list[Span]:
    """The same time as ordered spans that do not touch."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def slot_at(hours: Sequence[Mapping[str, Any]], minutes: int, starts_at: datetime, zone: ZoneInfo) -> Span | None:
    """The slot that begins at `starts_at`, or None when the hours offer none there."""
    day = starts_at.astimezone(zone).date()
    # A span that runs to 24:00 may end in the next day, and the day of a skipped midnight begins late.
    nearby = open_spans(hours, day - timedelta(days=1), day + timedelta(days=1), zone)
    length = timedelta(minutes=minutes)
    for start, end in nearby:
        # Asked of the span as a whole: a day may have hundreds of slots, and every booking asks.
        if start <= starts_at <= end - length and (starts_at - start) % length == timedelta():
            return starts_at, starts_at + length
    return None
