"""Other libraries verify our access tokens with nothing but the published key set."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from jose import JWTError
from jose import jwt as jose
from joserfc import jwt as joserfc
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from tests.forgery import Target, as_json, decoded, encoded, new_key, signed

ISSUER, AUDIENCE = "frontdesk", "frontdesk-api"
Claims = dict[str, Any]


def by_python_jose(token: str, key_set: Any) -> Claims:
    return dict(jose.decode(token, key_set, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER))


def by_joserfc(token: str, key_set: Any) -> Claims:
    decoded_token = joserfc.decode(token, KeySet.import_key_set(key_set), algorithms=["ES256"])
    joserfc.JWTClaimsRegistry(
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": AUDIENCE},
        exp={"essential": True},
    ).validate(decoded_token.claims)
    return dict(decoded_token.claims)


PEERS: dict[str, Callable[[str, Any], Claims]] = {"python-jose": by_python_jose, "joserfc": by_joserfc}


async def published(client: httpx.AsyncClient) -> Any:
    answer = await client.get("/.well-known/jwks.json")
    assert answer.status_code == 200
    return answer.json()


@pytest.mark.parametrize("peer", PEERS)
async def test_a_peer_accepts_a_token_of_ours(target: Target, peer: str) -> None:
    """It finds the key by its id and reads the claims of the contract, for our issuer and audience."""
    claims = PEERS[peer](target.good, await published(target.client))
    assert claims == target.claims
    assert (claims["sub"], claims["sid"]) == (str(target.person.id), str(target.person.session_id))


def promoted(target: Target) -> str:
    head, body, last = target.good.split(".")
    return f"{head}.{encoded(as_json(json.loads(decoded(body)) | {'role': 'superadmin'}))}.{last}"


def resigned(target: Target) -> str:
    return signed(target.header, target.claims, replace(new_key("ES256"), kid=target.key.kid))


def cut(target: Target) -> str:
    return target.good.rsplit(".", 1)[0] + "."


def unsigned(target: Target) -> str:
    return f"{encoded(as_json(target.header | {'alg': 'none'}))}.{encoded(as_json(target.claims))}."


@pytest.mark.parametrize("tamper", [promoted, resigned, cut, unsigned], ids=lambda tamper: tamper.__name__)
@pytest.mark.parametrize("peer", PEERS)
async def test_a_peer_refuses_a_token_that_was_tampered_with(
    target: Target, peer: str, tamper: Callable[[Target], str]
) -> None:
    """Other claims, another's signature under our key's name, none at all: the peer refuses, and so do we."""
    key_set, token = await published(target.client), tamper(target)
    with pytest.raises((JWTError, JoseError)):
        PEERS[peer](token, key_set)
    await target.refuses(token)


async def test_the_key_set_tells_the_public_half_alone(target: Target) -> None:
    """Every key has its id, its one algorithm and its use, and nothing with which one could sign."""
    keys = (await published(target.client))["keys"]
    assert target.key.kid in [key["kid"] for key in keys]
    for key in keys:
        assert key["use"] == "sig"
        assert key["alg"] in {"ES256", "EdDSA"}
        assert not key.keys() & {"d", "k", "p", "q", "dp", "dq", "qi"}
