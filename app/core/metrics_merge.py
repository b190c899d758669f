"""The metrics of all processes of a role as one, in Prometheus' text format (version 0.0.4).

prometheus_client's own collector makes an object of every value in every file and checks every name anew; with eight
workers that is longer than a scrape may take (decision 80).
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from prometheus_client import utils

from app.core.metrics_fold import PAST, Totals, alone, fold, kind_and_process, rule_of, take

_number: Callable[[float], str] = utils.floatToGoString  # the library has no types here


class _Key(NamedTuple):
    """What is said in the key of a value, as it will be written."""

    metric: str
    text: str
    sample: str
    labels: str
    bound: float | None


def text_of(folder: Path) -> bytes:
    """What the files of a folder add up to. Raises FolderBusy."""
    return "".join(part for kind, totals in _totals(folder).items() for part in _families(kind, totals)).encode()


def _totals(folder: Path) -> dict[str, Totals]:
    """The values by kind of file; each kind of gauge is one, because each adds up in its own way."""
    totals: dict[str, Totals] = {}
    with alone(folder):
        fold(folder)
        for file in sorted(folder.glob("*.db")):
            kind, process = kind_and_process(file)
            rule = rule_of(kind)
            if rule is not None:
                take(totals.setdefault(kind, {}), file, rule)
            elif process != PAST:
                own: Totals = {}
                take(own, file, max)
                totals.setdefault(kind, {}).update({_of_process(key, process): own[key] for key in own})
    return totals


def _of_process(key: bytes, process: str) -> bytes:
    """The key of a gauge of which each process has its own."""
    metric, sample, labels, text = json.loads(key)
    return json.dumps([metric, sample, labels | {"pid": process}, text], sort_keys=True).encode()


# Bounded by the series, which are the same at every scrape.
@lru_cache(maxsize=65536)
def _parsed(key: bytes) -> _Key:
    metric, sample, labels, text = json.loads(key)
    bound = labels.pop("le", None) if sample.endswith("_bucket") else None
    shown = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return _Key(metric, text, sample, shown, None if bound is None else float(bound))


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _families(kind: str, totals: Totals) -> Iterator[str]:
    """Each metric with its head and its lines."""
    latest = kind.endswith("mostrecent")
    kind = kind.partition("_")[0]
    lines: dict[str, list[str]] = defaultdict(list)
    texts: dict[str, str] = {}
    buckets: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for key, (value, at) in totals.items():
        if latest and not at:
            # Made with its process and never set: it has nothing to say.
            continue
        metric, text, sample, labels, bound = _parsed(key)
        texts.setdefault(metric, text)
        if bound is None:
            lines[metric].append(_line(sample, labels, value))
        else:
            buckets[metric, labels].append((bound, value))
    for (metric, labels), counts in buckets.items():
        lines[metric] += _bucket_lines(metric, labels, sorted(counts))
    for metric, text in texts.items():
        name = f"{metric}_total" if kind == "counter" else metric
        shown = text.replace("\\", r"\\").replace("\n", r"\n")
        yield f"# HELP {name} {shown}\n# TYPE {name} {kind}\n{''.join(lines[metric])}"


def _bucket_lines(metric: str, labels: str, counts: list[tuple[float, float]]) -> Iterator[str]:
    """Each bucket of the files counts what is in it alone; Prometheus wants all that is below its bound."""
    before = f"{labels}," if labels else ""
    below = 0.0
    for (bound, _), below in zip(counts, accumulate(count for _, count in counts), strict=True):
        yield _line(f"{metric}_bucket", f'{before}le="{_number(bound)}"', below)
    yield _line(f"{metric}_count", labels, below)


def _line(sample: str, labels: str, value: float) -> str:
    return f"{sample}{{{labels}}} {_number(value)}\n" if labels else f"{sample} {_number(value)}\n"
