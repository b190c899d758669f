"""Secrets that have to be read again (a hash would not do), sealed for the time that they lie in the database."""

import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.config import AuthSettings

_FORM, _NONCE = b"\x01", 12


class SealBroken(Exception):
    """The sealed bytes were altered, belong to something else, or were sealed under another AUTH_SECRET_KEY."""


class Sealer:
    """AES-256-GCM under a key derived from AUTH_SECRET_KEY. What is sealed for one `purpose` opens for no other."""

    def __init__(self, settings: AuthSettings) -> None:
        secret = settings.secret_key.get_secret_value().encode()
        self._cipher = AESGCM(hmac.digest(secret, b"frontdesk/sealing", "sha256"))

    def seal(self, purpose: str, secret: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return _FORM + nonce + self._cipher.encrypt(nonce, secret, purpose.encode())

    def open(self, purpose: str, sealed: bytes) -> bytes:
        """What was sealed; SealBroken when it can't be had."""
        nonce, rest = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        try:
            if sealed[:1] != _FORM or len(nonce) != _NONCE:
                raise SealBroken
            return self._cipher.decrypt(nonce, rest, purpose.encode())
        except InvalidTag:
            raise SealBroken from None
