"""Access tokens that somebody made up or altered."""

import time
from base64 import urlsafe_b64encode
from typing import Any

import httpx
import jwt
import pytest

from app.services.container import Container
from tests.support import API, World, assert_problem


def forge(container: Container, good: str, *, key: Any = None, header: Any = None, **claims: Any) -> str:
    """`good` with other claims or header, signed with the service's own key unless another is given."""
    secret = container.keys.ring.signing().private if key is None else key
    now = jwt.decode(good, options={"verify_signature": False})
    changed = {name: value for name, value in (now | claims).items() if value is not ...}
    kept = jwt.get_unverified_header(good) | (header or {})
    return jwt.encode(changed, secret, kept.pop("alg"), headers=kept)


def unsigned(good: str) -> str:
    head = urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').rstrip(b"=").decode()
    return f"{head}.{good.split('.')[1]}."


FORGERIES: dict[str, dict[str, Any]] = {
    "another key": {"header": {"alg": "HS256"}, "key": "x" * 32},
    "the raw secret": {"header": {"alg": "HS256"}, "key": "development-only-secret-do-not-use-in-production"},
    "another algorithm": {"header": {"alg": "HS384"}, "key": "x" * 48},
    "an id token": {"header": {"typ": "JWT"}},
    "another key id": {"header": {"kid": "other"}},
    "a critical extension": {"header": {"crit": ["exp"]}},
    "expired": {"exp": int(time.time()) - 60, "iat": int(time.time()) - 999, "nbf": int(time.time()) - 999},
    "not yet": {"nbf": int(time.time()) + 3600},
    "another issuer": {"iss": "elsewhere"},
    "another audience": {"aud": "other-api"},
    "a list of audiences": {"aud": ["frontdesk-api", "other"]},
    "no expiry": {"exp": ...},
    "no session": {"sid": ...},
    "no subject": {"sub": ...},
    "a word for a subject": {"sub": "admin"},
    "another session": {"sid": "999"},
    "another user": {"sub": "2"},
    "a huge subject": {"sub": "9" * 30},
    "a digit that is none": {"sub": "²"},
}


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("kind", FORGERIES)
async def test_a_forged_token_opens_nothing(
    client: httpx.AsyncClient, world: World, container: Container, kind: str
) -> None:
    """Other keys, algorithms, types, times, claims and people: 401 invalid_token, while the good one keeps working."""
    person = await world.person()
    await world.superadmin()
    good = person.headers["Authorization"].removeprefix("Bearer ")
    forged = forge(container, good, **FORGERIES[kind])
    refused = await client.get(f"{API}/users/me", headers={"Authorization": f"Bearer {forged}"})
    assert_problem(refused, 401, "invalid_token")
    same = forge(container, good)
    assert (await client.get(f"{API}/users/me", headers={"Authorization": f"Bearer {same}"})).status_code == 200


async def test_an_altered_token_opens_nothing(client: httpx.AsyncClient, world: World) -> None:
    """Unsigned, cut, padded, with a part of another token: 401."""
    one, two = await world.person(), await world.superadmin()
    good, better = (who.headers["Authorization"].removeprefix("Bearer ") for who in (one, two))
    head, body, mac = good.split(".")
    for bad in (
        unsigned(good),
        f"{head}.{better.split('.')[1]}.{mac}",
        f"{head}.{body}.",
        f"{head}.{body}",
        good[:-2],
        f"{good}.{mac}",
        f"{good} {good}",
    ):
        refused = await client.get(f"{API}/users/me", headers={"Authorization": f"Bearer {bad}"})
        assert_problem(refused, 401, "invalid_token")


async def test_the_role_in_a_token_gives_no_rights(
    client: httpx.AsyncClient, world: World, container: Container
) -> None:
    """Rights are those of the account as it is now, not those that a token once named."""
    person = await world.person()
    good = person.headers["Authorization"].removeprefix("Bearer ")
    grand = forge(container, good, role="superadmin", scope="*")
    refused = await client.get(f"{API}/users", headers={"Authorization": f"Bearer {grand}"})
    assert_problem(refused, 403, "forbidden")
