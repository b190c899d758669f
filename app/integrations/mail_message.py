"""A mail and its wire form: the only place where headers are written, and where injection ends."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

import idna

_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_LOCAL_PART = re.compile(r"[^\s\x00-\x20\x7f<>()\[\],;:\\\"@]{1,64}")
_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
_NAMED_MAILBOX = re.compile(r"(?P<name>\"[^\"\\\x00-\x1f\x7f]+\"|[^<>\"\x00-\x1f\x7f]*?) *<(?P<address>[^<>]+)>")
_MESSAGE_ID = re.compile(r"<[!#-;=?A-~]{1,200}@[A-Za-z0-9.-]{1,200}>")
# RFC 5322 allows 998 octets a line; longer ones are wrapped by an encoding.
_LONGEST_PLAIN_LINE = 998


class MailError(Exception):
    """A mail was not handed over."""


class MailUnavailable(MailError):
    """The server can't be reached, timed out, or said "not now"; worth a retry."""


class MailRejected(MailError):
    """This mail will never be taken: its address, a header or its content is refused. Not worth a retry."""


@dataclass(frozen=True)
class Mail:
    """One mail to one person.

    `message_id` has its angle brackets and stays the same over all attempts of a job, so that a mail sent twice can be
    known as one by whoever receives it.
    """

    to: str
    subject: str
    text: str
    html: str
    message_id: str


def parse_address(value: str) -> Address:
    """Read a bare `ann@example.com`; a non-ASCII domain comes back as its IDNA form.

    Raises `ValueError` for anything else, quoted local parts included.
    """
    local_part, _, domain = value.rpartition("@")
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise ValueError(f"not a mail domain: {domain!r}") from error
    dots = local_part.startswith(".") or local_part.endswith(".") or ".." in local_part or ".." in domain
    if dots or not _LOCAL_PART.fullmatch(local_part) or not _DOMAIN.fullmatch(domain):
        raise ValueError(f"not a mail address: {value!r}")
    return Address(username=local_part, domain=domain)


def parse_mailbox(value: str) -> Address:
    """Read `ann@example.com` or `Ann Example <ann@example.com>`. Raises `ValueError` for anything else."""
    match = _NAMED_MAILBOX.fullmatch(value)
    if match is None:
        return parse_address(value)
    address = parse_address(match["address"])
    return Address(display_name=match["name"].strip('"'), username=address.username, domain=address.domain)


def build_message(mail: Mail, *, sender: Address) -> EmailMessage:
    """The mail as multipart/alternative in UTF-8, marked as automatic (RFC 3834).

    Raises `MailRejected` when a header would carry a line break, or an address or the Message-ID is malformed.
    """
    if _CONTROL.search(mail.subject):
        raise MailRejected("the subject holds a control character")
    if not _MESSAGE_ID.fullmatch(mail.message_id):
        raise MailRejected(f"not a Message-ID: {mail.message_id!r}")
    try:
        recipient = parse_address(mail.to)
    except ValueError as error:
        raise MailRejected(str(error)) from error
    message = EmailMessage()
    message["From"] = sender
    message["To"] = recipient
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = mail.message_id
    message["Auto-Submitted"] = "auto-generated"
    try:
        message["Subject"] = mail.subject
        message.set_content(mail.text, cte=_transfer_encoding(mail.text))
        message.add_alternative(mail.html, subtype="html", cte=_transfer_encoding(mail.html))
    except UnicodeEncodeError as error:
        raise MailRejected("the mail holds half a character (a lone surrogate)") from error
    return message


def needs_smtputf8(message: EmailMessage) -> bool:
    """Whether a mailbox lies outside of ASCII (RFC 6531); names and subjects travel as encoded words."""
    mailboxes = (*message["From"].addresses, *message["To"].addresses)
    return not all(mailbox.addr_spec.isascii() for mailbox in mailboxes)


def _transfer_encoding(body: str) -> str:
    # Plain ASCII stays readable in a kept `.eml`; the rest must pass servers without 8BITMIME.
    readable = body.isascii() and all(len(line) <= _LONGEST_PLAIN_LINE for line in body.splitlines())
    return "7bit" if readable else "quoted-printable"
