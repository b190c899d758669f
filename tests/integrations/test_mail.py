"""Mail over a real SMTP server in this process, and into a directory."""

import asyncio
import email
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage
from ipaddress import ip_address
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app.integrations.mail import (
    Mail,
    MailRejected,
    MailUnavailable,
    Security,
    SmtpMailer,
)
from tests.support import eventually

SENDER = "Riverside Clinic <no-reply@clinic.example>"
MAIL = Mail(
    to="ann@example.com",
    subject="Your appointment is booked",
    text="Hello Ann,\n\nsee you at 14:30.\n",
    html="<p>Hello Ann, see you at 14:30.</p>",
    message_id="<job-12@frontdesk>",
)


@dataclass
class Post:
    """What the server holds, and what it is told to answer."""

    rcpt: str = "250 OK"
    data: str = "250 OK"
    mail: str = "250 OK"
    rset: str = "250 OK"
    stall: asyncio.Event | None = None
    stalled: int = 0
    connections: int = 0
    envelopes: list[Envelope] = field(default_factory=list)

    async def handle_MAIL(self, _s: Any, _session: Any, envelope: Envelope, address: str, options: list[str]) -> str:
        if self.mail.startswith("250"):
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return self.mail

    async def handle_RCPT(self, _s: Any, _session: Any, envelope: Envelope, address: str, _options: list[str]) -> str:
        if self.rcpt.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(self, _s: Any, _session: Any, envelope: Envelope) -> str:
        if self.stall is not None:
            self.stalled += 1
            await self.stall.wait()
        if self.data.startswith("250"):
            self.envelopes.append(envelope)
        return self.data

    async def handle_RSET(self, _s: Any, _session: Any, _envelope: Envelope) -> str:
        return self.rset

    @property
    def messages(self) -> list[EmailMessage]:
        return [parsed(content_of(envelope)) for envelope in self.envelopes]


def content_of(envelope: Envelope) -> bytes:
    assert isinstance(envelope.content, bytes)
    return envelope.content


def parsed(raw: bytes) -> EmailMessage:
    message = email.message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


@asynccontextmanager
async def serving(
    post: Post, *, port: int = 0, tls: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[int]:
    live: list[SMTP] = []

    def connected() -> SMTP:
        post.connections += 1
        live.append(SMTP(post, hostname="mail.test", ident="test", loop=asyncio.get_running_loop(), **options))
        return live[-1]

    server = await asyncio.get_running_loop().create_server(connected, "127.0.0.1", port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for protocol in live:
            if isinstance(protocol.transport, asyncio.WriteTransport):
                protocol.transport.abort()
        await asyncio.sleep(0)


@pytest.fixture
async def mailer_for() -> AsyncIterator[Callable[..., SmtpMailer]]:
    made: list[SmtpMailer] = []

    def make(
        port: int,
        *,
        security: Security = "none",
        username: str | None = None,
        password: str | None = None,
        timeout: float = 2,
        trust: ssl.SSLContext | None = None,
    ) -> SmtpMailer:
        made.append(
            SmtpMailer(
                host="127.0.0.1",
                port=port,
                username=username,
                password=password,
                sender=SENDER,
                security=security,
                timeout=timeout,
                tls_context=trust,
            )
        )
        return made[-1]

    yield make
    for mailer in made:
        await mailer.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's context, and one that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))


async def test_a_mail_arrives_with_both_bodies_and_its_headers(mailer_for: Callable[..., SmtpMailer]) -> None:
    """The server holds what was sent: both bodies, sender, recipient, Message-ID, Date and the mark of a machine."""
    post = Post()
    async with serving(post) as port:
        await mailer_for(port).send(replace(MAIL, subject="Grüße", text="Dzień dobry, Łukasz.\n", html="<p>Ж 中</p>"))
    (message,) = post.messages
    assert message.get_content_type() == "multipart/alternative"
    assert (post.envelopes[0].mail_from, post.envelopes[0].rcpt_tos) == ("no-reply@clinic.example", ["ann@example.com"])
    assert (message["From"], message["To"], message["Subject"]) == (SENDER, "ann@example.com", "Grüße")
    assert (message["Message-ID"], message["Auto-Submitted"]) == ("<job-12@frontdesk>", "auto-generated")
    assert abs(message["Date"].datetime - datetime.now(UTC)) < timedelta(minutes=1)
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    assert (text.get_content().strip(), html.get_content().strip()) == ("Dzień dobry, Łukasz.", "<p>Ж 中</p>")
    assert content_of(post.envelopes[0]).isascii()


async def test_mails_share_one_connection(mailer_for: Callable[..., SmtpMailer]) -> None:
    """Mails sent one after the other and at once all use the connection of the first."""
    post = Post()
    async with serving(post) as port:
        mailer = mailer_for(port)
        await mailer.send(MAIL)
        await asyncio.gather(*(mailer.send(replace(MAIL, message_id=f"<job-{n}@frontdesk>")) for n in range(5)))
    assert (len(post.envelopes), post.connections) == (6, 1)


async def test_a_restarted_server_costs_no_mail(mailer_for: Callable[..., SmtpMailer]) -> None:
    """While the server is away a mail is unavailable; once it is back the next one arrives over a new connection."""
    post = Post()
    async with serving(post) as port:
        mailer = mailer_for(port)
        await mailer.send(MAIL)
    with pytest.raises(MailUnavailable):
        await mailer.send(MAIL)
    async with serving(post, port=port):
        await mailer.send(MAIL)
    assert (len(post.envelopes), post.connections) == (2, 2)


async def test_a_server_tired_of_the_connection_is_called_again(mailer_for: Callable[..., SmtpMailer]) -> None:
    """A connection that the server gives up between two mails is replaced without an error."""
    post = Post()
    async with serving(post) as port:
        mailer = mailer_for(port)
        await mailer.send(MAIL)
        post.rset = "421 idle for too long"
        await mailer.send(MAIL)
    assert (len(post.envelopes), post.connections) == (2, 2)


async def test_after_close_the_next_mail_connects_again(mailer_for: Callable[..., SmtpMailer]) -> None:
    """Closing is final for the connection alone, and closing twice is fine."""
    post = Post()
    async with serving(post) as port:
        mailer = mailer_for(port)
        await mailer.send(MAIL)
        await mailer.close()
        await mailer.close()
        await mailer.send(MAIL)
    assert post.connections == 2


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"rcpt": "550 no such user"}, MailRejected),
        ({"rcpt": "450 mailbox busy"}, MailUnavailable),
        ({"rcpt": "530 authentication required"}, MailUnavailable),
        ({"data": "554 looks like spam"}, MailRejected),
        ({"data": "451 try later"}, MailUnavailable),
        ({"mail": "550 sender not ours"}, MailUnavailable),
        ({"mail": "552 too large"}, MailRejected),
    ],
)
async def test_a_refusal_is_final_only_when_it_is_about_the_mail(
    mailer_for: Callable[..., SmtpMailer], answers: dict[str, Any], error: type[Exception]
) -> None:
    """5xx for the recipient or the content is rejected; 4xx and what our settings cause are worth a retry."""
    async with serving(Post(**answers)) as port:
        with pytest.raises(error, match=next(iter(answers.values())).split(" ", 1)[1]):
            await mailer_for(port).send(MAIL)


async def test_a_rejected_mail_keeps_the_connection(mailer_for: Callable[..., SmtpMailer]) -> None:
    """One bad recipient in a series neither loses the connection nor touches the next mail."""
    post = Post(rcpt="550 no such user")
    async with serving(post) as port:
        mailer = mailer_for(port)
        with pytest.raises(MailRejected):
            await mailer.send(MAIL)
        post.rcpt = "250 OK"
        await mailer.send(MAIL)
    assert (len(post.envelopes), post.connections) == (1, 1)


async def test_a_silent_server_is_unavailable_in_time(mailer_for: Callable[..., SmtpMailer]) -> None:
    """A server that takes the connection and never greets ends in the timeout."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        mailer = mailer_for(server.sockets[0].getsockname()[1], timeout=0.2)
        async with asyncio.timeout(5):
            with pytest.raises(MailUnavailable):
                await mailer.send(MAIL)


async def test_a_late_answer_is_not_taken_for_the_next_mail(mailer_for: Callable[..., SmtpMailer]) -> None:
    """After a timeout, and after a cancellation, in the middle of a mail the next one starts on a fresh connection."""
    post = Post(stall=asyncio.Event())
    async with serving(post) as port:
        mailer = mailer_for(port, timeout=1)
        with pytest.raises(MailUnavailable):
            await mailer.send(MAIL)
        assert post.stalled == 1
        cancelled = asyncio.create_task(mailer.send(MAIL))

        async def in_the_middle() -> bool:
            return post.stalled == 2

        await eventually(in_the_middle, every=0.005)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        post.stall = None
        await mailer.send(replace(MAIL, subject="The third"))
    assert post.messages[-1]["Subject"] == "The third"
    assert post.connections == 3


async def test_signing_in(mailer_for: Callable[..., SmtpMailer], certificate: tuple[ssl.SSLContext, ...]) -> None:
    """The right password sends over STARTTLS; a wrong one leaves the mail for later, since the mail is not at fault."""

    def authenticate(_s: Any, _session: Any, _e: Any, _mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=data.password == b"right", handled=False)

    post = Post()
    server, trust = certificate
    async with serving(post, tls_context=server, auth_required=True, authenticator=authenticate) as port:
        await mailer_for(port, security="starttls", trust=trust, username="desk", password="right").send(MAIL)
        with pytest.raises(MailUnavailable, match="535"):
            await mailer_for(port, security="starttls", trust=trust, username="desk", password="wrong").send(MAIL)
    assert len(post.envelopes) == 1


async def test_implicit_tls(mailer_for: Callable[..., SmtpMailer], certificate: tuple[ssl.SSLContext, ...]) -> None:
    """With `tls` the conversation is encrypted from its first byte."""
    post = Post()
    server, trust = certificate
    async with serving(post, tls=server) as port:
        await mailer_for(port, security="tls", trust=trust).send(MAIL)
    assert len(post.envelopes) == 1


async def test_encryption_is_never_given_up(
    mailer_for: Callable[..., SmtpMailer], certificate: tuple[ssl.SSLContext, ...]
) -> None:
    """No mail goes to a server without STARTTLS, nor to one whose certificate nobody trusts."""
    post = Post()
    async with serving(post) as plain, serving(post, tls_context=certificate[0]) as strange:
        for port in (plain, strange):
            with pytest.raises(MailUnavailable):
                await mailer_for(port, security="starttls").send(MAIL)
    assert post.envelopes == []


async def test_an_address_outside_of_ascii(mailer_for: Callable[..., SmtpMailer]) -> None:
    """It travels by SMTPUTF8 where the server has it, and is rejected where not; a domain alone needs no extension."""
    post = Post()
    unicode_mail = replace(MAIL, to="jürgen@straße.example")
    async with serving(post, enable_SMTPUTF8=True) as able, serving(post) as unable:
        await mailer_for(able).send(unicode_mail)
        with pytest.raises(MailRejected):
            await mailer_for(unable).send(unicode_mail)
        await mailer_for(unable).send(replace(MAIL, to="jurgen@straße.example"))
    assert [envelope.rcpt_tos for envelope in post.envelopes] == [
        ["jürgen@xn--strae-oqa.example"],
        ["jurgen@xn--strae-oqa.example"],
    ]


async def test_a_malformed_mail_never_reaches_the_server(mailer_for: Callable[..., SmtpMailer]) -> None:
    """A header with a line break is rejected before a connection is made."""
    post = Post()
    async with serving(post) as port:
        with pytest.raises(MailRejected):
            await mailer_for(port).send(replace(MAIL, to="ann@example.com\r\nRCPT TO:<eve@example.com>"))
    assert post.connections == 0
