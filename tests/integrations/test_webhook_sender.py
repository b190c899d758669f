"""Sending to partners' servers, whatever they do."""

import ssl
import time
from collections.abc import AsyncIterator

import pytest

from app.integrations.public_addresses import AddressPolicy, SystemResolver
from app.integrations.webhook_sender import KEPT_ANSWER, WebhookSender
from tests.receiver import receiver

OPEN = AddressPolicy(["127.0.0.1"])


@pytest.fixture
async def sender() -> AsyncIterator[WebhookSender]:
    resolver = SystemResolver()
    sender = WebhookSender(resolver, OPEN)
    yield sender
    resolver.close()


async def test_what_is_sent_arrives(sender: WebhookSender) -> None:
    """Path, query, headers and body come as they were given."""
    async with receiver() as partner:
        for _ in range(2):
            outcome = await sender.send(partner.url("/a?b=c"), headers={"webhook-id": "1"}, body=b"{}", seconds=5)
            assert (outcome.status, outcome.answer, outcome.succeeded) == (200, "ok", True)
    assert [(one.path, one.headers["webhook-id"], one.body) for one in partner.received] == [("/a?b=c", "1", b"{}")] * 2


async def test_a_redirect_is_an_answer_like_another(sender: WebhookSender) -> None:
    """It is not followed: it could lead anywhere."""
    async with receiver(200) as elsewhere:
        there = f"HTTP/1.1 302 Found\r\nLocation: {elsewhere.url()}\r\nContent-Length: 0\r\n\r\n".encode()
        async with receiver(there) as partner:
            outcome = await sender.send(partner.url(), headers={}, body=b"{}", seconds=5)
    assert (outcome.status, outcome.succeeded) == (302, False)
    assert elsewhere.received == []


async def test_an_answer_is_cut_off(sender: WebhookSender) -> None:
    """Of a body that is huge a kilobyte is kept, and no more than is needed is read."""
    huge = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n" + b"x\0" * 40_000
    async with receiver(huge) as partner:
        outcome = await sender.send(partner.url(), headers={}, body=b"{}", seconds=5)
    assert outcome.succeeded
    assert outcome.answer == "x\ufffd" * (KEPT_ANSWER // 2)


async def test_a_body_that_drips_is_not_waited_for(sender: WebhookSender) -> None:
    """The status has decided: the rest gets two seconds."""
    async with receiver(
        b"HTTP/1.1 204 OK\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"
    ) as partner:
        assert (await sender.send(partner.url(), headers={}, body=b"{}", seconds=8)).status == 204
        began = time.monotonic()
        outcome = await sender.send(partner.url(), headers={}, body=b"{}", seconds=8)
    assert (outcome.status, outcome.answer) == (200, "x")
    assert time.monotonic() - began < 6


FAULTS = [
    (20.0, "no answer within 0.3 s"),
    (None, "RemoteProtocolError"),
    (b"this is no HTTP\r\n\r\n", "RemoteProtocolError"),
    (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 30_000 + b"\r\n", "RemoteProtocolError"),
]


@pytest.mark.parametrize(("answer", "said"), FAULTS, ids=["hangs", "hangs up", "talks nonsense", "endless head"])
async def test_whatever_a_server_does_is_an_outcome(
    sender: WebhookSender, answer: float | bytes | None, said: str
) -> None:
    """Silence, a closed connection and nonsense are told, and raise nothing."""
    async with receiver(answer) as partner:
        outcome = await sender.send(partner.url(), headers={}, body=b"{}", seconds=0.3 if answer == 20.0 else 5)
    assert outcome.status is None
    assert said in (outcome.error or "")


async def test_addresses_that_lead_nowhere(sender: WebhookSender) -> None:
    """A closed port, a name that there is none of and a private address are told apart."""
    async with receiver() as partner:
        closed = partner.url()
    outcomes = [
        await sender.send(url, headers={}, body=b"", seconds=8)
        for url in (closed, "https://nowhere.invalid/", "https://10.0.0.1/", "http://[::1]/")
    ]
    said = [outcome.error or "" for outcome in outcomes]
    for text, part in zip(said, ("ConnectError", "can't be resolved", "not public", "not public"), strict=True):
        assert part in text


async def test_a_certificate_is_verified(sender: WebhookSender) -> None:
    """TLS to a server whose certificate nobody vouches for is no connection."""
    async with receiver() as partner:
        outcome = await sender.send(f"https://127.0.0.1:{partner.port}/", headers={}, body=b"", seconds=5)
    assert outcome.status is None
    assert sender._tls.verify_mode is ssl.CERT_REQUIRED
    assert sender._tls.check_hostname


@pytest.mark.parametrize(("value", "seconds"), [("7", 7.0), ("999999", 86400.0), ("soon", None), ("-1", None)])
async def test_how_long_to_wait(sender: WebhookSender, value: str, seconds: float | None) -> None:
    """Retry-After in seconds is heard, up to a day."""
    answer = f"HTTP/1.1 429 No\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n".encode()
    async with receiver(answer) as partner:
        outcome = await sender.send(partner.url(), headers={}, body=b"", seconds=5)
    assert (outcome.status, outcome.retry_after) == (429, seconds)
