"""What a process says at its start of its way to the database, when an operator has to change something about it."""

from sqlalchemy import Integer, cast, func, select

from app.config import Settings
from app.core.database import Database, is_unavailable
from app.core.engine import Role, limits
from app.core.logging import get_logger

log = get_logger(__name__)


async def _granted(database: Database) -> int:
    """How many connections the server grants to ordinary roles in total."""
    most, kept = (
        cast(func.current_setting(name), Integer) for name in ("max_connections", "superuser_reserved_connections")
    )
    return int(await database.read.scalar(select(most - kept)))


async def _unset_limits(database: Database, settings: Settings, role: Role) -> list[str]:
    """The limits that the pooler was to set and has not."""
    names = list(limits(settings.database, role))
    shown = await database.read.first(select(*(func.current_setting(name) for name in names)))
    return [name for name, value in zip(names, shown or (), strict=True) if value == "0"]


async def check_connections(settings: Settings, database: Database, *, role: Role) -> None:
    """Warn when the pools could ask for more than the server grants, or when behind a pooler nothing is limited."""
    try:
        if settings.database.pooler == "transaction":
            if unset := await _unset_limits(database, settings, role):
                log.warning("the pooler sets no limits; see connect_query in deploy/pgbouncer", unset=unset)
        elif role == "api":
            wanted = settings.api.processes * (settings.database.pool_size + settings.database.pool_overflow + 1)
            if wanted > (granted := await _granted(database)):
                log.warning(
                    "the pools may ask for more connections than the server grants", wanted=wanted, granted=granted
                )
    except Exception as error:
        if not is_unavailable(error):
            raise
