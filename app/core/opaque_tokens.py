"""Opaque tokens, whose hashes alone are stored."""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode

from app.config import AuthSettings
from app.core.derivation import derive


class OpaqueTokens:
    """Tokens that say nothing by themselves: refresh tokens and the links in mails. Only their hash is stored."""

    def __init__(self, settings: AuthSettings) -> None:
        self._settings = settings

    @staticmethod
    def new() -> str:
        return secrets.token_urlsafe(32)

    def derive(self, purpose: str, seed: str) -> str:
        """The same unguessable token for the same seed, so that a repeated step gives the same answer."""
        return urlsafe_b64encode(self.keyed(purpose, seed)).rstrip(b"=").decode()

    def keyed(self, purpose: str, token: str) -> bytes:
        """A hash that nobody computes without AUTH_SECRET_KEY: who can write to the database can't make one up."""
        return hmac.digest(derive(self._settings, purpose), token.encode(errors="surrogatepass"), "sha256")

    @staticmethod
    def digest(token: str) -> bytes:
        """What is stored and looked up."""
        return hashlib.sha256(token.encode(errors="surrogatepass")).digest()

    def sign(self, purpose: str, data: bytes) -> bytes:
        """A 16-byte authenticator over `data`."""
        return hmac.digest(derive(self._settings, purpose), data, "sha256")[:16]
