"""Opaque tokens, of which hashes alone are stored."""

import base64
import hashlib

from pydantic import SecretStr

from app.config import AuthSettings
from app.core.opaque_tokens import OpaqueTokens

SETTINGS = AuthSettings(secret_key=SecretStr("the key of these tests, which is long enough"))


def test_opaque_tokens_are_stored_as_hashes_alone() -> None:
    """Each is new and long enough, what is stored is its SHA-256, and any text has one."""
    first, second = OpaqueTokens.new(), OpaqueTokens.new()
    assert first != second
    assert len(base64.urlsafe_b64decode(first + "==")) == 32
    assert OpaqueTokens.digest(first) == hashlib.sha256(first.encode()).digest()
    assert OpaqueTokens.digest("\ud800\0")


def test_a_derived_token_follows_from_purpose_seed_and_secret() -> None:
    """The same for the same three, another when one of them is another."""
    tokens = OpaqueTokens(SETTINGS)
    other = OpaqueTokens(AuthSettings(secret_key=SecretStr("another")))
    derived = {tokens.derive("a", "1"), tokens.derive("a", "2"), tokens.derive("b", "1"), other.derive("a", "1")}
    assert len(derived) == 4
    assert tokens.derive("a", "1") == tokens.derive("a", "1")
    assert tokens.sign("a", b"x") != tokens.sign("b", b"x")
