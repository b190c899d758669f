"""Booking, moving and ending appointments."""

from typing import Annotated, Any

from fastapi import Depends, Response

from app.core.enums import AppointmentStatus
from app.core.listing import PageQuery
from app.dependencies.access import AppointmentsReader, AppointmentsWriter
from app.dependencies.idempotency import Idempotent
from app.dependencies.listing import page_query
from app.dependencies.resources import Appointments, CursorsDep
from app.dependencies.session import IfMatch, IfNoneMatch, Read, Write
from app.routers.responses import PathId, conditional, created, paged, tagged
from app.routers.route import Router
from app.schemas.appointments import APPOINTMENTS, AppointmentCreate, AppointmentMove, AppointmentRead
from app.schemas.base import PageOut

router = Router(prefix="/appointments", tags=["clinic"])


@router.get("", response_model=PageOut[AppointmentRead])
async def list_appointments(
    query: Annotated[PageQuery, Depends(page_query(APPOINTMENTS))],
    principal: AppointmentsReader,
    appointments: Appointments,
    read: Read,
    cursors: CursorsDep,
) -> Any:
    """Your own; all of them for an admin."""
    return paged(await appointments.page(read, principal=principal, query=query), query, APPOINTMENTS, cursors)


@router.post(
    "",
    status_code=201,
    response_model=AppointmentRead,
    responses={404: {"description": "`not_found`: no such doctor or patient"}},
)
async def book(
    data: AppointmentCreate,
    principal: AppointmentsWriter,
    _: Annotated[None, Idempotent],
    appointments: Appointments,
    session: Write,
    response: Response,
) -> Any:
    """Take a free slot. `422 outside_hours` when the doctor offers none there, `409 slot_taken` when it is gone.

    `409 too_many_booked` for a client who has as many to come as the clinic lets anybody have, if it has said a number.
    """
    appointment = await appointments.book(session, principal=principal, data=data)
    return created(response, appointment, "appointments")


@router.get("/{appointment_id}", response_model=AppointmentRead)
async def get_appointment(
    appointment_id: PathId,
    principal: AppointmentsReader,
    appointments: Appointments,
    read: Read,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Any:
    found = await appointments.get(read, principal=principal, appointment_id=appointment_id)
    return conditional(response, found, if_none_match)


@router.patch("/{appointment_id}", response_model=AppointmentRead)
async def move(
    appointment_id: PathId,
    data: AppointmentMove,
    principal: AppointmentsWriter,
    appointments: Appointments,
    session: Write,
    response: Response,
    if_match: IfMatch = None,
) -> Any:
    """Take another free slot of the same doctor instead."""
    moved = await appointments.move(
        session, principal=principal, appointment_id=appointment_id, starts_at=data.starts_at, if_match=if_match
    )
    return tagged(response, moved)


def _ending(status: AppointmentStatus, path: str, summary: str) -> None:
    @router.post(f"/{{appointment_id}}/{path}", response_model=AppointmentRead, name=path, summary=summary)
    async def end(
        appointment_id: PathId,
        principal: AppointmentsWriter,
        appointments: Appointments,
        session: Write,
        response: Response,
        if_match: IfMatch = None,
    ) -> Any:
        ended = await appointments.end(
            session, principal=principal, appointment_id=appointment_id, status=status, if_match=if_match
        )
        return tagged(response, ended)


_ending(AppointmentStatus.CANCELLED, "cancel", "Cancel, until it begins")
_ending(AppointmentStatus.COMPLETED, "complete", "Note that it took place (admins only)")
_ending(AppointmentStatus.NO_SHOW, "no-show", "Note that the patient did not come (admins only)")
