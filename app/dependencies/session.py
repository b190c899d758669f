"""The two kinds of database session, and who is signed in."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.security import OAuth2PasswordBearer

from app.core.context import bind_user
from app.core.database import ReadSession, WriteSession
from app.core.errors import Unauthenticated
from app.core.scopes import DESCRIPTIONS
from app.dependencies.resources import container_of
from app.services.auth import Device
from app.services.principal import Principal, require_person, require_superadmin, require_whole

MAX_USER_AGENT = 300
# Does not refuse by itself: `current_user` does, in the one form that refusals have.
bearer = OAuth2PasswordBearer(
    tokenUrl="/api/v1/auth/token", scopes={scope.value: text for scope, text in DESCRIPTIONS.items()}, auto_error=False
)


async def get_read_session(request: Request) -> ReadSession:
    return container_of(request).database.read


async def get_public_read_session(request: Request) -> ReadSession:
    """Perhaps some seconds old, unless somebody is signed in: who could have written sees what they wrote."""
    database = container_of(request).database
    return database.read if "authorization" in request.headers else database.lists


async def get_write_session(request: Request) -> AsyncIterator[WriteSession]:
    async with container_of(request).database.session_scope() as session:
        yield session


Read = Annotated[ReadSession, Depends(get_read_session)]
PublicRead = Annotated[ReadSession, Depends(get_public_read_session)]
# Function scope: the commit happens before the answer goes out, so that a 2xx is never a lie (decision 1).
Write = Annotated[WriteSession, Depends(get_write_session, scope="function")]


async def authenticated(request: Request, token: str | None) -> Principal:
    """Whoever it is, with whatever scope; Unauthenticated when it is nobody."""
    if not token:
        raise Unauthenticated
    container = container_of(request)
    principal = await container.auth.authenticate(container.database.read, token=token)
    request.state.principal = principal
    bind_user(principal.id)
    return principal


async def current_person(request: Request, token: Annotated[str | None, Depends(bearer)]) -> Principal:
    """A user, whatever the token was narrowed to."""
    principal = await authenticated(request, token)
    require_person(principal)
    return principal


async def current_user(request: Request, token: Annotated[str | None, Depends(bearer)]) -> Principal:
    """The signed-in user, by a token that was not narrowed; a route that others may use names its scope (access.py)."""
    principal = await authenticated(request, token)
    require_whole(principal)
    return principal


CurrentPerson = Annotated[Principal, Depends(current_person)]
CurrentUser = Annotated[Principal, Depends(current_user)]


async def current_superadmin(principal: CurrentUser) -> Principal:
    """A superadmin; Forbidden for others, before their request is looked at any further."""
    require_superadmin(principal)
    return principal


SuperadminUser = Annotated[Principal, Depends(current_superadmin)]


async def get_device(request: Request) -> Device:
    address = request.client.host if request.client else ""
    return Device(address=address, user_agent=request.headers.get("user-agent", "")[:MAX_USER_AGENT])


DeviceDep = Annotated[Device, Depends(get_device)]
IfMatch = Annotated[
    str | None, Header(max_length=1024, description="refuse with 412 unless the object still has this ETag")
]
IfNoneMatch = Annotated[
    str | None, Header(max_length=1024, description="answer 304 when the object still has this ETag")
]
