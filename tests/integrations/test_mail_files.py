"""Mail kept in a directory, and the headers that every mailer writes."""

import asyncio
import email
import os
from dataclasses import replace
from email import policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from app.integrations.mail import FileMailer, Mail, MailRejected, MailUnavailable, file_name
from app.integrations.mail_message import build_message, parse_mailbox

SENDER = "Riverside Clinic <no-reply@clinic.example>"
MAIL = Mail(
    to="ann@example.com",
    subject="Your appointment is booked",
    text="Hello Ann,\n\nsee you at 14:30.\n",
    html="<p>Hello Ann, see you at 14:30.</p>",
    message_id="<job-12@frontdesk>",
)


def parsed(raw: bytes) -> EmailMessage:
    message = email.message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


@pytest.mark.parametrize(
    "mail",
    [
        replace(MAIL, subject="Hello\r\nBcc: eve@example.com"),
        replace(MAIL, subject="Hello\nX-Evil: 1"),
        replace(MAIL, to="ann@example.com\r\nBcc: eve@example.com"),
        replace(MAIL, to="ann@example.com\r\nRCPT TO:<eve@example.com>"),
        replace(MAIL, to="ann@example.com, eve@example.com"),
        replace(MAIL, to="ann@example.com> SIZE=1 <eve@example.com"),
        replace(MAIL, to="ann"),
        replace(MAIL, to=""),
        replace(MAIL, to="ann@"),
        replace(MAIL, to="ann@exa mple.com"),
        replace(MAIL, message_id="<job-1@frontdesk>\r\nX-Evil: 1"),
        replace(MAIL, message_id="job-1@frontdesk"),
        replace(MAIL, subject="half a \ud83d smile"),
        replace(MAIL, text="half a \ud83d smile"),
    ],
)
async def test_nothing_is_injected(tmp_path: Path, mail: Mail) -> None:
    """A line break in a header, a second address and a malformed one are rejected, and nothing is kept."""
    with pytest.raises(MailRejected):
        build_message(mail, sender=parse_mailbox(SENDER))
    with pytest.raises(MailRejected):
        await FileMailer(tmp_path, SENDER).send(mail)
    assert not await asyncio.to_thread(lambda: list(tmp_path.iterdir()))


@pytest.mark.parametrize("sender", ["", "desk", "a@b\r\nBcc: c@d", "Desk <a@b"])
def test_a_malformed_sender_is_told_at_once(tmp_path: Path, sender: str) -> None:
    """A sender that can't be a mailbox never makes a mailer."""
    with pytest.raises(ValueError, match="mail"):
        FileMailer(tmp_path, sender)


async def test_a_message_id_has_one_file(tmp_path: Path) -> None:
    """The same Message-ID sent twice leaves one complete file with the last content, and no temporary one."""
    mailer = FileMailer(tmp_path / "mail", SENDER)
    await mailer.send(MAIL)
    await mailer.send(replace(MAIL, text="Once more, Zoë.\n", to="jürgen@example.com"))
    await mailer.close()
    assert [path.name for path in (tmp_path / "mail").iterdir()] == ["job-12@frontdesk.eml"]
    message = parsed((tmp_path / "mail" / "job-12@frontdesk.eml").read_bytes())
    body = message.get_body(("plain",))
    assert body is not None
    assert (message["To"], message["Subject"]) == ("jürgen@example.com", MAIL.subject)
    assert body.get_content() == "Once more, Zoë.\n"


async def test_a_kept_mail_can_be_read_with_any_editor(tmp_path: Path) -> None:
    """Text in ASCII is kept as it is, long links included, so that a developer can copy a link out of the file."""
    link = "https://clinic.example/verify?token=" + "x" * 200
    await FileMailer(tmp_path, SENDER).send(replace(MAIL, text=f"Open this link:\n\n{link}\n"))
    assert f"\n{link}\n" in (tmp_path / "job-12@frontdesk.eml").read_text()


def test_file_names_stay_in_the_directory_and_apart() -> None:
    """Whatever a Message-ID holds, its file is a plain visible name of its own."""
    ids = ["<a/b@x>", "<a_b@x>", "<a%2Fb@x>", "<../../etc@x>", "<.hidden@x>", f"<{'n' * 199}@x>", f"<{'n' * 198}@xx>"]
    names = [file_name(message_id) for message_id in [*ids, f"<{'%' * 190}1@x>", f"<{'%' * 190}2@x>"]]
    assert len(set(names)) == len(names)
    assert all("/" not in name and not name.startswith(".") and len(name) < 255 for name in names)


async def test_a_directory_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    """A fault of the disk is worth a retry, like that of a server."""
    (tmp_path / "mail").write_text("a file where the directory should be")
    with pytest.raises(MailUnavailable):
        await FileMailer(tmp_path / "mail", SENDER).send(MAIL)


async def test_nobody_else_on_the_machine_reads_a_mail(tmp_path: Path) -> None:
    """A mail may hold a link that lets somebody in: folder and file are for this account alone."""
    before = os.umask(0o022)
    try:
        await FileMailer(tmp_path / "mail", SENDER).send(MAIL)
    finally:
        os.umask(before)
    [file] = (tmp_path / "mail").iterdir()
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
