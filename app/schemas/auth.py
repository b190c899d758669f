"""Sign-in on the wire (RFC 6749)."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from app.schemas.base import In, Out

Token = Annotated[str, StringConstraints(min_length=1, max_length=512, strip_whitespace=False)]


class TokenPair(Out):
    access_token: str
    token_type: Literal["bearer"] = "bearer"
    expires_in: int = Field(description="seconds")
    refresh_token: str
    scope: str


class Logout(In):
    refresh_token: Token


class EmailVerification(In):
    token: Token
