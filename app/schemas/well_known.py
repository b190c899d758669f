"""What others need to verify our access tokens."""

from typing import Literal

from pydantic import Field

from app.schemas.base import Out


class PublicKey(Out):
    """A JSON Web Key (RFC 7517) with its public members."""

    kty: Literal["EC", "OKP"]
    crv: Literal["P-256", "Ed25519"]
    x: str
    y: str | None = Field(default=None, description="EC alone", exclude_if=lambda value: value is None)
    kid: str
    alg: Literal["ES256", "EdDSA"]
    use: Literal["sig"]


class KeySet(Out):
    keys: list[PublicKey]
