"""Places that sources take turns at: fair between sources, bounded, and nothing is lost when somebody leaves."""

import asyncio
import random
from collections import Counter

import pytest

from app.core.turns import Crowded, Turns

FLOOD, QUIET, THIRD = "203.0.113.1", "203.0.113.2", "203.0.113.3"


class Scene:
    """One place, taken until somebody gives it back, and who got it since, in that order."""

    def __init__(self, *, room: int = 64) -> None:
        self.turns = Turns(1, room=room)
        self.served: list[str] = []
        self.refused: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> "Scene":
        await self.turns.take("somebody")
        return self

    async def ask(self, source: str, name: str | None = None, *, yields: bool = False) -> asyncio.Task[None]:
        """Stand in line; the task ends when the place is had, or refused."""

        async def wait() -> None:
            try:
                await self.turns.take(source, yields=yields)
            except Crowded:
                self.refused.append(name or source)
            else:
                self.served.append(name or source)

        task = asyncio.create_task(wait())
        self._tasks.append(task)
        for _ in range(2):
            await asyncio.sleep(0)
        return task

    async def serve_all(self) -> list[str]:
        """Give the place back until nobody waits; who got it."""
        while self.turns.waiting:
            self.turns.give_back()
            await asyncio.sleep(0)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return self.served

    async def is_whole(self) -> bool:
        """Whether nobody waits and the one place can be had, once."""
        self.turns.give_back()
        await self.turns.take("somebody")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await self.turns.take("somebody")
        return self.turns.waiting == 0


async def test_sources_are_served_in_turn() -> None:
    """Whoever comes after twenty of one source is the second to be served, not the twenty-first."""
    scene = await Scene().begin()
    for _ in range(20):
        await scene.ask(FLOOD)
    await scene.ask(QUIET)
    await scene.ask(THIRD)
    await scene.ask(QUIET)
    assert (await scene.serve_all())[:6] == [FLOOD, QUIET, THIRD, FLOOD, QUIET, FLOOD]
    assert Counter(scene.served) == {FLOOD: 20, QUIET: 2, THIRD: 1}
    assert await scene.is_whole()


async def test_one_source_is_served_in_its_order() -> None:
    """Alone, a source's calls are served as they came."""
    scene = await Scene().begin()
    names = [str(number) for number in range(10)]
    for name in names:
        await scene.ask(FLOOD, name)
    assert await scene.serve_all() == names


async def test_who_yields_goes_last_of_its_source() -> None:
    """Of one source those who yield come after those who don't, and that changes nothing for other sources."""
    scene = await Scene().begin()
    for number in range(3):
        await scene.ask(FLOOD, f"yields {number}", yields=True)
    await scene.ask(QUIET, "quiet", yields=True)
    await scene.ask(FLOOD, "urgent")
    assert await scene.serve_all() == ["urgent", "quiet", "yields 0", "yields 1", "yields 2"]


async def test_one_source_has_all_the_room_while_it_is_alone() -> None:
    """As many as there is room for wait, of one source too; what comes then is Crowded at once."""
    scene = await Scene(room=5).begin()
    for number in range(7):
        await scene.ask(FLOOD, str(number))
    assert (scene.turns.waiting, scene.refused) == (5, ["5", "6"])
    assert await scene.serve_all() == ["0", "1", "2", "3", "4"]
    assert await scene.is_whole()


async def test_a_newcomer_takes_the_room_of_the_source_that_has_most() -> None:
    """With no room left the longest line loses its newest, until the newcomer's is as long; then that is refused."""
    scene = await Scene(room=4).begin()
    for number in range(4):
        await scene.ask(FLOOD, f"flood {number}")
    for number in range(3):
        await scene.ask(QUIET, f"quiet {number}")
    assert scene.refused == ["flood 3", "flood 2", "quiet 2"]
    assert await scene.serve_all() == ["flood 0", "quiet 0", "flood 1", "quiet 1"]
    assert await scene.is_whole()


async def test_who_yields_loses_the_room_first() -> None:
    """The longest line loses those who yield before those who don't, to its own newcomers as well."""
    scene = await Scene(room=3).begin()
    await scene.ask(FLOOD, "yields 0", yields=True)
    await scene.ask(FLOOD, "yields 1", yields=True)
    await scene.ask(FLOOD, "urgent 0")
    await scene.ask(FLOOD, "urgent 1")
    await scene.ask(FLOOD, "yields 2", yields=True)
    assert scene.refused == ["yields 1", "yields 2"]
    await scene.ask(QUIET, "quiet")
    assert scene.refused == ["yields 1", "yields 2", "yields 0"]
    assert await scene.serve_all() == ["urgent 0", "quiet", "urgent 1"]
    assert await scene.is_whole()


async def test_who_leaves_leaves_no_trace() -> None:
    """A cancelled wait takes no turn and no room, and its source is forgotten with its last."""
    scene = await Scene(room=2).begin()
    leaving, staying = await scene.ask(FLOOD, "leaving"), await scene.ask(FLOOD, "staying")
    leaving.cancel()
    await asyncio.sleep(0)
    assert scene.turns.waiting == 1
    await scene.ask(QUIET, "quiet")
    assert (await scene.serve_all(), scene.refused) == (["staying", "quiet"], [])
    assert staying.done()
    assert await scene.is_whole()


async def test_a_wait_that_times_out_leaves_no_trace() -> None:
    """The same for one whose time is up."""
    scene = await Scene().begin()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await scene.turns.take(FLOOD)
    assert await scene.is_whole()


async def test_a_place_given_to_one_who_leaves_is_passed_on() -> None:
    """Cancelled in the moment of being served, before or after, nobody keeps the place from the next."""
    for served_first in (True, False):
        scene = await Scene().begin()
        leaving = await scene.ask(FLOOD, "leaving")
        await scene.ask(FLOOD, "next")
        if served_first:
            scene.turns.give_back()
        leaving.cancel()
        if not served_first:
            scene.turns.give_back()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert scene.served == ["next"]
        assert leaving.cancelled()
        assert await scene.is_whole()


async def test_room_taken_from_one_who_leaves_is_had_once() -> None:
    """Cancelled in the moment of losing its room, before or after, a wait is counted out once."""
    for lost_first in (True, False):
        scene = await Scene(room=2).begin()
        await scene.ask(FLOOD, "stays")
        leaving = await scene.ask(FLOOD, "leaving")
        newcomer = asyncio.create_task(scene.turns.take(QUIET))
        if lost_first:
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert scene.turns.waiting == 2
        assert (await scene.serve_all(), newcomer.done()) == (["stays"], True)
        assert await scene.is_whole()


async def test_no_place_is_lost_or_made() -> None:
    """Through 2,000 calls that come, leave, time out and are done at random, three places stay three."""
    chance = random.Random(7)  # noqa: S311 - can be repeated
    turns, taken, most = Turns(3, room=10), 0, 0

    async def call() -> None:
        nonlocal taken, most
        try:
            async with asyncio.timeout(chance.choice([0, 0.001, 1])):
                await turns.take(str(chance.randrange(4)), yields=chance.random() < 0.5)
        except (Crowded, TimeoutError):
            return
        taken, most = taken + 1, max(most, taken + 1)
        try:
            await asyncio.sleep(chance.choice([0, 0, 0.0005]))
        finally:
            taken -= 1
            turns.give_back()

    calls = []
    for _ in range(2_000):
        calls.append(asyncio.create_task(call()))
        if chance.random() < 0.3:
            chance.choice(calls).cancel()
        if chance.random() < 0.5:
            await asyncio.sleep(0)
    await asyncio.gather(*calls, return_exceptions=True)
    assert (taken, most, turns.waiting) == (0, 3, 0)
    for _ in range(3):
        await turns.take("somebody")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await turns.take("somebody")
