"""The two kinds of database session, and who is signed in."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.security import OAuth2PasswordBearer
from fastapi.security.utils import get_authorization_scheme_param

from app.core.context import bind_user
from app.core.database import ReadSession, WriteSession
from app.core.errors import Unauthenticated
from app.dependencies.resources import Auth, ContainerDep
from app.services.auth import Device
from app.services.principal import Principal

MAX_USER_AGENT = 300
# Declares the scheme in OpenAPI; the header itself is read by `current_user`, whose refusals are of one form.
bearer = OAuth2PasswordBearer(tokenUrl="/api/v1/auth/token", auto_error=False)


async def get_read_session(container: ContainerDep) -> ReadSession:
    return container.database.read


async def get_write_session(container: ContainerDep, request: Request) -> AsyncIterator[WriteSession]:
    async with container.database.session_scope() as session:
        request.state.write_session = session
        yield session


Read = Annotated[ReadSession, Depends(get_read_session)]
# Function scope: the commit happens before the answer goes out, so that a 2xx is never a lie (decision 1).
Write = Annotated[WriteSession, Depends(get_write_session, scope="function")]


async def current_user(
    request: Request, auth: Auth, read: Read, _: Annotated[str | None, Depends(bearer)]
) -> Principal:
    """The signed-in user; Unauthenticated when there is none."""
    scheme, token = get_authorization_scheme_param(request.headers.get("authorization"))
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated
    principal = await auth.authenticate(read, token=token)
    request.state.principal = principal
    bind_user(principal.id)
    return principal


CurrentUser = Annotated[Principal, Depends(current_user)]


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
