"""Closed sets of values that tables and wire schemas share."""

from enum import StrEnum


class Role(StrEnum):
    CLIENT = "client"
    ADMIN = "admin"
    SUPERADMIN = "superadmin"


class AppointmentStatus(StrEnum):
    BOOKED = "booked"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    NO_SHOW = "no_show"


class PhotoSize(StrEnum):
    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


class TokenPurpose(StrEnum):
    """What a link in a mail lets its holder do."""

    VERIFY_EMAIL = "verify_email"


class ActorType(StrEnum):
    """Who an audit event says it was."""

    USER = "user"
    SERVICE_ACCOUNT = "service_account"
    ANONYMOUS = "anonymous"
    SYSTEM = "system"
