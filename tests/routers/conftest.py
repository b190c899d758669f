"""The service with a payment provider and a marketplace: the sandbox, on a real socket."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI

from app.integrations.circuit_shared import Circuits
from app.integrations.marketplace import MarketplaceClient
from app.integrations.payments import PaymentsClient
from app.services.container import Container
from tests.forgery import Target
from tests.partners import Sandbox, running_sandbox
from tests.support import World


@pytest.fixture(scope="session")
def one_sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(one_sandbox: Sandbox) -> Sandbox:
    """Empty, and without faults."""
    one_sandbox.reset()
    return one_sandbox


@pytest.fixture
async def shop(app: FastAPI, container: Container, sandbox: Sandbox) -> AsyncIterator[World]:
    """The world in which `client` speaks to a service whose partners the sandbox plays."""
    provider = PaymentsClient(sandbox.payments_settings, circuits=Circuits(container.redis))
    marketplace = MarketplaceClient(sandbox.marketplace_settings, circuits=Circuits(container.redis))
    app.state.container = replace(
        container,
        payments_client=provider,
        payments=replace(container.payments, provider=provider),
        catalogue=replace(container.catalogue, marketplace=marketplace),
    )
    yield World(app.state.container)
    await provider.close()
    await marketplace.close()


@pytest.fixture(scope="module")
async def target(session_app: FastAPI, session_container: Container) -> AsyncIterator[Target]:
    """One service and one person for all attacks of a module: what is refused writes nothing. Not to be mixed with
    `container` and what needs it, which empty the tables after each test."""
    session_app.state.container = session_container
    world = World(session_container)
    transport = httpx.ASGITransport(session_app, client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield Target(client, session_container, await world.person())
    await world.empty()
