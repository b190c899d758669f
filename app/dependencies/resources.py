"""What the process is made of, as a handler asks for it."""

from typing import Annotated

from fastapi import Depends, Request

from app.config import Settings
from app.core.listing import Cursors
from app.services.appointments import AppointmentService
from app.services.auth import AuthService
from app.services.container import Container
from app.services.doctors import DoctorService
from app.services.jobs import JobService
from app.services.reports import ReportService
from app.services.users import UserService


async def get_container(request: Request) -> Container:
    container: Container = request.app.state.container
    return container


ContainerDep = Annotated[Container, Depends(get_container)]


async def get_settings(container: ContainerDep) -> Settings:
    return container.settings


async def get_cursors(container: ContainerDep) -> Cursors:
    return container.cursors


async def get_auth(container: ContainerDep) -> AuthService:
    return container.auth


async def get_users(container: ContainerDep) -> UserService:
    return container.users


async def get_doctors(container: ContainerDep) -> DoctorService:
    return container.doctors


async def get_appointments(container: ContainerDep) -> AppointmentService:
    return container.appointments


async def get_jobs(container: ContainerDep) -> JobService:
    return container.jobs


async def get_reports(container: ContainerDep) -> ReportService:
    return container.reports


SettingsDep = Annotated[Settings, Depends(get_settings)]
CursorsDep = Annotated[Cursors, Depends(get_cursors)]
Auth = Annotated[AuthService, Depends(get_auth)]
Users = Annotated[UserService, Depends(get_users)]
Doctors = Annotated[DoctorService, Depends(get_doctors)]
Appointments = Annotated[AppointmentService, Depends(get_appointments)]
Jobs = Annotated[JobService, Depends(get_jobs)]
Reports = Annotated[ReportService, Depends(get_reports)]
