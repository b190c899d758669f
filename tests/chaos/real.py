"""Jobs of the service itself, to run beside the countable ones: mails kept as files, reports kept in storage."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert

from app.core.jobs import JobMessage
from app.models import Appointment
from app.schemas.messages.mails import AppointmentMail, SendAppointmentMail
from app.schemas.messages.reports import DrawUtilisationReport
from app.schemas.reports import ReportFormat
from app.services.container import Container
from tests.support import World


async def real_jobs(container: Container, rng: random.Random) -> Callable[[], JobMessage]:
    """Makes mails for one booking, and now and then a report."""
    world = World(container)
    patient, doctor_id = await world.person(), await world.doctor()
    starts_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
    row = {"doctor_id": doctor_id, "patient_id": patient.id, "starts_at": starts_at}
    async with container.database.session_scope() as session:
        statement = insert(Appointment).values(**row, ends_at=starts_at + timedelta(minutes=30))
        appointment_id = (await session.execute(statement.returning(Appointment.id))).scalar_one()
    mail = SendAppointmentMail(appointment_id=appointment_id, kind=AppointmentMail.BOOKED, starts_at=starts_at)
    report = DrawUtilisationReport(
        from_day=starts_at.date(), to_day=starts_at.date() + timedelta(days=7), format=ReportFormat.CSV
    )
    return lambda: mail if rng.random() < 0.7 else report
