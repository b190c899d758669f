"""Whose request it is, before any route has looked at it: what the general limits count by."""

from starlette.types import Scope

from app.core.addresses import subscriber
from app.core.errors import Unauthenticated
from app.core.request_limit import Kind, RequestLimits
from app.services.container import Container

_BEARER = b"bearer "


def _container(scope: Scope) -> Container:
    container: Container = scope["app"].state.container
    return container


def request_limits(scope: Scope) -> RequestLimits:
    return _container(scope).request_limits


def caller(scope: Scope, kind: Kind) -> str:
    """The user whom a good access token names, else the address. The route verifies the token at no further cost.

    Sign-ins count for the address alone: with a token for each account that it made, it would begin anew each time.
    """
    for name, value in scope["headers"] if kind != "auth" else ():
        if name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
            try:
                claims = _container(scope).auth.access_tokens.verify(value[len(_BEARER) :].decode("latin-1"))
            except Unauthenticated:
                break
            return f"user:{claims.user_id}"
    client = scope.get("client")
    address = client[0] if client else ""
    return subscriber(address) or address
