"""Access tokens (RFC 9068), issued and verified as RFC 8725 has it."""

import math
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import jwt

from app.config import AuthSettings
from app.core.errors import Unauthenticated
from app.core.key_ring import KeyRing

TYPE = "at+jwt"
SERVICE = "service-"
"""How the `sub` of a service account begins; its id is below zero (services/principal.py)."""
LEEWAY = 30
MAX_TOKEN_BYTES = 8 * 1024
MAX_LIFETIME = 24 * 3600
"""The longest that `AUTH_ACCESS_TOKEN_SECONDS` may be: a token that claims more is none of ours."""
_HEADER = {"alg", "typ", "kid"}
_REQUIRED = ["iss", "aud", "sub", "exp", "iat", "nbf", "jti", "sid", "scope", "role"]
_CACHE_SIZE = 4096


class UnknownKey(Unauthenticated):
    """The token names a key that this process does not know; perhaps it has not heard of it yet."""

    def __init__(self, kid: str) -> None:
        super().__init__()
        self.kid = kid


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What a verified access token says; the session and the user are still to be looked up."""

    user_id: int
    session_id: int
    scope: str
    expires_at: int


class AccessTokens:
    """Issues and verifies access tokens. The key decides the algorithm, never the token."""

    def __init__(self, settings: AuthSettings, ring: KeyRing) -> None:
        self._settings = settings
        self._ring = ring
        # Verifying the same token again costs a look-up; expiry is checked each time. A change of keys empties it.
        self._verified: OrderedDict[str, AccessClaims] = OrderedDict()
        self._verified_with = ring.version

    def issue(self, *, user_id: int, session_id: int, role: str, scope: str) -> tuple[str, int]:
        """A signed token and its lifetime in seconds."""
        now, lifetime, key = int(time.time()), self._settings.access_token_seconds, self._ring.signing()
        claims = {
            "iss": self._settings.issuer,
            "aud": self._settings.audience,
            "sub": str(user_id) if user_id > 0 else f"{SERVICE}{-user_id}",
            "exp": now + lifetime,
            "iat": now,
            "nbf": now,
            "jti": secrets.token_urlsafe(16),
            "sid": str(session_id),
            "scope": scope,
            "role": role,
        }
        return jwt.encode(claims, key.private, key.algorithm, headers={"typ": TYPE, "kid": key.kid}), lifetime

    def verify(self, token: str) -> AccessClaims:
        """The claims of a token that we signed and that is valid now; Unauthenticated for anything else."""
        if self._verified_with != self._ring.version:
            self._verified.clear()
            self._verified_with = self._ring.version
        claims = self._verified.get(token)
        if claims is None:
            claims = self._decode(token)
            self._verified[token] = claims
            if len(self._verified) > _CACHE_SIZE:
                self._verified.popitem(last=False)
        if claims.expires_at + LEEWAY <= time.time():
            self._verified.pop(token, None)
            raise Unauthenticated
        return claims

    def _decode(self, token: str) -> AccessClaims:
        if len(token) > MAX_TOKEN_BYTES:
            raise Unauthenticated
        try:
            header = jwt.get_unverified_header(token)
            # Nothing else belongs there: no `crit`, no key or place of a key that the token brings along.
            if header.get("typ") != TYPE or not header.keys() <= _HEADER:
                raise Unauthenticated
            key = self._ring.verifying(header.get("kid"))
            if key is None:
                raise UnknownKey(str(header.get("kid")))
            claims = jwt.decode(
                token,
                key.public,
                algorithms=[key.algorithm],
                issuer=self._settings.issuer,
                audience=self._settings.audience,
                leeway=LEEWAY,
                options={"require": _REQUIRED, "strict_aud": True},
            )
            return _read(claims)
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise Unauthenticated from None


def _read(claims: dict[str, Any]) -> AccessClaims:
    expires_at, issued_at, _ = (_instant(claims[name]) for name in ("exp", "iat", "nbf"))
    if expires_at - issued_at > MAX_LIFETIME or not all(isinstance(claims[name], str) for name in ("scope", "role")):
        raise Unauthenticated
    return AccessClaims(
        user_id=_subject(claims["sub"]),
        session_id=_identifier(claims["sid"]),
        scope=claims["scope"],
        expires_at=expires_at,
    )


def _instant(value: object) -> int:
    # PyJWT takes "1700000000" for a number; RFC 7519, 2 does not.
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Unauthenticated
    return int(value)


def _subject(value: object) -> int:
    if isinstance(value, str) and value.startswith(SERVICE):
        return -_identifier(value.removeprefix(SERVICE))
    return _identifier(value)


def _identifier(value: object) -> int:
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or not 0 < int(value) < 2**63:
        raise Unauthenticated
    return int(value)
