"""`Idempotency-Key`: the first answer again, whatever is asked how often."""

import hashlib
from typing import Any

import httpx
import pytest

from app.services.container import Container
from tests.support import API, Person, World, assert_problem, clinic_time, next_weekday

ROUTES = ["/auth/register", "/users", "/doctors", "/doctors/1/time-off", "/appointments", "/reports"]


def body_of(route: str, container: Container, *, other: bool = False) -> dict[str, Any]:
    """A valid body for a creating route; `other` is a different one that is valid too."""
    name = "Other" if other else "One"
    match route:
        case "/auth/register" | "/users":
            return {"email": f"{name}@example.com", "password": "long enough", "full_name": name}
        case "/doctors":
            return {"full_name": name, "specialty": "Surgery"}
        case "/doctors/1/time-off":
            return {"starts_at": "2027-01-01T00:00:00Z", "ends_at": "2027-01-02T00:00:00Z", "reason": name}
        case "/reports":
            return {"kind": "utilisation", "from": "2026-01-01", "to": "2026-02-01", "format": "csv"} | (
                {"format": "pdf"} if other else {}
            )
    return {"doctor_id": 1, "starts_at": clinic_time(container, next_weekday(), "09:30" if other else "09:00")}


async def caller(world: World, route: str) -> Person:
    return await (world.person() if route == "/appointments" else world.admin())


async def post(client: httpx.AsyncClient, route: str, json: Any, who: Person | None, key: str | None) -> httpx.Response:
    headers = (who.headers if who else {}) | ({"Idempotency-Key": key} if key is not None else {})
    return await client.post(API + route, json=json, headers=headers)


async def effects(world: World) -> list[int]:
    tables = ("users", "doctors", "time_off", "appointments", "jobs")
    return [await world.count(table) for table in tables]


@pytest.mark.parametrize("route", ROUTES)
async def test_the_first_answer_is_replayed(
    client: httpx.AsyncClient, world: World, container: Container, route: str
) -> None:
    """On every creating route: status, body, Location and ETag byte for byte, marked as replayed, and one effect."""
    await world.doctor()
    who = None if route == "/auth/register" else await caller(world, route)
    first = await post(client, route, body_of(route, container), who, "key-1")
    assert first.status_code in (201, 202), first.text
    assert "idempotency-replayed" not in first.headers
    done = await effects(world)
    again = await post(client, route, body_of(route, container), who, "key-1")
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    for name in ("location", "etag", "content-type"):
        assert again.headers.get(name) == first.headers.get(name)
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert await effects(world) == done


@pytest.mark.parametrize("route", ROUTES)
async def test_another_body_under_the_key_is_refused(
    client: httpx.AsyncClient, world: World, container: Container, route: str
) -> None:
    """422 idempotency_mismatch, nothing is made, and the first answer is still replayed after it."""
    await world.doctor()
    who = None if route == "/auth/register" else await caller(world, route)
    first = await post(client, route, body_of(route, container), who, "key-1")
    done = await effects(world)
    other = await post(client, route, body_of(route, container, other=True), who, "key-1")
    assert_problem(other, 422, "idempotency_mismatch")
    assert await effects(world) == done
    assert (await post(client, route, body_of(route, container), who, "key-1")).content == first.content


async def test_keys_belong_to_a_user_and_a_route(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """The same key of another user or on another route is another key; without a key nothing is remembered."""
    one, two = await world.admin(), await world.admin()
    for who in (one, two):
        assert (await post(client, "/doctors", body_of("/doctors", container), who, "k")).status_code == 201
        assert (await post(client, "/reports", body_of("/reports", container), who, "k")).status_code == 202
    assert await effects(world) == [2, 2, 0, 0, 2]
    for _ in range(2):
        await post(client, "/doctors", body_of("/doctors", container), one, None)
    assert await world.scalar("SELECT count(*) FROM doctors") == 4


@pytest.mark.parametrize("route", ["/auth/register", "/doctors"])
async def test_a_request_has_one_key(client: httpx.AsyncClient, world: World, container: Container, route: str) -> None:
    """Two different keys in one request are 422 before anything is done: of a repeat, neither could be relied upon."""
    admin = await world.admin()
    done = await effects(world)
    keys = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    headers = [*admin.headers.items(), *keys]
    body = assert_problem(
        await client.post(API + route, json=body_of(route, container), headers=headers), 422, "validation_error"
    )
    assert body["errors"][0]["loc"] == ["header", "Idempotency-Key"]
    assert await effects(world) == done
    same = [*admin.headers.items(), keys[0], keys[0]]
    assert (await client.post(API + route, json=body_of(route, container), headers=same)).is_success


async def test_a_failure_leaves_the_key_free(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """After a validation failure, a refusal and a 404 the same key serves the corrected request."""
    patient = await world.person()
    good = body_of("/appointments", container)
    assert_problem(await post(client, "/appointments", {"doctor_id": 0}, patient, "k"), 422, "validation_error")
    assert_problem(await post(client, "/appointments", good, patient, "k"), 404, "not_found")
    await world.doctor(hours=[])
    assert_problem(await post(client, "/appointments", good, patient, "k"), 422, "outside_hours")
    stranger = {**good, "patient_id": patient.id + 1}
    assert_problem(await post(client, "/appointments", stranger, patient, "k"), 403, "forbidden")
    await world.doctor()
    booked = await post(client, "/appointments", {**good, "doctor_id": 2}, patient, "k")
    assert (booked.status_code, "idempotency-replayed" in booked.headers) == (201, False)


async def test_a_conflict_is_an_answer(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """A 409 is kept like a success: its repeat says the same even when the slot is free again, a new key tries anew."""
    await world.doctor()
    first, second = await world.person(), await world.person()
    booked = await post(client, "/appointments", body_of("/appointments", container), first, "k")
    lost = await post(client, "/appointments", body_of("/appointments", container), second, "k")
    assert_problem(lost, 409, "slot_taken")
    await client.post(f"{booked.headers['location']}/cancel", headers=first.headers)
    repeated = await post(client, "/appointments", body_of("/appointments", container), second, "k")
    assert_problem(repeated, 409, "slot_taken")
    assert (repeated.content, repeated.headers["idempotency-replayed"]) == (lost.content, "true")
    assert (await post(client, "/appointments", body_of("/appointments", container), second, "k2")).status_code == 201


async def test_a_key_is_kept_for_a_day(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """Just short of 24 h the answer is replayed; past them the key is new, and then kept for another day."""
    admin = await world.admin()
    body = body_of("/doctors", container)
    first = await post(client, "/doctors", body, admin, "k")
    await world.execute("UPDATE idempotency_keys SET created_at = now() - interval '23 h 59 min'")
    assert (await post(client, "/doctors", body, admin, "k")).content == first.content
    await world.execute("UPDATE idempotency_keys SET created_at = now() - interval '24 h 1 s'")
    second = await post(client, "/doctors", body_of("/doctors", container, other=True), admin, "k")
    assert (second.status_code, second.json()["id"]) == (201, first.json()["id"] + 1)
    replayed = await post(client, "/doctors", body_of("/doctors", container, other=True), admin, "k")
    assert (replayed.content, replayed.headers["idempotency-replayed"]) == (second.content, "true")


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel", "tab\tinside", "🩺"])
async def test_a_key_that_is_none_is_refused(
    client: httpx.AsyncClient, world: World, container: Container, key: str
) -> None:
    """Empty, longer than 255 or not printable ASCII: 422, and nothing is made."""
    admin = await world.admin()
    headers = {name.encode(): value.encode() for name, value in admin.headers.items()}
    headers[b"Idempotency-Key"] = key.encode()
    response = await client.post(f"{API}/doctors", json=body_of("/doctors", container), headers=headers)
    body = assert_problem(response, 422, "validation_error")
    assert body["errors"][0]["loc"][0] == "header"
    assert await world.scalar("SELECT count(*) FROM doctors") == 0


@pytest.mark.parametrize("key", ["x", "~" * 255, 'quoted "key", with; marks'])
async def test_a_key_is_any_printable_ascii(
    client: httpx.AsyncClient, world: World, container: Container, key: str
) -> None:
    """From 1 to 255 printable ASCII characters."""
    admin = await world.admin()
    answers = [await post(client, "/doctors", body_of("/doctors", container), admin, key) for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert "idempotency-replayed" in answers[1].headers


async def test_what_is_kept_of_a_request_tells_nothing(
    client: httpx.AsyncClient, world: World, container: Container
) -> None:
    """The fingerprint kept of a body with a password is keyed: no plain hash of a guess equals it."""
    body = b'{"email":"pat@example.com","password":"password of Pat","full_name":"Pat"}'
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    assert (await client.post(f"{API}/auth/register", content=body, headers=headers)).status_code == 202
    kept = bytes(await world.scalar("SELECT request_hash FROM idempotency_keys"))
    for algorithm in ("sha256", "blake2b", "blake2s", "sha512", "md5"):
        assert not hashlib.new(algorithm, body).digest().startswith(kept)
