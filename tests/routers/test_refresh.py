"""Staying signed in and signing out."""

import asyncio
from dataclasses import dataclass

import httpx

from tests.support import API, PASSWORD, Person, World, assert_problem, sign_in


@dataclass(frozen=True)
class Tokens:
    access: str
    refresh: str


async def start(client: httpx.AsyncClient, world: World) -> tuple[Person, Tokens]:
    person = await world.person(password=PASSWORD)
    pair = (await sign_in(client, person.email)).json()
    return person, Tokens(pair["access_token"], pair["refresh_token"])


async def ask(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post(f"{API}/auth/token", data={"grant_type": "refresh_token", "refresh_token": token})


async def refresh(client: httpx.AsyncClient, token: str) -> Tokens:
    response = await ask(client, token)
    assert response.status_code == 200, response.text
    assert response.json().keys() == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}
    return Tokens(response.json()["access_token"], response.json()["refresh_token"])


async def status(client: httpx.AsyncClient, access: str) -> int:
    me = await client.get(f"{API}/users/me", headers={"Authorization": f"Bearer {access}"})
    return me.status_code


async def spent(world: World, *, seconds: float) -> None:
    """Let time pass since the tokens were spent."""
    await world.execute(
        "UPDATE refresh_tokens SET spent_at = spent_at - make_interval(secs => CAST(:s AS float8))", s=seconds
    )


async def test_each_refresh_gives_a_new_pair(client: httpx.AsyncClient, world: World) -> None:
    """The chain goes on link by link, each with another refresh token, and every access token of it works."""
    _, tokens = await start(client, world)
    chain = [tokens]
    for _ in range(4):
        chain.append(await refresh(client, chain[-1].refresh))
        await spent(world, seconds=60)
    assert len({one.refresh for one in chain}) == len({one.access for one in chain}) == 5
    assert [await status(client, one.access) for one in chain] == [200] * 5
    assert await world.scalar("SELECT count(DISTINCT session_id) FROM refresh_tokens") == 1


async def test_within_the_grace_the_successor_is_the_same(client: httpx.AsyncClient, world: World) -> None:
    """A spent token that comes again within 30 s, as after a lost answer, gives the same successor, which works."""
    _, tokens = await start(client, world)
    first = await refresh(client, tokens.refresh)
    await spent(world, seconds=28)
    again = await refresh(client, tokens.refresh)
    assert again.refresh == first.refresh
    assert await status(client, again.access) == await status(client, first.access) == 200
    assert await world.scalar("SELECT count(*) FROM refresh_tokens") == 2
    await refresh(client, first.refresh)


async def test_reuse_after_the_grace_ends_the_session(client: httpx.AsyncClient, world: World) -> None:
    """It is refused, and the end of the session survives the refusal: no token of it works any more, others do."""
    person, tokens = await start(client, world)
    other = (await sign_in(client, person.email)).json()
    newer = await refresh(client, tokens.refresh)
    await spent(world, seconds=31)
    assert_problem(await ask(client, tokens.refresh), 400, "invalid_grant")
    assert await status(client, newer.access) == await status(client, tokens.access) == 401
    assert_problem(await ask(client, newer.refresh), 400, "invalid_grant")
    assert_problem(await ask(client, tokens.refresh), 400, "invalid_grant")
    assert await status(client, other["access_token"]) == 200
    await refresh(client, other["refresh_token"])


async def test_rivals_get_one_successor(client: httpx.AsyncClient, world: World) -> None:
    """Twenty refreshes of one token at once: all succeed with one and the same new refresh token."""
    _, tokens = await start(client, world)
    answers = await asyncio.gather(*(ask(client, tokens.refresh) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert await world.scalar("SELECT count(*) FROM refresh_tokens") == 2


async def test_an_expired_refresh_token_is_refused(client: httpx.AsyncClient, world: World) -> None:
    """It is no reuse: the refusal leaves the session and its access tokens alone."""
    _, tokens = await start(client, world)
    await world.execute("UPDATE refresh_tokens SET expires_at = now() - interval '1 second'")
    assert_problem(await ask(client, tokens.refresh), 400, "invalid_grant")
    assert await status(client, tokens.access) == 200


async def test_a_successor_does_not_betray_its_predecessor(client: httpx.AsyncClient, world: World) -> None:
    """Refresh tokens are stored as hashes alone."""
    _, tokens = await start(client, world)
    newer = await refresh(client, tokens.refresh)
    stored = str(await world.rows("SELECT refresh_tokens::text, encode(token_hash, 'escape') FROM refresh_tokens"))
    assert tokens.refresh not in stored
    assert newer.refresh not in stored


async def test_signing_out_ends_access_at_once(client: httpx.AsyncClient, world: World) -> None:
    """204; neither the access tokens nor the refresh tokens of the session work after it, a second session does."""
    person, tokens = await start(client, world)
    newer = await refresh(client, tokens.refresh)
    other = (await sign_in(client, person.email)).json()["access_token"]
    assert await status(client, newer.access) == 200
    out = await client.post(f"{API}/auth/logout", json={"refresh_token": newer.refresh})
    assert (out.status_code, out.content) == (204, b"")
    assert await status(client, newer.access) == await status(client, tokens.access) == 401
    assert_problem(await ask(client, newer.refresh), 400, "invalid_grant")
    assert await status(client, other) == 200


async def test_signing_out_twice_or_with_nothing_is_no_fault(client: httpx.AsyncClient, world: World) -> None:
    """204 again, also for a token that nobody knows, which ends nobody's session; a broken body is 422."""
    _, tokens = await start(client, world)
    for token in ("nonsense", "\0", "🩺"):
        assert (await client.post(f"{API}/auth/logout", json={"refresh_token": token})).status_code == 204
    assert await status(client, tokens.access) == 200
    for _ in range(2):
        out = await client.post(f"{API}/auth/logout", json={"refresh_token": tokens.refresh})
        assert out.status_code == 204
    for json in ({}, {"refresh_token": ""}, {"refresh_token": 1}, {"refresh_token": "x", "all": True}):
        assert_problem(await client.post(f"{API}/auth/logout", json=json), 422, "validation_error")


async def test_what_happens_to_an_account_ends_its_tokens(client: httpx.AsyncClient, world: World) -> None:
    """Deactivated, deleted or given another role: access and refresh tokens are refused from the next request on."""
    boss = await world.superadmin()
    for change in ({"is_active": False}, {"role": "admin"}, None):
        person, tokens = await start(client, world)
        where = f"{API}/users/{person.id}"
        if change:
            changed = await client.patch(where, json=change, headers=boss.headers)
            assert changed.status_code == 200
        else:
            assert (await client.delete(where, headers=boss.headers)).status_code == 204
        assert await status(client, tokens.access) == 401
        assert_problem(await ask(client, tokens.refresh), 400, "invalid_grant")
    back = await client.patch(f"{API}/users/{boss.id + 1}", json={"is_active": True}, headers=boss.headers)
    assert back.json()["is_active"] is True


async def test_switched_on_again_the_old_tokens_stay_dead(client: httpx.AsyncClient, world: World) -> None:
    """Reactivation lets a user sign in anew, and revives nothing."""
    boss = await world.superadmin()
    person, tokens = await start(client, world)
    for is_active in (False, True):
        await client.patch(f"{API}/users/{person.id}", json={"is_active": is_active}, headers=boss.headers)
    assert await status(client, tokens.access) == 401
    assert_problem(await ask(client, tokens.refresh), 400, "invalid_grant")
    assert (await sign_in(client, person.email)).status_code == 200
