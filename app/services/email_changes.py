"""Another e-mail for an account: it is the account's once its mailbox has answered (decision 0031)."""

from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError

from app.core.audit import audit
from app.core.database import ReadSession, WriteSession, constraint_of
from app.core.enums import TokenPurpose
from app.core.jobs import enqueue
from app.core.opaque_tokens import OpaqueTokens
from app.crud.one_time_tokens import one_time_tokens
from app.crud.users import users
from app.schemas.messages.accounts import Notice, SendAccountNotice, SendEmailChangeMail
from app.schemas.users import EmailChange
from app.services.passwords import PasswordService, dead_token
from app.services.principal import Principal

ONE_ACCOUNT = "uq_users_email"


@dataclass(frozen=True, slots=True)
class EmailChangeService:
    passwords: PasswordService
    opaque_tokens: OpaqueTokens

    async def ask(self, read: ReadSession, session: WriteSession, *, principal: Principal, data: EmailChange) -> None:
        """Have a link mailed to the new address and a notice to the present one; a taken address answers the same."""
        proof = {"password": data.current_password, "field": "current_password"}
        await self.passwords.prove(read, session, principal=principal, **proof)
        notice = Notice.EMAIL_CHANGE_REQUESTED
        await enqueue(session, SendEmailChangeMail(user_id=principal.id, email=data.email))
        await enqueue(session, SendAccountNotice(user_id=principal.id, to=principal.email, notice=notice))
        await audit(session, action="email_change.requested", object_type="user", object_id=principal.id)

    async def confirm(self, session: WriteSession, *, token: str) -> None:
        """Make the token's address the account's; Invalid when the token is dead or the address taken meanwhile."""
        used = await one_time_tokens.use(
            session, purpose=TokenPurpose.CHANGE_EMAIL, token_hash=self.opaque_tokens.digest(token)
        )
        user = await users.lock(session, used.user_id) if used is not None else None
        if used is None or user is None or not user.is_active:
            raise dead_token()
        before = user.email
        try:
            await users.patch(session, user, {"email": used.email, "email_verified": True})
        except IntegrityError as error:
            if constraint_of(error) == ONE_ACCOUNT:
                raise dead_token() from None
            raise
        # Links that went to the old mailbox: whoever reads it has no claim to the account any longer.
        await one_time_tokens.end_all(session, user.id)
        changes = {"email": {"from": before, "to": user.email}}
        await audit(session, action="email.changed", object_type="user", object_id=user.id, changes=changes)
        await enqueue(session, SendAccountNotice(user_id=user.id, to=before, notice=Notice.EMAIL_CHANGED))
