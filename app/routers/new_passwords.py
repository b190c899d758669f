"""The hash of a new account's password, made before the request's transaction begins.

A connection would be held all the while, and a handful of registrations would starve everybody else's reads.
"""

from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from fastapi import Depends

from app.dependencies.access import UsersWriter
from app.dependencies.idempotent_steps import Reserved
from app.dependencies.resources import Users
from app.schemas.users import Registration, UserCreate

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Hashed(Generic[T]):
    """A body and the hash of its password: a handler that asked for the body again would have it validated twice."""

    data: T
    password_hash: str


async def hashed_registration(data: Registration, users: Users, _: Reserved) -> Hashed[Registration]:
    return Hashed(data, await users.registration_hash(data=data))


async def hashed_creation(data: UserCreate, principal: UsersWriter, users: Users, _: Reserved) -> Hashed[UserCreate]:
    return Hashed(data, await users.creation_hash(principal=principal, data=data))


HashedRegistration = Annotated[Hashed[Registration], Depends(hashed_registration)]
HashedCreation = Annotated[Hashed[UserCreate], Depends(hashed_creation)]
