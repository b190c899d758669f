"""Looking into the database while it is under attack itself."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from app.core.database import Database, is_unavailable


@retry(stop=stop_after_delay(60), wait=wait_fixed(0.1), retry=retry_if_exception(is_unavailable), reraise=True)
async def look(database: Database, sql: str, **values: Any) -> Sequence[Any]:
    """The rows, as soon as the database answers."""
    async with database.engine.connect() as connection:
        return (await connection.execute(text(sql), values)).all()
