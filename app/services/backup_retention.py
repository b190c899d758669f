"""Which backups are kept."""

from collections.abc import Iterable
from datetime import datetime


def kept(names: Iterable[str], *, daily: int, weekly: int) -> set[str]:
    """The newest backup of each of the last `daily` days and `weekly` weeks that have one.

    Days without a backup do not count: when none is made any more, none is deleted. The newest is always kept.
    """
    newest_first = sorted(names, reverse=True)
    keep = set(newest_first[:1])
    for form, number in (("%Y-%m-%d", daily), ("%G-%V", weekly)):
        newest_of: dict[str, str] = {}
        for name in newest_first:
            newest_of.setdefault(f"{_taken_at(name):{form}}", name)
        keep.update(list(newest_of.values())[:number])
    return keep


def _taken_at(name: str) -> datetime:
    return datetime.strptime(name.partition("-")[0] + "+0000", "%Y%m%dT%H%M%SZ%z")
