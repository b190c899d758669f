"""What a password may be, and the ways in which it is set anew (decision 0031)."""

from dataclasses import dataclass

from app.core.audit import audit
from app.core.common_passwords import folded, is_common
from app.core.context import current_cause
from app.core.database import ReadSession, WriteSession
from app.core.enums import TokenPurpose
from app.core.errors import Conflict, Invalid, ProofRefused
from app.core.hashing import PasswordHasher
from app.core.jobs import enqueue
from app.core.opaque_tokens import OpaqueTokens
from app.core.rate_limit import FailureLimit
from app.crud.auth_sessions import auth_sessions
from app.crud.one_time_tokens import one_time_tokens
from app.crud.users import users
from app.schemas.messages.accounts import Notice, SendAccountNotice, SendPasswordResetMail
from app.schemas.users import PasswordChange
from app.services.principal import Principal


def check_password(password: str, *, field: str, email: str, full_name: str) -> None:
    """Invalid when it is one of those that are tried first: a common one, or the account's own name or e-mail."""
    typed = folded(password).strip()
    if is_common(password) or is_common(typed):
        raise Invalid("is one of the most common passwords", loc=("body", field), kind="password_too_common")
    if typed in {folded(email), folded(email).partition("@")[0], folded(full_name).strip()}:
        raise Invalid("is your own name or e-mail", loc=("body", field), kind="password_too_common")


def dead_token() -> Invalid:
    return Invalid("The token is unknown, used or expired.", loc=("body", "token"), kind="token_invalid")


@dataclass(frozen=True, slots=True)
class PasswordService:
    hasher: PasswordHasher
    opaque_tokens: OpaqueTokens
    failures: FailureLimit

    async def prove(
        self, read: ReadSession, session: WriteSession, *, principal: Principal, password: str, field: str
    ) -> str:
        """The present hash, when this is the password; ProofRefused when not, RateLimited after repeated failures."""
        account, address = f"user:{principal.id}", current_cause().address or ""
        await self.failures.check(account, address)
        user = await users.get(read, principal.id)
        fits = user is not None and await self.hasher.verify(password, user.password_hash)
        # As at sign-in: others may have failed while this one waited for its hash.
        await self.failures.check(account, address)
        if user is None or not fits:
            await self.failures.record(account, address)
            await audit(session, action="password.refused", object_type="user", object_id=principal.id)
            raise ProofRefused("is not your present password", loc=("body", field), kind="password_wrong")
        return str(user.password_hash)

    async def change(
        self, read: ReadSession, session: WriteSession, *, principal: Principal, data: PasswordChange
    ) -> None:
        """Set a new password and end the other sessions; Invalid when the present one is wrong."""
        check_password(data.new_password, field="new_password", email=principal.email, full_name=principal.full_name)
        proof = {"password": data.current_password, "field": "current_password"}
        present = await self.prove(read, session, principal=principal, **proof)
        password_hash = await self.hasher.hash(data.new_password)
        user = await users.lock(session, principal.id)
        # Set by somebody else since it was checked: the check no longer holds.
        if user is None or user.password_hash != present:
            raise Conflict("The password was changed a moment ago.")
        await auth_sessions.revoke_all(session, user.id, but=principal.session_id)
        await one_time_tokens.end_all(session, user.id)
        await users.patch(session, user, {"password_hash": password_hash})
        await audit(session, action="password.changed", object_type="user", object_id=user.id)
        await enqueue(session, SendAccountNotice(user_id=user.id, to=user.email, notice=Notice.PASSWORD_CHANGED))

    async def forgot(self, session: WriteSession, *, email: str) -> None:
        """Have a link mailed. Whether there is such an account is looked up by the worker: nothing here can tell."""
        await enqueue(session, SendPasswordResetMail(email=email))

    async def reset(self, read: ReadSession, session: WriteSession, *, token: str, password: str) -> None:
        """Set the password of the token's user and end every session; Invalid when the token is not a live one."""
        purpose, token_hash = TokenPurpose.RESET_PASSWORD, self.opaque_tokens.digest(token)
        # Looked at first: who has no token is not worth a hash.
        owner = await one_time_tokens.owner(read, purpose=purpose, token_hash=token_hash)
        account = await users.get(read, owner) if owner is not None else None
        if account is None or not account.is_active:
            raise dead_token()
        check_password(password, field="password", email=account.email, full_name=account.full_name)
        password_hash = await self.hasher.hash(password)
        used = await one_time_tokens.use(session, purpose=purpose, token_hash=token_hash)
        user = await users.lock(session, used.user_id) if used is not None else None
        if user is None or not user.is_active:
            raise dead_token()
        await auth_sessions.revoke_all(session, user.id)
        await one_time_tokens.end_all(session, user.id)
        # Whoever has the token reads the mailbox.
        await users.patch(session, user, {"password_hash": password_hash, "email_verified": True})
        await audit(session, action="password.reset", object_type="user", object_id=user.id)
        await enqueue(session, SendAccountNotice(user_id=user.id, to=user.email, notice=Notice.PASSWORD_CHANGED))
