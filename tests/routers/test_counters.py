"""What requests leave in the counters."""

from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY

from app.core.request_limit import RequestLimits
from app.services.container import Container
from app.services.webhook_inbox import WebhookInbox
from tests.support import API, World, sign_in
from tests.webhooks import body, payment, payments_secret


def value(metric: str, /, **labels: str) -> float:
    return REGISTRY.get_sample_value(metric, labels) or 0.0


async def test_webhooks_in_are_counted_by_what_became_of_them(
    client: httpx.AsyncClient, world: World, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored, refused, malformed, failed; a provider that nobody knows is no series."""

    def seen() -> tuple[float, ...]:
        outcomes = ("stored", "refused", "malformed", "failed")
        name = "frontdesk_webhooks_received_total"
        return tuple(value(name, provider="payments", outcome=outcome) for outcome in outcomes)

    async def send(path: str, sent: bytes, *, signed: bytes | None = None) -> int:
        headers = payment("msg_1", payments_secret(container), sent if signed is None else signed)
        return (await client.post(f"{API}/webhooks/{path}", content=sent, headers=headers)).status_code

    before = seen()
    assert await send("payments", body()) == 202
    assert await send("payments", body(), signed=b"other") == 401
    assert await send("payments", b"[]") == 422
    assert await send("nobody", body()) == 404

    async def broken(*_: Any) -> list[None]:
        raise ConnectionRefusedError

    monkeypatch.setattr(WebhookInbox, "_store", broken)
    container.inbox._batcher._flush, kept = broken, container.inbox._batcher._flush
    assert await send("payments", body()) == 503
    container.inbox._batcher._flush = kept
    assert tuple(now - then for now, then in zip(seen(), before, strict=True)) == (1, 1, 1, 1)
    providers = {
        sample.labels["provider"]
        for metric in REGISTRY.collect()
        if metric.name == "frontdesk_webhooks_received"
        for sample in metric.samples
    }
    assert providers == {"payments", "marketplace"}


async def test_refusals_by_a_limit_are_counted_by_its_class(
    client: httpx.AsyncClient, app: FastAPI, container: Container, world: World
) -> None:
    """One too many of a class is one refusal of that class."""
    person = await world.person()
    limits = RequestLimits(container.request_limits._shared.storage, {"read": 1, "write": 1, "auth": 1})
    app.state.container = replace(container, request_limits=limits)
    before = {one: value("frontdesk_rate_limited_total", limit=one) for one in ("read", "write", "auth")}
    for _ in range(2):
        await client.get(f"{API}/users/me", headers=person.headers)
    assert {one: value("frontdesk_rate_limited_total", limit=one) - before[one] for one in before} == {
        "read": 1,
        "write": 0,
        "auth": 0,
    }


async def test_a_hash_is_timed_and_a_look_into_the_cache_counted(client: httpx.AsyncClient, world: World) -> None:
    """A sign-in is one more hash; whoever is not remembered is a miss."""
    person = await world.person(password="correct horse battery")
    hashes, look = value("frontdesk_hashing_seconds_count"), {"cache": "principal", "outcome": "miss"}
    misses = value("frontdesk_cache_total", **look)
    assert (await sign_in(client, person.email)).status_code == 200
    await client.get(f"{API}/users/me", headers=person.headers)
    assert value("frontdesk_hashing_seconds_count") == hashes + 1
    assert value("frontdesk_cache_total", **look) == misses + 1
