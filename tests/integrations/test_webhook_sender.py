"""Sending to partners' servers, whatever they do."""

import ssl
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app.integrations.public_addresses import AddressPolicy, SystemResolver
from app.integrations.webhook_sender import KEPT_ANSWER, WebhookSender
from tests.integrations.test_public_addresses import Names
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


def certificate(name: str, folder: Path) -> tuple[ssl.SSLContext, str]:
    """A server's context for `name`, signed by nobody else, and what one has to trust to believe it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(
            subject, subject, key.public_key(), x509.random_serial_number(), now, now + timedelta(1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(private + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context, pem.decode()


async def test_the_certificate_of_the_name_is_asked_for(tmp_path: Path) -> None:
    """Connected to the checked address, TLS still wants the name: untrusted it is refused, and so is another's."""
    context, trusted = certificate("hooks.example", tmp_path)
    async with receiver(tls=context) as partner:
        sender = WebhookSender(Names("127.0.0.1"), OPEN)
        right, wrong = (f"https://{name}.example:{partner.port}/" for name in ("hooks", "other"))
        unknown = await sender.send(right, headers={}, body=b"{}", seconds=5)
        sender._tls.load_verify_locations(cadata=trusted)
        known = await sender.send(right, headers={}, body=b"{}", seconds=5)
        another = await sender.send(wrong, headers={}, body=b"{}", seconds=5)
    assert [one.status for one in (unknown, known, another)] == [None, 200, None]
    assert all("certificate" in (one.error or "") for one in (unknown, another))
    assert [one.headers["host"] for one in partner.received] == [f"hooks.example:{partner.port}"]


@pytest.mark.parametrize(("value", "seconds"), [("7", 7.0), ("999999", 86400.0), ("soon", None), ("-1", None)])
async def test_how_long_to_wait(sender: WebhookSender, value: str, seconds: float | None) -> None:
    """Retry-After in seconds is heard, up to a day."""
    answer = f"HTTP/1.1 429 No\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n".encode()
    async with receiver(answer) as partner:
        outcome = await sender.send(partner.url(), headers={}, body=b"", seconds=5)
    assert (outcome.status, outcome.retry_after) == (429, seconds)
