"""The pages that a person opens, and what their policies let run."""

import re
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256

import httpx
import pytest

from app.config import Environment, Settings
from app.main import create_app
from app.services.container import Container
from tests.hostile.process import ApiProcess


@pytest.fixture
async def production(settings: Settings, container: Container) -> AsyncIterator[httpx.AsyncClient]:
    hidden = settings.model_copy(update={"environment": Environment.PRODUCTION})
    app = create_app(hidden)
    app.state.container = _with_settings(container, hidden)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver") as client:
        yield client


def _with_settings(container: Container, settings: Settings) -> Container:
    return replace(container, settings=settings)


def _policy(header: str) -> dict[str, str]:
    return {name: value for name, _, value in (part.strip().partition(" ") for part in header.split(";"))}


@pytest.mark.parametrize("path", ["/", "/verify-email", "/reset-password", "/confirm-email", "/docs"])
async def test_a_page_runs_its_own_scripts_alone(api: ApiProcess, path: str) -> None:
    """The policy lets every inline element of the page run by its digest, and nothing from any other host."""
    answer = await api.get(path)
    assert answer.status == 200
    page, policy = answer.body.decode(), _policy(answer.headers["content-security-policy"])
    assert policy["default-src"] == policy["form-action"] == "'none'"
    assert "//" not in answer.headers["content-security-policy"]
    for script in re.findall(r"<script>(.*?)</script>", page, re.DOTALL):
        digest = b64encode(sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy["script-src"]
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
    assert "<title>" in page


async def test_the_documentation_comes_from_this_service(api: ApiProcess) -> None:
    """Every file that the page of the documentation names is there, and the address that its sign-in form posts to."""
    page = (await api.get("/docs")).body.decode()
    for path, kind in [("/docs/swagger-ui.css", "text/css"), ("/docs/swagger-ui-bundle.js", "text/javascript")]:
        assert f'"{path}"' in page
        answer = await api.get(path)
        assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, kind)
        assert len(answer.body) > 100_000
    document = (await api.get("/openapi.json")).json()
    flow = document["components"]["securitySchemes"]["OAuth2PasswordBearer"]["flows"]["password"]
    assert "post" in document["paths"][flow["tokenUrl"]]


async def test_production_shows_no_documentation(production: httpx.AsyncClient) -> None:
    """In production the documentation, its files and the document are 404 problems, and the landing page links none."""
    for path in ("/docs", "/docs/swagger-ui.css", "/openapi.json", "/redoc"):
        response = await production.get(path, headers={"Host": "testserver"})
        assert response.status_code == 404
        assert response.json()["code"] == "not_found"
    assert "/docs" not in (await production.get("/")).text
