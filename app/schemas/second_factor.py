"""The second factor on the wire."""

from typing import Annotated

from pydantic import Field, StringConstraints

from app.schemas.base import In, Out
from app.schemas.users import Password

Otp = Annotated[str, StringConstraints(min_length=1, max_length=64, strip_whitespace=True)]


class TotpEnrolment(Out):
    secret: str = Field(description="base32, for typing it into an authenticator")
    uri: str = Field(description="`otpauth://…`, to be shown as a QR code")


class EnrolmentProof(In):
    """Not needed within ten minutes of a sign-in."""

    current_password: Password | None = None


class OtpConfirmation(In):
    otp: Otp


class FactorProof(In):
    """Neither is needed within five minutes of a sign-in."""

    otp: Otp | None = None
    password: Password | None = None


class RecoveryCodes(Out):
    recovery_codes: list[str] = Field(description="shown this once; each works once in the place of `otp`")
