"""Turning the second factor on and off."""

from typing import Annotated

from fastapi import Body, Response

from app.dependencies.resources import SecondFactor
from app.dependencies.session import CurrentUser, Read, Write
from app.routers.route import Router
from app.schemas.second_factor import EnrolmentProof, FactorProof, OtpConfirmation, RecoveryCodes, TotpEnrolment

router = Router(prefix="/auth/mfa", tags=["identity"])


@router.post("/totp", status_code=201)
async def enrol_totp(
    principal: CurrentUser,
    factor: SecondFactor,
    read: Read,
    session: Write,
    proof: Annotated[EnrolmentProof | None, Body()] = None,
) -> TotpEnrolment:
    """A secret for an authenticator app. Sign-in asks for a code once it is confirmed; again before that, a new one.

    More than ten minutes after the sign-in it takes the present password.
    """
    return await factor.enrol(read, session, principal=principal, proof=proof or EnrolmentProof())


@router.post("/totp/confirm")
async def confirm_totp(
    data: OtpConfirmation, principal: CurrentUser, factor: SecondFactor, session: Write
) -> RecoveryCodes:
    """Prove that the app shows the right codes. The recovery codes are shown this once."""
    return await factor.confirm(session, principal=principal, otp=data.otp)


@router.delete("/totp", status_code=204, response_class=Response)
async def remove_totp(
    principal: CurrentUser,
    factor: SecondFactor,
    read: Read,
    session: Write,
    proof: Annotated[FactorProof | None, Body()] = None,
) -> None:
    """With a code or the password; without either only within five minutes of the sign-in."""
    await factor.remove(read, session, principal=principal, proof=proof or FactorProof())
