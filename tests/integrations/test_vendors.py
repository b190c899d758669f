"""What the vendors' words become: their answers our DTOs, their refusals our errors."""

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import pytest
from respx import MockRouter

from app.config import MarketplaceSettings, PaymentsSettings
from app.core.money import CURRENCIES
from app.integrations.circuit_shared import Circuits
from app.integrations.errors import Malformed, PartnerError, RateLimited, Rejected, TimedOut, Unavailable
from app.integrations.marketplace import MarketplaceClient, MarketplaceProduct
from app.integrations.payments import PaymentsClient, PaymentStatus

PAY, MARKET = "https://pay.example", "https://market.example"
PAYMENT: dict[str, Any] = {
    "payment_id": "pay_1",
    "order_id": 7,
    "status": "pending",
    "amount": 1250,
    "currency": "EUR",
    "checkout_url": "https://pay.example/checkout/pay_1",
}
PRODUCT: dict[str, Any] = {
    "product_id": 7,
    "offer_id": "MP-000007",
    "name": "Plaster",
    "price": "12.50",
    "currency_code": "EUR",
    "stock": 3,
}


@pytest.fixture
async def payments() -> AsyncIterator[PaymentsClient]:
    policy = replace(PaymentsClient.policy, attempts=1)
    client = PaymentsClient(PaymentsSettings(url=PAY, api_key="key"), circuits=Circuits(None), policy=policy)
    yield client
    await client.close()


@pytest.fixture
async def marketplace() -> AsyncIterator[MarketplaceClient]:
    policy = replace(MarketplaceClient.policy, attempts=1, rate=None)
    client = MarketplaceClient(MarketplaceSettings(url=MARKET, api_key="key"), circuits=Circuits(None), policy=policy)
    yield client
    await client.close()


async def make(payments: PaymentsClient) -> Any:
    return await payments.create(
        order_id=7, amount=1250, currency="EUR", idempotency_key="k-1", return_url="https://shop.example/"
    )


async def test_a_payment_is_asked_for_in_the_providers_words(payments: PaymentsClient, respx_mock: MockRouter) -> None:
    """Bearer key, idempotency key and minor units go out; what comes back is a payment, unknown fields left aside."""
    asked = {"order_id": 7, "amount": 1250, "currency": "EUR", "return_url": "https://shop.example/"}
    headers = {"Authorization": "Bearer key", "Idempotency-Key": "k-1"}
    route = respx_mock.post(f"{PAY}/v1/payments", json__eq=asked, headers__contains=headers)
    route.respond(201, json=PAYMENT | {"livemode": False})
    made = await make(payments)
    assert made.model_dump() == PAYMENT | {"status": PaymentStatus.PENDING, "refunded": 0}


async def test_every_operation_has_its_address(payments: PaymentsClient, respx_mock: MockRouter) -> None:
    """Get, cancel and refund name the payment in the path, quoted, and carry their own key and amount."""
    path = f"{PAY}/v1/payments/pay%2F1"
    respx_mock.get(path).respond(json=PAYMENT | {"status": "succeeded"})
    respx_mock.post(f"{path}/cancel", headers__contains={"Idempotency-Key": "c"}).respond(
        json=PAYMENT | {"status": "cancelled"}
    )
    refund = {"refund_id": "re_1", "payment_id": "pay_1", "amount": 50}
    respx_mock.post(f"{path}/refunds", json__eq={"amount": 50}, headers__contains={"Idempotency-Key": "r"}).respond(
        201, json=refund
    )
    assert (await payments.get("pay/1")).status is PaymentStatus.SUCCEEDED
    assert (await payments.cancel("pay/1", idempotency_key="c")).status is PaymentStatus.CANCELLED
    assert (await payments.refund("pay/1", amount=50, idempotency_key="r")).model_dump() == refund


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"error": {"code": "invalid_request"}}, (Rejected, "invalid_request")),
        (401, {"error": "invalid_key"}, (Rejected, "invalid_key")),
        (409, {"code": "not_cancellable"}, (Rejected, "not_cancellable")),
        (422, {"error": {"code": 17}}, (Rejected, "17")),
        (404, ["nothing"], (Rejected, None)),
        (429, {"error": {"code": "slow_down"}}, (RateLimited, None)),
        (500, {"error": {"code": "oops"}}, (Unavailable, None)),
        (503, {}, (Unavailable, None)),
        (302, {}, (Malformed, None)),
    ],
)
async def test_a_refusal_of_the_provider_is_an_error_of_ours(
    payments: PaymentsClient,
    respx_mock: MockRouter,
    status: int,
    body: Any,
    expected: tuple[type[PartnerError], str | None],
) -> None:
    """By its status, with the provider's code and the name of the exchange where there are any."""
    respx_mock.post(f"{PAY}/v1/payments").respond(status, json=body, headers={"Request-Id": "r-1"})
    with pytest.raises(PartnerError) as refused:
        await make(payments)
    error = refused.value
    assert (type(error), getattr(error, "partner_code", None), error.request_id) == (*expected, "r-1")
    assert str(error).startswith("payments.create: ")


@pytest.mark.parametrize(
    ("failure", "kind", "sent"),
    [
        (httpx.ConnectError, Unavailable, False),
        (httpx.ConnectTimeout, Unavailable, False),
        (httpx.ReadTimeout, TimedOut, True),
        (httpx.ReadError, Unavailable, True),
        (httpx.RemoteProtocolError, Unavailable, True),
    ],
)
async def test_what_the_wire_does_is_an_error_of_ours(
    payments: PaymentsClient, respx_mock: MockRouter, failure: type[Exception], kind: type[PartnerError], sent: bool
) -> None:
    """And says whether the provider may have acted."""
    respx_mock.post(f"{PAY}/v1/payments").mock(side_effect=failure)
    with pytest.raises(PartnerError) as ended:
        await make(payments)
    assert (type(ended.value), ended.value.sent) == (kind, sent)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"payment_id": "pay 1"}, "payment_id"),
        ({"payment_id": ""}, "payment_id"),
        ({"status": "maybe"}, "status"),
        ({"amount": -1}, "amount"),
        ({"amount": 12.5}, "amount"),
        ({"currency": "eur"}, "currency"),
        ({"checkout_url": "javascript:alert(1)"}, "checkout_url"),
    ],
    ids=str,
)
async def test_a_payment_that_makes_no_sense_is_malformed(
    payments: PaymentsClient, respx_mock: MockRouter, change: dict[str, Any], place: str
) -> None:
    """The error names the field, and nothing that stood in it."""
    respx_mock.post(f"{PAY}/v1/payments").respond(201, json=PAYMENT | change)
    with pytest.raises(Malformed, match=f"not as agreed: {place}: ") as refused:
        await make(payments)
    assert "javascript" not in str(refused.value)


async def test_a_page_is_asked_for_in_the_marketplaces_words(
    marketplace: MarketplaceClient, respx_mock: MockRouter
) -> None:
    """Key, cursor and limit go out; what comes back is a page of products and where the next one starts."""
    asked = {"filter": {"visibility": "ALL"}, "last_id": "6", "limit": 2}
    route = respx_mock.post(f"{MARKET}/v2/product/list", json__eq=asked, headers__contains={"Api-Key": "key"})
    listed = [PRODUCT, PRODUCT | {"product_id": 8, "name": "  Bandage ", "archived": True, "colour": "red"}]
    route.respond(json={"result": {"items": listed, "total": 9, "last_id": "8"}})
    page = await marketplace.page(cursor="6", limit=2)
    assert (page.cursor, page.total, page.last) == ("8", 9, False)
    first, second = page.items
    assert (first.sku, first.price, first.amount, first.archived) == ("MP-000007", Decimal("12.50"), 1250, False)
    assert (second.name, second.archived) == ("Bandage", True)


@pytest.mark.parametrize(
    "result",
    [
        {"items": [PRODUCT], "total": 9, "last_id": "6"},
        {"items": [PRODUCT] * 3, "total": 9, "last_id": "9"},
        {"items": [PRODUCT], "total": -1},
        {"items": [PRODUCT | {"stock": "many"}], "total": 1},
        {"total": 1},
    ],
    ids=["the same cursor", "more than asked", "total", "stock", "no items"],
)
async def test_a_page_that_makes_no_sense_is_malformed(
    marketplace: MarketplaceClient, respx_mock: MockRouter, result: dict[str, Any]
) -> None:
    """What does not move on, is more than was asked for, or no list at all."""
    respx_mock.post(f"{MARKET}/v2/product/list").respond(json={"result": result})
    with pytest.raises(Malformed):
        await marketplace.page(cursor="6", limit=2)


@pytest.mark.parametrize(
    ("currency", "price", "amount"),
    [
        ("EUR", "12.5", 1250),
        ("EUR", "12.500", 1250),
        ("JPY", "950", 950),
        ("JPY", "950.00", 950),
        ("KWD", "1.25", 1250),
        ("KWD", "0.001", 1),
        ("EUR", "0", 0),
        ("ABC", "1.2345", None),
    ],
)
def test_a_price_is_kept_in_its_currencys_minor_unit(currency: str, price: str, amount: int | None) -> None:
    """As many of them to the major one as ISO 4217 says; in no currency that it lacks."""
    listed = MarketplaceProduct.model_validate(PRODUCT | {"currency_code": currency, "price": price})
    assert listed.amount == amount


@pytest.mark.parametrize(("currency", "price"), [("JPY", "9.5"), ("EUR", "1.001"), ("KWD", "0.0001")])
async def test_a_price_finer_than_its_currency_is_malformed(
    marketplace: MarketplaceClient, respx_mock: MockRouter, currency: str, price: str
) -> None:
    """Never rounded, up or down: the reason says which product, and why."""
    bad = PRODUCT | {"currency_code": currency, "price": price}
    respx_mock.post(f"{MARKET}/v2/product/list").respond(json={"result": {"items": [PRODUCT, bad], "total": 2}})
    with pytest.raises(Malformed, match=r"result\.items\.1: price_finer_than_its_currency"):
        await marketplace.page()


def test_minor_units_are_those_of_the_standard() -> None:
    """The exceptions to two decimals, as ISO 4217's list one has them."""
    found = {
        decimals: " ".join(sorted(code for code in CURRENCIES if CURRENCIES[code] == decimals)) for decimals in (0, 3)
    }
    assert found == {
        0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
        3: "BHD IQD JOD KWD LYD OMR TND",
    }
    assert set(CURRENCIES.values()) == {0, 2, 3}
