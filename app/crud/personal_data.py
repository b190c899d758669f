"""Where the data of one person is: what is handed to them, and what becomes of it when they are erased (decision 0092).

A table with a reference to users, or with a column that may name somebody, is in `EXPORTED` or in `NOT_EXPORTED`, and
in `ERASED` or in `KEPT`, with the reason; a test walks over all models.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Delete,
    Select,
    Table,
    Text,
    Update,
    and_,
    bindparam,
    cast,
    delete,
    exists,
    false,
    func,
    or_,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, array

from app.core.database import AnyRow, Base, WriteSession
from app.core.enums import ActorType, AppointmentStatus, OrderStatus, Role
from app.core.jobs import JobStatus
from app.crud.audit_events import audit_events
from app.crud.personal_addresses import Person
from app.models import (
    Appointment,
    AuthSession,
    IdempotencyKey,
    Job,
    NotificationRecipient,
    OneTimeToken,
    Order,
    TotpCredential,
    User,
    WebhookDelivery,
)

ERASED_NAME, ERASED_HOST = "Erased", "erased.invalid"


Where = Callable[[Person], ColumnElement[bool]]
_t: Mapping[str, Table] = Base.metadata.tables


def _own(table: str, column: str = "user_id") -> Where:
    return lambda person: _t[table].c[column] == person.id


def _of_own_orders(table: str) -> Where:
    return lambda person: _t[table].c.order_id.in_(select(Order.id).where(Order.patient_id == person.id))


def _received(person: Person) -> ColumnElement[bool]:
    mine = select(NotificationRecipient.notification_id).where(NotificationRecipient.user_id == person.id)
    return _t["notifications"].c.id.in_(mine)


def _told_to_partners(person: Person) -> ColumnElement[bool]:
    about = and_(WebhookDelivery.object_type == "user", WebhookDelivery.object_id == person.id)
    return or_(about, WebhookDelivery.payload.contains({"patient_id": person.id}))


def _audited(person: Person) -> ColumnElement[bool]:
    events = audit_events.columns
    did = and_(events.actor_type == ActorType.USER, events.actor_id == person.id)
    return or_(did, _told_in_audit(person))


def _told_in_audit(person: Person) -> ColumnElement[bool]:
    events = audit_events.columns
    return and_(events.object_type == "user", events.object_id == person.id)


def _addressed(person: Person) -> ColumnElement[bool]:
    """Jobs that were told an address of the person, while it was theirs."""
    address = func.lower(Job.payload["email"].astext)
    spans = [
        and_(address == held.address, Job.created_at.between(held.since, held.until) if held.since else true())
        for held in person.addresses
    ]
    return or_(false(), *spans)


def _named_in_job(person: Person) -> ColumnElement[bool]:
    """Jobs whose payload is about the person, wherever it says so."""
    payload = Job.payload
    appointments = select(Appointment.id).where(Appointment.patient_id == person.id)
    orders = select(Order.id).where(Order.patient_id == person.id)
    return or_(
        payload.contains({"user_id": person.id}),
        _addressed(person),
        payload.contains({"type": "user.registered", "data": {"id": person.id}}),
        payload.contains({"data": {"patient_id": person.id}}),
        and_(Job.name == "mail.appointment", payload["appointment_id"].as_integer().in_(appointments)),
        and_(Job.name == "mail.order", payload["order_id"].as_integer().in_(orders)),
    )


def _own_jobs(person: Person) -> ColumnElement[bool]:
    return or_(Job.created_by == person.id, _named_in_job(person))


@dataclass(frozen=True, slots=True)
class Exported:
    """The person's rows of a table; `hidden` columns are secrets, or the machinery's.

    With `about`, other rows are what the person only did, and may hold what belongs to others: of those there is `did`.
    """

    where: Where
    hidden: tuple[str, ...] = ()
    about: Where | None = None
    did: tuple[str, ...] = ()


EXPORTED: Mapping[str, Exported] = {
    "users": Exported(lambda person: _t["users"].c.id == person.id, ("password_hash",)),
    "auth_sessions": Exported(_own("auth_sessions")),
    "one_time_tokens": Exported(_own("one_time_tokens"), ("token_hash",)),
    "totp_credentials": Exported(_own("totp_credentials"), ("sealed_secret", "last_step")),
    "recovery_codes": Exported(_own("recovery_codes"), ("code_hash",)),
    "appointments": Exported(_own("appointments", "patient_id")),
    "orders": Exported(_own("orders", "patient_id")),
    "order_items": Exported(_of_own_orders("order_items")),
    "payments": Exported(_of_own_orders("payments"), ("key",)),
    "notifications": Exported(_received, ("user_ids", "last_user_id")),
    "notification_recipients": Exported(_own("notification_recipients")),
    "webhook_endpoints": Exported(_own("webhook_endpoints", "created_by"), ("secret", "previous_secret")),
    "webhook_deliveries": Exported(_told_to_partners, ("response_body",)),
    "jobs": Exported(
        _own_jobs,
        ("lease_token", "unique_key", "traceparent", "attempt_traceparent", "result"),
        about=_named_in_job,
        did=("id", "name", "status", "created_at", "finished_at"),
    ),
    "audit_events": Exported(
        _audited, about=_told_in_audit, did=("id", "at", "actor_type", "actor_id", "action", "object_type", "address")
    ),
    "idempotency_keys": Exported(
        lambda person: _t["idempotency_keys"].c.owner == f"user:{person.id}", ("request_hash", "headers", "body")
    ),
}
NOT_EXPORTED: Mapping[str, str] = {
    "refresh_tokens": "hashes of secrets; the sessions that they belong to are exported",
    "webhook_events": "what the payment provider and the marketplace sent: ids of payments and products, nobody's name",
    "received_events": "what other services say of their own objects; they answer for it",
    "doctors": "what the clinic publishes; no account belongs to a doctor",
    "time_off": "of doctors, entered by the staff",
    "service_accounts": "programs",
    "service_account_secrets": "of programs",
    "products": "goods",
    "signing_keys": "keys of the service",
    "schedules": "the clock",
    "temporary_objects": "keys of files of doctors and uploads",
    "catalogue_runs": "the marketplace's catalogue",
    "backups": "names of backups",
}

KEPT: Mapping[str, str] = {
    "orders": "for the accounts: amounts and goods, of an account that names nobody",
    "order_items": "for the accounts",
    "payments": "for the accounts; ids of the payment provider",
    "notifications": "what was written to many; it goes by its age (RETENTION_NOTIFICATIONS)",
    "webhook_endpoints": "the clinic's, made by one of the staff",
    "refresh_tokens": "go with their sessions",
    "recovery_codes": "go with their credential",
} | {name: reason for name, reason in NOT_EXPORTED.items() if name != "refresh_tokens"}

Statement = Update | Delete | Select[tuple[int]]
_NAMES = cast(array(["email", "full_name"]), ARRAY(Text))
_payload = WebhookDelivery.payload
# Sealed, so that whom they are about can't be asked here. They live for a day; what is stored once the account is a
# shell is about somebody else.
_patients = select(func.concat("user:", User.id)).where(User.role == Role.CLIENT)
_of_others = or_(
    IdempotencyKey.route.in_(("POST /api/v1/auth/register", "POST /api/v1/users")),
    and_(IdempotencyKey.route == "POST /api/v1/appointments", IdempotencyKey.owner.not_in(_patients)),
)
ERASED: Mapping[str, tuple[str, Callable[[Person], Statement]]] = {
    "idempotency_keys": (
        "deleted: the person's own, and those that may show an account or what a patient came for",
        lambda person: delete(IdempotencyKey).where(
            or_(
                IdempotencyKey.owner == f"user:{person.id}",
                and_(_of_others, exists().where(User.id == person.id, User.email != shell_address(person.id))),
            )
        ),
    ),
    "totp_credentials": (
        "deleted, with their recovery codes",
        lambda person: delete(TotpCredential).where(TotpCredential.user_id == person.id),
    ),
    "one_time_tokens": ("deleted", lambda person: delete(OneTimeToken).where(OneTimeToken.user_id == person.id)),
    "auth_sessions": (
        "deleted, with their refresh tokens",
        lambda person: delete(AuthSession).where(AuthSession.user_id == person.id),
    ),
    "notification_recipients": (
        "deleted",
        lambda person: delete(NotificationRecipient).where(NotificationRecipient.user_id == person.id),
    ),
    "jobs": (
        "deleted where they are about the person; one that runs goes the next time",
        lambda person: delete(Job).where(Job.status != JobStatus.RUNNING, _named_in_job(person)),
    ),
    "webhook_deliveries": (
        "stay without address and name, and without what the partner answered",
        lambda person: (
            update(WebhookDelivery)
            .where(_told_to_partners(person), or_(_payload.has_any(_NAMES), WebhookDelivery.response_body.is_not(None)))
            .values(payload=_payload.op("-")(_NAMES), response_body=None)
        ),
    ),
    "appointments": (
        "stay without their reason",
        lambda person: (
            update(Appointment)
            .where(Appointment.patient_id == person.id, Appointment.reason.is_not(None))
            .values(reason=None, version=Appointment.version + 1)
        ),
    ),
    "users": (
        "stays as a shell that appointments and orders refer to, and that names nobody",
        lambda person: (
            update(User)
            .where(User.id == person.id, User.email != shell_address(person.id))
            .values(
                email=shell_address(person.id),
                full_name=ERASED_NAME,
                password_hash="!",  # noqa: S106 - no password has this hash
                is_active=False,
                email_verified=False,
                deleted_at=func.coalesce(User.deleted_at, func.now()),
                version=User.version + 1,
            )
        ),
    ),
    # The database lets it be changed for such a shell alone.
    "audit_events": (
        "stay without address and name",
        lambda person: select(func.forget_in_audit_events(person.id)),
    ),
}
# Lists of addresses that could not be mailed to, in the results of jobs that mailed to many.
_FORGET_FAILURES = text("""
UPDATE jobs SET result = jsonb_set(result, '{failed}', coalesce((
  SELECT jsonb_agg(one) FROM jsonb_array_elements(result -> 'failed') AS one WHERE one -> 'user_id' <> to_jsonb(:id)
), '[]'))
WHERE name = 'notification.send'
  AND result @> jsonb_build_object('failed', jsonb_build_array(jsonb_build_object('user_id', :id)))
""").bindparams(bindparam("id", type_=BigInteger))


def shell_address(user_id: int) -> str:
    """The address of an account that was erased; nothing is ever sent there."""
    return f"erased-{user_id}@{ERASED_HOST}"


async def find(session: WriteSession, given: str) -> Sequence[AnyRow]:
    """The account with this id, or all that have this address; deleted ones count."""
    by = User.id == int(given) if given.isdigit() else func.lower(User.email) == func.lower(given)
    columns = (User.id, User.email, User.role, User.is_active, User.created_at, User.deleted_at)
    return (await session.execute(select(*columns).where(by).order_by(User.id))).all()


async def lock(session: WriteSession, user_id: int) -> None:
    """Hold the account: nothing that refers to it is made meanwhile."""
    await session.execute(select(User.id).where(User.id == user_id).with_for_update())


async def is_last_superadmin(session: WriteSession, user_id: int) -> bool:
    """Whether nobody else could sign in as superadmin."""
    live = (User.role == Role.SUPERADMIN, User.is_active, User.deleted_at.is_(None))
    others = set((await session.execute(select(User.id).where(*live))).scalars())
    return others == {user_id}


async def turn_off(session: WriteSession, user_id: int) -> None:
    """Nobody signs in as this user any more."""
    values = {"is_active": False, "version": User.version + 1}
    await session.execute(update(User).where(User.id == user_id, User.is_active).values(values))


async def to_be_cancelled(session: WriteSession, user_id: int) -> tuple[list[int], list[int]]:
    """Appointments that are still to come, and orders that wait for their payment."""
    coming = (Appointment.status == AppointmentStatus.BOOKED, Appointment.starts_at > func.now())
    appointments = select(Appointment.id).where(Appointment.patient_id == user_id, *coming).order_by(Appointment.id)
    waiting = Order.status == OrderStatus.PENDING_PAYMENT
    orders = select(Order.id).where(Order.patient_id == user_id, waiting).order_by(Order.id)
    return list((await session.execute(appointments)).scalars()), list((await session.execute(orders)).scalars())


async def erase(session: WriteSession, person: Person) -> dict[str, int]:
    """Carry out `ERASED`; how many rows of each table it met. What is erased already counts no more."""
    counts = {}
    await session.execute(_readdressed(person))
    for name, (_, made) in ERASED.items():
        statement = made(person)
        done = await session.execute(statement)
        counts[name] = done.scalar_one() if isinstance(statement, Select) else done.rowcount  # type: ignore[attr-defined]  # others have it
    counts["jobs"] += (await session.execute(_FORGET_FAILURES, {"id": person.id})).rowcount  # type: ignore[attr-defined]
    return counts


def _readdressed(person: Person) -> Update:
    """Jobs that somebody attempts stay: the shell's from now on, which the next erasure finds, and a retry mails to
    nobody."""
    shell = {"user_id": person.id, "email": shell_address(person.id)}
    statement = update(Job).where(Job.status == JobStatus.RUNNING, _addressed(person))
    return statement.values(payload=Job.payload.op("||")(cast(shell, JSONB)))


async def running_jobs(session: WriteSession, person: Person) -> int:
    """Jobs about the person that somebody attempts just now."""
    where = (Job.status == JobStatus.RUNNING, _named_in_job(person))
    return int(await session.scalar(select(func.count()).select_from(Job).where(*where)) or 0)


async def rows(session: WriteSession, table: str, person: Person) -> AsyncIterator[dict[str, Any]]:
    """What `EXPORTED` says of a table, a row at a time."""
    exported = EXPORTED[table]
    columns = [column for column in _t[table].c if column.name not in exported.hidden]
    about = exported.about(person) if exported.about else true()
    statement = select(about, *columns).where(exported.where(person)).order_by(*_t[table].primary_key.columns)
    async for is_about, *values in await session.stream(statement.execution_options(yield_per=500)):
        row = {column.name: value for column, value in zip(columns, values, strict=True)}
        yield row if is_about else {name: row[name] for name in exported.did}
