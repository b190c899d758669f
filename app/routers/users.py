"""The own profile, and accounts as admins see them."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from app.core.listing import PageQuery
from app.dependencies.idempotency import Idempotent
from app.dependencies.listing import page_query
from app.dependencies.resources import CursorsDep, Users
from app.dependencies.session import CurrentUser, IfMatch, IfNoneMatch, Read, Write
from app.routers.responses import PathId, conditional, created, paged, tagged
from app.routers.route import TransactionalRoute
from app.schemas.base import PageOut
from app.schemas.users import USERS, ProfileUpdate, UserCreate, UserRead, UserUpdate

router = APIRouter(prefix="/users", tags=["identity"], route_class=TransactionalRoute)


@router.get("/me", response_model=UserRead)
async def me(principal: CurrentUser, response: Response, if_none_match: IfNoneMatch = None) -> Any:
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


@router.get("", response_model=PageOut[UserRead])
async def list_users(
    query: Annotated[PageQuery, Depends(page_query(USERS))],
    principal: CurrentUser,
    users: Users,
    read: Read,
    cursors: CursorsDep,
) -> Any:
    """Admins only."""
    return paged(await users.page(read, principal=principal, query=query), query, USERS, cursors)


@router.post("", status_code=201, response_model=UserRead)
async def create_user(
    data: UserCreate,
    principal: CurrentUser,
    _: Annotated[None, Idempotent],
    users: Users,
    session: Write,
    response: Response,
) -> Any:
    """Admins only; a role other than client is a superadmin's to give."""
    return created(response, await users.create(session, principal=principal, data=data), "users")


@router.get("/{user_id}", response_model=UserRead)
async def get_user(
    user_id: PathId,
    principal: CurrentUser,
    users: Users,
    read: Read,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Admins only."""
    return conditional(response, await users.get(read, principal=principal, user_id=user_id), if_none_match)


@router.patch("/{user_id}", response_model=UserRead)
async def update_user(  # noqa: PLR0913 - each is one thing the framework hands over
    user_id: PathId,
    data: UserUpdate,
    principal: CurrentUser,
    users: Users,
    session: Write,
    response: Response,
    if_match: IfMatch = None,
) -> Any:
    """Admins only; roles are a superadmin's to change. Turning an account off ends its sessions at once."""
    user = await users.update(session, principal=principal, user_id=user_id, data=data, if_match=if_match)
    return tagged(response, user)


@router.delete("/{user_id}", status_code=204)
async def delete_user(
    user_id: PathId, principal: CurrentUser, users: Users, session: Write, if_match: IfMatch = None
) -> None:
    """Admins only. The account is out of sight and its sessions end; its appointments stay."""
    await users.delete(session, principal=principal, user_id=user_id, if_match=if_match)
