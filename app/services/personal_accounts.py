"""Whom an operator means by an id or an address."""

from app.core.database import AnyRow, WriteSession
from app.core.errors import Conflict, NotFound
from app.crud import personal_data


async def the_account(session: WriteSession, given: str) -> AnyRow:
    """The one account with this id or address, deleted ones included. NotFound; Conflict, naming them, for several."""
    found = await personal_data.find(session, given)
    if not found:
        raise NotFound(f"There is no account {given}.")
    if len(found) > 1:
        named = ", ".join(f"{one.id} ({_state(one)})" for one in found)
        raise Conflict(f"{len(found)} accounts have this address: {named}. Nothing was done: name each by its id.")
    return found[0]


def _state(account: AnyRow) -> str:
    made = f"made {account.created_at:%Y-%m-%d}"
    return f"{made}, deleted {account.deleted_at:%Y-%m-%d}" if account.deleted_at else made
