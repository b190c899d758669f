"""Tests that a document names: `path::name`, or `path::name[case]`."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)(?:\[([\w-]+)\])?`")


@cache
def names_in(path: str) -> frozenset[str]:
    file = ROOT / path
    tree = ast.parse(file.read_text(encoding="utf-8")) if file.exists() else ast.Module([], [])
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def faults_of(rows: dict[str, str]) -> list[str]:
    """What is wrong with rows, each of which has to name tests that are there, by the row's name."""
    named = {name: NAMED.findall(cell) for name, cell in rows.items()}
    empty = [f"{name}: no test" for name, found in named.items() if not found]
    gone = [
        f"{name}: {path}::{test} is not there"
        for name, found in named.items()
        for path, test, _ in found
        if test not in names_in(path)
    ]
    return empty + gone
