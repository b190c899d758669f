"""Who may import whom, and the other rules of the house (docs/guide: the house), held by reading the source."""

import ast
import statistics
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# The composition roots: they may import whatever is below them, and only what is named here imports them.
STARTED_BY: Mapping[str, frozenset[str]] = {
    "app.__main__": frozenset(),
    "app.server": frozenset({"app.__main__"}),
    "app.server_processes": frozenset({"app.server"}),
    "app.main": frozenset({"app.__main__", "app.server_processes"}),
    "app.tasks.worker": frozenset({"app.__main__"}),
    "app.tasks.celery_app": frozenset({"app.__main__"}),
    "app.sandbox.server": frozenset({"app.__main__"}),
}
# A layer may import itself and what stands in its row. No row, no code: a new package says here what it may know.
MAY_IMPORT: Mapping[str, str] = {
    "app": "",
    "config": "",
    "core": "config",
    "models": "core config",
    "schemas": "core config",
    "integrations": "core config",
    "emails": "",
    # Partners to develop against: beside the service, which never imports it.
    "sandbox": "core config",
    "crud": "models core",
    "services": "crud models schemas integrations emails core config",
    "dependencies": "services integrations crud models core config",
    "routers": "dependencies services schemas core",
    "tasks": "services crud schemas core config",
}
# Outside libraries that belong to some layers alone; a composition root may use any.
ONLY_IN: Mapping[str, str] = {
    "fastapi": "core dependencies routers",
    "starlette": "core dependencies routers sandbox",
    "uvicorn": "core",
    "gunicorn": "",
    "arq": "tasks",
    "celery": "tasks",
    "kombu": "tasks",
    "asyncpg": "core",
    "redis": "core services integrations tasks",
    "passlib": "core",
    "jwt": "core",
    "cryptography": "core",
    "pyotp": "services",
    "aiosmtplib": "integrations",
    "httpx": "integrations sandbox",
    "httpcore": "integrations",
    "jinja2": "emails",
    "reportlab": "services",
    "PIL": "services",
    "xlsxwriter": "services",
}
# All SQL is in crud. What the others may know of SQLAlchemy are its errors and the savepoint that they hold.
SQL_LAYERS = frozenset({"crud", "models"})
SQL_FILES: Mapping[str, str] = {
    "app.core.database": "engine and sessions",
    "app.core.engine": "the engine itself, with its driver's settings",
    "app.core.connections": "what the server's own settings are",
    "app.core.replica": "how far primary and replica are",
    "app.core.pool": "the pool of connections",
    "app.core.tracing": "the engine whose statements become spans",
    "app.core.audit": "the record's INSERT: `audit` belongs to every transaction, as `enqueue` does",
    "app.sandbox.store": "the sandbox's own SQLite file",
    "app.tasks.broker": "a pipeline of Redis, which is executed, too",
    "app.core.notices": "one connection that listens, which is asyncpg's own",
    "app.core.job_changes": "a pipeline of Redis, which is no statement",
    "app.core.jobs": "the ledger's INSERT: `enqueue` belongs to every transaction, and core may not import crud",
}
SQL_TYPES = ("sqlalchemy.exc.", "sqlalchemy.ext.asyncio.AsyncSessionTransaction")
SQL_CALLS = frozenset({"execute", "scalar", "scalars", "stream", "exec_driver_sql", "carry_out"})
COMMITTERS: Mapping[str, str] = {
    "app.core.database": "session_scope: one unit of work, one commit",
    "app.routers.route": "releases the savepoint of an idempotent request's effect",
    "app.integrations.files": "a file, not a transaction",
}
NEVER = frozenset({"tests", "deploy", "benchmarks"})
MAX_FILE, MAX_MEDIAN, MAX_FUNCTION = 400, 100, 60


class Source:
    """The modules of one source tree, parsed."""

    def __init__(self, root: Path) -> None:
        self.trees: dict[str, ast.Module] = {}
        self.lines: dict[str, int] = {}
        for path in sorted((root / "app").rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = path.read_text(encoding="utf-8")
            self.trees[name], self.lines[name] = ast.parse(text), len(text.splitlines())
        self.imports = {name: sorted(set(self._imports(name))) for name in self.trees}

    def _imports(self, name: str) -> Iterator[str]:
        """Dotted names of everything that the module imports, wherever in it the import stands."""
        for node in ast.walk(self.trees[name]):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from (f"{node.module}.{alias.name}" if node.level == 0 else "(relative)" for alias in node.names)

    def module(self, imported: str) -> str:
        """The module of this tree that holds the imported name."""
        while imported and imported not in self.trees:
            imported = imported.rpartition(".")[0]
        return imported

    def calls(self, name: str) -> Iterator[tuple[str, int]]:
        for node in ast.walk(self.trees[name]):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                yield node.func.attr, node.lineno


@cache
def application() -> Source:
    return Source(ROOT)


def layer(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def layering(source: Source) -> Iterator[str]:
    """Imports that the table does not allow."""
    for name, imports in source.imports.items():
        if name not in STARTED_BY and layer(name) not in MAY_IMPORT:
            yield f"{name}: {layer(name)} has no row in the table"
            continue
        for imported in imports:
            target = source.module(imported)
            if imported == "(relative)":
                yield f"{name}: imports relatively"
            elif imported.split(".")[0] in NEVER:
                yield f"{name}: imports {imported}"
            elif target in STARTED_BY:
                if name not in STARTED_BY[target]:
                    yield f"{name}: imports the composition root {target}"
            elif target and name not in STARTED_BY and layer(target) not in allowed(layer(name)):
                yield f"{name}: {layer(name)} may not import {target}"


def allowed(of: str) -> set[str]:
    return {of, "app", *MAY_IMPORT[of].split()}


def outside(source: Source) -> Iterator[str]:
    """Outside libraries where they do not belong."""
    for name, imports in source.imports.items():
        if name not in STARTED_BY:
            for library in sorted({imported.split(".")[0] for imported in imports} & ONLY_IN.keys()):
                if layer(name) not in ONLY_IN[library].split():
                    yield f"{name}: {layer(name)} may not import {library}"


def rings(source: Source) -> Iterator[str]:
    """Modules that import each other, by whatever detour."""
    graph = {name: {source.module(one) for one in imports} - {"", name} for name, imports in source.imports.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield " -> ".join(error.args[1])


def type_checking(source: Source) -> Iterator[str]:
    """Rings hidden from the interpreter."""
    for name, tree in source.trees.items():
        for node in ast.walk(tree):
            if "TYPE_CHECKING" in (getattr(node, "id", None), getattr(node, "attr", None)):
                yield f"{name}: TYPE_CHECKING"


def sql(source: Source) -> Iterator[str]:
    """SQL outside of crud."""
    for name, imports in source.imports.items():
        if layer(name) in SQL_LAYERS or name in SQL_FILES:
            continue
        for imported in imports:
            if imported.split(".")[0] == "sqlalchemy" and not imported.startswith(SQL_TYPES):
                yield f"{name}: imports {imported}"
        for called, line in source.calls(name):
            if called in SQL_CALLS:
                yield f"{name}:{line}: calls .{called}()"


def commits(source: Source) -> Iterator[str]:
    """Commits outside of the one scope that makes them."""
    for name in source.trees.keys() - COMMITTERS.keys():
        for called, line in source.calls(name):
            if called == "commit":
                yield f"{name}:{line}: commits"


def sizes(source: Source) -> Iterator[str]:
    """Files and functions that want to be split by noun."""
    if (median := statistics.median(source.lines.values())) >= MAX_MEDIAN:
        yield f"the median file has {median} lines"
    for name, lines in source.lines.items():
        if lines > MAX_FILE:
            yield f"{name}: {lines} lines"
        for node in ast.walk(source.trees[name]):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION:
                    yield f"{name}:{node.lineno}: {node.name} has {length} lines"


Rule = Callable[[Source], Iterator[str]]
RULES = (layering, outside, rings, type_checking, sql, commits, sizes)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_application_keeps_the_rule(rule: Rule) -> None:
    """No module of the application breaks the rule."""
    assert list(rule(application())) == []


BROKEN = [
    (layering, {"core/x.py": "def f():\n    from app.services import auth\n"}, "core may not import app.services"),
    (layering, {"crud/x.py": "import app.schemas.users\n"}, "crud may not import app.schemas"),
    (layering, {"tasks/x.py": "from app.routers import users\n"}, "tasks may not import app.routers"),
    (layering, {"services/x.py": "from app.main import create_app\n"}, "composition root app.main"),
    (layering, {"helpers/x.py": ""}, "helpers has no row"),
    (layering, {"utils.py": ""}, "utils has no row"),
    (layering, {"core/x.py": "from tests.support import World\n"}, "imports tests.support"),
    (layering, {"services/x.py": "from . import auth\n"}, "imports relatively"),
    (outside, {"services/x.py": "from fastapi import Request\n"}, "services may not import fastapi"),
    (
        rings,
        {"services/a.py": "from app.services import b\n", "services/b.py": "def f():\n    import app.services.a\n"},
        "app.services.a",
    ),
    (
        type_checking,
        {"crud/x.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import app.models\n"},
        "app.crud.x",
    ),
    (type_checking, {"crud/x.py": "import typing as t\nif t.TYPE_CHECKING:\n    import app.models\n"}, "app.crud.x"),
    (sql, {"services/x.py": "from sqlalchemy import select\n"}, "imports sqlalchemy.select"),
    (sql, {"services/x.py": "async def f(session, query):\n    await session.scalar(query)\n"}, "calls .scalar()"),
    (commits, {"services/x.py": "async def f(session):\n    await session.commit()\n"}, "app.services.x:2"),
    (sizes, {"core/x.py": "x = 1\n" * 401}, "app.core.x: 401 lines"),
    (sizes, {f"core/x{number}.py": "x = 1\n" * 100 for number in range(9)}, "the median file has 100"),
    (sizes, {"core/x.py": "def f():\n" + "    x = 1\n" * 60}, "f has 61 lines"),
]


@pytest.mark.parametrize(("rule", "files", "said"), BROKEN, ids=lambda part: getattr(part, "__name__", None))
def test_the_rule_sees_what_breaks_it(rule: Rule, files: dict[str, str], said: str, tmp_path: Path) -> None:
    """A house with this file in it is refused, and the refusal names the file and the reason."""
    house = {"__init__.py": "", "main.py": "", "services/auth.py": "", "routers/users.py": "", "schemas/users.py": ""}
    for name, text in {**house, "services/__init__.py": "", **files}.items():
        path = tmp_path / "app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = list(rule(Source(tmp_path)))
    assert len(found) == 1
    assert said in found[0]
