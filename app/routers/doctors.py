"""Doctors, their hours, absences and free slots."""

from typing import Annotated, Any

from fastapi import Depends, Query, Response

from app.core.etag import version_tag
from app.core.listing import PageQuery
from app.dependencies.access import DoctorsReader, DoctorsWriter
from app.dependencies.idempotency import Idempotent
from app.dependencies.listing import GivenOnce, page_query
from app.dependencies.resources import CursorsDep, Doctors
from app.dependencies.session import IfMatch, IfNoneMatch, PublicRead, Read, Write
from app.routers.responses import PathId, conditional, created, paged, tagged
from app.routers.route import Router
from app.schemas.base import PageOut
from app.schemas.doctors import (
    DOCTORS,
    DoctorCreate,
    DoctorRead,
    DoctorUpdate,
    SlotList,
    SlotsQuery,
    TimeOffCreate,
    TimeOffList,
    TimeOffRead,
    WeeklyHours,
)

router = Router(prefix="/doctors", tags=["clinic"])


@router.get("", response_model=PageOut[DoctorRead])
async def list_doctors(
    query: Annotated[PageQuery, Depends(page_query(DOCTORS))], doctors: Doctors, read: PublicRead, cursors: CursorsDep
) -> Any:
    return paged(await doctors.page(read, query=query), query, DOCTORS, cursors)


@router.post("", status_code=201, response_model=DoctorRead)
async def create_doctor(
    data: DoctorCreate,
    principal: DoctorsWriter,
    _: Annotated[None, Idempotent],
    doctors: Doctors,
    session: Write,
    response: Response,
) -> Any:
    """Admins only."""
    return created(response, await doctors.create(session, principal=principal, data=data), "doctors")


@router.get("/{doctor_id}", response_model=DoctorRead)
async def get_doctor(
    doctor_id: PathId, doctors: Doctors, read: Read, response: Response, if_none_match: IfNoneMatch = None
) -> Any:
    return conditional(response, await doctors.get(read, doctor_id=doctor_id), if_none_match)


@router.patch("/{doctor_id}", response_model=DoctorRead)
async def update_doctor(
    doctor_id: PathId,
    data: DoctorUpdate,
    principal: DoctorsWriter,
    doctors: Doctors,
    session: Write,
    response: Response,
    if_match: IfMatch = None,
) -> Any:
    """Admins only."""
    doctor = await doctors.update(session, principal=principal, doctor_id=doctor_id, data=data, if_match=if_match)
    return tagged(response, doctor)


@router.delete("/{doctor_id}", status_code=204, response_class=Response)
async def delete_doctor(
    doctor_id: PathId, principal: DoctorsWriter, doctors: Doctors, session: Write, if_match: IfMatch = None
) -> None:
    """Admins only; refused while appointments are to come."""
    await doctors.delete(session, principal=principal, doctor_id=doctor_id, if_match=if_match)


@router.put("/{doctor_id}/hours", response_model=DoctorRead)
async def set_hours(
    doctor_id: PathId,
    hours: WeeklyHours,
    principal: DoctorsWriter,
    doctors: Doctors,
    session: Write,
    response: Response,
    if_match: IfMatch = None,
) -> Any:
    """Admins only. Replaces the week, in wall-clock time of the clinic's zone; appointments already booked stay."""
    doctor = await doctors.set_hours(session, principal=principal, doctor_id=doctor_id, hours=hours, if_match=if_match)
    return tagged(response, doctor)


@router.get("/{doctor_id}/slots", response_model=SlotList, dependencies=[GivenOnce])
async def list_slots(
    doctor_id: PathId, query: Annotated[SlotsQuery, Query()], doctors: Doctors, read: PublicRead
) -> Any:
    """Free slots in the future, by days of the clinic's zone."""
    spans = await doctors.slots(read, doctor_id=doctor_id, from_day=query.from_, to_day=query.to)
    return {"items": [{"starts_at": start, "ends_at": end} for start, end in spans]}


@router.get("/{doctor_id}/time-off", response_model=TimeOffList)
async def list_time_off(doctor_id: PathId, principal: DoctorsReader, doctors: Doctors, read: Read) -> Any:
    """Admins only: present and coming absences, at most 500, soonest first."""
    return {"items": await doctors.time_off(read, principal=principal, doctor_id=doctor_id)}


@router.post("/{doctor_id}/time-off", status_code=201, response_model=TimeOffRead)
async def add_time_off(
    doctor_id: PathId,
    data: TimeOffCreate,
    principal: DoctorsWriter,
    _: Annotated[None, Idempotent],
    doctors: Doctors,
    session: Write,
    response: Response,
) -> Any:
    """Admins only. No slots are offered in the span; appointments already booked in it stay."""
    away = await doctors.add_time_off(session, principal=principal, doctor_id=doctor_id, data=data)
    return created(response, away, f"doctors/{doctor_id}/time-off")


@router.get("/{doctor_id}/time-off/{time_off_id}", response_model=TimeOffRead)
async def get_time_off(
    doctor_id: PathId,
    time_off_id: PathId,
    principal: DoctorsReader,
    doctors: Doctors,
    read: Read,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Admins only: one absence, past or to come."""
    away = await doctors.one_time_off(read, principal=principal, doctor_id=doctor_id, time_off_id=time_off_id)
    # It is made and deleted, never changed.
    return conditional(response, away, if_none_match, tag=version_tag(1))


@router.delete("/{doctor_id}/time-off/{time_off_id}", status_code=204, response_class=Response)
async def delete_time_off(
    doctor_id: PathId,
    time_off_id: PathId,
    principal: DoctorsWriter,
    doctors: Doctors,
    session: Write,
    if_match: IfMatch = None,
) -> None:
    """Admins only."""
    await doctors.delete_time_off(
        session, principal=principal, doctor_id=doctor_id, time_off_id=time_off_id, if_match=if_match
    )
