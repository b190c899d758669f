"""The general limits, as clients meet them."""

from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI

from app.core.request_limit import Kind, RequestLimits
from app.services.container import Container
from tests.support import API, World, assert_problem

Limited = Callable[[int], None]


@pytest.fixture
def limited(app: FastAPI, container: Container) -> Limited:
    """Sets the limit of every class."""

    def to(amount: int) -> None:
        shared = container.request_limits._shared.storage
        amounts: dict[Kind, int] = {"read": amount, "write": amount, "auth": amount}
        app.state.container = replace(container, request_limits=RequestLimits(shared, amounts))

    return to


async def test_every_limited_answer_says_how_much_is_left(
    client: httpx.AsyncClient, world: World, limited: Limited
) -> None:
    """Policy, limit, what remains and when it begins anew, on success and refusal; probes say nothing of it."""
    limited(1000)
    person = await world.person()
    first = await client.get(f"{API}/users/me", headers=person.headers)
    second = await client.get(f"{API}/users/me", headers=person.headers)
    limit = first.headers["ratelimit-limit"]
    assert first.headers["ratelimit-policy"] == f"{limit};w=60"
    left = [int(answer.headers["ratelimit-remaining"]) for answer in (first, second)]
    assert (limit, left) == ("1000", [999, 998])
    assert 1 <= int(first.headers["ratelimit-reset"]) <= 60
    missing = await client.get(f"{API}/nowhere")
    assert "ratelimit-remaining" in missing.headers
    assert "ratelimit-limit" not in (await client.get("/health/live")).headers


async def test_too_many_requests_have_to_wait(client: httpx.AsyncClient, world: World, limited: Limited) -> None:
    """429 with Retry-After for that user, in every class of its own; another user and other addresses go on."""
    limited(3)
    person, other = await world.person(), await world.person()
    for _ in range(3):
        await client.get(f"{API}/users/me", headers=person.headers)
        await client.patch(f"{API}/users/me", json={"full_name": "Pat"}, headers=person.headers)
    for refused in (
        await client.get(f"{API}/users/me", headers=person.headers),
        await client.patch(f"{API}/users/me", json={"full_name": "Pat"}, headers=person.headers),
    ):
        assert_problem(refused, 429, "rate_limited")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers["ratelimit-remaining"] == "0"
    assert (await client.get(f"{API}/users/me", headers=other.headers)).status_code == 200
    assert (await client.get(f"{API}/doctors")).status_code == 200


async def test_made_up_tokens_count_for_the_address(client: httpx.AsyncClient, limited: Limited) -> None:
    """A caller with ever new bad tokens is one caller."""
    limited(3)
    answers = [
        await client.get(f"{API}/users/me", headers={"Authorization": f"Bearer made-up-{number}"})
        for number in range(5)
    ]
    assert [answer.status_code for answer in answers] == [401] * 3 + [429] * 2


async def test_tokens_do_not_lift_the_limit_of_sign_ins(
    client: httpx.AsyncClient, world: World, limited: Limited
) -> None:
    """Below /auth the address counts, whoever's good token comes along: accounts of one's own give no further tries.
    What else they do is counted for each."""
    limited(3)
    persons = [await world.person() for _ in range(5)]
    asked = {"email": "nobody@example.com"}
    answers = [
        await client.post(f"{API}/auth/password/forgot", json=asked, headers=person.headers) for person in persons
    ]
    assert [answer.status_code for answer in answers] == [202] * 3 + [429] * 2
    for person in persons:
        for _ in range(3):
            changed = await client.patch(f"{API}/users/me", json={"full_name": "Pat"}, headers=person.headers)
            assert changed.status_code == 200


async def test_the_limits_can_be_turned_off(client: httpx.AsyncClient, limited: Limited) -> None:
    """A limit of 0 is none, and nothing is said of it."""
    limited(0)
    for _ in range(5):
        answer = await client.get(f"{API}/doctors")
        assert answer.status_code == 200
        assert "ratelimit-limit" not in answer.headers
