"""The places where somebody is signed in."""

import httpx

from tests.support import API, PASSWORD, World, assert_problem, sign_in

SESSIONS = f"{API}/auth/sessions"


async def test_the_own_sessions_are_listed(client: httpx.AsyncClient, world: World) -> None:
    """Device, address, start, last use, and which one asks; ended, outlived and other people's ones are not there."""
    person, other = await world.person(password=PASSWORD), await world.person()
    client.headers["User-Agent"] = "Test phone"
    await sign_in(client, person.email)
    items = (await client.get(f"{SESSIONS}?sort=id", headers=person.headers)).json()["items"]
    assert [one["current"] for one in items] == [True, False]
    assert items[0].keys() == {"id", "device", "address", "created_at", "last_seen_at", "current"}
    assert (items[1]["device"], items[1]["address"]) == ("Test phone", "127.0.0.1")
    assert other.session_id not in [one["id"] for one in items]
    for change in ("revoked_at = now()", "last_seen_at = now() - interval '31 days'", "created_at = '2020-01-01'"):
        await sign_in(client, person.email)
        await world.execute(f"UPDATE auth_sessions SET {change} WHERE id = (SELECT max(id) FROM auth_sessions)")
    assert (await client.get(f"{SESSIONS}?sort=id", headers=person.headers)).json()["items"] == items


async def test_ending_one_session(client: httpx.AsyncClient, world: World) -> None:
    """204, its tokens are refused from then on, the others go on; once more, and somebody else's, is 404."""
    person, other = await world.person(password=PASSWORD), await world.person()
    pair = (await sign_in(client, person.email)).json()
    there = {"Authorization": f"Bearer {pair['access_token']}"}
    items = (await client.get(SESSIONS, headers=there)).json()["items"]
    its_id = next(one["id"] for one in items if one["current"])
    for path in (f"{SESSIONS}/{its_id}", f"{SESSIONS}/{person.session_id}"):
        assert_problem(await client.delete(path, headers=other.headers), 404, "not_found")
    assert (await client.delete(f"{SESSIONS}/{its_id}", headers=person.headers)).status_code == 204
    assert_problem(await client.get(f"{API}/users/me", headers=there), 401, "invalid_token")
    form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
    assert_problem(await client.post(f"{API}/auth/token", data=form), 400, "invalid_grant")
    assert_problem(await client.delete(f"{SESSIONS}/{its_id}", headers=person.headers), 404, "not_found")
    assert (await client.get(f"{API}/users/me", headers=person.headers)).status_code == 200


async def test_ending_all_sessions(client: httpx.AsyncClient, world: World) -> None:
    """204; this one ends, too, and nobody else's."""
    person, other = await world.person(password=PASSWORD), await world.person()
    second = (await sign_in(client, person.email)).json()["access_token"]
    assert (await client.delete(SESSIONS, headers=person.headers)).status_code == 204
    for headers in (person.headers, {"Authorization": f"Bearer {second}"}):
        assert_problem(await client.get(f"{API}/users/me", headers=headers), 401, "invalid_token")
    assert (await client.get(f"{API}/users/me", headers=other.headers)).status_code == 200


async def test_a_session_ends_however_often_it_is_refreshed(client: httpx.AsyncClient, world: World) -> None:
    """Refresh tokens live no longer than their session may, and after that none is given."""
    person = await world.person(password=PASSWORD)
    pair = (await sign_in(client, person.email)).json()
    form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
    await world.execute("UPDATE auth_sessions SET created_at = now() - interval '89 days 12 hours'")
    renewed = await client.post(f"{API}/auth/token", data=form)
    assert renewed.status_code == 200
    left = await world.scalar("SELECT max(expires_at) - now() < interval '13 hours' FROM refresh_tokens WHERE id = 2")
    assert left is True
    await world.execute("UPDATE auth_sessions SET created_at = now() - interval '90 days'")
    form["refresh_token"] = renewed.json()["refresh_token"]
    assert_problem(await client.post(f"{API}/auth/token", data=form), 400, "invalid_grant")
