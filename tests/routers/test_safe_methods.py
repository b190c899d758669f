"""GET and HEAD, on every route that has them."""

import asyncio
import re

import httpx
import pytest

from app.core.jobs import JobStatus
from tests.route_makers import MAKERS, Scene
from tests.route_table import ROUTES
from tests.support import API, World, assert_problem

READ = [path for method, path in (route.split(" ") for route in ROUTES) if method == "GET"]
# It differs from one answer to the next, or goes with the body.
OF_THIS_ANSWER = {"x-request-id", "ratelimit-remaining", "ratelimit-reset", "transfer-encoding"}


async def scene_of(client: httpx.AsyncClient, world: World, path: str) -> Scene:
    """A superadmin, and a real object for each parameter of `path`."""
    owner = await world.superadmin()
    row = ROUTES[f"GET {path}"]
    scene = Scene(client, world, owner, "superadmin", owner.headers, row.state)
    for name in re.findall(r"{(\w+)}", path):
        scene.made[name] = await MAKERS[name](scene)
    return scene


@pytest.mark.parametrize("path", READ)
async def test_what_get_says_of_an_object(client: httpx.AsyncClient, shop: World, path: str) -> None:
    """HEAD answers as GET does, without the body; one object has a strong ETag, which makes the next GET a 304."""
    scene, row = await scene_of(client, shop, path), ROUTES[f"GET {path}"]
    asked = {"url": path.format(**scene.made), **(await row.ask(scene) if row.ask else {})}
    asked["headers"] = scene.headers
    got, head = await client.get(**asked), await client.head(**asked)
    assert (got.status_code, head.status_code, head.content) == (row.status, row.status, b"")
    said = [{name: one.headers[name] for name in one.headers.keys() - OF_THIS_ANSWER} for one in (got, head)]
    if path == "/metrics":
        # It has counted the first request when the second one asks.
        said = [{**one, "content-length": ""} for one in said]
    assert said[0] == said[1]
    shown = got.json() if got.headers.get("content-type") == "application/json" else None
    if isinstance(shown, dict) and "id" in shown:
        tag = got.headers["etag"]
        assert re.fullmatch(r'"[^"]+"', tag)
        asked["headers"] = scene.headers | {"If-None-Match": tag}
        known = await client.get(**asked)
        assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)
        asked["headers"] = scene.headers | {"If-None-Match": '"another"'}
        assert (await client.get(**asked)).json() == shown


async def test_the_head_of_a_stream_is_all_there_is(client: httpx.AsyncClient, world: World) -> None:
    """HEAD of the events of a job that goes on answers at once, and nobody looks on afterwards."""
    owner = await world.superadmin()
    scene = Scene(client, world, owner, "superadmin", owner.headers, JobStatus.QUEUED)
    job_id = await MAKERS["job_id"](scene)
    async with asyncio.timeout(10):
        answer = await client.head(f"{API}/jobs/{job_id}/events", headers=owner.headers)
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    assert not world.container.job_events._onlookers


async def test_head_goes_with_get_alone(client: httpx.AsyncClient, world: World) -> None:
    """HEAD is refused where GET is: 401, 404, and 405 with `Allow` where there is no GET."""
    assert (await client.head(f"{API}/users/me")).status_code == 401
    assert (await client.head(f"{API}/doctors/77")).status_code == 404
    refused = await client.head(f"{API}/reports")
    assert (refused.status_code, refused.headers["allow"], refused.content) == (405, "POST", b"")
    assert (await client.put(f"{API}/doctors")).headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize("path", [f"{API}/doctors/", f"{API}/users/me/", "/health/live/", "/docs/", f"{API}/"])
async def test_a_slash_too_many_leads_nowhere(client: httpx.AsyncClient, path: str) -> None:
    """It is an unknown path, 404 like any other: a redirect would repeat whatever host the caller has named."""
    assert_problem(await client.get(path), 404, "not_found")
