"""What the mails about an account itself are told."""

from enum import StrEnum
from typing import ClassVar

from app.core.jobs import JobMessage


class Notice(StrEnum):
    """What has happened to an account, so that its owner learns of it even if it was somebody else."""

    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - the name of a notice
    EMAIL_CHANGE_REQUESTED = "email_change_requested"
    EMAIL_CHANGED = "email_changed"
    MFA_ENABLED = "mfa_enabled"
    MFA_DISABLED = "mfa_disabled"


class SendPasswordResetMail(JobMessage):
    """To whoever has this address; if nobody has, nothing is sent."""

    name: ClassVar[str] = "mail.password_reset"
    for_staff: ClassVar[bool] = True
    email: str


class SendEmailChangeMail(JobMessage):
    """To the new address; if it has an account, nothing is sent."""

    name: ClassVar[str] = "mail.email_change"
    for_staff: ClassVar[bool] = True
    user_id: int
    email: str


class SendAccountNotice(JobMessage):
    """`to` is the address that has to know: after a change of address the one before."""

    name: ClassVar[str] = "mail.account_notice"
    user_id: int
    to: str
    notice: Notice
