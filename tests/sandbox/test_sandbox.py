"""The sandbox: what a developer and a browser see of it."""

import json
import os
import re
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

from app.config.partners import DEVELOPMENT_PAYMENTS_KEY, DEVELOPMENT_PAYMENTS_SECRET
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

    app = Starlette(routes=[Route("/hook", take, methods=["POST"])])
    with serving(app) as url, running_sandbox(webhook_url=f"{url}/hook") as sandbox:
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
