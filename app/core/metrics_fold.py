"""Keeps the folder of a role's metrics small: what ended processes have counted is folded into one file a kind.

prometheus_client leaves every file of a process that has ended, live gauges apart, so that a scrape takes longer with
each recycled worker; to throw them away would make counters fall. Whoever dies while folding leaves either all of the
old files or a journal by which the next one goes on (decision 80).
"""

import fcntl
import json
import os
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

Entry = tuple[float, ...]
"""A value, and for the most recent of several the time of it."""
Totals = dict[bytes, Entry]
Rule = Callable[[Entry, Entry], Entry]
_LENGTH, _ENTRY = struct.Struct("i"), struct.Struct("dd")

PAST = "0"
"""Stands for all processes that have ended where a file is named after its process."""
JOURNAL, LOCK, NEW = "fold.json", "fold.lock", ".new"
_PATIENCE, _STEP = 2.0, 0.01


def _add(one: Entry, other: Entry) -> Entry:
    return one[0] + other[0], 0.0


def _latest(one: Entry, other: Entry) -> Entry:
    return one if one[1] > other[1] else other


_MODES: Mapping[str, Rule] = {"sum": _add, "min": min, "max": max, "mostrecent": _latest}


class FolderBusy(Exception):
    """Somebody has been at the folder for longer than that ever takes: it is stopped, or the disk hangs."""


def rule_of(kind: str) -> Rule | None:
    """How the values of several processes become one; None where each has its own. `kind` is a file's name without
    its process: `counter`, `gauge_livesum`."""
    if not kind.startswith("gauge_"):
        return _add
    return _MODES.get(kind.removeprefix("gauge_").removeprefix("live"))


def kind_and_process(file: Path) -> tuple[str, str]:
    kind, _, process = file.stem.rpartition("_")
    return kind, process


def take(totals: Totals, file: Path, rule: Rule) -> None:
    """Take the values of a file into `totals`, by their key: the JSON of names, labels and help.

    Reads what prometheus_client's MmapedDict writes: it gives a value at a time, and a scrape has tens of thousands.
    """
    data = file.read_bytes()
    # Between its making and its first word a file is empty.
    used = _LENGTH.unpack_from(data)[0] if data else 0
    place = 8
    while place < used:
        length = _LENGTH.unpack_from(data, place)[0]
        key = data[place + 4 : place + 4 + length]
        place += 4 + length + 8 - (length + 4) % 8
        entry = _ENTRY.unpack_from(data, place)
        place += 16
        known = totals.get(key)
        totals[key] = entry if known is None else rule(known, entry)


@contextmanager
def alone(folder: Path, *, patience: float = _PATIENCE) -> Iterator[None]:
    """Have the folder to oneself; FolderBusy after `patience` seconds. The lock of one who dies is free."""
    until = time.monotonic() + patience
    with (folder / LOCK).open("ab") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise FolderBusy(str(folder)) from None
                time.sleep(_STEP)
            else:
                break
        yield


def sweep(folder: Path) -> None:
    """Fold what is left of ended processes, unless somebody is at it: the next one will do it."""
    try:
        with alone(folder, patience=0):
            fold(folder)
    except (FolderBusy, OSError):
        return


def fold(folder: Path) -> None:
    """For whoever has the folder: finish what another began, then fold the files of every process that has ended."""
    _finish(folder)
    dead = list(_ended(folder))
    if not dead:
        return
    totals: dict[str, Totals] = {}
    for file in dead:
        kind, _ = kind_and_process(file)
        rule = rule_of(kind)
        if rule is None or kind.startswith("gauge_live"):
            continue
        if kind not in totals:
            totals[kind] = {}
            if (past := folder / f"{kind}_{PAST}.db").exists():
                take(totals[kind], past, rule)
        take(totals[kind], file, rule)
    made = []
    try:
        for kind, found in totals.items():
            made.append(f"{kind}_{PAST}.db")
            (folder / (made[-1] + NEW)).write_bytes(_file_of(found))
    except OSError:
        # No room: the old files still say it all.
        return
    # From here on the new files count and the old ones do not, whether this process lives to see it or not.
    draft = folder / (JOURNAL + NEW)
    draft.write_text(json.dumps({"made": made, "gone": [file.name for file in dead]}), encoding="utf-8")
    draft.replace(folder / JOURNAL)
    _finish(folder)


def _finish(folder: Path) -> None:
    journal = folder / JOURNAL
    try:
        plan: Mapping[str, Sequence[str]] = json.loads(journal.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    for name in plan["made"]:
        new = folder / (name + NEW)
        if new.exists():
            new.replace(folder / name)
    for name in plan["gone"]:
        (folder / name).unlink(missing_ok=True)
    journal.unlink()


def _ended(folder: Path) -> Iterator[Path]:
    alive: dict[str, bool] = {PAST: True}
    for file in sorted(folder.glob("*.db")):
        _, process = kind_and_process(file)
        if process not in alive:
            alive[process] = not process.isdigit() or _is_alive(int(process))
        if not alive[process]:
            yield file


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _file_of(totals: Totals) -> bytes:
    """As the library would write it; but not through a map of memory, where a full disk kills the process."""
    parts: list[bytes] = []
    for key, (value, at) in totals.items():
        padding = b" " * (8 - (len(key) + 4) % 8)
        parts += _LENGTH.pack(len(key)), key, padding, _ENTRY.pack(value, at)
    body = b"".join(parts)
    return _LENGTH.pack(8 + len(body)) + bytes(4) + body
