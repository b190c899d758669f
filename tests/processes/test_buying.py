"""The walk of a customer, in a real browser, over real processes: order, pay by a click, get the mail."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Page, async_playwright

from deploy.local.engines import ValkeyEngine
from tests.hostile.process import ApiProcess
from tests.partners import Sandbox, running_sandbox
from tests.ports import free_port
from tests.processes.ledger import Ledger
from tests.processes.process import Spawn
from tests.support import API, Person, eventually

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}; CHROMIUM names another")


class Shop:
    """The API, a worker and the partners, each on a port of its own."""

    def __init__(self, api: ApiProcess, sandbox: Sandbox) -> None:
        self.api, self.sandbox = api, sandbox

    async def ask(self, method: str, path: str, who: Person, **content: object) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.api.url, timeout=20, trust_env=False) as client:
            return await client.request(method, path, headers=who.headers, **content)  # type: ignore[arg-type]


@pytest.fixture
async def shop(
    spawn: Spawn, own_valkey: ValkeyEngine, ledger: Ledger, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shop]:
    port = free_port()
    environment = {"PAYMENTS_URL": f"http://127.0.0.1:{port}", "LOG_FORMAT": "json"}
    api = ApiProcess(tmp_path_factory.mktemp("api"), environment | {"REDIS_URL": own_valkey.url})
    await api.start()
    worker = spawn("worker", **environment)
    with running_sandbox(webhook_url=f"{api.url}{API}/webhooks", port=port) as sandbox:
        await worker.ready()
        yield Shop(api, sandbox)
    api.stop()
    await worker.stopped()


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield await browser.new_page()
        await browser.close()


@pytest.mark.timeout(120)
async def test_a_customer_pays_with_a_click(shop: Shop, ledger: Ledger, page: Page) -> None:
    """Order, checkout page, click: the provider's webhook makes the order paid, and the mail says so. Before that, a
    declined payment left the order open, and nothing but the webhook pays it."""
    world = ledger.world
    person, product_id = await world.person(), await world.product(name="Knee support", price=3490, stock=5)
    items = [{"product_id": product_id, "quantity": 2}]
    placed = await shop.ask("POST", f"{API}/orders", person, json={"items": items})
    place = placed.headers["location"]

    async def status() -> str:
        return str((await shop.ask("GET", place, person)).json()["status"])

    async def is_paid() -> bool:
        return await status() == "paid"

    async def checkout() -> str:
        return str((await shop.ask("POST", f"{place}/pay", person)).json()["checkout_url"])

    declined = await checkout()
    await page.goto(declined)
    assert await page.inner_text("#amount") == "69.80 EUR"
    await page.click("button.decline")
    assert "declined" in await page.inner_text("#status")

    async def another() -> str | None:
        url = await checkout()
        return url if url != declined else None

    await page.goto(await eventually(another))
    assert await status() == "pending_payment"
    await page.click("button.pay")
    assert await page.inner_text("#status") == "Paid. Thank you."
    await eventually(is_paid)
    assert [one["status"] for one in shop.sandbox.payments] == ["succeeded", "failed"]

    async def mailed() -> bool:
        return f"Your order {placed.json()['id']} is paid" in world.mails()

    await eventually(mailed)
    assert await world.scalar("SELECT stock FROM products WHERE id = :id", id=product_id) == 3
