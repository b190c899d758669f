"""The sandbox: what a developer and a browser see of it."""

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.config.partners import (
    DEVELOPMENT_MARKETPLACE_SECRET,
    DEVELOPMENT_PAYMENTS_KEY,
    DEVELOPMENT_PAYMENTS_SECRET,
)
from app.core.webhook_signatures import GitHubVerifier
from tests.partners import Sandbox, running_sandbox, serving

ORDER = {"order_id": 7, "amount": 1250, "currency": "EUR", "return_url": "http://127.0.0.1/orders/7?a=1&b=<2>"}
HEADERS = {"Authorization": f"Bearer {DEVELOPMENT_PAYMENTS_KEY}"}


class Receiver:
    """Takes webhooks, after having refused the first ones."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self.seen = 0

    async def __call__(self, request: Request) -> Response:
        self.seen += 1
        if self.seen <= self.refusals:
            return Response(status_code=503)
        self.taken.append((dict(request.headers), await request.body()))
        return Response(status_code=202)


@pytest.fixture
def receiver() -> Receiver:
    return Receiver(refusals=2)


@pytest.fixture
def sandbox(receiver: Receiver) -> Iterator[Sandbox]:
    async def take(request: Request) -> Response:
        return await receiver(request)

    app = Starlette(routes=[Route("/hooks/{provider}", take, methods=["POST"])])
    with serving(app) as url, running_sandbox(webhook_url=f"{url}/hooks") as sandbox:
        yield sandbox


def create(sandbox: Sandbox, **headers: str) -> httpx.Response:
    return httpx.post(f"{sandbox.url}/v1/payments", json=ORDER, headers=HEADERS | headers)


def test_a_client_pays_with_a_click(sandbox: Sandbox, receiver: Receiver) -> None:
    """The page shows the amount and two buttons; the click becomes a signed webhook, sent until it is taken."""
    made = create(sandbox).json()
    page = httpx.get(made["checkout_url"])
    assert page.headers["content-type"].startswith("text/html")
    assert "12.50 EUR" in page.text
    assert re.findall(r'name="action" value="(\w+)"', page.text) == ["pay", "decline"]
    paid = httpx.post(made["checkout_url"], data={"action": "pay"}, follow_redirects=True)
    assert "Paid" in paid.text
    assert 'href="http://127.0.0.1/orders/7?a=1&amp;b=&lt;2&gt;"' in paid.text
    assert httpx.get(f"{sandbox.url}/v1/payments/{made['payment_id']}", headers=HEADERS).json()["status"] == "succeeded"

    deadline = time.monotonic() + 15
    while not receiver.taken:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    headers, body = receiver.taken[0]
    told = Webhook(DEVELOPMENT_PAYMENTS_SECRET).verify(body, headers)
    about = {"payment_id": made["payment_id"], "order_id": 7, "amount": 1250, "currency": "EUR"}
    assert told == {"type": "payment.succeeded", "data": about}
    assert receiver.seen == 3


def test_a_page_that_is_clicked_twice_pays_once(sandbox: Sandbox) -> None:
    """Neither a second click nor the other button changes what the first has done."""
    payment_id = create(sandbox).json()["payment_id"]
    for action in ("decline", "pay", "decline", "nonsense"):
        sandbox.checkout(payment_id, action)
    assert [webhook["body"]["type"] for webhook in sandbox.webhooks] == ["payment.failed"]
    assert sandbox.payments[0]["status"] == "failed"


def test_an_idempotency_key_gives_the_first_answer(sandbox: Sandbox) -> None:
    """The same key and body: the same payment; another body is refused; without a key there is a second payment."""
    first, again = create(sandbox, **{"Idempotency-Key": "k"}), create(sandbox, **{"Idempotency-Key": "k"})
    assert first.json() == again.json()
    other = httpx.post(
        f"{sandbox.url}/v1/payments", json=ORDER | {"amount": 1}, headers=HEADERS | {"Idempotency-Key": "k"}
    )
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_mismatch")
    create(sandbox)
    assert len(sandbox.payments) == 2


def test_payments_outlive_a_restart(tmp_path: Path) -> None:
    """An order that was paid before has its payment afterwards, and its page."""
    with running_sandbox(state=tmp_path / "deep" / "sandbox.sqlite3") as sandbox:
        payment_id = create(sandbox).json()["payment_id"]
    with running_sandbox(state=tmp_path / "deep" / "sandbox.sqlite3") as sandbox:
        assert httpx.get(f"{sandbox.url}/checkout/{payment_id}").status_code == 200


def test_a_stock_that_changes_is_told(sandbox: Sandbox, receiver: Receiver) -> None:
    """By the button of the first page and by the control route: the catalogue has it, and a webhook signed GitHub's way
    says so, sent until it is taken."""
    clicked = httpx.post(sandbox.url, data={"product": "7", "stock": "3"}, follow_redirects=True)
    assert (clicked.status_code, "product.stock_changed" in clicked.text) == (200, True)
    told = httpx.post(f"{sandbox.url}/sandbox/stock", json={"product": 8, "stock": 0})
    assert told.status_code == 202
    deadline = time.monotonic() + 15
    while len(receiver.taken) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    bodies = {}
    for headers, body in receiver.taken:
        key = [DEVELOPMENT_MARKETPLACE_SECRET]
        delivery = GitHubVerifier(key).verify(
            [(name.encode(), value.encode()) for name, value in headers.items()], body
        )
        bodies[delivery] = json.loads(body)
    assert bodies[told.json()["id"]] == {
        "type": "product.stock_changed",
        "data": {"product_id": 8, "offer_id": "MP-000008", "stock": 0},
    }
    assert [one["provider"] for one in sandbox.webhooks] == ["marketplace"] * 2
    ask = {"last_id": "6", "limit": 2}
    listed = httpx.post(f"{sandbox.url}/v2/product/list", json=ask, headers={"Api-Key": "sandbox-marketplace-key"})
    assert [item["stock"] for item in listed.json()["result"]["items"]] == [3, 0]


def test_the_first_page_shows_what_there_is(sandbox: Sandbox) -> None:
    """Payments with their checkout, products, what was sent; a form that makes no sense is a 4xx."""
    made = create(sandbox).json()
    shown = httpx.get(sandbox.url)
    assert shown.headers["content-type"].startswith("text/html")
    assert f'href="/checkout/{made["payment_id"]}"' in shown.text
    assert "12.50 EUR" in shown.text
    assert "10,000 products" in shown.text
    requests = sandbox.requests
    for form, status in (({"product": "x"}, 400), ({}, 400), ({"product": "99999", "stock": "1"}, 404)):
        assert httpx.post(sandbox.url, data=form).status_code == status
    assert httpx.post(f"{sandbox.url}/sandbox/stock", json={"product": 0, "stock": 1}).status_code == 404
    assert httpx.post(f"{sandbox.url}/sandbox/stock", content=b"{").status_code == 400
    assert sandbox.requests == requests, "pages meet no fault and are no partner's request"


@pytest.mark.parametrize(("currency", "shown"), [("JPY", "1,250 JPY"), ("KWD", "1.250 KWD"), ("XXX", "1250 minor")])
def test_an_amount_is_said_in_its_currency(sandbox: Sandbox, currency: str, shown: str) -> None:
    """A yen has no hundredths, a dinar has thousandths, and what is no currency is not guessed at."""
    made = httpx.post(f"{sandbox.url}/v1/payments", json=ORDER | {"currency": currency}, headers=HEADERS).json()
    assert shown in httpx.get(made["checkout_url"]).text


def test_a_file_of_an_older_sandbox_is_read(tmp_path: Path) -> None:
    """Webhooks that were kept before the marketplace sent any are the payment provider's."""
    file = tmp_path / "sandbox.sqlite3"
    with sqlite3.connect(file) as old:
        old.execute(
            "CREATE TABLE webhooks (id TEXT PRIMARY KEY, body TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,"
            " due REAL NOT NULL, delivered REAL, last TEXT)"
        )
        old.execute("INSERT INTO webhooks (id, body, due) VALUES ('msg_1', '{}', 0)")
    old.close()
    with running_sandbox(state=file) as sandbox:
        assert [(one["id"], one["provider"]) for one in sandbox.webhooks] == [("msg_1", "payments")]


def test_strangers_are_refused(sandbox: Sandbox) -> None:
    """Without the key there is neither a payment nor a catalogue, and garbage is a 4xx."""
    assert httpx.post(f"{sandbox.url}/v1/payments", json=ORDER).status_code == 401
    assert httpx.post(f"{sandbox.url}/v2/product/list", json={}).status_code == 401
    assert httpx.post(f"{sandbox.url}/v1/payments", content=b"\xff", headers=HEADERS).status_code == 400
    assert httpx.get(f"{sandbox.url}/v1/payments/nope", headers=HEADERS).status_code == 404
    assert httpx.get(f"{sandbox.url}/checkout/nope").status_code == 404
    assert httpx.post(f"{sandbox.url}/sandbox/faults", json={"kind": "nonsense"}).status_code == 400


def test_a_fault_is_asked_for_by_a_header_for_one_request(sandbox: Sandbox) -> None:
    """The request with the header meets the fault, the next one does not."""
    assert create(sandbox, **{"X-Sandbox-Fault": "status; status=429; retry_after=3"}).headers["retry-after"] == "3"
    assert create(sandbox).status_code == 201


def test_it_does_not_start_in_production() -> None:
    """Fit for production in all else, `python -m app sandbox` still refuses, with 2 and its reason."""
    from tests.test_config import PRODUCTION

    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    told = subprocess.run(
        [sys.executable, "-m", "app", "sandbox"],
        env=kept | {"PYTHONPATH": str(Path(__file__).parents[2])} | PRODUCTION,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
    )
    assert told.returncode == 2
    assert "sandbox" in told.stderr


def test_the_catalogue_is_the_same_every_time(sandbox: Sandbox) -> None:
    """Ten thousand products, in pages that neither overlap nor leave one out, whatever is changed meanwhile."""
    seen: list[int] = []
    cursor = ""
    while True:
        body = {"last_id": cursor, "limit": 1000}
        answer = httpx.post(f"{sandbox.url}/v2/product/list", json=body, headers={"Api-Key": "sandbox-marketplace-key"})
        result = json.loads(answer.text)["result"]
        seen += [item["product_id"] for item in result["items"]]
        if not (cursor := result["last_id"]):
            break
        sandbox.catalogue(remove=[1])
    assert seen == list(range(1, 10_001))
    assert sandbox.catalogue(set={"10001": {"name": "New"}}) == 10_000
