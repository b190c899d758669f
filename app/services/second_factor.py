"""The second factor: codes of an authenticator app (TOTP, RFC 6238), and recovery codes (decision 0032)."""

import secrets
import time
from dataclasses import dataclass
from hmac import compare_digest

import pyotp

from app.core.audit import audit
from app.core.database import AnyRow, ReadSession, WriteSession
from app.core.errors import Invalid, MfaEnabled, MfaNotPending, MfaRequired, ProofRefused
from app.core.jobs import enqueue
from app.core.opaque_tokens import OpaqueTokens
from app.core.rate_limit import FailureLimit
from app.core.sealing import SealBroken, Sealer
from app.crud.auth_sessions import auth_sessions
from app.crud.second_factors import second_factors
from app.schemas.messages.accounts import Notice, SendAccountNotice
from app.schemas.second_factor import EnrolmentProof, FactorProof, RecoveryCodes, TotpEnrolment
from app.services.passwords import PasswordService
from app.services.principal import Principal

STEP_SECONDS = 30
CODES = 10
FRESH_SECONDS = 300
ENROL_SECONDS = 600
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_EVERYWHERE = "*"


@dataclass(frozen=True, slots=True)
class SecondFactorService:
    issuer: str
    sealer: Sealer
    opaque_tokens: OpaqueTokens
    failures: FailureLimit
    passwords: PasswordService

    async def enrol(
        self, read: ReadSession, session: WriteSession, *, principal: Principal, proof: EnrolmentProof
    ) -> TotpEnrolment:
        """A new secret, shown this once, which asks for nothing until it is confirmed; MfaEnabled when one has been.

        It takes the password or a sign-in of the last ten minutes, or a stolen access token could lock the owner out.
        """
        if proof.current_password is not None:
            proven = {"password": proof.current_password, "field": "current_password"}
            await self.passwords.prove(read, session, principal=principal, **proven)
        elif not await auth_sessions.is_fresh(read, session_id=principal.session_id, seconds=ENROL_SECONDS):
            raise Invalid(
                "the present password or a new sign-in is needed", loc=("body", "current_password"), kind="missing"
            )
        secret = pyotp.random_base32()
        sealed = self.sealer.seal(_place(principal.id), secret.encode())
        if not await second_factors.enrol(session, user_id=principal.id, sealed_secret=sealed):
            raise MfaEnabled
        uri = pyotp.TOTP(secret).provisioning_uri(name=principal.email, issuer_name=self.issuer)
        return TotpEnrolment(secret=secret, uri=uri)

    async def confirm(self, session: WriteSession, *, principal: Principal, otp: str) -> RecoveryCodes:
        """Turn it on, as the app shows its codes; gives the recovery codes, this once."""
        row = await second_factors.lock(session, principal.id)
        if row is None or row.confirmed_at is not None:
            raise MfaNotPending
        await self.failures.check(_account(principal.id), _EVERYWHERE)
        if not await self._use_totp(session, row, otp):
            await self.failures.record(_account(principal.id), _EVERYWHERE)
            raise await _wrong_otp(session, principal)
        codes = [_new_code() for _ in range(CODES)]
        hashes = [self._code_hash(principal.id, code) for code in codes]
        await second_factors.confirm(session, user_id=principal.id, code_hashes=hashes)
        await audit(session, action="mfa.enabled", object_type="user", object_id=principal.id)
        await enqueue(session, SendAccountNotice(user_id=principal.id, to=principal.email, notice=Notice.MFA_ENABLED))
        return RecoveryCodes(recovery_codes=codes)

    async def remove(
        self, read: ReadSession, session: WriteSession, *, principal: Principal, proof: FactorProof
    ) -> None:
        """Turn it off. A stolen access token is not enough: it takes a code, the password, or a sign-in just now."""
        if proof.password is not None:
            await self.passwords.prove(read, session, principal=principal, password=proof.password, field="password")
        elif proof.otp is not None:
            if not await self.fits(session, user_id=principal.id, otp=proof.otp):
                raise await _wrong_otp(session, principal)
        elif not await auth_sessions.is_fresh(read, session_id=principal.session_id, seconds=FRESH_SECONDS):
            raise Invalid("a code, the password or a new sign-in is needed", loc=("body", "otp"), kind="missing")
        row = await second_factors.lock(session, principal.id)
        await second_factors.remove(session, principal.id)
        if row is None or row.confirmed_at is None:
            return
        await audit(session, action="mfa.disabled", object_type="user", object_id=principal.id)
        await enqueue(session, SendAccountNotice(user_id=principal.id, to=principal.email, notice=Notice.MFA_DISABLED))

    async def reset(self, session: WriteSession, *, account: AnyRow) -> bool:
        """Turn it off for an owner who is locked out, and end every session: one may be a thief's. False when it was
        off, and nothing was done."""
        if not await second_factors.remove(session, account.id):
            return False
        await auth_sessions.revoke_all(session, account.id)
        await audit(session, action="mfa.reset", object_type="user", object_id=account.id)
        await enqueue(session, SendAccountNotice(user_id=account.id, to=account.email, notice=Notice.MFA_DISABLED))
        return True

    async def fits(self, session: WriteSession, *, user_id: int, otp: str | None) -> bool:
        """Whether a sign-in whose password was right may go on; MfaRequired when a code is missing.

        What fits is used up. RateLimited after repeated failures, from wherever: who fails here has the password.
        """
        row = await second_factors.lock(session, user_id)
        if row is None or row.confirmed_at is None:
            return True
        if not otp:
            raise MfaRequired
        await self.failures.check(_account(user_id), _EVERYWHERE)
        if await self._use_totp(session, row, otp) or await self._use_recovery_code(session, user_id, otp):
            return True
        await self.failures.record(_account(user_id), _EVERYWHERE)
        return False

    async def _use_totp(self, session: WriteSession, row: AnyRow, otp: str) -> bool:
        typed = "".join(otp.split())
        if not (typed.isascii() and typed.isdigit()):
            return False
        try:
            secret = self.sealer.open(_place(row.user_id), row.sealed_secret)
        except SealBroken:
            return False
        totp, now = pyotp.TOTP(secret.decode()), int(time.time()) // STEP_SECONDS
        # One step to each side, for clocks that differ and people who type slowly (RFC 6238, 5.2).
        steps = [step for step in (now - 1, now, now + 1) if compare_digest(totp.generate_otp(step), typed)]
        return bool(steps) and await second_factors.use_step(
            session, user_id=row.user_id, step=steps[-1], sealed_secret=row.sealed_secret
        )

    async def _use_recovery_code(self, session: WriteSession, user_id: int, otp: str) -> bool:
        code_hash = self._code_hash(user_id, otp)
        if not await second_factors.use_recovery_code(session, user_id=user_id, code_hash=code_hash):
            return False
        await audit(session, action="recovery_code.used", object_type="user", object_id=user_id, actor_id=user_id)
        return True

    def _code_hash(self, user_id: int, code: str) -> bytes:
        typed = "".join(char for char in code.lower() if char in _ALPHABET)
        return self.opaque_tokens.sign("recovery-code", f"{user_id}/{typed}".encode())


def _place(user_id: int) -> str:
    return f"totp/{user_id}"


def _account(user_id: int) -> str:
    return f"otp:{user_id}"


def _new_code() -> str:
    half = ("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(2))
    return "-".join(half)


async def _wrong_otp(session: WriteSession, principal: Principal) -> ProofRefused:
    await audit(session, action="mfa.refused", object_type="user", object_id=principal.id)
    return ProofRefused("is not a code of now, or has been used", loc=("body", "otp"), kind="otp_wrong")
