"""What a route is asked about: a real object for each parameter of a path, and bodies that change something."""

import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
import pyotp
from PIL import Image
from sqlalchemy import insert

from app.core.database import Base
from app.core.enums import AppointmentStatus, TokenPurpose, WebhookProvider
from app.core.jobs import JobStatus, Queue
from app.models import (
    Appointment,
    Job,
    OneTimeToken,
    Order,
    OrderItem,
    ServiceAccount,
    ServiceAccountSecret,
    TimeOff,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from tests.support import API, PASSWORD, Person, World, clinic_time, next_weekday
from tests.webhooks import body, payment, payments_secret

_numbers = count(1)
SOON = datetime.now(UTC) + timedelta(days=30)
STAFF = ("scoped", "admin", "superadmin")


@dataclass
class Scene:
    """One request: who asks, and what has been made for it. `state` is the state of a job."""

    client: httpx.AsyncClient
    world: World
    owner: Person
    who: str
    headers: dict[str, str]
    state: JobStatus
    made: dict[str, Any] = field(default_factory=dict)

    async def insert(self, table: type[Base], **values: Any) -> int:
        async with self.world.database.session_scope() as session:
            made: int = (await session.execute(insert(table).values(**values).returning(table.id))).scalar_one()  # type: ignore[attr-defined]  # each of ours has one
            return made


async def _user(scene: Scene) -> int:
    return (await scene.world.person()).id


async def _session(scene: Scene) -> int:
    return scene.owner.session_id


async def _doctor(scene: Scene) -> int:
    return await scene.world.doctor()


async def _photo(scene: Scene) -> str:
    await with_photo(scene)
    return "small"


async def _time_off(scene: Scene) -> int:
    span = {"starts_at": SOON, "ends_at": SOON + timedelta(hours=1)}
    return await scene.insert(TimeOff, doctor_id=scene.made["doctor_id"], **span)


async def _appointment(scene: Scene) -> int:
    """The owner's, to come."""
    return await scene.insert(
        Appointment,
        doctor_id=await scene.world.doctor(),
        patient_id=scene.owner.id,
        starts_at=SOON,
        ends_at=SOON + timedelta(minutes=30),
        status=AppointmentStatus.BOOKED,
    )


async def _job(scene: Scene) -> int:
    """The owner's; with a file when it has succeeded."""
    file: dict[str, Any] = {"key": "reports/matrix.csv", "name": "matrix.csv", "media_type": "text/csv", "size": 2}
    await scene.world.container.storage.put(file["key"], b"a\n")
    return await scene.insert(
        Job,
        name="x",
        queue=Queue.IO,
        payload={},
        max_attempts=1,
        status=scene.state,
        finished_at=None if scene.state is JobStatus.QUEUED else datetime.now(UTC),
        result={"file": file},
        created_by=scene.owner.id,
    )


async def _product(scene: Scene) -> int:
    return await scene.world.product()


async def _order(scene: Scene) -> int:
    """The owner's, not yet paid."""
    product_id = await scene.world.product()
    order_id = await scene.insert(
        Order,
        patient_id=scene.owner.id,
        total_amount=250,
        currency="EUR",
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )
    line = {"order_id": order_id, "product_id": product_id, "position": 0, "sku": "S", "name": "Plaster"}
    async with scene.world.database.session_scope() as session:
        await session.execute(insert(OrderItem).values(line | {"quantity": 1, "price": 250}))
    return order_id


async def _account(scene: Scene) -> int:
    return await scene.insert(ServiceAccount, name="The lab", scopes=[])


async def _secret(scene: Scene) -> int:
    return await scene.insert(
        ServiceAccountSecret, account_id=scene.made["account_id"], secret_hash=f"s{next(_numbers)}".encode()
    )


async def _event(scene: Scene) -> int:
    return await scene.insert(
        WebhookEvent,
        provider=WebhookProvider.MARKETPLACE,
        event_id=f"e{next(_numbers)}",
        headers={},
        body=b"{}",
        job_id=0,
    )


async def _endpoint(scene: Scene) -> int:
    return await scene.insert(
        WebhookEndpoint, url="https://hooks.example.invalid/", events=["order.paid"], secret=b"x", created_by=1
    )


async def _delivery(scene: Scene) -> int:
    return await scene.insert(
        WebhookDelivery,
        endpoint_id=scene.made["endpoint_id"],
        event="order.paid",
        object_type="order",
        object_id=1,
        payload={},
        expires_at=SOON,
    )


async def _provider(scene: Scene) -> str:
    return WebhookProvider.PAYMENTS.value


async def _docs_file(scene: Scene) -> str:
    return "swagger-ui.css"


MAKERS: dict[str, Callable[[Scene], Awaitable[int | str]]] = {
    "user_id": _user,
    "session_id": _session,
    "doctor_id": _doctor,
    "size": _photo,
    "time_off_id": _time_off,
    "appointment_id": _appointment,
    "job_id": _job,
    "product_id": _product,
    "order_id": _order,
    "account_id": _account,
    "secret_id": _secret,
    "event_id": _event,
    "endpoint_id": _endpoint,
    "delivery_id": _delivery,
    "provider": _provider,
    "name": _docs_file,
}


# What a request is sent with, where that is more than JSON that never changes.
async def new_account(scene: Scene) -> dict[str, Any]:
    email = f"new{next(_numbers)}@example.com"
    return {"json": {"email": email, "password": PASSWORD, "full_name": "Pat Ient"}}


async def new_product(scene: Scene) -> dict[str, Any]:
    price = {"amount": 100, "currency": "EUR"}
    return {"json": {"sku": f"NEW-{next(_numbers)}", "name": "Plaster", "price": price}}


async def signing_in(scene: Scene) -> dict[str, Any]:
    return {"data": {"grant_type": "password", "username": scene.owner.email, "password": PASSWORD}}


def mailed(purpose: TokenPurpose, **also: str) -> Callable[[Scene], Awaitable[dict[str, Any]]]:
    async def ask(scene: Scene) -> dict[str, Any]:
        token = f"token{next(_numbers)}"
        await scene.insert(
            OneTimeToken,
            user_id=scene.owner.id,
            purpose=purpose,
            token_hash=scene.world.container.auth.opaque_tokens.digest(token),
            email=f"other{next(_numbers)}@example.com",
            expires_at=SOON,
        )
        return {"json": {"token": token, **also}}

    return ask


async def code(scene: Scene) -> dict[str, Any]:
    """A second factor of whoever asks, and its present code."""
    enrolled = await scene.client.post(f"{API}/auth/mfa/totp", headers=scene.headers)
    secret = enrolled.json().get("secret")
    return {"json": {"otp": pyotp.TOTP(secret).now() if secret else "000000"}}


async def factor(scene: Scene) -> dict[str, Any]:
    """Whoever asks has a second factor."""
    await scene.client.post(f"{API}/auth/mfa/totp/confirm", headers=scene.headers, **await code(scene))
    return {}


async def booking(scene: Scene) -> dict[str, Any]:
    whose = {"patient_id": scene.owner.id} if scene.who in STAFF else {}
    slot = clinic_time(scene.world.container, next_weekday(), "10:00")
    return {"json": {"doctor_id": await scene.world.doctor(), "starts_at": slot, **whose}}


async def another_slot(scene: Scene) -> dict[str, Any]:
    return {"json": {"starts_at": clinic_time(scene.world.container, next_weekday(weeks=2), "10:00")}}


async def week(scene: Scene) -> dict[str, Any]:
    day = next_weekday()
    return {"params": {"from": day.isoformat(), "to": (day + timedelta(days=7)).isoformat()}}


async def purchase(scene: Scene) -> dict[str, Any]:
    return {"json": {"items": [{"product_id": await scene.world.product(), "quantity": 1}]}}


async def with_photo(scene: Scene) -> dict[str, Any]:
    """The doctor has one already."""
    await scene.world.container.storage.put("photos/1/1-a/small.webp", b"webp")
    await scene.world.execute("UPDATE doctors SET photo = '1/1-a' WHERE id = :id", id=scene.made["doctor_id"])
    return {}


async def portrait(scene: Scene) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    return {"files": {"file": ("a.png", buffer.getvalue(), "image/png")}}


async def signed_event(scene: Scene) -> dict[str, Any]:
    content = body(payment_id="p1", order_id=1, amount=1, currency="EUR")
    headers = payment(f"e{next(_numbers)}", payments_secret(scene.world.container), content)
    return {"content": content, "headers": headers | scene.headers}
