"""Programs that sign in for themselves."""

from base64 import b64encode
from typing import Any
from urllib.parse import quote_plus

import httpx
import pytest

from tests.support import API, PASSWORD, World, assert_problem, sign_in

ACCOUNTS = f"{API}/service-accounts"


async def make(client: httpx.AsyncClient, world: World, *scopes: str) -> tuple[dict[str, str], dict[str, Any]]:
    """A superadmin's headers, and an account with these scopes."""
    boss = (await world.superadmin()).headers
    made = await client.post(ACCOUNTS, json={"name": "The lab", "scopes": list(scopes)}, headers=boss)
    assert made.status_code == 201, made.text
    assert made.headers["location"] == f"{ACCOUNTS}/{made.json()['id']}"
    return boss, made.json()


async def ask(client: httpx.AsyncClient, client_id: str, secret: str, **form: str) -> httpx.Response:
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    headers = {"Authorization": "Basic " + b64encode(pair.encode()).decode()}
    return await client.post(f"{API}/auth/token", data={"grant_type": "client_credentials"} | form, headers=headers)


async def token(client: httpx.AsyncClient, account: dict[str, Any], **form: str) -> dict[str, str]:
    answer = await ask(client, account["client_id"], account["secret"], **form)
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def test_an_account_has_exactly_its_scopes(client: httpx.AsyncClient, world: World) -> None:
    """Its token carries them, without a refresh token; it opens what they name, and nothing else."""
    _, account = await make(client, world, "appointments:read", "users:read")
    answer = await ask(client, account["client_id"], account["secret"])
    assert answer.json().keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert answer.json()["scope"] == "appointments:read users:read"
    headers = await token(client, account)
    for path in ("/appointments", "/users"):
        assert (await client.get(API + path, headers=headers)).status_code == 200
    for path in ("/users/me", "/jobs/1", "/orders", "/audit-events", "/service-accounts", "/auth/sessions"):
        refused = await client.get(API + path, headers=headers)
        assert_problem(refused, 403, "forbidden")
    person = {"email": "x@example.com", "password": PASSWORD, "full_name": "X"}
    refused = await client.post(f"{API}/users", json=person, headers=headers)
    assert_problem(refused, 403, "forbidden")
    assert refused.headers["www-authenticate"] == 'Bearer error="insufficient_scope"'


async def test_a_token_may_be_narrowed_and_never_widened(client: httpx.AsyncClient, world: World) -> None:
    """`scope` asks for some of them; another one, known or not, is 400 invalid_scope."""
    _, account = await make(client, world, "appointments:read", "users:read")
    headers = await token(client, account, scope="users:read")
    assert (await client.get(f"{API}/users", headers=headers)).status_code == 200
    assert (await client.get(f"{API}/appointments", headers=headers)).status_code == 403
    whole = await token(client, account)
    assert (await client.get(f"{API}/appointments", headers=whole)).status_code == 200
    for scope in ("users:write", "nonsense", "users:read nonsense"):
        refused = await ask(client, account["client_id"], account["secret"], scope=scope)
        assert assert_problem(refused, 400, "invalid_scope")["error"] == "invalid_scope"


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Basic", "Basic !", "Basic " + b64encode(b"no colon").decode(), "Basic " + b64encode(b"\xff:x").decode(),
     "Basic " + b64encode(b"service-1:wrong").decode(), "Basic " + b64encode(b"service-99:wrong").decode(),
     "Basic " + b64encode(b"service-1:%ff").decode(), "Basic " + b64encode(b"1:x").decode(), "Bearer x",
     "Basic " + b64encode(b"service-" + b"9" * 400 + b":x").decode(), "Basic " + b64encode(b"service-1:\0").decode()],
    ids=range(13),
)  # fmt: skip
async def test_wrong_credentials(client: httpx.AsyncClient, world: World, authorization: str | None) -> None:
    """Missing, unreadable, unknown or wrong: 401 invalid_client with the challenge of RFC 6749, 5.2; never a 5xx."""
    await make(client, world, "users:read")
    headers = {} if authorization is None else {"Authorization": authorization}
    form = {"grant_type": "client_credentials"}
    refused = await client.post(f"{API}/auth/token", data=form, headers=headers)
    assert assert_problem(refused, 401, "invalid_client")["error"] == "invalid_client"
    assert refused.headers["www-authenticate"].startswith("Basic ")


async def test_strangers_do_not_fill_the_record(client: httpx.AsyncClient, world: World) -> None:
    """A guess at an account that is there is recorded; no credentials, unreadable ones and those of nobody are not."""
    boss, account = await make(client, world, "users:read")
    gone = (await client.post(ACCOUNTS, json={"name": "Gone", "scopes": ["users:read"]}, headers=boss)).json()
    await client.delete(f"{ACCOUNTS}/{gone['id']}", headers=boss)
    nobody = f"service-{gone['id'] + 1}"
    for client_id in (account["client_id"], nobody, gone["client_id"], "service-", "pat@example.com", ""):
        assert_problem(await ask(client, client_id, "guessed"), 401, "invalid_client")
    for authorization in ("", "Basic !"):
        headers = {"Authorization": authorization}
        refused = await client.post(f"{API}/auth/token", data={"grant_type": "client_credentials"}, headers=headers)
        assert_problem(refused, 401, "invalid_client")
    refusals = await world.rows("SELECT object_id FROM audit_events WHERE action = 'service_account.refused'")
    assert [row.object_id for row in refusals] == [account["id"]]


async def test_guessing_a_secret_has_an_end(client: httpx.AsyncClient, world: World) -> None:
    """After ten wrong secrets of one account, or for one that is nobody's, 429 with Retry-After and no further line in
    the record, for the right one too; other accounts go on, and so does what is refused for its scope."""
    boss, account = await make(client, world, "users:read")
    other = (await client.post(ACCOUNTS, json={"name": "Other", "scopes": ["users:read"]}, headers=boss)).json()
    for client_id, secret in ((account["client_id"], account["secret"]), ("service-999999", "guessed")):
        for _ in range(10):
            assert_problem(await ask(client, client_id, "guessed"), 401, "invalid_client")
        for tried in ("guessed", secret):
            refused = await ask(client, client_id, tried)
            assert assert_problem(refused, 429, "rate_limited")["error"] == "rate_limited"
            assert 290 <= int(refused.headers["retry-after"]) <= 300
    for _ in range(11):
        refused = await ask(client, other["client_id"], other["secret"], scope="users:write")
        assert_problem(refused, 400, "invalid_scope")
    assert (await ask(client, other["client_id"], other["secret"])).status_code == 200
    assert await world.scalar("SELECT count(*) FROM audit_events WHERE action = 'service_account.refused'") == 10


async def test_the_secret_is_shown_once(client: httpx.AsyncClient, world: World) -> None:
    """Neither the account nor the list shows it again, and no row of any table holds it in clear, the answer that is
    kept for an Idempotency-Key among them; that answer is replayed whole all the same."""
    boss = (await world.superadmin()).headers
    body, headers = {"name": "The lab", "scopes": ["users:read"]}, boss | {"Idempotency-Key": "one"}
    first = await client.post(ACCOUNTS, json=body, headers=headers)
    again = await client.post(ACCOUNTS, json=body, headers=headers)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    secret = first.json()["secret"]
    assert len(secret) >= 43
    for path in (ACCOUNTS, f"{ACCOUNTS}/{first.json()['id']}"):
        assert secret not in (await client.get(path, headers=boss)).text
    for table in ("service_accounts", "service_account_secrets", "idempotency_keys", "audit_events", "jobs"):
        rows = str(await world.rows(f"SELECT {table}::text FROM {table}"))
        assert secret not in rows
        assert secret.encode().hex() not in rows
    assert await world.count("service_accounts") == 1


async def test_two_secrets_while_one_is_replaced(client: httpx.AsyncClient, world: World) -> None:
    """Both work; a third is 409; the end of one ends its tokens at once and leaves the other's."""
    boss, account = await make(client, world, "users:read")
    where = f"{ACCOUNTS}/{account['id']}/secrets"
    old = await token(client, account)
    added = await client.post(where, headers=boss)
    assert added.status_code == 201
    new = await token(client, account | {"secret": added.json()["secret"]})
    assert_problem(await client.post(where, headers=boss), 409, "conflict")
    shown = (await client.get(f"{ACCOUNTS}/{account['id']}", headers=boss)).json()
    assert [one["id"] for one in shown["secrets"]] == [account["secrets"][0]["id"], added.json()["id"]]
    assert (await client.delete(f"{where}/{shown['secrets'][0]['id']}", headers=boss)).status_code == 204
    assert_problem(await client.get(f"{API}/users", headers=old), 401, "invalid_token")
    assert (await client.get(f"{API}/users", headers=new)).status_code == 200
    assert_problem(await ask(client, account["client_id"], account["secret"]), 401, "invalid_client")
    assert_problem(await client.delete(f"{where}/{shown['secrets'][0]['id']}", headers=boss), 404, "not_found")


async def test_its_secrets_are_part_of_its_version(client: httpx.AsyncClient, world: World) -> None:
    """A secret that is added or ended changes the account's ETag with what it shows; the one before is stale."""
    boss, account = await make(client, world, "users:read")
    place = f"{ACCOUNTS}/{account['id']}"
    tags = [(await client.get(place, headers=boss)).headers["etag"]]
    added = (await client.post(f"{place}/secrets", headers=boss)).json()
    for step in ("added", "ended"):
        read = await client.get(place, headers=boss | {"If-None-Match": tags[-1]})
        assert read.status_code == 200, step
        tags.append(read.headers["etag"])
        assert_problem(await client.delete(place, headers=boss | {"If-Match": tags[-2]}), 412, "precondition_failed")
        if step == "added":
            assert (await client.delete(f"{place}/secrets/{added['id']}", headers=boss)).status_code == 204
    assert (await client.delete(place, headers=boss | {"If-Match": tags[-1]})).status_code == 204


async def test_a_deleted_account_ends_at_once(client: httpx.AsyncClient, world: World) -> None:
    """204; its tokens are refused and it gets no new ones; it is out of sight; a stale If-Match is 412."""
    boss, account = await make(client, world, "users:read")
    headers, where = await token(client, account), f"{ACCOUNTS}/{account['id']}"
    assert (await client.get(f"{API}/users", headers=headers)).status_code == 200
    stale = await client.delete(where, headers=boss | {"If-Match": '"99"'})
    assert_problem(stale, 412, "precondition_failed")
    assert (await client.delete(where, headers=boss)).status_code == 204
    assert_problem(await client.get(f"{API}/users", headers=headers), 401, "invalid_token")
    assert_problem(await ask(client, account["client_id"], account["secret"]), 401, "invalid_client")
    assert_problem(await client.get(where, headers=boss), 404, "not_found")
    assert (await client.get(ACCOUNTS, headers=boss)).json()["items"] == []


async def test_who_may_make_accounts(client: httpx.AsyncClient, world: World) -> None:
    """Superadmins; not admins. No scope, an unknown one and one for people alone are 422."""
    admin, boss = await world.admin(), await world.superadmin()
    body = {"name": "The lab", "scopes": ["users:read"]}
    assert_problem(await client.post(ACCOUNTS, json=body, headers=admin.headers), 403, "forbidden")
    for scopes in ([], ["nonsense"], ["orders:write"]):
        refused = await client.post(ACCOUNTS, json=body | {"scopes": scopes}, headers=boss.headers)
        assert_problem(refused, 422, "validation_error")


async def test_an_account_books_for_a_patient(client: httpx.AsyncClient, world: World) -> None:
    """With `appointments:write` it books as staff does: it names the patient. The audit trail names the account."""
    boss, account = await make(client, world, "appointments:write", "doctors:write")
    headers = await token(client, account)
    made = await client.post(f"{API}/doctors", json={"full_name": "Dr. No", "specialty": "Islands"}, headers=headers)
    assert made.status_code == 201
    row = (await world.rows("SELECT actor_type, actor_id FROM audit_events WHERE action = 'doctor.created'"))[0]
    assert tuple(row) == ("service_account", account["id"])
    unnamed = await client.post(
        f"{API}/appointments", json={"doctor_id": 1, "starts_at": "2030-01-01T10:00:00Z"}, headers=headers
    )
    assert_problem(unnamed, 422, "validation_error")
    assert boss


async def test_a_users_token_may_be_narrowed(client: httpx.AsyncClient, world: World) -> None:
    """It opens what it names as far as the role reaches, also after a refresh, and nothing that names no scope."""
    boss = await world.person(password=PASSWORD)
    await world.execute("UPDATE users SET role = 'admin' WHERE id = :id", id=boss.id)
    form = {"grant_type": "password", "username": boss.email, "password": PASSWORD}
    answer = await client.post(f"{API}/auth/token", data=form | {"scope": "users:read"})
    assert (answer.status_code, answer.json()["scope"]) == (200, "users:read")
    refresh = {"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"]}
    renewed = await client.post(f"{API}/auth/token", data=refresh)
    assert renewed.json()["scope"] == "users:read"
    for pair in (answer.json(), renewed.json()):
        headers = {"Authorization": f"Bearer {pair['access_token']}"}
        for path in ("/users", "/users/me"):
            assert (await client.get(API + path, headers=headers)).status_code == 200
        for path in ("/appointments", "/auth/sessions"):
            assert_problem(await client.get(API + path, headers=headers), 403, "forbidden")
        assert_problem(await client.patch(f"{API}/users/me", json={}, headers=headers), 403, "forbidden")
    assert_problem(await client.post(f"{API}/auth/token", data=form | {"scope": "x"}), 400, "invalid_scope")
    whole = (await sign_in(client, boss.email)).json()
    assert whole["scope"] == ""


async def test_a_scope_gives_a_client_nothing_more(client: httpx.AsyncClient, world: World) -> None:
    """A client who asks for `users:read` is still a client."""
    person = await world.person(password=PASSWORD)
    form = {"grant_type": "password", "username": person.email, "password": PASSWORD, "scope": "users:read"}
    answer = await client.post(f"{API}/auth/token", data=form)
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert_problem(await client.get(f"{API}/users", headers=headers), 403, "forbidden")
