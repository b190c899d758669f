"""Accounts on the wire."""

from datetime import datetime
from typing import Annotated

from pydantic import StringConstraints

from app.core.enums import Role
from app.core.listing import EQUALITY, ORDER, TEXT, Filterable, Listing
from app.schemas.base import Email, Flag, Id, In, Instant, Out, ShortText, unset

# Any Unicode, kept as typed: white space at the ends belongs to the password.
Password = Annotated[str, StringConstraints(min_length=8, max_length=256, strip_whitespace=False)]

USERS = Listing(
    "users",
    filters={
        "email": Filterable(ShortText, TEXT),
        "full_name": Filterable(ShortText, TEXT),
        "role": Filterable(Role, EQUALITY),
        "is_active": Filterable(bool, EQUALITY),
        "created_at": Filterable(Instant, ORDER),
    },
    sorts={"id": Id, "email": str, "full_name": str, "created_at": Instant},
)


class UserRead(Out):
    id: int
    email: str
    full_name: str
    role: Role
    is_active: bool
    email_verified: bool
    created_at: datetime


class Registration(In):
    email: Email
    password: Password
    full_name: ShortText


class Registered(Out):
    email: str


class ProfileUpdate(In):
    full_name: ShortText = unset()


class PasswordChange(In):
    current_password: Password
    new_password: Password


class EmailChange(In):
    email: Email
    current_password: Password


class UserCreate(In):
    email: Email
    password: Password
    full_name: ShortText
    role: Role = Role.CLIENT


class UserUpdate(In):
    """`role` may be changed by a superadmin only; `is_active: false` ends every session."""

    full_name: ShortText = unset()
    role: Role = unset()
    is_active: Flag = unset()
