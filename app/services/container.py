"""Everything that a process is made of, built once from the settings: by the API, by the workers, by the commands."""

import os
import socket
from dataclasses import dataclass, field
from importlib import import_module

from limits.aio.storage import RedisStorage
from redis.asyncio import ConnectionPool, Redis

from app.config import EventsSettings, MailSettings, Settings, StorageSettings
from app.core.access_tokens import AccessTokens
from app.core.database import Database
from app.core.engine import Role
from app.core.hashing import PasswordHasher
from app.core.key_ring import KeyRing
from app.core.listing import Cursors
from app.core.notices import Notices
from app.core.opaque_tokens import OpaqueTokens
from app.core.quota import Quota
from app.core.rate_limit import Allowance, FailureLimit
from app.core.redis import make_pool
from app.core.replica import read_lists_from_replica
from app.core.request_limit import RequestLimits
from app.core.sealing import Sealer
from app.core.signing_keys import shared_key
from app.integrations.base import trusted_roots
from app.integrations.circuit_shared import Circuits
from app.integrations.event_bus import EventBus
from app.integrations.event_bus_redis import RedisStreams
from app.integrations.mail import FileMailer, Mailer, SmtpMailer
from app.integrations.marketplace import MarketplaceClient
from app.integrations.payments import PaymentsClient
from app.integrations.public_addresses import AddressPolicy, SystemResolver
from app.integrations.storage import LocalStorage, Storage
from app.integrations.webhook_sender import WebhookSender
from app.services.account_mails import AccountMailService
from app.services.appointments import AppointmentService
from app.services.audit_events import AuditEventService
from app.services.auth import AuthService
from app.services.catalogue import CatalogueService
from app.services.clinic_partners import ClinicPartners, make_clinic_partners
from app.services.doctors import DoctorService
from app.services.email_changes import EmailChangeService
from app.services.event_dispatch import make_dispatcher
from app.services.housekeeping import HousekeepingService
from app.services.job_events import JobEvents
from app.services.jobs import JobService
from app.services.mails import MAILS_WITHIN, MAX_MAILS, MailService
from app.services.notifications import NotificationService
from app.services.objects import ObjectService
from app.services.orders import OrderService
from app.services.outer_events import OuterEventService
from app.services.passwords import PasswordService
from app.services.payments import PaymentService
from app.services.photos import PhotoService
from app.services.principal_cache import PrincipalCache
from app.services.products import ProductService
from app.services.reports import ReportService
from app.services.revenue import RevenueService
from app.services.second_factor import SecondFactorService
from app.services.service_accounts import ServiceAccountService
from app.services.sessions import SessionService
from app.services.signing_keys import SigningKeyService
from app.services.users import UserService
from app.services.webhook_delivery import WebhookDeliveryService
from app.services.webhook_endpoints import WebhookEndpointService
from app.services.webhook_inbox import WebhookInbox, make_inbox


@dataclass(frozen=True, slots=True)
class Container:
    settings: Settings
    database: Database
    redis: Redis
    hasher: PasswordHasher
    cursors: Cursors
    mailer: Mailer
    storage: Storage
    payments_client: PaymentsClient
    marketplace_client: MarketplaceClient
    circuits: Circuits
    clinic_partners: ClinicPartners
    event_bus: EventBus | None
    outer_events: OuterEventService
    notices: Notices
    keys: SigningKeyService
    auth: AuthService
    sessions: SessionService
    service_accounts: ServiceAccountService
    answers: Sealer
    users: UserService
    doctors: DoctorService
    appointments: AppointmentService
    jobs: JobService
    job_events: JobEvents
    mails: MailService
    catalogue: CatalogueService
    orders: OrderService
    payments: PaymentService
    reports: ReportService
    revenue: RevenueService
    objects: ObjectService
    photos: PhotoService
    notifications: NotificationService
    housekeeping: HousekeepingService
    request_limits: RequestLimits
    inbox: WebhookInbox
    webhook_endpoints: WebhookEndpointService
    deliveries: WebhookDeliveryService
    email_changes: EmailChangeService
    second_factor: SecondFactorService
    # Made of nothing, so there is nothing to say of them in `build`.
    products: ProductService = field(default_factory=ProductService)
    audit_events: AuditEventService = field(default_factory=AuditEventService)

    @property
    def passwords(self) -> PasswordService:
        return self.second_factor.passwords

    @property
    def account_mails(self) -> AccountMailService:
        return AccountMailService(self.mails)

    async def close(self) -> None:
        self.hasher.close()
        await self.job_events.close()
        await self.mailer.close()
        await self.storage.close()
        await self.payments_client.close()
        await self.marketplace_client.close()
        await self.clinic_partners.close()
        if self.event_bus is not None:
            await self.event_bus.close()
        await self.redis.aclose()
        await self.database.close()


def make_mailer(settings: MailSettings) -> Mailer:
    if settings.backend == "file":
        return FileMailer(settings.directory, settings.sender)
    return SmtpMailer(
        host=settings.host,
        port=settings.port,
        username=settings.username or None,
        password=settings.password.get_secret_value() or None,
        sender=settings.sender,
        security=settings.security,
        timeout=settings.timeout,
    )


def make_storage(settings: StorageSettings) -> Storage:
    if settings.backend == "s3":
        # AWS's libraries are a tenth of the time to start, and of the memory: for those alone who use them.
        from app.integrations.storage_s3 import S3Storage  # noqa: PLC0415

        return S3Storage(settings)
    return LocalStorage(settings.directory)


def make_event_bus(settings: EventsSettings, redis: Redis) -> EventBus | None:
    if not settings.enabled:
        return None
    if settings.backend == "sqs":
        from app.integrations.event_bus_sqs import Sqs  # noqa: PLC0415 - as above

        return Sqs(settings)
    return RedisStreams(redis, settings, consumer=f"{socket.gethostname()}-{os.getpid()}")


def make_notices_and_keys(settings: Settings, database: Database) -> tuple[Notices, SigningKeyService]:
    """What hears of changes, and the signing keys, which are read again when it does."""
    ring = KeyRing([shared_key(settings.auth)] if settings.auth.algorithm == "HS256" else [])
    notices, keys = Notices(settings.database, database), SigningKeyService(settings.auth, database, ring)
    notices.subscribe("keys", keys.hear, on_deaf=keys.hear_nothing)
    database.follower = notices
    return notices, keys


def _shared_counters(pool: ConnectionPool) -> RedisStorage:
    # Where the server is the pool knows alone; of the address only the scheme is looked at.
    return RedisStorage("async+redis://", implementation="redispy", connection_pool=pool)  # type: ignore[arg-type]  # handed through to redis-py


def _limits(settings: Settings, storage: RedisStorage) -> tuple[FailureLimit, RequestLimits]:
    auth = settings.auth
    allowance = Allowance(auth.max_failures, auth.max_address_failures, auth.attack_failures)
    failures = FailureLimit(storage, amount=auth.max_failures, window=auth.failure_window, allowance=allowance)
    return failures, RequestLimits(storage, settings.request_limits)


def _partners(settings: Settings, circuits: Circuits) -> tuple[MarketplaceClient, PaymentsClient]:
    return (
        MarketplaceClient(settings.marketplace, circuits=circuits),
        PaymentsClient(settings.payments, circuits=circuits),
    )


def _auth(
    settings: Settings, keys: SigningKeyService, notices: Notices, second_factor: SecondFactorService
) -> AuthService:
    return AuthService(
        settings.auth,
        settings.verified_email_required,
        second_factor.passwords.hasher,
        AccessTokens(settings.auth, keys.ring),
        keys,
        PrincipalCache(notices, seconds=settings.auth.principal_seconds),
        second_factor.opaque_tokens,
        second_factor.failures,
        second_factor,
    )


def _second_factor(
    settings: Settings, hasher: PasswordHasher, tokens: OpaqueTokens, failures: FailureLimit, sealer: Sealer
) -> SecondFactorService:
    passwords = PasswordService(hasher, tokens, failures)
    return SecondFactorService(settings.clinic.name, sealer, tokens, failures, passwords)


def _database(settings: Settings, *, role: Role, pooled: bool) -> Database:
    database = Database(settings.database, role=role, pooled=pooled, before_commit=make_dispatcher(settings.events))
    read_lists_from_replica(database, settings.database, role=role, pooled=pooled)
    return database


def preload() -> None:
    """Load what `build` would load in each process, for processes that are forked from this one to share."""
    import_module("asyncpg")
    trusted_roots()


def build(settings: Settings, *, role: Role, pooled: bool = True) -> Container:
    """Make it all; nothing connects before it is used. Call it inside the event loop that will use it."""
    database = _database(settings, role=role, pooled=pooled)
    redis = Redis(connection_pool=(pool := make_pool(settings.redis)))
    opaque_tokens = OpaqueTokens(settings.auth)
    hasher = PasswordHasher(settings.hashing, processes=settings.api.processes)
    notices, keys = make_notices_and_keys(settings, database)
    storage = make_storage(settings.storage)
    appointments = AppointmentService(settings.clinic.zone, settings.clinic.max_booked)
    objects = ObjectService(database, storage)
    mailer = make_mailer(settings.mail)
    marketplace_client, payments_client = _partners(settings, circuits := Circuits(redis))
    event_bus = make_event_bus(settings.events, redis)
    sealer, outside = Sealer(settings.auth), (SystemResolver(), AddressPolicy(settings.webhooks.allow_private))
    failures, request_limits = _limits(settings, _shared_counters(pool))
    second_factor = _second_factor(settings, hasher, opaque_tokens, failures, sealer)
    return Container(
        settings=settings,
        database=database,
        redis=redis,
        hasher=hasher,
        cursors=Cursors(opaque_tokens),
        mailer=mailer,
        storage=storage,
        payments_client=payments_client,
        marketplace_client=marketplace_client,
        circuits=circuits,
        clinic_partners=make_clinic_partners(settings, circuits),
        event_bus=event_bus,
        outer_events=OuterEventService(database, event_bus, settings.events.attempts),
        notices=notices,
        keys=keys,
        auth=_auth(settings, keys, notices, second_factor),
        sessions=SessionService(settings.auth),
        service_accounts=ServiceAccountService(opaque_tokens, AccessTokens(settings.auth, keys.ring), keys, failures),
        answers=sealer,
        users=UserService(hasher),
        doctors=DoctorService(settings.clinic.zone),
        appointments=appointments,
        jobs=JobService(storage, settings.storage.link_seconds),
        job_events=JobEvents(database, redis, settings.streams),
        mails=MailService(settings, database, mailer, opaque_tokens, Quota(redis, MAX_MAILS, MAILS_WITHIN)),
        catalogue=CatalogueService(database, marketplace_client),
        orders=OrderService(settings.orders),
        payments=PaymentService(database, payments_client, settings.base_url),
        reports=ReportService(settings.clinic, database, storage),
        revenue=RevenueService(settings.clinic, database, storage),
        objects=objects,
        photos=PhotoService(settings.photos, storage, objects, settings.storage.link_seconds),
        notifications=NotificationService(settings, database, mailer),
        housekeeping=HousekeepingService(settings.retention, database, storage, appointments, objects),
        request_limits=request_limits,
        inbox=make_inbox(settings, database),
        webhook_endpoints=WebhookEndpointService(sealer, *outside),
        deliveries=WebhookDeliveryService(database, sealer, WebhookSender(*outside)),
        email_changes=EmailChangeService(second_factor.passwords, opaque_tokens),
        second_factor=second_factor,
    )
