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


class ProductSource(StrEnum):
    """Who keeps a product: the staff, or the partner marketplace's catalogue."""

    LOCAL = "local"
    MARKETPLACE = "marketplace"


class OrderStatus(StrEnum):
    PENDING_PAYMENT = "pending_payment"
    PAID = "paid"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"


class PaymentStatus(StrEnum):
    """Of a payment: the provider is being asked for it, it waits for its customer, and how it ended.

    `surplus` is money that no order waits for any more: it is on its way back.
    """

    CREATING = "creating"
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    SURPLUS = "surplus"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"


class WebhookProvider(StrEnum):
    """Partners that send us webhooks; the last part of the path."""

    PAYMENTS = "payments"
    MARKETPLACE = "marketplace"


class WebhookStatus(StrEnum):
    """Of an event that a partner sent."""

    RECEIVED = "received"
    HANDLED = "handled"
    IGNORED = "ignored"
    FAILED = "failed"


class DeliveryStatus(StrEnum):
    """Of an event that is sent to a partner."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class EventName(StrEnum):
    """The domain events that partners may subscribe to."""

    APPOINTMENT_BOOKED = "appointment.booked"
    APPOINTMENT_RESCHEDULED = "appointment.rescheduled"
    APPOINTMENT_CANCELLED = "appointment.cancelled"
    APPOINTMENT_COMPLETED = "appointment.completed"
    ORDER_PAID = "order.paid"
    ORDER_CANCELLED = "order.cancelled"
    USER_REGISTERED = "user.registered"


class RecipientStatus(StrEnum):
    """What became of one mail of many."""

    SENT = "sent"
    FAILED = "failed"


class TokenPurpose(StrEnum):
    """What a link in a mail lets its holder do."""

    VERIFY_EMAIL = "verify_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - a purpose
    CHANGE_EMAIL = "change_email"


class ActorType(StrEnum):
    """Who an audit event says it was."""

    USER = "user"
    SERVICE_ACCOUNT = "service_account"
    ANONYMOUS = "anonymous"
    SYSTEM = "system"


class KeyAlgorithm(StrEnum):
    """What a signing key of the database may be; JOSE's names."""

    ES256 = "ES256"
    EDDSA = "EdDSA"
