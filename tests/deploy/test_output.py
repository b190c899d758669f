"""One log out of many processes."""

from __future__ import annotations

import asyncio
import io
import threading

import pytest

from deploy.local.output import LONGEST_LINE, MOST_WAITING, Output, shown


class Terminal(io.StringIO):
    """A terminal that stands still until it is released."""

    def __init__(self, *, is_open: bool = True) -> None:
        super().__init__()
        self.released = threading.Event()
        if is_open:
            self.released.set()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.released.wait(10)
        return super().write(text)


async def forwarded(*chunks: bytes) -> list[str]:
    """The lines of a log fed in these pieces."""
    stream, log = asyncio.StreamReader(), io.StringIO()
    output = Output(log)
    for chunk in chunks:
        stream.feed_data(chunk)
    stream.feed_eof()
    await output.forward("api", stream)
    output.close()
    return log.getvalue().splitlines()


async def test_every_line_carries_its_process() -> None:
    """Lines are put together from pieces, the last one needs no end, and what is no text disturbs nothing."""
    assert await forwarded(b"one\ntw", b"o\n\xff\x07!\nthree") == [
        "api       | one",
        "api       | two",
        "api       | \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}!",
        "api       | three",
    ]


async def test_a_long_line_is_cut_and_says_so() -> None:
    """A line without an end takes a bounded amount of memory and of screen."""
    first, second = await forwarded(b"x" * (LONGEST_LINE * 9), b"y" * 10 + b"\nnext\n")
    assert len(first) < LONGEST_LINE + 60
    assert first.endswith(f"({LONGEST_LINE * 8 + 10} bytes cut)")
    assert second == "api       | next"


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prefix is coloured on a terminal, and never where NO_COLOR is set."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    coloured = Output(terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Output(terminal)
    for output in (coloured, plain):
        output.line("api", "x")
        output.close()
    assert terminal.getvalue().splitlines() == ["\033[32mapi       |\033[0m x", "api       | x"]


def test_a_terminal_that_stands_still_blocks_nobody() -> None:
    """Lines wait in a bounded queue; what does not fit is dropped and counted."""
    terminal = Terminal(is_open=False)
    output = Output(terminal)
    output.bare("first")
    while output._waiting:
        pass
    for number in range(MOST_WAITING + 5):
        output.bare(str(number))
    terminal.released.set()
    output.close()
    assert "5 lines dropped" in terminal.getvalue()


def test_a_progress_bar_shows_its_last_state() -> None:
    """What a carriage return overwrote is not shown."""
    assert shown(b"10%\r20%\rdone\r") == "done"
