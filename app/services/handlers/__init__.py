"""Who acts on which domain event: one file a concern. The order in a row is the order of the acts."""

from app.core.events import Handlers
from app.schemas.events import (
    AppointmentBooked,
    AppointmentCancelled,
    AppointmentCompleted,
    AppointmentRescheduled,
    OrderCancelled,
    OrderPaid,
    UserRegistered,
)
from app.services.handlers.mails import mail_patient, mail_verification
from app.services.handlers.orders import mail_buyer, withdraw_payments
from app.services.handlers.webhooks import announce


def event_handlers() -> Handlers:
    return {
        AppointmentBooked: (mail_patient, announce),
        AppointmentRescheduled: (mail_patient, announce),
        AppointmentCancelled: (mail_patient, announce),
        AppointmentCompleted: (announce,),
        OrderPaid: (mail_buyer, withdraw_payments, announce),
        OrderCancelled: (mail_buyer, withdraw_payments, announce),
        UserRegistered: (mail_verification, announce),
    }
