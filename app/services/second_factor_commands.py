"""`python -m app reset-second-factor`: what it does, and what it says to whoever typed it."""

from app.core.database import Database
from app.core.errors import Conflict
from app.services.personal_accounts import the_account
from app.services.second_factor import SecondFactorService


async def reset(factors: SecondFactorService, database: Database, given: str) -> str:
    """Turn off the second factor of this account. NotFound; Conflict for one that is deleted or has none."""
    async with database.session_scope() as session:
        account = await the_account(session, given)
        if account.deleted_at is not None:
            raise Conflict(f"The account {account.id} is deleted.")
        if not await factors.reset(session, account=account):
            raise Conflict(f"The account {account.id} has no second factor.")
    return (
        f"account {account.id}: the second factor is off and every session has ended; a mail tells {account.email}. "
        "If somebody else turned it on, have the password reset too"
    )
