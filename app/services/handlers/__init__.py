"""Who acts on which domain event: one file a concern. The order in a row is the order of the acts."""

from app.core.events import Handlers
from app.schemas.events import (
    AppointmentBooked,
    AppointmentCancelled,
    AppointmentCompleted,
    AppointmentRescheduled,
    UserRegistered,
)
from app.services.handlers.mails import mail_patient, mail_verification


def event_handlers() -> Handlers:
    return {
        AppointmentBooked: (mail_patient,),
        AppointmentRescheduled: (mail_patient,),
        AppointmentCancelled: (mail_patient,),
        AppointmentCompleted: (),
        UserRegistered: (mail_verification,),
    }
