"""The ground of every partner's client: what is repeated, how long it takes, what an answer may be."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
import structlog.testing
from prometheus_client import REGISTRY

from app.core.context import Cause, bound
from app.integrations.deadline import within
from app.integrations.errors import (
    Busy,
    Malformed,
    PartnerError,
    RateLimited,
    Rejected,
    TimedOut,
    TooLarge,
    Unavailable,
)
from tests.integrations.partner import KEY, OK, QUICK, Answer, Endless, Partner, client, outcomes

BROKEN = httpx.Response(500, headers={"X-Request-ID": "partner-7"})
TOO_MANY = httpx.Response(429)


@pytest.mark.parametrize(
    ("failure", "read", "order", "keyed"),
    [
        (BROKEN, 3, 1, 3),
        (httpx.Response(503), 3, 1, 3),
        (TOO_MANY, 3, 3, 3),
        (httpx.Response(200, content=b"<html>"), 3, 1, 3),
        (httpx.ReadTimeout("slow"), 3, 1, 3),
        (httpx.RemoteProtocolError("gone"), 3, 1, 3),
        (httpx.ConnectError("nobody"), 3, 3, 3),
        (httpx.ConnectTimeout("nobody"), 3, 3, 3),
        (httpx.Response(404), 1, 1, 1),
        (httpx.Response(501), 1, 1, 1),
        (httpx.Response(302, headers={"Location": "https://elsewhere.example"}), 3, 1, 3),
    ],
    ids=lambda part: (
        getattr(part, "status_code", None) or (type(part).__name__ if isinstance(part, Exception) else None)
    ),
)
async def test_only_what_is_safe_is_repeated(failure: Answer, read: int, order: int, keyed: int) -> None:
    """A POST without a key is sent again only when the partner has certainly not acted; a GET and a keyed POST are."""
    for call, expected in (("read", read), ("order", order), ("keyed", keyed)):
        partner = Partner(failure)
        vendor = client(partner, policy=replace(QUICK, failures=100))
        with pytest.raises(PartnerError):
            await (vendor.read() if call == "read" else vendor.order(idempotency_key="k" if call == "keyed" else None))
        assert (call, len(partner.requests)) == (call, expected)
        assert {request.headers.get("idempotency-key") for request in partner.requests} == {
            "k" if call == "keyed" else None
        }


async def test_a_repeated_call_that_succeeds_is_a_success() -> None:
    """Two failures of different kinds and then an answer: the caller sees the answer alone."""
    partner = Partner(BROKEN, httpx.ReadError("reset"), OK)
    assert (await client(partner).read()).hello == "world"
    assert len(partner.requests) == 3


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_is_honoured(form: str, status: int) -> None:
    """The second attempt waits for as long as the partner asked, in either form, whatever it refuses with."""
    started = time.monotonic()
    asked = "0.4" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    partner = Partner(httpx.Response(status, headers={"Retry-After": asked}), OK)
    await client(partner, policy=replace(QUICK, total=10, queue=5)).read()
    assert time.monotonic() - started >= (0.4 if form == "seconds" else 0.9)


@pytest.mark.parametrize("asked", ["11", "3600", "1e300", "99999999999999999999"])
async def test_a_retry_after_beyond_the_cap_is_left_to_the_caller(asked: str) -> None:
    """The call ends at once and says how long the partner wants to be left alone."""
    partner = Partner(httpx.Response(429, headers={"Retry-After": asked}))
    with pytest.raises(RateLimited) as refused:
        await client(partner).read()
    assert len(partner.requests) == 1
    assert refused.value.asked_wait == float(asked)


@pytest.mark.parametrize("asked", ["soon", "", "-5", "nan", "Wed, 99 Foo 2026 00:00:00 GMT"])
async def test_a_senseless_retry_after_is_passed_over(asked: str) -> None:
    """Whatever stands in the header, the backoff of our own holds."""
    partner = Partner(httpx.Response(503, headers={"Retry-After": asked}), OK)
    assert (await client(partner).read()).hello == "world"


async def test_the_callers_deadline_holds_over_all_attempts() -> None:
    """With a partner that hangs and a policy that would wait longer, the call ends with its deadline."""
    partner = Partner(seconds=30)
    vendor = client(partner, policy=replace(QUICK, attempt=20, total=60))
    started = time.monotonic()
    with within(60), within(0.3), within(5), pytest.raises(TimedOut):
        await vendor.read()
    assert time.monotonic() - started < 3
    assert len(partner.requests) == 1


async def test_one_attempt_is_cut_so_that_another_may_follow() -> None:
    """A silent partner costs `attempt` seconds each time, not the total."""
    partner = Partner(seconds=30)
    with pytest.raises(TimedOut):
        await client(partner, policy=replace(QUICK, attempt=0.05)).read()
    assert len(partner.requests) == 3


async def test_an_outage_is_not_multiplied_by_retries() -> None:
    """Of ten calls that fail, only as many are repeated as the budget holds."""
    partner = Partner(BROKEN)
    vendor = client(partner, policy=replace(QUICK, retry_reserve=4, retry_ratio=0, failures=100))
    assert set(await outcomes(vendor.read, 10)) == {"Unavailable"}
    assert len(partner.requests) == 10 + 4


async def test_calls_at_once_are_limited() -> None:
    """With both places taken for longer than one may queue, a third call is refused unsent; later there is room."""
    partner = Partner(seconds=0.2)
    vendor = client(partner, policy=replace(QUICK, concurrency=2))
    ended = await asyncio.gather(*(vendor.read() for _ in range(3)), return_exceptions=True)
    assert [type(one).__name__ for one in ended] == ["Greeting", "Greeting", "Busy"]
    assert isinstance(ended[2], Busy)
    assert not ended[2].sent
    assert len(partner.requests) == 2
    await vendor.read()


async def test_calls_per_second_are_limited() -> None:
    """Beyond the burst calls wait for their turn, and those that would wait too long are refused unsent."""
    partner = Partner()
    vendor = client(partner, policy=replace(QUICK, rate=20, burst=3, queue=0.12, concurrency=50))
    ended = await asyncio.gather(*(vendor.read() for _ in range(12)), return_exceptions=True)
    assert 4 <= len(partner.requests) <= 7
    assert sum(isinstance(one, Busy) for one in ended) == 12 - len(partner.requests)


async def test_a_partner_that_asks_for_a_pause_gets_it_from_all_callers() -> None:
    """After a 429 with Retry-After other calls are not even sent until it is over."""
    partner = Partner(httpx.Response(429, headers={"Retry-After": "5"}), OK)
    vendor = client(partner)
    assert list(await outcomes(vendor.read, 3)) == ["RateLimited"] * 3
    assert len(partner.requests) == 1


async def test_a_body_without_end_is_not_read_to_it() -> None:
    """Reading stops at the cap, and the call is not repeated."""
    endless = Endless()
    partner = Partner(httpx.Response(200, stream=endless))
    with pytest.raises(TooLarge):
        await client(partner, policy=replace(QUICK, max_bytes=50_000)).read()
    assert 50_000 <= endless.given <= 52_000
    assert len(partner.requests) == 1


async def test_a_body_that_says_it_is_too_large_is_not_read_at_all() -> None:
    """Content-Length alone is enough to refuse it."""
    endless = Endless()
    answer = httpx.Response(200, headers={"Content-Length": str(2**30)}, stream=endless)
    with pytest.raises(TooLarge):
        await client(Partner(answer)).read()
    assert endless.given == 0


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"null", b"[]", b'{"hello": 1}', b"[" * 100_000])
async def test_an_answer_that_was_not_agreed_on_is_malformed(body: bytes) -> None:
    """Garbage is an error of its own, which does not repeat what the partner wrote."""
    with pytest.raises(Malformed) as refused:
        await client(Partner(httpx.Response(200, content=body))).read()
    assert "[[" not in str(refused.value)


async def test_a_compressed_answer_is_refused() -> None:
    """A few bytes that would unfold into gigabytes are never unfolded."""
    with pytest.raises(Malformed, match="compressed"):
        await client(Partner(httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=Endless()))).read()


async def test_a_refusal_names_the_partners_code_and_request() -> None:
    """What its support desk will ask for is in the error, and nothing else of the answer."""
    answer = httpx.Response(409, json={"error": {"code": "taken", "message": "s3cr3t"}}, headers={"Request-Id": "r-1"})
    with pytest.raises(Rejected) as refused:
        await client(Partner(answer)).read()
    error = refused.value
    assert (error.status, error.partner_code, error.request_id) == (409, "taken", "r-1")
    assert str(error) == "vendor.read: answered 409 taken (request r-1)"
    assert "vendor" not in error.detail


async def test_every_attempt_carries_the_trace_of_its_cause() -> None:
    """Request id and traceparent of what caused the call go out with each attempt, and only when there are any."""
    partner = Partner(BROKEN, OK)
    vendor = client(partner)
    with bound(Cause(request_id="req-1", traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01")):
        await vendor.read()
    assert {request.headers["x-request-id"] for request in partner.requests} == {"req-1"}
    assert {request.headers["traceparent"][3:35] for request in partner.requests} == {"a" * 32}
    await vendor.read()
    assert "x-request-id" not in partner.requests[-1].headers


async def test_no_secret_is_in_a_line_or_an_error() -> None:
    """The key goes out with the request, and stands in no log line, no exception and no printed form."""
    partner = Partner(BROKEN, httpx.ReadError("reset"), httpx.Response(403))
    vendor = client(partner)
    with structlog.testing.capture_logs() as lines, pytest.raises(Rejected) as refused:
        await vendor.read()
    assert partner.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert [line["event"] for line in lines] == ["partner call repeated"] * 2 + ["partner call"]
    assert (lines[0]["partner_request_id"], lines[2]["outcome"], lines[2]["attempts"]) == ("partner-7", "rejected", 3)
    assert KEY not in f"{lines} {refused.value!r} {vendor!r} {vars(vendor)}"


async def test_every_call_is_counted_by_its_outcome() -> None:
    """One call is one count and one duration, whatever its attempts; each repetition counts apart."""

    def value(name: str, **labels: str) -> float:
        found = REGISTRY.get_sample_value(
            f"frontdesk_partner_{name}", {"vendor": "vendor", "operation": "read", **labels}
        )
        return found or 0

    names = [("calls_total", {"outcome": "ok"}), ("calls_total", {"outcome": "rejected"})]
    names += [("call_seconds_count", {}), ("retries_total", {})]
    before = [value(name, **labels) for name, labels in names]
    vendor = client(Partner(BROKEN, OK, httpx.Response(400)))
    assert list(await outcomes(vendor.read, 2)) == ["ok", "Rejected"]
    assert [value(name, **labels) - old for (name, labels), old in zip(names, before, strict=True)] == [1, 1, 2, 1]


async def test_an_error_that_nobody_handles_names_no_partner() -> None:
    """In a request it is a 503 with Retry-After, whose text says nothing of whom we call."""
    with pytest.raises(Unavailable) as refused:
        await client(Partner(httpx.Response(503, headers={"Retry-After": "30"}))).read()
    assert (refused.value.code, refused.value.retry_after) == ("unavailable", 30)
    assert "vendor" not in refused.value.detail
