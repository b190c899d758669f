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


def event_handlers() -> Handlers:
    return {
        AppointmentBooked: (mail_patient,),
        AppointmentRescheduled: (mail_patient,),
        AppointmentCancelled: (mail_patient,),
        AppointmentCompleted: (),
        OrderPaid: (mail_buyer, withdraw_payments),
        OrderCancelled: (mail_buyer, withdraw_payments),
        UserRegistered: (mail_verification,),
    }
