"""Makes byte code of what some role loads, and of nothing else: half of what the packages bring is never imported.

Run in a build: every module that the program names, however late it imports it, and those that libraries choose.
"""

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

BY_NAME = (
    "alembic.command",
    "alembic.config",
    "alembic.ddl.postgresql",
    "amqp",
    "billiard.popen_fork",
    "celery.app.amqp",
    "celery.app.builtins",
    "celery.app.events",
    "celery.app.log",
    "celery.backends.base",
    "celery.concurrency.prefork",
    "celery.fixups.django",
    "celery.loaders.app",
    "celery.worker",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.worker.strategy",
    "gunicorn.arbiter",
    "kombu.transport.pyamqp",
    "kombu.transport.redis",
    "prometheus_client.multiprocess",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
)


def named(root: Path) -> Iterator[str]:
    """The modules below `root`, and all that they import."""
    for file in sorted(root.rglob("*.py")):
        module = ".".join(file.relative_to(root.parent).with_suffix("").parts)
        if not module.endswith("__main__"):
            yield module.removesuffix(".__init__")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module


def main() -> None:
    sys.path.insert(0, ".")
    for module in dict.fromkeys((*named(Path("app")), *BY_NAME)):
        importlib.import_module(module)
    print(f"{len(sys.modules)} modules have byte code")


if __name__ == "__main__":
    main()
