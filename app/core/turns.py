"""Places that sources take turns at: whoever asks much waits behind their own, not before everybody else (decision
0111)."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

Waiter = asyncio.Future[bool]


class Crowded(Exception):
    """Too many wait, and nobody's source has more of them waiting than this one's."""


@dataclass(frozen=True, slots=True)
class _Line:
    """Those of one source that wait: who yields goes after who does not."""

    first: deque[Waiter] = field(default_factory=deque)
    last: deque[Waiter] = field(default_factory=deque)

    def __len__(self) -> int:
        return len(self.first) + len(self.last)

    def oldest(self) -> Waiter:
        return (self.first or self.last).popleft()

    def newest(self) -> Waiter:
        return (self.last or self.first).pop()

    def remove(self, waiter: Waiter) -> bool:
        """Whether it was there."""
        line = self.first if waiter in self.first else self.last
        if there := waiter in line:
            line.remove(waiter)
        return there


class Turns:
    """`places` that are taken and given back. Whoever finds none free waits in the line of their source; sources are
    served in turn, one each.

    At most `room` wait. Past that, the source with the most of them loses its newest: so one that asks alone has all of
    the room, and loses it to others as they come.
    """

    def __init__(self, places: int, *, room: int) -> None:
        self._free = places
        self._room = room
        # In the order in which they are served next; a source that has nobody waiting is not in it.
        self._lines: dict[str, _Line] = {}
        self._waiting = 0

    @property
    def waiting(self) -> int:
        return self._waiting

    async def take(self, source: str, *, yields: bool = False) -> None:
        """Have a place; Crowded when there is no room to wait for one, at once or when others have come meanwhile.

        Who `yields` goes after those of the same source who don't.
        """
        if self._free:
            self._free -= 1
            return
        if self._waiting >= self._room:
            self._make_room(source, yields=yields)
        line = self._lines.setdefault(source, _Line())
        waiter: Waiter = asyncio.get_running_loop().create_future()
        (line.last if yields else line.first).append(waiter)
        self._waiting += 1
        try:
            served = await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._forget(source, waiter)
            elif waiter.result():
                # Served and cancelled in one moment: the place is the next one's.
                self.give_back()
            raise
        if not served:
            raise Crowded

    def give_back(self) -> None:
        """The place goes to the next in turn, who has it from this moment on."""
        while self._lines:
            source = next(iter(self._lines))
            waiter = self._lines[source].oldest()
            if self._left(source):
                self._lines[source] = self._lines.pop(source)
            # Cancelled a moment ago, and not yet told.
            if not waiter.cancelled():
                waiter.set_result(True)
                return
        self._free += 1

    def _make_room(self, source: str, *, yields: bool) -> None:
        most = max(self._lines, key=lambda one: len(self._lines[one]))
        own = self._lines.get(source, _Line())
        if len(own) >= len(self._lines[most]):
            if yields or not own.last:
                raise Crowded
            most = source
        waiter = self._lines[most].newest()
        self._left(most)
        if not waiter.cancelled():
            waiter.set_result(False)

    def _forget(self, source: str, waiter: Waiter) -> None:
        if source in self._lines and self._lines[source].remove(waiter):
            self._left(source)

    def _left(self, source: str) -> bool:
        """Note that one of this source waits no longer; whether others of it do."""
        self._waiting -= 1
        if self._lines[source]:
            return True
        del self._lines[source]
        return False
