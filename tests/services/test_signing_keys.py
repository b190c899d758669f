"""The life of the keys that sign access tokens, on a real database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import jwt
import pytest
from jose import jwt as jose
from joserfc import jwt as joserfc
from joserfc.jwk import KeySet
from pydantic import SecretStr

from app.config import AuthSettings, Settings
from app.core.access_tokens import AccessTokens
from app.core.errors import Conflict, NotFound, Unauthenticated
from app.core.key_ring import KeyRing
from app.core.sealing import SealBroken, Sealer
from app.services.container import Container, build
from app.services.key_commands import run
from app.services.signing_keys import SigningKeyService
from tests.support import API, PASSWORD, World, sign_in

JWKS = "/.well-known/jwks.json"


@pytest.fixture
async def keys(container: Container, world: World) -> AsyncIterator[SigningKeyService]:
    """The service's own, in a table that starts empty; afterwards everybody has a key again."""
    await world.execute("DELETE FROM signing_keys")
    await container.keys.reload()
    yield container.keys
    await world.execute("DELETE FROM signing_keys")
    await container.keys.reload()
    await container.keys.ensure()


def another(keys: SigningKeyService, **settings: object) -> SigningKeyService:
    """What another process has, knowing nothing yet."""
    return SigningKeyService(keys.settings.model_copy(update=settings), keys.database, KeyRing())


def token_of(keys: SigningKeyService) -> str:
    return AccessTokens(keys.settings, keys.ring).issue(user_id=7, session_id=9, role="client", scope="")[0]


def verified_by(keys: SigningKeyService, token: str) -> int:
    return AccessTokens(keys.settings, keys.ring).verify(token).user_id


async def rotate(keys: SigningKeyService, *, at_once: bool = False) -> str:
    async with keys.database.session_scope() as session:
        made = await keys.rotate(session, at_once=at_once)
    return made.kid


async def retire(keys: SigningKeyService, kid: str) -> None:
    async with keys.database.session_scope() as session:
        await keys.retire(session, kid=kid)


async def test_of_twenty_processes_one_makes_the_first_key(keys: SigningKeyService, world: World) -> None:
    """Whoever needs a key first makes it; the others wait for it, and all sign with the same one."""
    processes = [another(keys) for _ in range(20)]
    await asyncio.gather(*(one.ensure() for one in processes))
    assert await world.count("signing_keys") == 1
    assert len({one.ring.signing().kid for one in processes}) == 1


async def test_what_is_done_to_keys_is_recorded(keys: SigningKeyService, world: World) -> None:
    """Rotating and retiring a key leave a line each in the audit record, with the key's name."""
    await keys.ensure()
    made = await rotate(keys)
    await retire(keys, made)
    rows = await world.rows("SELECT action, actor_type, changes FROM audit_events ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("signing_key.rotated", "system", {"kid": made}),
        ("signing_key.retired", "system", {"kid": made}),
    ]


async def test_the_private_half_is_sealed(keys: SigningKeyService, world: World) -> None:
    """The table tells the public half alone, and no row opens in another's place or under another secret."""
    await keys.ensure()
    row = (await world.rows("SELECT kid, sealed, public_jwk FROM signing_keys"))[0]
    assert set(row.public_jwk) == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    secret = keys.ring.signing().private.private_numbers().private_value.to_bytes(32, "big")
    assert secret not in row.sealed
    purpose = f"signing-key {row.kid}"
    assert secret in Sealer(keys.settings).open(purpose, row.sealed)
    other = AuthSettings(secret_key=SecretStr("another secret, which is long enough"))
    for sealer, place in ((Sealer(keys.settings), "signing-key another"), (Sealer(other), purpose)):
        with pytest.raises(SealBroken):
            sealer.open(place, row.sealed)


async def test_a_rotation_loses_no_session(client: httpx.AsyncClient, keys: SigningKeyService, world: World) -> None:
    """The next key is public before it signs; when it does, tokens of the old one still work until the last expired."""
    await keys.ensure()
    person = await world.person(password=PASSWORD)
    old = keys.ring.signing().kid
    new = await rotate(keys)
    await keys.reload()
    assert {key["kid"] for key in (await client.get(JWKS)).json()["keys"]} == {old, new}
    assert keys.ring.signing().kid == old
    await world.execute("UPDATE signing_keys SET signs_from = now() WHERE kid = :kid", kid=new)
    await keys.reload()
    pair = (await sign_in(client, person.email)).json()
    assert jwt.get_unverified_header(pair["access_token"])["kid"] == new
    assert (await client.get(f"{API}/users/me", headers=person.headers)).status_code == 200
    lasts = await world.scalar("SELECT verify_until - now() FROM signing_keys WHERE kid = :kid", kid=old)
    seconds = keys.settings.key_publish_ahead_seconds + keys.settings.access_token_seconds
    assert timedelta(seconds=seconds) < lasts < timedelta(seconds=seconds + 180)
    await world.execute("UPDATE signing_keys SET verify_until = now() WHERE kid = :kid", kid=old)
    await keys.reload()
    assert (await client.get(f"{API}/users/me", headers=person.headers)).status_code == 401
    assert [key["kid"] for key in (await client.get(JWKS)).json()["keys"]] == [new]


async def test_one_rotation_at_a_time(keys: SigningKeyService, world: World) -> None:
    """While a next key waits, another rotation is refused, unless it makes that key sign at once; twenty make one."""
    await keys.ensure()
    outcomes = await asyncio.gather(*(rotate(keys) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(one, str) for one in outcomes) == 1
    assert sum(isinstance(one, Conflict) for one in outcomes) == 19
    waiting = next(one for one in outcomes if isinstance(one, str))
    assert await rotate(keys, at_once=True) == waiting
    await keys.reload()
    assert keys.ring.signing().kid == waiting
    assert await world.count("signing_keys") == 2


async def test_a_retired_key_ends_its_tokens_and_has_a_successor(
    client: httpx.AsyncClient, keys: SigningKeyService, world: World
) -> None:
    """Retiring the present key makes another sign: the waiting one before its time, else a new one."""
    await keys.ensure()
    person = await world.person()
    first = keys.ring.signing().kid
    assert (await client.get(f"{API}/users/me", headers=person.headers)).status_code == 200
    with pytest.raises(NotFound):
        await retire(keys, "unknown")
    await retire(keys, first)
    await keys.reload()
    second = keys.ring.signing().kid
    assert second != first
    assert (await client.get(f"{API}/users/me", headers=person.headers)).status_code == 401
    third = await rotate(keys)
    await retire(keys, second)
    await keys.reload()
    assert keys.ring.signing().kid == third
    assert [key["kid"] for key in (await client.get(JWKS)).json()["keys"]] == [third]


async def test_a_process_learns_of_a_key_by_its_first_token(
    client: httpx.AsyncClient, keys: SigningKeyService, world: World
) -> None:
    """A token of a key made elsewhere is good at once; made-up key ids don't make anybody read the table again."""
    await keys.ensure()
    elsewhere = another(keys)
    await rotate(elsewhere, at_once=True)
    await elsewhere.ensure()
    person = await world.person()
    token, _ = AccessTokens(keys.settings, elsewhere.ring).issue(
        user_id=person.id, session_id=person.session_id, role="client", scope=""
    )
    assert keys.ring.verifying(elsewhere.ring.signing().kid) is None
    keys._learned_at = float("-inf")
    assert (await client.get(f"{API}/users/me", headers={"Authorization": f"Bearer {token}"})).status_code == 200
    before = keys._learned_at
    for kid in ("x" * 43, "../../etc/passwd", "' OR 1=1 --", ""):
        assert not await keys.learn(kid)
    assert keys._learned_at == before


async def test_another_secret_makes_a_key_of_its_own(keys: SigningKeyService) -> None:
    """After a change of AUTH_SECRET_KEY the old key opens no more: a new one signs, the old one still verifies."""
    await keys.ensure()
    token = token_of(keys)
    changed = another(keys, secret_key=SecretStr("another secret, which is long enough"))
    await changed.ensure()
    assert changed.ring.signing().kid != keys.ring.signing().kid
    assert verified_by(changed, token) == 7


async def test_another_algorithm_begins_with_the_next_key(keys: SigningKeyService) -> None:
    """AUTH_ALGORITHM=EdDSA leaves the present key alone; the key of the next rotation is of that kind."""
    await keys.ensure()
    token = token_of(keys)
    changed = another(keys, algorithm="EdDSA")
    await changed.ensure()
    assert changed.ring.signing().algorithm == "ES256"
    await rotate(changed, at_once=True)
    await changed.reload()
    assert changed.ring.signing().algorithm == "EdDSA"
    assert verified_by(changed, token) == 7
    await keys.reload()
    assert verified_by(keys, token_of(changed)) == 7


async def test_a_shared_key_is_in_no_key_set(keys: SigningKeyService, settings: Settings, world: World) -> None:
    """HS256 needs no table, publishes nothing, has no rotation, and takes no token of an asymmetric key."""
    await keys.ensure()
    shared = Container.__dataclass_fields__  # the ring of HS256 is made where everything is
    assert "keys" in shared

    container = build(
        settings.model_copy(update={"auth": settings.auth.model_copy(update={"algorithm": "HS256"})}), role="api"
    )
    try:
        await container.keys.ensure()
        assert await container.keys.key_set() == {"keys": []}
        assert verified_by(container.keys, token_of(container.keys)) == 7
        for theirs, ours in ((keys, container.keys), (container.keys, keys)):
            with pytest.raises(Unauthenticated):
                verified_by(ours, token_of(theirs))
        with pytest.raises(Conflict):
            await rotate(container.keys)
    finally:
        await container.close()


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # the name, not the algorithm (RFC 9864)
@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
async def test_other_libraries_verify_our_tokens_from_the_key_set(
    client: httpx.AsyncClient, keys: SigningKeyService, algorithm: str
) -> None:
    """joserfc, and python-jose where it knows the algorithm, read the claims and refuse an altered token."""
    maker = another(keys, algorithm=algorithm)
    await maker.ensure()
    await keys.reload()
    answer = await client.get(JWKS)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=300")
    assert answer.headers["content-type"] == "application/json"
    key_set, token = answer.json(), token_of(maker)
    claims = joserfc.decode(token, KeySet.import_key_set(key_set), algorithms=[algorithm]).claims
    assert (claims["sub"], claims["sid"], claims["iss"]) == ("7", "9", "frontdesk")
    altered = token[:-6] + ("AAAAAA" if token[-6:] != "AAAAAA" else "BBBBBB")
    if algorithm == "ES256":
        read = jose.decode(token, key_set, algorithms=["ES256"], audience="frontdesk-api", issuer="frontdesk")
        assert read == claims
        with pytest.raises(jose.JWTError):
            jose.decode(altered, key_set, algorithms=["ES256"], audience="frontdesk-api")
    with pytest.raises(Exception, match=r"(?i)signature"):
        joserfc.decode(altered, KeySet.import_key_set(key_set), algorithms=[algorithm])


async def test_the_command_says_what_it_did(keys: SigningKeyService) -> None:
    """`list` names each key's state; `rotate` and `retire` name the key that signs from then on."""
    assert await run(keys, keys.database, "list", "", now=False) == ["no key yet: the API makes one when it starts"]
    await keys.ensure()
    first = keys.ring.signing().kid
    said = await run(keys, keys.database, "rotate", "", now=False)
    lines = await run(keys, keys.database, "list", "", now=False)
    assert [line.split()[:3] for line in lines] == [[first, "ES256", "present"], [said[0].split()[0], "ES256", "next"]]
    await run(keys, keys.database, "rotate", "", now=True)
    lines = await run(keys, keys.database, "list", "", now=False)
    assert [line.split()[2] for line in lines] == ["old", "present"]
    assert "is retired" in (await run(keys, keys.database, "retire", first, now=False))[0]
