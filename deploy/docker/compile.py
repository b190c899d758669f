"""Makes byte code of what some role loads, and of nothing else: half of what the packages bring is never imported.

Run in a build: every module that the program names, however late it imports it, and those that libraries choose. A
module of a library is then there once: as byte code when it is loaded, as source when it is not.
"""

import ast
import importlib
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

BY_NAME = (
    "alembic.command",
    "alembic.config",
    "alembic.ddl.postgresql",
    "amqp",
    "asyncpg",
    "billiard.popen_fork",
    "billiard.sharedctypes",
    "billiard.synchronize",
    "celery.app.amqp",
    "celery.app.builtins",
    "celery.app.control",
    "celery.app.events",
    "celery.app.log",
    "celery.backends.base",
    "celery.concurrency.prefork",
    "celery.events.dispatcher",
    "celery.events.receiver",
    "celery.fixups.django",
    "celery.loaders.app",
    "celery.utils.deprecated",
    "celery.worker",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.worker.consumer.delayed_delivery",
    "celery.worker.strategy",
    "cffi.cparser",
    "cryptography.hazmat.backends.openssl.backend",
    "fastapi.telemetry._runtime",
    "gunicorn.arbiter",
    "kombu.mixins",
    "kombu.transport.pyamqp",
    "kombu.transport.redis",
    "prometheus_client.multiprocess",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "uvicorn.lifespan.off",
    "uvicorn.lifespan.on",
    "uvicorn.loops.asyncio",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
)

# Packages that look up in their own source which names they import late.
READ_THEIR_SOURCE = {"anyio"}


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


def leave_byte_code(packages: Path) -> int:
    """Put the byte code of each module in the place of its source; the bytes that this saves.

    Lines of a traceback keep their file and number, and lose their text; those of the program itself keep all.
    """
    saved = 0
    for code in packages.rglob(f"__pycache__/*.{sys.implementation.cache_tag}.pyc"):
        module = code.parent.parent / code.name.split(".")[0]
        source = module.with_suffix(".py")
        if source.relative_to(packages).parts[0] not in READ_THEIR_SOURCE:
            saved += source.stat().st_size
            code.rename(module.with_suffix(".pyc"))
            source.unlink()
    return saved


def main() -> None:
    sys.path.insert(0, ".")
    for module in dict.fromkeys((*named(Path("app")), *BY_NAME)):
        importlib.import_module(module)
    saved = leave_byte_code(Path(sysconfig.get_path("purelib")))
    print(f"{len(sys.modules)} modules have byte code; {saved / 1e6:.0f} MB of sources less")


if __name__ == "__main__":
    main()
