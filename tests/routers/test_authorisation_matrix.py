"""Who may call what: every route of the application, asked by everybody there is, about objects that are there.

A new route needs one line in the table (`tests/route_table.py`), and a maker for a parameter of its path that is new.
"""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, WebSocket
from sqlalchemy import insert
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount

from app.core.enums import Role
from app.core.scopes import DESCRIPTIONS, FOR_SERVICES, Scope, join
from app.models import ServiceAccount, ServiceAccountSecret
from tests.route_makers import MAKERS, Scene
from tests.route_table import ADMIN, BELOW, OWNER, PEOPLE, ROUTES, SUPERADMIN, Row, served
from tests.security_headers import lacking
from tests.support import API, PASSWORD, Person, World, assert_problem

CODES = {401: "invalid_token", 403: "forbidden", 404: "not_found"}
API_DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def _row_of(app: FastAPI, route: str) -> str:
    """A row to begin with."""
    method, path = route.split(" ")
    said = app.openapi()["paths"].get(path, {}).get(method.lower(), {}).get("responses", {})
    status = next((status for status in said if status.startswith("2")), "200")
    more = "" if method == "GET" else ', json={…}, audit="…"'
    return f"Row(ADMIN, {status}, Scope.…{more})"


def test_every_route_has_its_row(app: FastAPI) -> None:
    """A route without a row fails here, whatever its path, and so does a row without a route."""
    missing, gone = sorted(served(app) - ROUTES.keys()), sorted(ROUTES.keys() - served(app))
    lines = [f'    "{route.replace(API, "", 1)}": {_row_of(app, route)},' for route in missing]
    assert not missing, "say in tests/route_table.py who may call these, in lines like:\n" + "\n".join(lines)
    assert not gone, "tests/route_table.py speaks of routes that are not there"


def test_the_walk_misses_nothing() -> None:
    """Routes of every kind are seen: FastAPI's, Starlette's, those of a mounted application, and sockets."""

    async def plain(request: Request) -> Response:
        raise AssertionError("never called")

    async def socket(websocket: WebSocket) -> None:
        raise AssertionError("never called")

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_api_route("/a/{id}", lambda: None, methods=["PUT"])
    app.add_route("/b", plain)
    app.add_api_websocket_route("/c", socket)
    app.router.routes.append(Mount("/d", app=FastAPI()))
    assert served(app) == {"PUT /a/{id}", "GET /b", "APIWebSocketRoute /c", "Mount /d/{path}"}


def test_staff_routes_have_a_scope_and_leave_a_trace() -> None:
    """Whatever staff may do a service account may be given, and each change of theirs is in the audit record."""
    staff = {route: row for route, row in ROUTES.items() if row.who in (ADMIN, OWNER)}
    assert [route for route, row in staff.items() if row.scope is None] == [], "their rows name no scope"
    changes = {
        route: row for route, row in ROUTES.items() if row.who in (ADMIN, SUPERADMIN) and not route.startswith("GET ")
    }
    assert [route for route, row in changes.items() if not row.audit] == [], "their rows lack audit="
    assert len(changes) > 20


def test_the_documents_name_the_scopes(app: FastAPI) -> None:
    """OpenAPI and the table in docs/api.md say of each scope which routes it opens, as the table of routes has it."""
    paths = app.openapi()["paths"]
    for route, row in ROUTES.items():
        method, path = route.split(" ")
        operation = paths.get(path, {}).get(method.lower(), {})
        shown = [scope for one in operation.get("security", []) for scopes in one.values() for scope in scopes]
        assert shown == ([row.scope.value] if row.scope else []), route
    wanted = {scope.value: sorted(route for route, row in BELOW.items() if row.scope is scope) for scope in Scope}
    rows = re.findall(r"^\| `(\w+:\w+)` \|([^|]*)\|(.*)\|$", API_DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    where = "docs/api.md, Scopes"
    assert {scope: sorted(re.findall(r"`([^`]+)`", routes)) for scope, _, routes in rows} == wanted, where
    told = {scope: text.strip() for scope, text, _ in rows}
    assert told == {scope.value: text for scope, text in DESCRIPTIONS.items()}, where


async def _service(world: World, scopes: frozenset[Scope]) -> dict[str, str]:
    """A service account with these scopes, signed in."""
    async with world.database.session_scope() as session:
        account = insert(ServiceAccount).values(name="The lab", scopes=list(scopes)).returning(ServiceAccount.id)
        account_id: int = (await session.execute(account)).scalar_one()
        secret = {"account_id": account_id, "secret_hash": f"of {account_id}".encode()}
        made = insert(ServiceAccountSecret).values(secret).returning(ServiceAccountSecret.id)
        secret_id: int = (await session.execute(made)).scalar_one()
    token, _ = world.container.auth.access_tokens.issue(
        user_id=-account_id, session_id=secret_id, role="service", scope=join(scopes)
    )
    return {"Authorization": f"Bearer {token}"}


async def _headers(world: World, who: str, owner: Person, row: Row, password_hash: str) -> dict[str, str]:
    match who:
        case "anonymous":
            return {}
        case "unscoped":
            return await _service(world, FOR_SERVICES - {row.scope} if row.scope else frozenset())
        case "scoped":
            return await _service(world, FOR_SERVICES & {row.scope} if row.scope else FOR_SERVICES)
        case "owner":
            return owner.headers
    role = {"other": Role.CLIENT, "admin": Role.ADMIN}.get(who, Role.SUPERADMIN)
    person = await world.person(role, password_hash=password_hash, is_active=who != "deactivated")
    return person.headers


async def _answer(scene: Scene, row: Row, method: str, path: str) -> tuple[httpx.Response, list[str]]:
    """The answer, and the actions that the audit record has more because of it."""
    for name in re.findall(r"{(\w+)}", path):
        assert name in MAKERS, f"tests/route_makers.py makes no {name}"
        scene.made[name] = await MAKERS[name](scene)
    request: dict[str, Any] = {"json": row.json, "headers": scene.headers} | (await row.ask(scene) if row.ask else {})
    before = await scene.world.scalar("SELECT coalesce(max(id), 0) FROM audit_events")
    answer = await scene.client.request(method, path.format(**scene.made), **request)
    recorded = await scene.world.rows("SELECT action FROM audit_events WHERE id > :id ORDER BY id", id=before)
    return answer, [one.action for one in recorded]


@pytest.mark.parametrize("route", ROUTES)
async def test_who_may_call_it(app: FastAPI, client: httpx.AsyncClient, shop: World, route: str) -> None:
    """Each of eight callers gets exactly what the table says, about a real object; who is refused leaves no trace in
    the audit record, and who is let in leaves the one that the table names. The answer has the headers that OpenAPI
    says it has."""
    row, (method, path) = ROUTES[route], route.split(" ")
    responses = app.openapi()["paths"].get(path, {}).get(method.lower(), {}).get("responses", {})
    password_hash = await shop.container.hasher.hash(PASSWORD)
    owner = await shop.person(password_hash=password_hash)
    for who in PEOPLE:
        headers = await _headers(shop, who, owner, row, password_hash)
        scene = Scene(client, shop, owner, who, headers, row.state)
        answer, recorded = await _answer(scene, row, method, path)
        expected = row.expected(who)
        assert lacking(answer) == [], who
        assert answer.status_code == expected, (who, answer.status_code, answer.text)
        if responses:
            said = {name.lower() for name in responses[str(expected)]["headers"]} - {"idempotency-replayed"}
            # Only a token whose scope does not reach is told so there.
            sometimes = {"www-authenticate"} if expected == 403 else set()
            assert said - answer.headers.keys() <= sometimes, who
            assert {"etag", "location"} & answer.headers.keys() <= said, who
        assert recorded == row.recorded(who), who
        if expected in CODES:
            assert_problem(answer, expected, CODES[expected])
