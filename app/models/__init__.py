"""Tables and their invariants; importing this package makes `Base.metadata` complete."""

from app.models.appointment import Appointment
from app.models.audit_event import AuditEvent
from app.models.auth_session import AuthSession, OneTimeToken, RefreshToken
from app.models.backup import Backup
from app.models.catalogue_run import CatalogueRun
from app.models.doctor import Doctor, TimeOff
from app.models.idempotency_key import IdempotencyKey
from app.models.job import Job
from app.models.notification import Notification, NotificationRecipient
from app.models.order import Order, OrderItem
from app.models.payment import Payment
from app.models.product import Product
from app.models.received_event import ReceivedEvent
from app.models.schedule import ScheduleState
from app.models.second_factor import RecoveryCode, TotpCredential
from app.models.service_account import ServiceAccount, ServiceAccountSecret
from app.models.signing_key import SigningKey
from app.models.temporary_object import TemporaryObject
from app.models.user import User
from app.models.webhook_endpoint import WebhookDelivery, WebhookEndpoint
from app.models.webhook_event import WebhookEvent

__all__ = [
    "Appointment",
    "AuditEvent",
    "AuthSession",
    "Backup",
    "CatalogueRun",
    "Doctor",
    "IdempotencyKey",
    "Job",
    "Notification",
    "NotificationRecipient",
    "OneTimeToken",
    "Order",
    "OrderItem",
    "Payment",
    "Product",
    "ReceivedEvent",
    "RecoveryCode",
    "RefreshToken",
    "ScheduleState",
    "ServiceAccount",
    "ServiceAccountSecret",
    "SigningKey",
    "TemporaryObject",
    "TimeOff",
    "TotpCredential",
    "User",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
]
