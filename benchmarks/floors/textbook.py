"""Floor T: FastAPI, a SQLAlchemy session per request and a JWT as the tutorials write it, and nothing else."""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from passlib.hash import bcrypt_sha256
from pydantic import BaseModel, ConfigDict
from sqlalchemy import BigInteger, DateTime, Identity, Text, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.concurrency import run_in_threadpool

SECRET = os.environ["FLOOR_SECRET"]
engine = create_async_engine(os.environ["FLOOR_URL"], pool_size=15, max_overflow=0)
make_session = async_sessionmaker(engine, expire_on_commit=False)
bearer = OAuth2PasswordBearer(tokenUrl="auth/token")
app = FastAPI()


class Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {int: BigInteger, datetime: DateTime(timezone=True)}


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    email: Mapped[str] = mapped_column(Text)
    full_name: Mapped[str] = mapped_column(Text)
    password_hash: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)
    is_active: Mapped[bool]
    email_verified: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Appointment(Base):
    __tablename__ = "appointments"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    doctor_id: Mapped[int]
    patient_id: Mapped[int]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    status: Mapped[str] = mapped_column(Text, default="booked")
    reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class UserRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    email: str
    full_name: str
    role: str
    is_active: bool
    email_verified: bool
    created_at: datetime


class AppointmentCreate(BaseModel):
    doctor_id: int
    starts_at: datetime
    reason: str | None = None


class AppointmentRead(AppointmentCreate):
    model_config = ConfigDict(from_attributes=True)

    id: int
    patient_id: int
    ends_at: datetime
    status: str
    created_at: datetime


class AppointmentPage(BaseModel):
    items: list[AppointmentRead]
    total: int


async def get_session() -> AsyncIterator[AsyncSession]:
    async with make_session() as session:
        yield session


Session = Annotated[AsyncSession, Depends(get_session)]


async def current_user(session: Session, token: Annotated[str, Depends(bearer)]) -> User:
    try:
        user_id = int(jwt.decode(token, SECRET, algorithms=["HS256"])["sub"])
    except jwt.PyJWTError:
        raise HTTPException(401) from None
    user = (await session.execute(select(User).where(User.id == user_id))).scalar_one_or_none()
    if user is None or not user.is_active:
        raise HTTPException(401)
    return user


CurrentUser = Annotated[User, Depends(current_user)]


@app.get("/users/me", response_model=UserRead)
async def me(user: CurrentUser) -> Any:
    return user


@app.get("/appointments", response_model=AppointmentPage)
async def list_appointments(session: Session, _: CurrentUser, limit: int = 20, offset: int = 0) -> Any:
    total = (await session.execute(select(func.count()).select_from(Appointment))).scalar_one()
    page = select(Appointment).order_by(Appointment.id).offset(offset).limit(limit)
    return {"items": (await session.execute(page)).scalars().all(), "total": total}


@app.post("/appointments", status_code=201, response_model=AppointmentRead)
async def book(session: Session, user: CurrentUser, data: AppointmentCreate) -> Any:
    appointment = Appointment(
        **data.model_dump(), patient_id=user.id, ends_at=data.starts_at + timedelta(minutes=5), status="booked"
    )
    session.add(appointment)
    await session.commit()
    await session.refresh(appointment)
    return appointment


@app.post("/auth/token")
async def token(session: Session, form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> dict[str, str]:
    found = await session.execute(select(User).where(func.lower(User.email) == form.username.lower()))
    user = found.scalar_one_or_none()
    # The default pool of plain threads, which is what `run_in_threadpool` and `def` handlers use.
    if user is None or not await run_in_threadpool(bcrypt_sha256.verify, form.password, user.password_hash):
        raise HTTPException(400)
    claims = {"sub": str(user.id), "exp": datetime.now(UTC) + timedelta(minutes=15)}
    return {"access_token": jwt.encode(claims, SECRET, "HS256"), "token_type": "bearer"}
