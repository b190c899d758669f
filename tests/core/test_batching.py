"""Group commit."""

import asyncio
from collections.abc import Sequence

import pytest

from app.core.batching import Batcher
from app.core.errors import Unavailable


class Sink:
    """Takes batches, each when it is let through."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def flush(self, items: Sequence[str]) -> Sequence[str]:
        self.batches.append(list(items))
        await self.open.wait()
        if "bad" in items:
            raise ValueError("bad")
        return [item.upper() for item in items]

    def batcher(
        self, *, batch: int = 100, waiting: int = 1000, separable: tuple[type[Exception], ...] = ()
    ) -> Batcher[str, str]:
        return Batcher(
            self.flush, weigh=len, batch=batch, waiting=waiting, separable=lambda error: isinstance(error, separable)
        )


async def test_what_comes_during_a_flush_is_the_next_batch() -> None:
    """A lone item goes at once; what comes meanwhile goes together, in its order, within the weight of a batch."""
    sink = Sink()
    batcher = sink.batcher(batch=4)
    sink.open.clear()
    callers = [asyncio.create_task(batcher.add("a"))]
    await asyncio.sleep(0.01)
    callers += [asyncio.create_task(batcher.add(item)) for item in ("b", "c", "dd", "e", "much too heavy", "f")]
    await asyncio.sleep(0.01)
    assert not any(caller.done() for caller in callers)
    sink.open.set()
    await asyncio.gather(*callers)
    assert sink.batches == [["a"], ["b", "c", "dd"], ["e"], ["much too heavy"], ["f"]]


async def test_a_flush_that_fails_fails_its_own_callers() -> None:
    """Everybody in a failed batch is told, and the next batch is tried."""
    batcher = Sink().batcher()
    results = await asyncio.gather(batcher.add("bad"), batcher.add("good"), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, ValueError]
    await batcher.add("good")


async def test_each_caller_has_its_own_result() -> None:
    """What the flush gives for an item goes to whoever brought it."""
    batcher = Sink().batcher()
    assert await asyncio.gather(*map(batcher.add, "abc")) == ["A", "B", "C"]


async def test_an_item_whose_fault_it_is_takes_no_other_with_it() -> None:
    """After an error that is one item's, each is flushed alone: the others have their results, the one its error."""
    sink = Sink()
    batcher = sink.batcher(separable=(ValueError,))
    results = await asyncio.gather(*map(batcher.add, ("a", "bad", "b")), return_exceptions=True)
    assert (results[0], results[2]) == ("A", "B")
    assert isinstance(results[1], ValueError)
    assert sink.batches == [["a", "bad", "b"], ["a"], ["bad"], ["b"]]


async def test_patience_ends() -> None:
    """A caller who has waited long enough is told so, and what it brought is not written for nobody."""
    sink = Sink()
    batcher = sink.batcher()
    sink.open.clear()
    first = asyncio.create_task(batcher.add("a"))
    await asyncio.sleep(0.01)
    with pytest.raises(TimeoutError):
        await batcher.add("late", patience=0.01)
    sink.open.set()
    await first
    await batcher.add("b")
    assert sink.batches == [["a"], ["b"]]


async def test_the_crowd_is_bounded() -> None:
    """Beyond its limit a batcher takes nothing more: what waits has to fit into memory."""
    sink = Sink()
    batcher = sink.batcher(waiting=3)
    sink.open.clear()
    callers = [asyncio.create_task(batcher.add("a"))]
    await asyncio.sleep(0.01)
    callers += [asyncio.create_task(batcher.add("bb"))]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await batcher.add("cc")
    sink.open.set()
    await asyncio.gather(*callers)
