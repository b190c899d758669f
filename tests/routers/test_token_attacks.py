"""Access tokens that somebody made up: each attack of RFC 8725 and the field gets 401 and nothing else."""

import asyncio
import hashlib
import hmac
import json
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.core.access_tokens import LEEWAY, MAX_TOKEN_BYTES
from app.core.signing_keys import SigningKey
from tests.forgery import Target, as_json, encoded, new_key, signed

REQUIRED = ("iss", "aud", "sub", "exp", "iat", "nbf", "jti", "sid", "scope", "role")


def parts(header: Any, claims: Any) -> str:
    """A token that has no signature yet."""
    return f"{encoded(as_json(header))}.{encoded(as_json(claims))}."


def with_mac(header: Any, claims: Any, secret: bytes, digest: Any) -> str:
    message = parts(header, claims)
    return message + encoded(hmac.digest(secret, message[:-1].encode(), digest))


@cache
def rsa_key() -> SigningKey:
    """The service makes none; what holds for a key of any kind is shown with one, too."""
    private = generate_private_key(public_exponent=65537, key_size=2048)
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return SigningKey("rsa", "RS256", private.public_key(), private, time.time() + 86400, float("inf"), jwk)


@pytest.fixture
def other_keys(target: Target) -> Iterator[dict[str, SigningKey]]:
    """Further keys that the service verifies with, one of each kind."""
    ring = target.container.keys.ring
    before = list(ring._keys.values())
    added = {key.algorithm: key for key in (new_key("ES256"), new_key("EdDSA"), rsa_key())}
    ring.replace([*before, *added.values()])
    yield added
    ring.replace(before)


async def test_what_the_attacks_start_from_is_good(target: Target) -> None:
    """A token put together as the attacks are, with nothing wrong in it, is accepted."""
    await target.accepts(target.with_header())
    await target.accepts(target.with_claims())


@pytest.mark.parametrize("signature", ["", "AAAA", "the good one's"])
@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "NONE", "", None, 1, ["ES256"], "HS256 "], ids=repr)
async def test_a_token_that_names_no_algorithm(target: Target, alg: Any, signature: str) -> None:
    """`alg: none` in any spelling, or a value that is no name, with and without something in the signature's place."""
    last = target.good.split(".")[2] if signature == "the good one's" else signature
    await target.refuses(parts(target.header | {"alg": alg}, target.claims) + last)


def public_forms(key: SigningKey) -> dict[str, list[bytes]]:
    """What an attacker may take for the secret: the public key as it is published, with and without white space."""
    pem = key.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    ssh = key.public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return {
        "PEM": [pem, pem.strip()],
        "DER": [key.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)],
        "SSH": [ssh, ssh + b"\n"],
        "JWK": [
            json.dumps(key.jwk).encode(),
            json.dumps(key.jwk, separators=(",", ":")).encode(),
            json.dumps({"keys": [key.jwk]}, separators=(",", ":")).encode(),
        ],
    }


@pytest.mark.parametrize("form", ["PEM", "DER", "SSH", "JWK"])
@pytest.mark.parametrize("kind", ["ES256", "EdDSA", "RS256"])
async def test_the_public_key_taken_for_a_shared_secret(
    target: Target, other_keys: dict[str, SigningKey], kind: str, form: str
) -> None:
    """HS/ES, HS/EdDSA and HS/RS confusion: a MAC keyed with what everybody may read is no signature."""
    key = other_keys[kind]
    await target.accepts(target.with_header(key, kid=key.kid, alg=kind))
    for secret in public_forms(key)[form]:
        for alg, digest in (("HS256", hashlib.sha256), ("HS384", hashlib.sha384), ("HS512", hashlib.sha512)):
            header = target.header | {"kid": key.kid, "alg": alg}
            await target.refuses(with_mac(header, target.claims, secret, digest))


@pytest.mark.parametrize("theirs", ["ES256", "EdDSA", "RS256"])
@pytest.mark.parametrize("ours", ["ES256", "EdDSA", "RS256"])
async def test_a_key_of_the_attackers_under_the_name_of_ours(
    target: Target, other_keys: dict[str, SigningKey], ours: str, theirs: str
) -> None:
    """Of the same kind or another one, and whichever algorithm the header claims."""
    own = new_key(theirs) if theirs != "RS256" else other_keys["RS256"]
    kid = other_keys[ours].kid if ours != theirs else target.key.kid
    for alg in (ours, theirs):
        await target.refuses(target.with_header(own, kid=kid, alg=alg))


@pytest.mark.parametrize("signature", [bytes(64), bytes(32), b"", b"\xff" * 64, bytes(63) + b"\1"], ids=range(5))
async def test_a_signature_of_nothing(target: Target, signature: bytes) -> None:
    """Zeros (r = s = 0), nothing, a number beyond the curve's order."""
    head, body, _ = target.good.split(".")
    await target.refuses(f"{head}.{body}.{encoded(signature)}")


@pytest.mark.parametrize("part", [0, 1, 2], ids=["header", "claims", "signature"])
async def test_a_part_that_was_altered(target: Target, part: int) -> None:
    """The signature covers the header and the claims, to the letter."""
    parts = target.good.split(".")
    parts[part] = ("A" if parts[part][5] != "A" else "B").join((parts[part][:5], parts[part][6:]))
    await target.refuses(".".join(parts))


@pytest.mark.parametrize("name", REQUIRED)
async def test_a_required_claim_that_is_missing(target: Target, name: str) -> None:
    """Every claim of the contract has to be there, and to be something."""
    await target.refuses(target.with_claims(**{name: ...}))
    await target.refuses(target.with_claims(**{name: None}))


CLAIMS: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "somebody"},
    "issuer with a slash": {"iss": "frontdesk/"},
    "issuers in a list": {"iss": ["frontdesk"]},
    "no issuer's name": {"iss": ""},
    "another audience": {"aud": "another-api"},
    "our audience in a list": {"aud": ["frontdesk-api"]},
    "our audience among others": {"aud": ["frontdesk-api", "another-api"]},
    "no audience": {"aud": []},
    "subject that is a number": {"sub": 7},
    "subject of letters": {"sub": "admin"},
    "subject beyond an id": {"sub": "9" * 30},
    "subject of other digits": {"sub": "²"},
    "subject in SQL": {"sub": "1 OR 1=1"},
    "another user's": {"sub": "999"},
    "session that is a number": {"sid": 1},
    "another session": {"sid": "999"},
    "session in SQL": {"sid": "1; DROP TABLE users"},
    "token id that is a number": {"jti": 1},
    "scopes in a list": {"scope": ["users:read"]},
    "role that is true": {"role": True},
}


@pytest.mark.parametrize("change", CLAIMS)
async def test_a_claim_that_is_none_of_ours(target: Target, change: str) -> None:
    """Even under our signature: another issuer, audience, user, session, or a value of another kind."""
    await target.refuses(target.with_claims(**CLAIMS[change]))


# Seconds from now, far enough from the edge that a slow machine changes nothing.
TIMES = {
    "expired": {"exp": -LEEWAY - 5},
    "expired long ago": {"exp": -86400},
    "expired before 1970": {"exp": -(10**10)},
    "issued before 1970": {"iat": -(10**10)},
    "not yet valid": {"nbf": LEEWAY + 60},
    "issued in the future": {"iat": LEEWAY + 60},
    "issued years ahead": {"iat": 10**9},
    "beyond any lifetime of ours": {"exp": 2 * 86400},
}


@pytest.mark.parametrize("times", TIMES)
async def test_a_token_of_another_time(target: Target, times: str) -> None:
    """Expired, not yet valid or issued in the future, by more than the leeway; or good for longer than any of ours."""
    now = int(time.time())
    await target.refuses(target.with_claims(**{name: now + seconds for name, seconds in TIMES[times].items()}))


@pytest.mark.parametrize(("name", "seconds"), [("exp", -5), ("nbf", LEEWAY - 5), ("iat", LEEWAY - 5)])
async def test_a_clock_that_is_a_little_off(target: Target, name: str, seconds: int) -> None:
    """Within the leeway a token is accepted: clocks differ."""
    await target.accepts(target.with_claims(**{name: int(time.time()) + seconds}))


# As JSON; SOON is a time at which the value would be right.
NO_TIMES = {
    "text": '"SOON"',
    "word": '"soon"',
    "true": "true",
    "false": "false",
    "list": "[SOON]",
    "object": "{}",
    "huge": "1" + "0" * 400,
    "more digits than are read": "1" + "0" * 4400,
    "beyond a float": "1e400",
    "infinite": "Infinity",
    "infinite past": "-Infinity",
    "not a number": "NaN",
}


@pytest.mark.parametrize("value", NO_TIMES)
@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
async def test_a_time_that_is_none(target: Target, name: str, value: str) -> None:
    """Text, booleans, lists, huge and infinite numbers are refused and never break anything."""
    literal = NO_TIMES[value].replace("SOON", str(target.claims[name]))
    claims = json.dumps(target.claims | {name: "here"}).replace('"here"', literal)
    await target.refuses(signed(target.header, claims.encode(), target.key))


KIDS: dict[str, Any] = {
    "traversal": "../../../../../../dev/null",
    "traversal, encoded": "..%2f..%2fdev%2fnull",
    "SQL": "' UNION SELECT 'x' --",
    "SQL that is always true": "' OR '1'='1",
    "a command": "key.pem|id",
    "unknown": "x" * 43,
    "empty": "",
    "NUL": "\0",
    "half a character": "\ud800",
    "of 4,000 characters": "k" * 4000,
    "number": 1,
    "true": True,
    "null": None,
    "list": [],
    "object": {"$ne": None},
}


@pytest.mark.parametrize("kid", KIDS)
async def test_a_key_id_that_is_none_of_ours(target: Target, kid: str) -> None:
    """Though signed with our key, and with an empty secret: a name that the ring does not hold leads nowhere."""
    await target.refuses(target.with_header(kid=KIDS[kid]))
    header = target.header | {"kid": KIDS[kid], "alg": "HS256"}
    await target.refuses(with_mac(header, target.claims, b"", hashlib.sha256))


async def test_no_key_id(target: Target) -> None:
    """Without `kid` no key is tried, not even the only one there is."""
    await target.refuses(target.with_header(kid=...))


async def test_the_key_id_of_another_key_of_ours(target: Target, other_keys: dict[str, SigningKey]) -> None:
    """The key that is named verifies, no other, though both are ours."""
    for other in other_keys.values():
        await target.refuses(target.with_header(kid=other.kid))
        await target.refuses(target.with_header(other))


@cache
def attacker() -> SigningKey:
    return new_key("ES256")


@cache
def certificate() -> str:
    """Of the attacker's key, by the attacker."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "frontdesk")])
    now = datetime.now(UTC)
    unsigned = x509.CertificateBuilder(name, name, attacker().public, 1, now - timedelta(1), now + timedelta(1))
    return b64encode(unsigned.sign(attacker().private, SHA256()).public_bytes(Encoding.DER)).decode()


BROUGHT_ALONG = ("jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256")


@pytest.mark.parametrize("named", ["our kid", "the attacker's kid"])
@pytest.mark.parametrize("member", BROUGHT_ALONG)
async def test_a_key_that_the_token_brings_along(target: Target, member: str, named: str) -> None:
    """A key, a certificate or its address in the header is never used or fetched, whoever has signed the token."""
    fetched: list[int] = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fetched.append(1)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks.json"
        thumb = encoded(hashlib.sha256(certificate().encode()).digest())
        key = attacker()
        value = {"jwk": key.jwk, "jku": address, "x5u": address, "x5c": [certificate()]}.get(member, thumb)
        kid = target.key.kid if named == "our kid" else key.kid
        await target.refuses(target.with_header(key, kid=kid, **{member: value}))
        await target.refuses(target.with_header(kid=kid, **{member: value}))
    assert not fetched


HEADERS: dict[str, dict[str, Any]] = {
    "critical expiry": {"crit": ["exp"]},
    "critical unknown": {"crit": ["urn:example:x"], "urn:example:x": True},
    "nothing critical": {"crit": []},
    "critical that is no list": {"crit": "exp"},
    "critical b64": {"crit": ["b64"], "b64": True},
    "claims that are not encoded": {"crit": ["b64"], "b64": False},
    "compressed": {"zip": "DEF"},
    "encrypted": {"enc": "A128GCM"},
    "a token in a token": {"cty": "JWT"},
    "typ JWT": {"typ": "JWT"},
    "typ of a refresh token": {"typ": "rt+jwt"},
    "typ empty": {"typ": ""},
    "typ null": {"typ": None},
    "typ list": {"typ": ["at+jwt"]},
}


@pytest.mark.parametrize("change", HEADERS)
async def test_a_header_that_is_none_of_ours(target: Target, change: str) -> None:
    """Under our signature, too: critical extensions, other types, members that we never write."""
    await target.refuses(target.with_header(**HEADERS[change]))


async def test_no_type(target: Target) -> None:
    """A token without `typ` is no access token."""
    await target.refuses(target.with_header(typ=...))


async def test_a_token_that_is_too_long(target: Target) -> None:
    """8 KiB are read; 9 KiB and 1 MiB are not, though signed by us."""
    fits = target.with_claims(pad="x" * ((MAX_TOKEN_BYTES - len(target.with_claims(pad=""))) * 3 // 4 - 3))
    assert MAX_TOKEN_BYTES - 16 < len(fits) <= MAX_TOKEN_BYTES
    await target.accepts(fits)
    for size in (9 * 1024, 1024 * 1024):
        await target.refuses(target.with_claims(pad="x" * (size * 3 // 4)))


@pytest.mark.parametrize("where", ["header", "claims"])
@pytest.mark.parametrize("nested", ["[" * 2600 + "]" * 2600, '{"a":' * 900 + "1" + "}" * 900, "[" * 5000], ids=range(3))
async def test_a_deeply_nested_part(target: Target, where: str, nested: str) -> None:
    """Thousands of levels within 8 KiB are refused and break nothing."""
    deep = json.dumps(getattr(target, where) | {"sub" if where == "claims" else "x": "here"}).replace('"here"', nested)
    header, claims = (deep.encode(), target.claims) if where == "header" else (target.header, deep.encode())
    token = signed(header, claims, target.key)
    assert len(token) <= MAX_TOKEN_BYTES
    await target.refuses(token)


@pytest.mark.parametrize("name", ["alg", "typ", "kid"])
async def test_a_header_that_says_a_thing_twice(target: Target, name: str) -> None:
    """The last one counts, as RFC 7515 allows, so that whoever reads the first can't be played off against us."""
    wrong = {"alg": "none", "typ": "JWT", "kid": "other"}[name]
    right, also = json.dumps(target.header)[1:-1], json.dumps({name: wrong})[1:-1]
    await target.refuses(signed(f"{{{right}, {also}}}".encode(), target.claims, target.key))
    await target.refuses(signed(f"{{{also}, {right}}}".encode(), target.claims, replace(attacker(), kid="")))
    await target.refuses(parts(f"{{{also}, {right}}}".encode(), target.claims))


GARBAGE: dict[str, str | bytes] = {
    "dots": "..",
    "more dots": "....",
    "letters": "a.b.c",
    "no dots": "a" * 100,
    "not ASCII": "é.é.é".encode(),
    "not UTF-8": b"\xff\xfe.\xff.\xff",
    "JSON without encoding": b'{"alg":"none"}.{}.',
    "null": "null",
    "lists": parts(b"[]", b"[]") + "x",
    "text": parts(b'"x"', b'"x"') + "x",
    "empty objects": parts(b"{}", b"{}"),
    "not UTF-8 within": parts(b"\xff\xfe", b"\xff") + "x",
    "UTF-16 within": parts("{}".encode("utf-16"), b"{}") + "x",
    "five parts (JWE)": "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..AAAA.AAAA.AAAA",
    "a whole JWS in JSON": b'{"payload":"e30","signatures":[]}',
    "two tokens": "eyJ.eyJ.eyJ eyJ.eyJ.eyJ",
}


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage(target: Target, garbage: str) -> None:
    """Whatever it is, it is refused and breaks nothing."""
    await target.refuses(GARBAGE[garbage])


async def test_a_token_that_was_cut_or_lengthened(target: Target) -> None:
    """Each part is needed, once and whole."""
    head, body, last = target.good.split(".")
    for bad in (
        f"{head}.{body}.",
        f"{head}.{body}",
        f".{body}.{last}",
        f"{head}..{last}",
        target.good[:-2],
        f"{target.good}.{last}",
        f"{target.good} {target.good}",
        f"{target.good},{target.good}",
        f"{head}.{body}.{last}.",
    ):
        await target.refuses(bad)
