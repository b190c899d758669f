"""TLS in front of a server of this machine, as whoever runs it for others has it; an authority that signs for it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from app.config import DatabaseSettings, Settings

LOOPBACK = "127.0.0.1"
SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""How PostgreSQL's protocol asks for TLS; the server says S, and both begin."""
Open = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Authority:
    """`ca_file` is what its users trust."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        self.ca_file = folder / "ca.pem"
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        made = (
            self._certificate(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.ca_file.write_bytes(made.public_bytes(Encoding.PEM))

    def _certificate(self, name: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )

    def serves(self, address: str) -> ssl.SSLContext:
        """What a server at this IP address shows."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        made = (
            self._certificate(name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(names, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        file = self._folder / "server.pem"
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(made.public_bytes(Encoding.PEM) + secret)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


class TlsFront:
    """Speaks TLS to whoever comes, and what is in it to the server behind. `greeted` counts finished handshakes."""

    def __init__(self, context: ssl.SSLContext, behind: Open, *, speaks_postgresql: bool) -> None:
        self.port = 0
        self.greeted = 0
        self._context = context
        self._behind = behind
        self._postgresql = speaks_postgresql
        self._served: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["TlsFront"]:
        server = await asyncio.start_server(self._take, LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._served:
                task.cancel()
            await asyncio.gather(*self._served, return_exceptions=True)

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._served.add(task)
        task.add_done_callback(self._served.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            try:
                if self._postgresql:
                    if await reader.readexactly(len(SSL_REQUEST)) != SSL_REQUEST:
                        return
                    writer.write(b"S")
                await writer.start_tls(self._context)
                self.greeted += 1
                its_reader, its_writer = await self._behind()
                try:
                    await asyncio.gather(_pass(reader, its_writer), _pass(its_reader, writer))
                finally:
                    its_writer.close()
            finally:
                writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while said := await reader.read(65536):
            writer.write(said)
            await writer.drain()
    finally:
        writer.close()


def postgresql(settings: Settings) -> Open:
    """The server of the tests, which knows no TLS."""
    folder = parse_qs(urlsplit(settings.database.url.get_secret_value()).query)["host"][0]
    return lambda: asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")


def valkey(settings: Settings) -> Open:
    url = urlsplit(settings.redis.url.get_secret_value())
    return lambda: asyncio.open_connection(url.hostname, url.port)


def redis_by_tls(settings: Settings, scheme: str, port: int) -> SecretStr:
    login = urlsplit(settings.redis.url.get_secret_value()).netloc.rpartition("@")[0]
    return SecretStr(f"{scheme}://{login}@{LOOPBACK}:{port}/0")


def by_tls(settings: Settings, port: int, *, mode: str, ca_file: Path | None) -> DatabaseSettings:
    """The database of the tests by way of its front."""
    parts = urlsplit(settings.database.url.get_secret_value())
    login = parts.netloc.rpartition("@")[0]
    url = parts._replace(netloc=f"{login}@{LOOPBACK}:{port}", query=f"ssl={mode}").geturl()
    return settings.database.model_copy(update={"url": SecretStr(url), "ca_file": ca_file})
