"""Everything that the service has of one person, as one JSON document (decision 0092)."""

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.core.database import Database
from app.crud import backups, personal_addresses, personal_data
from app.crud.personal_data import EXPORTED
from app.services.personal_accounts import the_account


@dataclass(frozen=True, slots=True)
class DataExportService:
    database: Database

    async def pieces(self, given: str) -> AsyncGenerator[str, None]:
        """The document for the account with this id or address, all of one moment. NotFound, Conflict for several."""
        async with self.database.session_scope() as session:
            await backups.hold_moment(session)
            user = await the_account(session, given)
            person = await personal_addresses.person(session, user)
            head = {"exported_at": datetime.now(UTC), "user_id": user.id}
            yield _json(head)[:-1] + ', "data": {'
            for number, table in enumerate(EXPORTED):
                yield (", " if number else "") + f'\n"{table}": ['
                first = True
                async for row in personal_data.rows(session, table, person):
                    yield ("\n  " if first else ",\n  ") + _json(row)
                    first = False
                yield "]"
            yield "\n}}\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value)
