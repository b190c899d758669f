"""Access tokens that we signed and whose user, session, key or installation is not what it was."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import httpx
import pytest
from pydantic import SecretStr

from app.core.access_tokens import AccessTokens
from app.core.enums import Role
from app.core.key_ring import KeyRing
from app.core.signing_keys import SigningKey, shared_key
from app.services.container import Container
from tests.forgery import ME, Target, assert_refused, new_key
from tests.support import API, PASSWORD, Person, World, assert_problem, sign_in


async def pair_of(client: httpx.AsyncClient, person: Person) -> dict[str, str]:
    pair: dict[str, str] = (await sign_in(client, person.email)).json()
    return pair


async def me(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.get(ME, headers={"Authorization": f"Bearer {token}"})


async def refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post(f"{API}/auth/token", data={"grant_type": "refresh_token", "refresh_token": token})


async def test_a_refresh_token_is_no_access_token(client: httpx.AsyncClient, world: World) -> None:
    """It opens nothing, and goes on to be good for what it is made for."""
    pair = await pair_of(client, await world.person(password=PASSWORD))
    assert_refused(await me(client, pair["refresh_token"]))
    assert (await refresh(client, pair["refresh_token"])).status_code == 200


async def test_an_access_token_is_no_refresh_token(client: httpx.AsyncClient, world: World) -> None:
    """400 invalid_grant, no new pair; and it ends no session at the sign-out."""
    pair = await pair_of(client, await world.person(password=PASSWORD))
    assert_problem(await refresh(client, pair["access_token"]), 400, "invalid_grant")
    await client.post(f"{API}/auth/logout", json={"refresh_token": pair["access_token"]})
    assert (await me(client, pair["access_token"])).status_code == 200


CHANGES: dict[str, Callable[[httpx.AsyncClient, str, dict[str, str]], Awaitable[httpx.Response]]] = {
    "deleted": lambda client, path, boss: client.delete(path, headers=boss),
    "deactivated": lambda client, path, boss: client.patch(path, headers=boss, json={"is_active": False}),
    "demoted": lambda client, path, boss: client.patch(path, headers=boss, json={"role": "client"}),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_token_of_an_admin_who_is_one_no_more(client: httpx.AsyncClient, world: World, change: str) -> None:
    """Deleted, deactivated, demoted: access and refresh token are refused from the next request on."""
    admin, boss = await world.person(Role.ADMIN, password=PASSWORD), await world.superadmin()
    pair = await pair_of(client, admin)
    bearer = {"Authorization": f"Bearer {pair['access_token']}"}
    assert (await client.get(f"{API}/users", headers=bearer)).status_code == 200
    assert (await CHANGES[change](client, f"{API}/users/{admin.id}", boss.headers)).is_success
    assert_refused(await client.get(f"{API}/users", headers=bearer))
    assert_refused(await client.get(ME, headers=bearer))
    assert_problem(await refresh(client, pair["refresh_token"]), 400, "invalid_grant")


async def test_a_token_of_a_session_that_was_logged_out(client: httpx.AsyncClient, world: World) -> None:
    """Every access token of the session is refused, also the one from before a refresh; other sessions go on."""
    person = await world.person(password=PASSWORD)
    first = await pair_of(client, person)
    second = (await refresh(client, first["refresh_token"])).json()
    for pair in (first, second):
        assert (await me(client, pair["access_token"])).status_code == 200
    gone = await client.post(f"{API}/auth/logout", json={"refresh_token": second["refresh_token"]})
    assert gone.status_code == 204
    for pair in (first, second):
        assert_refused(await me(client, pair["access_token"]))
        assert_problem(await refresh(client, pair["refresh_token"]), 400, "invalid_grant")
    assert (await client.get(ME, headers=person.headers)).status_code == 200


async def test_a_token_of_a_key_that_was_retired(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """Refused as soon as the process knows, in the key set no more; the next key's tokens are good."""
    person, keys = await world.person(), container.keys
    assert (await client.get(ME, headers=person.headers)).status_code == 200
    gone = keys.ring.signing()
    async with container.database.session_scope() as session:
        await keys.retire(session, kid=gone.kid)
    await keys.reload()
    assert_refused(await client.get(ME, headers=person.headers))
    assert gone.kid not in [key["kid"] for key in (await client.get("/.well-known/jwks.json")).json()["keys"]]
    assert (await client.get(ME, headers=(await world.person()).headers)).status_code == 200


def elsewhere(target: Target, key: SigningKey, **settings: object) -> str:
    """A token for the same user and session, made by another installation."""
    person, theirs = target.person, target.container.settings.auth.model_copy(update=settings)
    tokens = AccessTokens(theirs, KeyRing([key]))
    return tokens.issue(user_id=person.id, session_id=person.session_id, role="client", scope="")[0]


@pytest.mark.parametrize("other", ["issuer", "audience", "key", "key of our name", "secret"])
async def test_a_token_of_another_environment(
    client: httpx.AsyncClient, world: World, container: Container, other: str
) -> None:
    """Staging's tokens open nothing here, whichever of issuer, audience, key and secret is another."""
    target = Target(client, container, await world.person())
    ours, own = target.key, new_key("ES256")
    secret = container.settings.auth.model_copy(update={"secret_key": SecretStr("of staging, which is long enough")})
    token = {
        "issuer": lambda: elsewhere(target, ours, issuer="frontdesk-staging"),
        "audience": lambda: elsewhere(target, ours, audience="frontdesk-staging"),
        "key": lambda: elsewhere(target, own),
        "key of our name": lambda: elsewhere(target, replace(own, kid=ours.kid)),
        "secret": lambda: elsewhere(target, shared_key(secret)),
    }[other]()
    await target.refuses(token)
    await target.accepts(elsewhere(target, ours))


async def test_the_role_in_a_token_gives_no_rights(
    client: httpx.AsyncClient, world: World, container: Container
) -> None:
    """Rights are those of the account as it is now, not those that a token once named."""
    target = Target(client, container, await world.person())
    grand = target.with_claims(role="superadmin")
    refused = await client.get(f"{API}/users", headers={"Authorization": f"Bearer {grand}"})
    assert_problem(refused, 403, "forbidden")


async def test_another_persons_id_with_the_own_session(
    client: httpx.AsyncClient, world: World, container: Container
) -> None:
    """User and session belong together, even under our signature."""
    target, boss = Target(client, container, await world.person()), await world.superadmin()
    await target.refuses(target.with_claims(sub=str(boss.id)))
    await target.refuses(target.with_claims(sid=str(boss.session_id)))
    better = boss.headers["Authorization"].split(".")[1]
    await target.refuses(".".join((target.good.split(".")[0], better, target.good.split(".")[2])))


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic", "Token", "Digest"])
async def test_another_scheme(client: httpx.AsyncClient, world: World, container: Container, value: str) -> None:
    """No token, and a good one under another scheme's name, are nobody."""
    target = Target(client, container, await world.person())
    token = "" if value.startswith("Bearer") else target.good
    assert_refused(await client.get(ME, headers={"Authorization": f"{value} {token}".strip()}))
    assert_refused(await client.get(ME, params={"access_token": target.good}))
