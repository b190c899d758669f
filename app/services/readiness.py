"""Whether the parts that a process needs are there."""

from functools import cache
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from redis.asyncio import Redis
from sqlalchemy import select, table, text

from app.core.database import Database
from app.core.errors import Unavailable

ROOT = Path(__file__).resolve().parents[2]


@cache
def head_revision() -> str:
    """The newest migration in the source tree."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head() or ""


def alembic_config() -> Config:
    return Config(str(ROOT / "alembic.ini"))


async def database_ready(database: Database) -> None:
    await database.read.scalar(select(text("1")))


async def redis_ready(redis: Redis) -> None:
    await redis.ping()


async def migrations_ready(database: Database) -> None:
    """Unavailable unless the database is at the newest migration."""
    current = await database.read.scalar(select(text("version_num")).select_from(table("alembic_version")))
    if current != head_revision():
        raise Unavailable(f"the database is at {current}, the code at {head_revision()}: run `python -m app migrate`")
