"""`python -m app keys`: what it does, and what it says to whoever typed it."""

from datetime import UTC, datetime
from typing import Literal

from app.core.database import AnyRow, Database
from app.core.errors import Invalid
from app.models import SigningKey
from app.services.signing_keys import SigningKeyService

Step = Literal["list", "rotate", "retire"]


async def run(keys: SigningKeyService, database: Database, step: Step, kid: str, *, now: bool) -> list[str]:
    """Carry out one step and give the lines to print."""
    if step == "rotate":
        async with database.session_scope() as session:
            made = await keys.rotate(session, at_once=now)
        return [_signs(made)]
    if step == "retire":
        if not kid:
            raise Invalid("name the key: python -m app keys retire KID", loc=("kid",))
        async with database.session_scope() as session:
            successor = await keys.retire(session, kid=kid)
        return [f"{kid} is retired: no token of it is good any more", *([_signs(successor)] if successor else [])]
    rows = await keys.every(database.read)
    current = max((row.signs_from for row in rows if _state(row) == "present"), default=None)
    return [_line(row, current) for row in rows] or ["no key yet: the API makes one when it starts"]


def _signs(key: SigningKey) -> str:
    return f"{key.kid} ({key.algorithm.value}) is in the key set, and signs from {key.signs_from:%Y-%m-%d %H:%M:%S} UTC"


def _state(row: AnyRow) -> str:
    now = datetime.now(UTC)
    if row.retired_at is not None:
        return "retired"
    if row.verify_until is not None and row.verify_until <= now:
        return "expired"
    return "next" if row.signs_from > now else "present"


def _line(row: AnyRow, current: datetime | None) -> str:
    state = _state(row)
    if state == "present" and row.signs_from != current:
        state = "old"
    until = f"  verifies until {row.verify_until:%Y-%m-%d %H:%M:%S}" if row.verify_until and state != "expired" else ""
    return f"{row.kid}  {row.algorithm.value:<6}{state:<8}  signs from {row.signs_from:%Y-%m-%d %H:%M:%S}{until}"
