"""The own profile, and accounts as admins see them."""

from typing import Annotated, Any

from fastapi import Depends, Response
from starlette.convertors import StringConvertor, register_url_convertor

from app.core.listing import PageQuery
from app.dependencies.access import UsersReader, UsersWriter
from app.dependencies.idempotency import Idempotent
from app.dependencies.listing import page_query
from app.dependencies.resources import CursorsDep, EmailChanges, Passwords, Users
from app.dependencies.session import CurrentPerson, CurrentUser, IfMatch, IfNoneMatch, Read, Write
from app.routers.new_passwords import HashedCreation
from app.routers.responses import PathId, conditional, created, paged, tagged
from app.routers.route import Router
from app.schemas.base import PageOut
from app.schemas.users import (
    USERS,
    EmailChange,
    PasswordChange,
    ProfileUpdate,
    Registered,
    UserRead,
    UserUpdate,
)


class SomeoneConvertor(StringConvertor):
    """Anything but `me`, whose methods are its own: without it `DELETE /users/me` would be an id that is no number."""

    regex = "(?!me$)[^/]+"


register_url_convertor("someone", SomeoneConvertor())
router = Router(prefix="/users", tags=["identity"])


@router.get("/me", response_model=UserRead)
async def me(principal: CurrentPerson, response: Response, if_none_match: IfNoneMatch = None) -> Any:
    return conditional(response, principal, if_none_match)


@router.patch("/me", response_model=UserRead)
async def update_me(
    data: ProfileUpdate,
    principal: CurrentUser,
    users: Users,
    session: Write,
    response: Response,
    if_match: IfMatch = None,
) -> Any:
    return tagged(response, await users.update_profile(session, principal=principal, data=data, if_match=if_match))


@router.post("/me/password", status_code=204, response_class=Response)
async def change_password(
    data: PasswordChange, principal: CurrentUser, passwords: Passwords, read: Read, session: Write
) -> None:
    """Every other session ends; this one goes on."""
    await passwords.change(read, session, principal=principal, data=data)


@router.post("/me/email", status_code=202)
async def change_email(
    data: EmailChange, principal: CurrentUser, changes: EmailChanges, read: Read, session: Write
) -> Registered:
    """Have a link mailed to the new address: it is the account's once the link is opened. A taken one answers alike."""
    await changes.ask(read, session, principal=principal, data=data)
    return Registered(email=data.email)


@router.get("", response_model=PageOut[UserRead])
async def list_users(
    query: Annotated[PageQuery, Depends(page_query(USERS))],
    principal: UsersReader,
    users: Users,
    read: Read,
    cursors: CursorsDep,
) -> Any:
    """Admins only."""
    return paged(await users.page(read, principal=principal, query=query), query, USERS, cursors)


@router.post("", status_code=201, response_model=UserRead)
async def create_user(
    hashed: HashedCreation,
    principal: UsersWriter,
    _: Annotated[None, Idempotent],
    users: Users,
    session: Write,
    response: Response,
) -> Any:
    """Admins only; a role other than client is a superadmin's to give."""
    user = await users.create(session, principal=principal, data=hashed.data, password_hash=hashed.password_hash)
    return created(response, user, "users")


@router.get("/{user_id:someone}", response_model=UserRead)
async def get_user(
    user_id: PathId,
    principal: UsersReader,
    users: Users,
    read: Read,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Admins only."""
    return conditional(response, await users.get(read, principal=principal, user_id=user_id), if_none_match)


@router.patch("/{user_id:someone}", response_model=UserRead)
async def update_user(
    user_id: PathId,
    data: UserUpdate,
    principal: UsersWriter,
    users: Users,
    session: Write,
    response: Response,
    if_match: IfMatch = None,
) -> Any:
    """Admins only; roles are a superadmin's to change. Turning an account off ends its sessions at once."""
    user = await users.update(session, principal=principal, user_id=user_id, data=data, if_match=if_match)
    return tagged(response, user)


@router.delete("/{user_id:someone}", status_code=204, response_class=Response)
async def delete_user(
    user_id: PathId, principal: UsersWriter, users: Users, session: Write, if_match: IfMatch = None
) -> None:
    """Admins only. The account is out of sight and its sessions end; its appointments stay."""
    await users.delete(session, principal=principal, user_id=user_id, if_match=if_match)
