"""Signing in, staying signed in, signing out."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from app.config import AuthSettings
from app.core.access_tokens import AccessClaims, AccessTokens, UnknownKey
from app.core.audit import audit
from app.core.database import AnyRow, ReadSession, WriteSession
from app.core.enums import Role, TokenPurpose
from app.core.errors import EmailNotVerified, Invalid, InvalidGrant, RefreshTokenReused, SignInRefused, Unauthenticated
from app.core.hashing import PasswordHasher
from app.core.jobs import enqueue
from app.core.opaque_tokens import OpaqueTokens
from app.core.rate_limit import FailureLimit
from app.core.scopes import join, known, parse
from app.crud.auth_sessions import auth_sessions
from app.crud.service_accounts import service_accounts
from app.crud.users import users
from app.models import AuthSession
from app.schemas.auth import TokenPair, address
from app.schemas.messages.mails import SendVerificationMail
from app.services.principal import Principal
from app.services.principal_cache import PrincipalCache
from app.services.second_factor import SecondFactorService
from app.services.signing_keys import SigningKeyService


@dataclass(frozen=True, slots=True)
class Device:
    """Where a sign-in comes from, as far as the client tells."""

    address: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class AuthService:
    settings: AuthSettings
    verified_email_required: bool
    hasher: PasswordHasher
    access_tokens: AccessTokens
    keys: SigningKeyService
    principals: PrincipalCache
    opaque_tokens: OpaqueTokens
    failures: FailureLimit
    second_factor: SecondFactorService

    async def authenticate(self, read: ReadSession, *, token: str) -> Principal:
        """The signed-in user behind an access token; Unauthenticated when token, session or user is no longer good."""
        claims = await self._verified(token)
        remembered = self.principals.get(claims.user_id, claims.session_id, claims.scope)
        if remembered is not None:
            return remembered
        ticket = self.principals.ticket()
        principal = await (self._user(read, claims) if claims.user_id > 0 else self._service(read, claims))
        self.principals.keep(principal, claims.scope, ticket=ticket)
        return principal

    async def _user(self, read: ReadSession, claims: AccessClaims) -> Principal:
        row = await auth_sessions.principal(read, session_id=claims.session_id, user_id=claims.user_id)
        if row is None:
            raise Unauthenticated
        principal = Principal(claims.session_id, *row)
        return replace(principal, scopes=known(claims.scope)) if claims.scope else principal

    async def _service(self, read: ReadSession, claims: AccessClaims) -> Principal:
        row = await service_accounts.principal(read, account_id=-claims.user_id, secret_id=claims.session_id)
        if row is None:
            raise Unauthenticated
        return Principal(
            claims.session_id,
            claims.user_id,
            email="",
            full_name=row.name,
            role=Role.ADMIN,
            is_active=True,
            email_verified=True,
            created_at=row.created_at,
            version=row.version,
            scopes=known(claims.scope) & known(" ".join(row.scopes)),
        )

    async def _verified(self, token: str) -> AccessClaims:
        try:
            return self.access_tokens.verify(token)
        except UnknownKey as unknown:
            # Perhaps made a moment ago by another process.
            if not await self.keys.learn(unknown.kid):
                raise Unauthenticated from None
        return self.access_tokens.verify(token)

    async def sign_in(
        self,
        read: ReadSession,
        session: WriteSession,
        *,
        email: str,
        password: str,
        device: Device,
        scope: str = "",
        otp: str | None = None,
    ) -> TokenPair:
        """A new session. InvalidGrant for an unknown user, a wrong password or an account that is off, all at one cost;
        MfaRequired when only the code is missing, RateLimited after repeated failures. `scope` narrows its tokens."""
        narrowed = join(parse(scope))
        email = address(email)
        await self.failures.check(email, device.address)
        user = await users.by_email(read, email)
        # No connection is held here: hashing is the long part of a sign-in.
        fits = await self.hasher.verify(password, user.password_hash if user else None)
        # Of many at once those that are hashed last know nothing of the failures before them yet.
        await self.failures.check(email, device.address)
        if user is None or not fits or not user.is_active:
            await self._refused(session, email, device, user.id if user else None)
            raise SignInRefused
        if self.verified_email_required and not user.email_verified:
            # Counted like any refusal, or whoever registered a stranger's address could flood it with mails.
            await self._refused(session, email, device, user.id)
            await enqueue(session, SendVerificationMail(user_id=user.id))
            raise EmailNotVerified
        renewed = await self._renewed(user, password)
        if not await self.second_factor.fits(session, user_id=user.id, otp=otp):
            await self._refused(session, email, device, user.id)
            raise SignInRefused
        if renewed is not None:
            await users.replace_hash(session, user.id, old=user.password_hash, new=renewed)
        sign_in = await auth_sessions.add(
            session, AuthSession(user_id=user.id, scope=narrowed, user_agent=device.user_agent, address=device.address)
        )
        await audit(
            session,
            action="session.started",
            object_type="user",
            object_id=user.id,
            changes={"session_id": sign_in.id},
            actor_id=user.id,
        )
        return await self._pair(
            session,
            user_id=user.id,
            role=user.role,
            session_id=sign_in.id,
            scope=narrowed,
            refresh_token=self.opaque_tokens.new(),
            began_at=sign_in.created_at,
        )

    async def refresh(self, session: WriteSession, *, refresh_token: str) -> TokenPair:
        """The next pair. Within the grace a spent token gives the same successor again, so that a lost answer logs
        nobody out; after it the whole session ends (RFC 9700, 4.14.2)."""
        digest = self.opaque_tokens.digest(refresh_token)
        spent = await auth_sessions.spend(session, token_hash=digest)
        if spent is None:
            known = await auth_sessions.refresh_token(
                session, token_hash=digest, grace_seconds=self.settings.refresh_grace_seconds
            )
            if known is None or known.spent_at is None or known.revoked_at is not None:
                raise InvalidGrant
            if not known.in_grace:
                await auth_sessions.revoke(session, known.session_id)
                await audit(session, action="refresh_token.reused", object_type="session", object_id=known.session_id)
                raise RefreshTokenReused
            spent = known
        live = await auth_sessions.touch(session, spent.session_id)
        if live is None or live.created_at + timedelta(days=self.settings.session_days) <= datetime.now(UTC):
            raise InvalidGrant
        return await self._pair(
            session,
            user_id=live.user_id,
            role=live.role,
            session_id=spent.session_id,
            scope=live.scope,
            refresh_token=self.opaque_tokens.derive("refresh-successor", refresh_token),
            began_at=live.created_at,
        )

    async def sign_out(self, session: WriteSession, *, refresh_token: str) -> None:
        """End the session of any of its refresh tokens; a token that nobody knows changes nothing."""
        known = await auth_sessions.refresh_token(
            session, token_hash=self.opaque_tokens.digest(refresh_token), grace_seconds=0
        )
        if known is not None and known.revoked_at is None:
            await auth_sessions.revoke(session, known.session_id)
            await audit(session, action="session.ended", object_type="session", object_id=known.session_id)

    async def verify_email(self, session: WriteSession, *, token: str) -> None:
        """Note that the mail arrived; Invalid when the token is not a live one."""
        user_id = await auth_sessions.use_one_time_token(
            session, purpose=TokenPurpose.VERIFY_EMAIL, token_hash=self.opaque_tokens.digest(token)
        )
        user = await users.lock(session, user_id) if user_id is not None else None
        if user is None:
            raise Invalid("The token is unknown, used or expired.", loc=("body", "token"), kind="token_invalid")
        await users.patch(session, user, {"email_verified": True})
        await audit(session, action="email.verified", object_type="user", object_id=user.id)

    async def _renewed(self, user: AnyRow, password: str) -> str | None:
        """A new hash for what another system, or an earlier setting, has hashed: now it is at hand."""
        return await self.hasher.hash(password) if self.hasher.is_outdated(user.password_hash) else None

    async def _refused(self, session: WriteSession, email: str, device: Device, user_id: int | None) -> None:
        """Count and record a failed sign-in, at one cost whether or not there is such an account.

        What was typed as the name is not kept: it may be a password. How many events a stranger can make is bounded by
        the limits of failures, and by what hashing costs.
        """
        await self.failures.record(email, device.address)
        await audit(session, action="session.refused", object_type="user", object_id=user_id)

    async def _pair(
        self,
        session: WriteSession,
        *,
        user_id: int,
        role: Role,
        session_id: int,
        scope: str,
        refresh_token: str,
        began_at: datetime,
    ) -> TokenPair:
        ends_at = began_at + timedelta(days=self.settings.session_days)
        await auth_sessions.add_refresh_token(
            session,
            session_id=session_id,
            token_hash=self.opaque_tokens.digest(refresh_token),
            expires_at=min(ends_at, datetime.now(UTC) + timedelta(days=self.settings.refresh_token_days)),
        )
        await self.keys.ensure()
        access_token, lifetime = self.access_tokens.issue(
            user_id=user_id, session_id=session_id, role=role.value, scope=scope
        )
        return TokenPair(access_token=access_token, expires_in=lifetime, refresh_token=refresh_token, scope=scope)
