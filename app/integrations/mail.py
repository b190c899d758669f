"""Mail: the way out, over SMTP or into a directory."""

import asyncio
import re
import ssl
from contextlib import suppress
from email import policy
from email.message import EmailMessage
from hashlib import sha256
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import quote

import aiosmtplib
from aiosmtplib.errors import (
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)

from app.integrations.files import write_whole
from app.integrations.mail_message import (
    Mail,
    MailError,
    MailRejected,
    MailUnavailable,
    build_message,
    needs_smtputf8,
    parse_mailbox,
)

__all__ = ["FileMailer", "Mail", "MailError", "MailRejected", "MailUnavailable", "Mailer", "Security", "SmtpMailer"]

Security = Literal["none", "starttls", "tls"]

# RFC 4954: the server wants us to sign in first. That is a fault of the settings, not of the mail.
_AUTHENTICATION_REQUIRED = 530
# RFC 1870: the only refusal of MAIL FROM that is about the mail at hand.
_TOO_LARGE = 552
_LONGEST_FILE_NAME = 200


class Mailer(Protocol):
    """Whoever takes a mail off our hands. SMTP knows no exactly-once: an answer lost after the mail was taken makes the
    retry a second copy, under the same Message-ID.
    """

    async def send(self, mail: Mail) -> None:
        """Hand the mail over. Raises `MailUnavailable` (retry) or `MailRejected` (don't)."""
        ...

    async def close(self) -> None:
        """Let go of connections; never raises. A later `send` connects again."""
        ...


class SmtpMailer:
    """Mail over one SMTP connection, opened by the first mail, reused in turn and replaced when it has gone stale.

    An instance belongs to one event loop. `sender` is the From header and the envelope's sender
    (`Frontdesk <no-reply@clinic.example>`); a malformed one raises `ValueError`. `timeout` is in seconds and holds for
    each step of the conversation. `security` is never downgraded: a server without STARTTLS is unavailable.
    `tls_context` replaces the system's trust, for a private authority.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        username: str | None,
        password: str | None,
        sender: str,
        security: Security,
        timeout: float,
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._username = username
        self._password = password
        self._sender = parse_mailbox(sender)
        self._security = security
        self._timeout = timeout
        self._tls_context = tls_context
        self._lock = asyncio.Lock()
        self._client: aiosmtplib.SMTP | None = None

    async def send(self, mail: Mail) -> None:
        message = build_message(mail, sender=self._sender)
        async with self._lock:
            try:
                await self._transmit(await self._connected(), message)
            except MailRejected:
                raise  # a refusal leaves the conversation in step
            except BaseException:
                # Cancellation included: an answer still under way would be taken for the next command's.
                self._drop()
                raise

    async def close(self) -> None:
        async with self._lock:
            if self._client is not None and self._client.is_connected:
                with suppress(SMTPException, OSError):  # the server may be gone already
                    await self._client.quit()
            self._drop()

    async def _connected(self) -> aiosmtplib.SMTP:
        if self._client is not None and self._client.is_connected:
            # Asked before the mail rather than found out during it, when a lost answer would mean a second copy.
            with suppress(SMTPException, OSError):
                await self._client.rset()
                return self._client
        self._drop()
        self._client = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            username=self._username,
            password=self._password,
            # The library would ask DNS for our own name, outside of the timeout.
            local_hostname=self._sender.domain,
            timeout=self._timeout,
            use_tls=self._security == "tls",
            start_tls=self._security == "starttls",
            tls_context=self._tls_context,
        )
        try:
            await self._client.connect()
        # A greeting or a sign-in refused for good is no fault of the mail: it waits until the settings are right.
        except (SMTPException, OSError, ValueError) as error:
            raise MailUnavailable(_reason(error)) from error
        return self._client

    async def _transmit(self, client: aiosmtplib.SMTP, message: EmailMessage) -> None:
        recipient = message["To"].addresses[0]
        wire, options = message.as_bytes(policy=policy.SMTP), []
        if needs_smtputf8(message):
            wire, options = message.as_bytes(policy=policy.SMTPUTF8), ["SMTPUTF8", "BODY=8BITMIME"]
        try:
            await client.sendmail(self._sender.addr_spec, [recipient.addr_spec], wire, mail_options=options)
        except SMTPRecipientsRefused as error:
            raise _refusal(error.recipients[0]) from error
        except SMTPResponseException as error:
            raise _refusal(error) from error
        except SMTPNotSupported as error:
            raise MailRejected(f"the mail server takes no address outside of ASCII: {error}") from error
        except (SMTPException, OSError) as error:
            raise MailUnavailable(_reason(error)) from error
        except ValueError as error:
            raise MailRejected(str(error)) from error

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


class FileMailer:
    """Mail kept as one `.eml` a Message-ID in a directory: for development, and for looking at.

    The same Message-ID sent again replaces its file. A full disk or a missing permission is `MailUnavailable`.
    """

    def __init__(self, directory: Path, sender: str) -> None:
        self._directory = directory
        self._sender = parse_mailbox(sender)

    async def send(self, mail: Mail) -> None:
        message = build_message(mail, sender=self._sender)
        path = self._directory / file_name(mail.message_id)
        content = message.as_bytes(policy=policy.default.clone(utf8=needs_smtputf8(message)))
        try:
            await asyncio.to_thread(write_whole, path, content)
        except OSError as error:
            raise MailUnavailable(str(error)) from error

    async def close(self) -> None:
        return


def file_name(message_id: str) -> str:
    """`<job-12@frontdesk>` is kept as `job-12@frontdesk.eml`; two Message-IDs never share a name."""
    name = re.sub(r"^\.", "%2E", quote(message_id.strip("<>"), safe="@.+=-_"))
    if len(name) > _LONGEST_FILE_NAME:
        digest = sha256(message_id.encode()).hexdigest()
        name = f"{name[:_LONGEST_FILE_NAME]}-{digest[:32]}"
    return f"{name}.eml"


def _refusal(error: SMTPResponseException) -> MailError:
    reason = f"{error.code} {error.message}"
    about_us = error.code == _AUTHENTICATION_REQUIRED or (
        isinstance(error, SMTPSenderRefused) and error.code != _TOO_LARGE
    )
    if 500 <= error.code < 600 and not about_us:
        return MailRejected(reason)
    return MailUnavailable(reason)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
