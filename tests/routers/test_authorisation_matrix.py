"""Who may call what: every route of the application, asked by everybody there is.

A new route needs one line in `ROUTES`: its method and path, and who may call it. Where a route is about an object that
has an owner, `made` says how it is made (see `MAKERS`).
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from app.core.enums import Role
from tests.support import API, Person, World, clinic_time, next_weekday

ANYONE, SIGNED_IN, OWNER, ADMIN, SUPERADMIN = "anyone", "signed in", "owner, admin", "admin", "superadmin"
PEOPLE = ("anonymous", "deactivated", "service", "other", "owner", "admin", "superadmin")
# What each of PEOPLE gets: a status, or None for whatever is no refusal of who they are.
EXPECTED: dict[str, tuple[int | None, ...]] = {
    ANYONE: (None, None, None, None, None, None, None),
    SIGNED_IN: (401, 401, 403, None, None, None, None),
    OWNER: (401, 401, 403, 404, None, None, None),
    ADMIN: (401, 401, 403, 403, 403, None, None),
    SUPERADMIN: (401, 401, 403, 403, 403, 403, None),
}


@dataclass(frozen=True)
class Row:
    """Who may call a route, and which object of an owner its path speaks of."""

    who: str
    made: str = ""
    json: Any = None


ROUTES: dict[str, Row] = {
    "POST /auth/register": Row(ANYONE),
    "POST /auth/verify-email": Row(ANYONE),
    "POST /auth/logout": Row(ANYONE),
    "POST /auth/password/forgot": Row(ANYONE),
    "POST /auth/password/reset": Row(ANYONE),
    "POST /auth/confirm-email": Row(ANYONE),
    "POST /auth/mfa/totp": Row(SIGNED_IN),
    "POST /auth/mfa/totp/confirm": Row(SIGNED_IN),
    "DELETE /auth/mfa/totp": Row(SIGNED_IN),
    "POST /users/me/email": Row(SIGNED_IN),
    "GET /auth/sessions": Row(SIGNED_IN),
    "DELETE /auth/sessions": Row(SIGNED_IN),
    "DELETE /auth/sessions/{session_id}": Row(SIGNED_IN),
    "GET /service-accounts": Row(SUPERADMIN),
    "POST /service-accounts": Row(SUPERADMIN),
    "GET /service-accounts/{account_id}": Row(SUPERADMIN),
    "DELETE /service-accounts/{account_id}": Row(SUPERADMIN),
    "POST /service-accounts/{account_id}/secrets": Row(SUPERADMIN),
    "DELETE /service-accounts/{account_id}/secrets/{secret_id}": Row(SUPERADMIN),
    "GET /users/me": Row(SIGNED_IN),
    "PATCH /users/me": Row(SIGNED_IN),
    "POST /users/me/password": Row(SIGNED_IN),
    "GET /users": Row(ADMIN),
    "POST /users": Row(ADMIN),
    "GET /users/{user_id}": Row(ADMIN),
    "PATCH /users/{user_id}": Row(ADMIN),
    "DELETE /users/{user_id}": Row(ADMIN),
    "GET /doctors": Row(ANYONE),
    "GET /doctors/{doctor_id}": Row(ANYONE),
    "GET /doctors/{doctor_id}/slots": Row(ANYONE),
    "GET /doctors/{doctor_id}/photo/{size}": Row(ANYONE),
    "POST /doctors": Row(ADMIN),
    "PATCH /doctors/{doctor_id}": Row(ADMIN),
    "DELETE /doctors/{doctor_id}": Row(ADMIN),
    "PUT /doctors/{doctor_id}/hours": Row(ADMIN),
    "GET /doctors/{doctor_id}/time-off": Row(ADMIN),
    "POST /doctors/{doctor_id}/time-off": Row(ADMIN),
    "DELETE /doctors/{doctor_id}/time-off/{time_off_id}": Row(ADMIN),
    "PUT /doctors/{doctor_id}/photo": Row(ADMIN),
    "DELETE /doctors/{doctor_id}/photo": Row(ADMIN),
    "GET /appointments": Row(SIGNED_IN),
    "POST /appointments": Row(SIGNED_IN),
    "GET /appointments/{appointment_id}": Row(OWNER, "appointment"),
    "PATCH /appointments/{appointment_id}": Row(OWNER, "appointment", {"starts_at": "2100-01-01T00:00:00Z"}),
    "POST /appointments/{appointment_id}/cancel": Row(OWNER, "appointment"),
    "POST /appointments/{appointment_id}/complete": Row(SIGNED_IN),
    "POST /appointments/{appointment_id}/no-show": Row(SIGNED_IN),
    "GET /jobs": Row(ADMIN),
    "GET /jobs/{job_id}": Row(OWNER, "job"),
    "GET /jobs/{job_id}/events": Row(OWNER, "job"),
    "GET /jobs/{job_id}/result": Row(OWNER, "job"),
    "POST /jobs/{job_id}/cancel": Row(ADMIN),
    "POST /jobs/{job_id}/retry": Row(ADMIN),
    "GET /schedules": Row(ADMIN),
    "POST /reports": Row(ADMIN),
    "POST /notifications": Row(ADMIN),
    "GET /audit-events": Row(SUPERADMIN),
    "GET /products": Row(ANYONE),
    "GET /products/{product_id}": Row(ANYONE),
    "POST /products": Row(ADMIN),
    "POST /products/sync": Row(ADMIN),
    "PATCH /products/{product_id}": Row(ADMIN),
    "DELETE /products/{product_id}": Row(ADMIN),
    "GET /orders": Row(SIGNED_IN),
    "POST /orders": Row(SIGNED_IN),
    "GET /orders/{order_id}": Row(SIGNED_IN),
    "POST /orders/{order_id}/cancel": Row(SIGNED_IN),
    "POST /orders/{order_id}/pay": Row(SIGNED_IN),
    "GET /webhooks/events": Row(ADMIN),
    "GET /webhooks/events/{event_id}": Row(ADMIN),
    "POST /webhooks/events/{event_id}/replay": Row(ADMIN),
    "GET /webhook-endpoints": Row(ADMIN),
    "POST /webhook-endpoints": Row(ADMIN),
    "GET /webhook-endpoints/{endpoint_id}": Row(ADMIN),
    "PATCH /webhook-endpoints/{endpoint_id}": Row(ADMIN),
    "DELETE /webhook-endpoints/{endpoint_id}": Row(ADMIN),
    "POST /webhook-endpoints/{endpoint_id}/secret": Row(ADMIN),
    "GET /webhook-endpoints/{endpoint_id}/deliveries": Row(ADMIN),
    "GET /webhook-endpoints/{endpoint_id}/deliveries/{delivery_id}": Row(ADMIN),
    "POST /webhook-endpoints/{endpoint_id}/deliveries/{delivery_id}/redeliver": Row(ADMIN),
}
# Credentials of their own decide, which their own tests hold.
ELSEWHERE = {"POST /auth/token": "test_sign_in", "POST /webhooks/{provider}": "the provider's signature"}


async def _appointment(client: httpx.AsyncClient, world: World, owner: Person) -> int:
    starts_at = clinic_time(world.container, next_weekday(), "10:00")
    body = {"doctor_id": await world.doctor(), "starts_at": starts_at}
    made = await client.post(f"{API}/appointments", json=body, headers=owner.headers)
    return int(made.json()["id"])


async def _job(client: httpx.AsyncClient, world: World, owner: Person) -> int:
    # It has ended, and so do its events.
    await world.execute(
        "INSERT INTO jobs (name, queue, payload, max_attempts, status, finished_at, created_by)"
        " VALUES ('x', 'io', '{}', 1, 'failed', now(), :id)",
        id=owner.id,
    )
    return int(await world.scalar("SELECT max(id) FROM jobs"))


MAKERS: dict[str, Callable[[httpx.AsyncClient, World, Person], Awaitable[int]]] = {
    "appointment": _appointment,
    "job": _job,
}


def served(app: FastAPI) -> set[str]:
    """Every method and path below the base path."""
    return {
        f"{method} {path.removeprefix(API)}"
        for route in iter_route_contexts(app.routes)
        if (path := route.path_format or "").startswith(API)
        for method in route.methods or ()
    }


def test_every_route_has_its_row(app: FastAPI) -> None:
    """A route without a row fails here, and so does a row without a route."""
    routes = served(app)
    missing = sorted(routes - ROUTES.keys() - ELSEWHERE.keys())
    lines = [f'    "{route}": Row(ADMIN),' for route in missing]
    assert not missing, "add to ROUTES who may call these, in lines like:\n" + "\n".join(lines)
    # A row may be there before its route is.
    assert len(routes) > 60


async def _headers(world: World, who: str, owner: Person) -> dict[str, str]:
    match who:
        case "anonymous":
            return {}
        case "owner":
            return owner.headers
        case "deactivated":
            person = await world.person(Role.SUPERADMIN)
            await world.execute("UPDATE users SET is_active = false WHERE id = :id", id=person.id)
            return person.headers
        case "service":
            return await _service(world)
        case "other":
            return (await world.person()).headers
        case _:
            return (await world.person(Role(who))).headers


async def _service(world: World) -> dict[str, str]:
    """A service account without any scope."""
    await world.execute("INSERT INTO service_accounts (name, scopes) VALUES ('none', '{}')")
    account = await world.scalar("SELECT max(id) FROM service_accounts")
    await world.execute(
        "INSERT INTO service_account_secrets (account_id, secret_hash) VALUES (:id, CAST(:hash AS bytea))",
        id=account,
        hash=b"x",
    )
    secret = await world.scalar("SELECT max(id) FROM service_account_secrets")
    token, _ = world.container.auth.access_tokens.issue(user_id=-account, session_id=secret, role="service", scope="")
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("route", ROUTES)
async def test_who_may_call_it(app: FastAPI, client: httpx.AsyncClient, world: World, route: str) -> None:
    """Anonymous, deactivated, a service account without the scope, another client, the owner and staff: each gets what
    the table says, and nobody a 5xx."""
    if route not in served(app):
        pytest.skip("not served yet")
    row, (method, path) = ROUTES[route], route.split(" ")
    owner = await world.person()
    for who, expected in zip(PEOPLE, EXPECTED[row.who], strict=True):
        headers = await _headers(world, who, owner)
        made = await MAKERS[row.made](client, world, owner) if row.made else 999_999
        where = API + re.sub(r"{\w+}", str(made), path.replace("{size}", "small"))
        answer = await client.request(method, where, json=row.json, headers=headers)
        if expected is not None:
            assert answer.status_code == expected, (who, answer.status_code, answer.text)
        else:
            refused = {401, 403} if row.who != SIGNED_IN else {401}
            assert answer.status_code not in refused, (who, answer.status_code, answer.text)
            assert answer.status_code < 500, (who, answer.text)
            assert not row.made or answer.status_code != 404, (who, answer.text)
        if row.made == "appointment":
            await world.execute("DELETE FROM appointments")
