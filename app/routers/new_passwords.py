"""The hash of a new account's password, made before the request's transaction begins.

A connection would be held all the while, and a handful of registrations would starve everybody else's reads.
"""

from typing import Annotated

from fastapi import Depends

from app.dependencies.access import UsersWriter
from app.dependencies.idempotent_steps import Reserved
from app.dependencies.resources import Users
from app.schemas.users import Registration, UserCreate


async def registration_hash(data: Registration, users: Users, _: Reserved) -> str:
    return await users.registration_hash(data=data)


async def creation_hash(data: UserCreate, principal: UsersWriter, users: Users, _: Reserved) -> str:
    return await users.creation_hash(principal=principal, data=data)


RegistrationHash = Annotated[str, Depends(registration_hash)]
CreationHash = Annotated[str, Depends(creation_hash)]
