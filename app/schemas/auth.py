"""Sign-in on the wire (RFC 6749)."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from app.schemas.base import Email, In, Out
from app.schemas.users import Password

Token = Annotated[str, StringConstraints(min_length=1, max_length=512, strip_whitespace=False)]


class TokenPair(Out):
    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the kind of token
    expires_in: int = Field(description="seconds")
    refresh_token: str | None = Field(
        default=None, description="not for service accounts, nor with a cookie", exclude_if=lambda value: value is None
    )
    scope: str = Field(description="empty: whatever the role allows")


class Logout(In):
    refresh_token: Token


class EmailVerification(In):
    token: Token


class ForgottenPassword(In):
    email: Email


class PasswordReset(In):
    token: Token
    password: Password


_ADDRESS = TypeAdapter[str](Email)


def address(typed: str) -> str:
    """The e-mail as registration keeps it; what is none stays as typed, and is nobody's."""
    try:
        return _ADDRESS.validate_python(typed.strip())
    except ValidationError:
        return typed


class PasswordGrant(In):
    """Sign in with e-mail and password."""

    grant_type: Literal["password"]
    username: str = Field(min_length=1, max_length=4096, pattern=r"^[^\x00]*$", description="the e-mail")
    password: str = Field(min_length=1, max_length=4096, json_schema_extra={"format": "password"})
    scope: str = Field(default="", max_length=4096)
    otp: str = Field(default="", max_length=4096, description="a code of the authenticator, or a recovery code")


class RefreshGrant(In):
    """Stay signed in with the refresh token of the answer before, or of the cookie."""

    grant_type: Literal["refresh_token"]
    refresh_token: str = Field(
        default="", max_length=4096, description="left out when `X-Session-Cookie` is sent: then the cookie has it"
    )


class ClientCredentialsGrant(In):
    """Sign in as a service account, with client id and secret by HTTP Basic."""

    grant_type: Literal["client_credentials"]
    scope: str = Field(default="", max_length=4096)


# What the token form may be: the route reads it field by field, because its refusals are RFC 6749's.
TOKEN_FORMS = (PasswordGrant, RefreshGrant, ClientCredentialsGrant)
