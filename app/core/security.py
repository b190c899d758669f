"""Access tokens (RFC 9068) and the opaque tokens whose hashes alone are stored."""

import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64encode
from collections import OrderedDict
from dataclasses import dataclass

import jwt

from app.config import AuthSettings
from app.core.errors import Unauthenticated

ALGORITHM = "HS256"
TYPE = "at+jwt"
LEEWAY = 30
MAX_TOKEN_BYTES = 8 * 1024
_REQUIRED = ["iss", "aud", "sub", "exp", "iat", "nbf", "jti", "sid", "scope", "role"]
_CACHE_SIZE = 4096


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What a verified access token says; the session and the user are still to be looked up."""

    user_id: int
    session_id: int
    scope: str
    expires_at: int


class AccessTokens:
    """Issues and verifies access tokens with one key and one algorithm, chosen by us and never by the token."""

    def __init__(self, settings: AuthSettings) -> None:
        self._settings = settings
        secret = settings.secret_key.get_secret_value().encode()
        self._key = _derive(secret, "access-token")
        self._kid = hashlib.sha256(self._key).hexdigest()[:16]
        # Verifying the same token again costs a look-up; expiry is checked each time.
        self._verified: OrderedDict[str, AccessClaims] = OrderedDict()

    def issue(self, *, user_id: int, session_id: int, role: str, scope: str) -> tuple[str, int]:
        """A signed token and its lifetime in seconds."""
        now, lifetime = int(time.time()), self._settings.access_token_seconds
        claims = {
            "iss": self._settings.issuer,
            "aud": self._settings.audience,
            "sub": str(user_id),
            "exp": now + lifetime,
            "iat": now,
            "nbf": now,
            "jti": secrets.token_urlsafe(16),
            "sid": str(session_id),
            "scope": scope,
            "role": role,
        }
        return jwt.encode(claims, self._key, ALGORITHM, headers={"typ": TYPE, "kid": self._kid}), lifetime

    def verify(self, token: str) -> AccessClaims:
        """The claims of a token that we signed and that is valid now; Unauthenticated for anything else."""
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
            if str(header.get("typ", "")).lower() != TYPE or header.get("kid") != self._kid or "crit" in header:
                raise Unauthenticated
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                issuer=self._settings.issuer,
                audience=self._settings.audience,
                leeway=LEEWAY,
                options={"require": _REQUIRED, "strict_aud": True},
            )
            return AccessClaims(
                user_id=_identifier(claims["sub"]),
                session_id=_identifier(claims["sid"]),
                scope=str(claims["scope"]),
                expires_at=int(claims["exp"]),
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise Unauthenticated from None


def _identifier(value: object) -> int:
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or not 0 < int(value) < 2**63:
        raise Unauthenticated
    return int(value)


def _derive(secret: bytes, purpose: str) -> bytes:
    return hmac.digest(secret, b"frontdesk/" + purpose.encode(), "sha256")


class OpaqueTokens:
    """Tokens that say nothing by themselves: refresh tokens and the links in mails. Only their hash is stored."""

    def __init__(self, settings: AuthSettings) -> None:
        self._secret = settings.secret_key.get_secret_value().encode()

    @staticmethod
    def new() -> str:
        return secrets.token_urlsafe(32)

    def derive(self, purpose: str, seed: str) -> str:
        """The same unguessable token for the same seed, so that a repeated step gives the same answer."""
        digest = hmac.digest(_derive(self._secret, purpose), seed.encode(errors="surrogatepass"), "sha256")
        return urlsafe_b64encode(digest).rstrip(b"=").decode()

    @staticmethod
    def digest(token: str) -> bytes:
        """What is stored and looked up."""
        return hashlib.sha256(token.encode(errors="surrogatepass")).digest()

    def sign(self, purpose: str, data: bytes) -> bytes:
        """A 16-byte authenticator over `data`."""
        return hmac.digest(_derive(self._secret, purpose), data, "sha256")[:16]
