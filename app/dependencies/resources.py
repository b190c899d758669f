"""What the process is made of, as a handler asks for it.

Each is taken from the request alone: FastAPI walks a dependency's own dependencies anew wherever it is named.
"""

from typing import Annotated

from fastapi import Depends, Request

from app.config import Settings
from app.core.listing import Cursors
from app.services.appointments import AppointmentService
from app.services.audit_events import AuditEventService
from app.services.auth import AuthService
from app.services.catalogue import CatalogueService
from app.services.container import Container
from app.services.doctors import DoctorService
from app.services.email_changes import EmailChangeService
from app.services.jobs import JobService
from app.services.notifications import NotificationService
from app.services.orders import OrderService
from app.services.passwords import PasswordService
from app.services.payments import PaymentService
from app.services.photos import PhotoService
from app.services.products import ProductService
from app.services.reports import ReportService
from app.services.second_factor import SecondFactorService
from app.services.service_accounts import ServiceAccountService
from app.services.sessions import SessionService
from app.services.signing_keys import SigningKeyService
from app.services.users import UserService
from app.services.webhook_endpoints import WebhookEndpointService
from app.services.webhook_inbox import WebhookInbox


def container_of(request: Request) -> Container:
    container: Container = request.app.state.container
    return container


async def get_container(request: Request) -> Container:
    return container_of(request)


ContainerDep = Annotated[Container, Depends(get_container)]


async def get_settings(request: Request) -> Settings:
    return container_of(request).settings


async def get_cursors(request: Request) -> Cursors:
    return container_of(request).cursors


async def get_keys(request: Request) -> SigningKeyService:
    return container_of(request).keys


async def get_auth(request: Request) -> AuthService:
    return container_of(request).auth


async def get_sessions(request: Request) -> SessionService:
    return container_of(request).sessions


async def get_service_accounts(request: Request) -> ServiceAccountService:
    return container_of(request).service_accounts


async def get_users(request: Request) -> UserService:
    return container_of(request).users


async def get_doctors(request: Request) -> DoctorService:
    return container_of(request).doctors


async def get_appointments(request: Request) -> AppointmentService:
    return container_of(request).appointments


async def get_jobs(request: Request) -> JobService:
    return container_of(request).jobs


async def get_inbox(request: Request) -> WebhookInbox:
    return container_of(request).inbox


async def get_webhook_endpoints(request: Request) -> WebhookEndpointService:
    return container_of(request).webhook_endpoints


async def get_reports(request: Request) -> ReportService:
    return container_of(request).reports


async def get_notifications(request: Request) -> NotificationService:
    return container_of(request).notifications


async def get_photos(request: Request) -> PhotoService:
    return container_of(request).photos


async def get_audit_events(request: Request) -> AuditEventService:
    return container_of(request).audit_events


async def get_products(request: Request) -> ProductService:
    return container_of(request).products


async def get_orders(request: Request) -> OrderService:
    return container_of(request).orders


async def get_payments(request: Request) -> PaymentService:
    return container_of(request).payments


async def get_catalogue(request: Request) -> CatalogueService:
    return container_of(request).catalogue


async def get_passwords(request: Request) -> PasswordService:
    return container_of(request).passwords


async def get_email_changes(request: Request) -> EmailChangeService:
    return container_of(request).email_changes


async def get_second_factor(request: Request) -> SecondFactorService:
    return container_of(request).second_factor


SettingsDep = Annotated[Settings, Depends(get_settings)]
CursorsDep = Annotated[Cursors, Depends(get_cursors)]
Keys = Annotated[SigningKeyService, Depends(get_keys)]
Auth = Annotated[AuthService, Depends(get_auth)]
Sessions = Annotated[SessionService, Depends(get_sessions)]
ServiceAccounts = Annotated[ServiceAccountService, Depends(get_service_accounts)]
Users = Annotated[UserService, Depends(get_users)]
Doctors = Annotated[DoctorService, Depends(get_doctors)]
Appointments = Annotated[AppointmentService, Depends(get_appointments)]
Jobs = Annotated[JobService, Depends(get_jobs)]
Inbox = Annotated[WebhookInbox, Depends(get_inbox)]
WebhookEndpoints = Annotated[WebhookEndpointService, Depends(get_webhook_endpoints)]
Reports = Annotated[ReportService, Depends(get_reports)]
Notifications = Annotated[NotificationService, Depends(get_notifications)]
Photos = Annotated[PhotoService, Depends(get_photos)]
Passwords = Annotated[PasswordService, Depends(get_passwords)]
EmailChanges = Annotated[EmailChangeService, Depends(get_email_changes)]
SecondFactor = Annotated[SecondFactorService, Depends(get_second_factor)]
AuditEvents = Annotated[AuditEventService, Depends(get_audit_events)]
Products = Annotated[ProductService, Depends(get_products)]
Orders = Annotated[OrderService, Depends(get_orders)]
Payments = Annotated[PaymentService, Depends(get_payments)]
Catalogue = Annotated[CatalogueService, Depends(get_catalogue)]
