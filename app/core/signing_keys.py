"""Keys that sign access tokens: one algorithm each, chosen by us, and named by a hash of their public half."""

import hashlib
import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from app.config import AuthSettings
from app.core.derivation import derive
from app.core.enums import KeyAlgorithm

# RFC 7638, 3.2: what a key's thumbprint is made of.
_THUMBPRINT = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key as a process works with it. `private` is None when it only verifies; times are Unix seconds."""

    kid: str
    algorithm: str
    public: Any
    private: Any
    signs_from: float
    verifies_until: float
    jwk: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key that has just been made, in the form in which it is stored; `private` is PKCS #8."""

    kid: str
    algorithm: KeyAlgorithm
    private: bytes
    jwk: dict[str, Any]


def new_key_pair(algorithm: KeyAlgorithm) -> KeyPair:
    if algorithm is KeyAlgorithm.ES256:
        private: Any = generate_private_key(SECP256R1())
        jwk = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    else:
        private = Ed25519PrivateKey.generate()
        jwk = OKPAlgorithm.to_jwk(private.public_key(), as_dict=True)
    kid = thumbprint(jwk)
    der = private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = {name: jwk[name] for name in _THUMBPRINT[jwk["kty"]]}
    return KeyPair(kid, algorithm, der, public | {"kid": kid, "alg": algorithm.value, "use": "sig"})


def thumbprint(jwk: dict[str, Any]) -> str:
    """RFC 7638 with SHA-256."""
    members = {name: jwk[name] for name in _THUMBPRINT[jwk["kty"]]}
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    return urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()


def read_private(der: bytes) -> Any:
    return serialization.load_der_private_key(der, password=None)


def read_public(jwk: dict[str, Any]) -> Any:
    return jwt.PyJWK.from_dict(jwk).key


def shared_key(settings: AuthSettings) -> SigningKey:
    """The HS256 key: whoever verifies with it could sign as well, so it is in no key set."""
    key = derive(settings, "access-token")
    return SigningKey(hashlib.sha256(key).hexdigest()[:16], "HS256", key, key, 0, float("inf"), None)
