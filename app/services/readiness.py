"""Whether the parts that a process needs are there."""

import re
from functools import cache
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from app.core.database import Database, applied_revision, ping
from app.core.errors import Unavailable
from app.core.replica import ReplicaSession

ROOT = Path(__file__).resolve().parents[2]
# In either quotes: Alembic writes the one, the formatter the other.
_REVISION = re.compile(r"""^revision(?:: str)? = ["'](\w+)["']""", re.MULTILINE)
_DOWN_REVISION = re.compile(r"""^down_revision(?:: [^=]+)? = ["'](\w+)["']""", re.MULTILINE)


@cache
def head_revision() -> str:
    """The newest migration in the source tree: the one that no other follows.

    Read as text, because whoever serves does without Alembic and its memory.
    """
    followed = {match[1] for text in _migrations() if (match := _DOWN_REVISION.search(text))}
    return next(iter(known_revisions() - followed), "")


@cache
def known_revisions() -> frozenset[str]:
    """Every migration in the source tree."""
    return frozenset(match[1] for text in _migrations() if (match := _REVISION.search(text)))


def _migrations() -> list[str]:
    return [file.read_text(encoding="utf-8") for file in (ROOT / "alembic" / "versions").glob("*.py")]


def is_newer(revision: str | None) -> bool:
    """Whether a later release has made it: revisions are numbers, and each release knows all that came before."""
    return bool(revision) and str(revision).isdigit() and int(str(revision)) > int(head_revision())


def alembic_config() -> Any:
    """Alembic's own `Config`, for its commands."""
    from alembic.config import Config  # noqa: PLC0415 - for migrations alone

    return Config(str(ROOT / "alembic.ini"))


async def database_ready(database: Database) -> None:
    await ping(database.read)


async def replica_state(database: Database) -> str | None:
    """`ok`, or why lists are read from the primary; None where there is no replica."""
    return await database.lists.state() if isinstance(database.lists, ReplicaSession) else None


async def redis_ready(redis: Redis) -> None:
    await redis.ping()


async def migrations_ready(database: Database) -> None:
    """Unavailable unless the database is at the newest migration, or at one of a later release.

    A later release only adds to what this one needs (decision 12): this one stays ready while its successor is rolled
    out, and when it is rolled back to.
    """
    current = await applied_revision(database.read)
    if current != head_revision() and not is_newer(current):
        raise Unavailable(f"the database is at {current}, the code at {head_revision()}: run `python -m app migrate`")
