"""What a new installation starts with. Safe to repeat: what is there stays as it is."""

from dataclasses import dataclass

from app.config import Settings
from app.core.audit import audit
from app.core.database import Database, WriteSession, take_turns
from app.core.enums import Role
from app.core.hashing import PasswordHasher
from app.crud.doctors import doctors
from app.crud.products import products
from app.crud.users import users
from app.models import Doctor, Product

_WEEKDAYS = range(5)
_DOCTORS = (
    ("Dr. Amina Haddad", "General practice", 15, (("08:00", "12:00"), ("13:00", "17:00"))),
    ("Dr. Jonas Weber", "Cardiology", 30, (("09:00", "13:00"), ("14:00", "17:00"))),
    ("Dr. Sofia Lindgren", "Dermatology", 20, (("08:30", "12:30"), ("13:30", "16:30"))),
    ("Dr. Marek Nowak", "Orthopaedics", 30, (("09:00", "17:00"),)),
    ("Dr. Chiara Rossi", "Paediatrics", 20, (("08:00", "12:00"), ("14:00", "18:00"))),
    ("Dr. Élodie Martin", "Neurology", 45, (("10:00", "13:00"), ("14:00", "18:30"))),
)
_PRODUCTS = (
    ("ORTHO-KNEE-M", "Knee support, medium", 3490, 25),
    ("THERMO-01", "Clinical thermometer", 1250, 60),
    ("BP-ARM-02", "Upper-arm blood pressure monitor", 5990, 12),
    ("SUN-50-200", "Sun cream SPF 50, 200 ml", 1690, 80),
    ("TAPE-BLUE-5", "Kinesiology tape, 5 m", 890, 100),
    ("FIRST-AID-S", "First aid kit, small", 1995, 40),
)
# Any number: two processes that seed at once take turns.
_SEED_LOCK = 4_721_002


@dataclass(frozen=True, slots=True)
class Seeded:
    superadmin: bool
    doctors: int
    products: int


async def seed(settings: Settings, database: Database, hasher: PasswordHasher) -> Seeded:
    """The first superadmin unless that e-mail has an account and, outside production, six doctors and six
    products if there are none."""
    email = settings.first.superadmin_email
    password_hash = await hasher.hash(settings.first.superadmin_password.get_secret_value())
    async with database.session_scope() as session:
        await take_turns(session, _SEED_LOCK)
        made = await users.add_if_free(
            session,
            email=email,
            full_name="First superadmin",
            password_hash=password_hash,
            role=Role.SUPERADMIN,
            email_verified=True,
        )
        if made is not None:
            await audit(
                session, action="user.created", object_type="user", object_id=made.id, changes={"role": made.role.value}
            )
        if settings.production:
            return Seeded(made is not None, 0, 0)
        return Seeded(made is not None, await _add_doctors(session), await _add_products(session))


async def _add_doctors(session: WriteSession) -> int:
    if await doctors.exists(session):
        return 0
    for full_name, specialty, minutes, spans in _DOCTORS:
        hours = [{"weekday": weekday, "start": start, "end": end} for weekday in _WEEKDAYS for start, end in spans]
        session.add(Doctor(full_name=full_name, specialty=specialty, slot_minutes=minutes, hours=hours))
    await session.flush()
    return len(_DOCTORS)


async def _add_products(session: WriteSession) -> int:
    if await products.exists(session):
        return 0
    session.add_all(
        Product(sku=sku, name=name, price=price, currency="EUR", stock=stock) for sku, name, price, stock in _PRODUCTS
    )
    await session.flush()
    return len(_PRODUCTS)
