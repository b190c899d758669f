"""Access tokens: what we sign others can verify, and nothing else gets in."""

import base64
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import jwt
import pytest
from pydantic import SecretStr

from app.config import AuthSettings
from app.core.access_tokens import LEEWAY, MAX_TOKEN_BYTES, AccessTokens, UnknownKey
from app.core.enums import KeyAlgorithm
from app.core.errors import Unauthenticated
from app.core.key_ring import KeyRing
from app.core.signing_keys import SigningKey, new_key_pair, read_private, read_public, shared_key
from tests.support import eventually

SETTINGS = AuthSettings(secret_key=SecretStr("the key of these tests, which is long enough"))
Claims = dict[str, Any]


def made(algorithm: str, settings: AuthSettings = SETTINGS) -> SigningKey:
    """A new key; with HS256 the one of these settings."""
    if algorithm == "HS256":
        return shared_key(settings)
    pair = new_key_pair(KeyAlgorithm(algorithm))
    return SigningKey(pair.kid, algorithm, read_public(pair.jwk), read_private(pair.private), 0, float("inf"), pair.jwk)


@pytest.fixture(params=["ES256", "EdDSA", "HS256"])
def key(request: pytest.FixtureRequest) -> SigningKey:
    return made(request.param)


@pytest.fixture
def tokens(key: SigningKey) -> AccessTokens:
    return AccessTokens(SETTINGS, KeyRing([key]))


@pytest.fixture
def good(tokens: AccessTokens) -> Claims:
    """The claims of a token that is valid."""
    return jwt.decode(issue(tokens), options={"verify_signature": False})


def issue(tokens: AccessTokens) -> str:
    return tokens.issue(user_id=7, session_id=9, role="client", scope="read")[0]


def sign(tokens: AccessTokens, claims: Claims, **header: Any) -> str:
    """A token with our key, whatever it says."""
    key = tokens._ring.signing()
    kept = {"typ": "at+jwt", "kid": key.kid, "alg": key.algorithm} | header
    return jwt.encode(claims, key.private, kept.pop("alg"), headers={k: v for k, v in kept.items() if v is not None})


def test_a_token_of_ours_is_accepted(tokens: AccessTokens, good: Claims) -> None:
    """It says who and which session; verifying it again gives the same."""
    token, lifetime = tokens.issue(user_id=7, session_id=9, role="client", scope="read")
    claims = tokens.verify(token)
    assert (claims.user_id, claims.session_id, claims.scope) == (7, 9, "read")
    assert tokens.verify(token) == claims
    assert lifetime == 900
    assert claims.expires_at - good["iat"] == pytest.approx(900, abs=2)
    assert tokens.verify(sign(tokens, good)).user_id == 7


def test_a_token_has_the_contracts_form(tokens: AccessTokens, key: SigningKey, good: Claims) -> None:
    """The header has `typ: at+jwt` and a `kid`; the claims are the contract's; each token has its own `jti`."""
    assert jwt.get_unverified_header(issue(tokens)) == {"alg": key.algorithm, "typ": "at+jwt", "kid": key.kid}
    assert good.keys() == {"iss", "aud", "sub", "exp", "iat", "nbf", "jti", "sid", "scope", "role"}
    assert good["jti"] != jwt.decode(issue(tokens), options={"verify_signature": False})["jti"]


CHANGES: dict[str, Callable[[Claims], Claims]] = {
    "another issuer": lambda claims: claims | {"iss": "somebody"},
    "another audience": lambda claims: claims | {"aud": "another-api"},
    "our audience among others": lambda claims: claims | {"aud": ["frontdesk-api", "another-api"]},
    "expired": lambda claims: claims | {"exp": int(time.time()) - LEEWAY - 1},
    "not yet valid": lambda claims: claims | {"nbf": int(time.time()) + LEEWAY + 60},
    "issued in the future": lambda claims: claims | {"iat": int(time.time()) + LEEWAY + 60},
    "expiry that is no number": lambda claims: claims | {"exp": "soon"},
    "expiry that is text": lambda claims: claims | {"exp": str(claims["exp"])},
    "expiry that is true": lambda claims: claims | {"exp": True},
    "huge": lambda claims: claims | {"exp": 10**400},
    "beyond any lifetime of ours": lambda claims: claims | {"exp": claims["exp"] + 24 * 3600},
    "scopes in a list": lambda claims: claims | {"scope": ["read"]},
    "endless": lambda claims: claims | {"exp": float("inf")},
    "no number at all": lambda claims: claims | {"exp": float("nan")},
    "subject that is a number": lambda claims: claims | {"sub": 7},
    "subject of letters": lambda claims: claims | {"sub": "admin"},
    "subject below one": lambda claims: claims | {"sub": "0"},
    "subject beyond an id": lambda claims: claims | {"sub": str(2**63)},
    "subject of other digits": lambda claims: claims | {"sub": "٧"},
    "subject of 5,000 digits": lambda claims: claims | {"sub": "7" * 5000},
    "session that is none": lambda claims: claims | {"sid": None},
    "session of letters": lambda claims: claims | {"sid": "x"},
} | {
    f"without {name}": lambda claims, name=name: {key: value for key, value in claims.items() if key != name}
    for name in ("iss", "aud", "sub", "exp", "iat", "nbf", "jti", "sid", "scope", "role")
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_claims_that_do_not_fit_are_refused(
    tokens: AccessTokens, good: Claims, change: Callable[[Claims], Claims]
) -> None:
    """Even signed with our key, and with Unauthenticated, never with another exception."""
    token = sign(tokens, change(good))
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            tokens.verify(token)


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize(
    "header",
    [{"typ": "JWT"}, {"typ": "AT+JWT"}, {"typ": None}, {"kid": "another"}, {"kid": None}, {"crit": ["exp"]}, {"x": 1}],
    ids=str,
)
def test_headers_that_do_not_fit_are_refused(tokens: AccessTokens, good: Claims, header: dict[str, Any]) -> None:
    """Another type, another key, an extension we don't know, another algorithm."""
    with pytest.raises(Unauthenticated):
        tokens.verify(sign(tokens, good, **header))


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_a_token_without_a_signature_is_refused(tokens: AccessTokens, good: Claims) -> None:
    """`alg: none`, in any spelling, with and without something in the signature's place."""
    for alg in ("none", "None", "NONE", ""):
        for signature in ("", "AAAA"):
            header = part({"alg": alg, "typ": "at+jwt", "kid": tokens._ring.signing().kid})
            with pytest.raises(Unauthenticated):
                tokens.verify(f"{header}.{part(good)}.{signature}")


def test_a_token_of_another_key_is_refused(tokens: AccessTokens, key: SigningKey) -> None:
    """Another key can't speak for this one, even under its name."""
    settings = AuthSettings(secret_key=SecretStr("another key, which is long enough, too"))
    other = made(key.algorithm, settings)
    for forger in (other, replace(other, kid=key.kid)):
        with pytest.raises(Unauthenticated):
            tokens.verify(issue(AccessTokens(settings, KeyRing([forger]))))


def test_each_key_has_its_one_algorithm() -> None:
    """A ring may hold keys of both kinds; each verifies what it has signed itself, and the youngest begun one signs."""
    old, young = made("ES256"), replace(made("EdDSA"), signs_from=time.time() - 1)
    tomorrow = replace(made("ES256"), signs_from=time.time() + 86400)
    first = issue(AccessTokens(SETTINGS, KeyRing([old])))
    tokens = AccessTokens(SETTINGS, KeyRing([tomorrow, old, young]))
    assert jwt.get_unverified_header(issue(tokens))["kid"] == young.kid
    assert tokens.verify(first).user_id == 7
    for key, other in ((old, young), (young, old)):
        with pytest.raises(Unauthenticated):
            tokens.verify(issue(AccessTokens(SETTINGS, KeyRing([replace(other, kid=key.kid)]))))


def test_a_key_that_is_gone_takes_its_tokens_along(tokens: AccessTokens, key: SigningKey) -> None:
    """What was verified a moment ago is refused once its key is retired or its time is over."""
    token = issue(tokens)
    assert tokens.verify(token).user_id == 7
    tokens._ring.replace([made("ES256")])
    with pytest.raises(UnknownKey):
        tokens.verify(token)
    tokens._ring.replace([replace(key, verifies_until=time.time() - 1)])
    with pytest.raises(UnknownKey):
        tokens.verify(token)
    assert tokens._ring.public() == []


@pytest.mark.parametrize(
    "garbage",
    [
        "", ".", "..", "...", "a.b.c", "a" * 100, "é.é.é", "\ud800.a.b", "\0", "eyJ.eyJ.eyJ", "null", "[].[].[]",
        f"{part([])}.{part([])}.x", f"{part({'alg': 1})}.{part({})}.x",
        f"{part({'alg': 'HS256', 'kid': []})}.{part({})}.x",
        f"{part({'alg': 'HS256', 'typ': 'at+jwt'})}.{part({})}.x", "[" * 4000, part("x") + "." + "[" * 3000 + ".x",
        base64.urlsafe_b64encode(b"[" * 5000).decode().rstrip("=") + ".a.b",
    ],
    ids=range(19),
)  # fmt: skip
def test_garbage_is_refused(tokens: AccessTokens, garbage: str) -> None:
    """Whatever it is, it is Unauthenticated and never another exception."""
    with pytest.raises(Unauthenticated):
        tokens.verify(garbage)


def test_a_token_that_is_too_long_is_refused_unread(tokens: AccessTokens, good: Claims) -> None:
    """9 KiB, though signed by us, are not decoded, and not kept."""
    token = sign(tokens, good | {"scope": "x" * 9 * 1024})
    assert len(token) > MAX_TOKEN_BYTES
    with pytest.raises(Unauthenticated):
        tokens.verify(token)
    assert len(tokens._verified) == 0


async def test_a_token_that_was_verified_still_expires(tokens: AccessTokens, good: Claims) -> None:
    """Remembering a token saves its signature's check, not its expiry's."""
    token = sign(tokens, good | {"exp": int(time.time()) - LEEWAY + 3})
    tokens.verify(token)
    assert token in tokens._verified

    async def refused() -> bool:
        with suppress(Unauthenticated):
            tokens.verify(token)
            return False
        return True

    await eventually(refused, seconds=3)
    assert token not in tokens._verified


def test_what_is_remembered_is_bounded(tokens: AccessTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tokens come by, the oldest are forgotten."""
    monkeypatch.setattr("app.core.access_tokens._CACHE_SIZE", 3)
    for _ in range(5):
        tokens.verify(issue(tokens))
    assert len(tokens._verified) == 3
