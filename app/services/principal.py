"""Who asks, and the policies that routes and services share: small functions that raise."""

from dataclasses import dataclass
from datetime import datetime

from app.core.access_tokens import SERVICE
from app.core.enums import Role
from app.core.errors import Forbidden, InsufficientScope
from app.core.scopes import Scope


@dataclass(frozen=True, slots=True)
class Principal:
    """A signed-in user or service account, read with the session or secret that vouches for it.

    The `id` of a service account is below zero: no user has it, whatever it is compared with. It sees what staff sees,
    as far as its scopes reach. `scopes` is None for a user's token that was not narrowed.
    """

    session_id: int
    id: int
    email: str
    full_name: str
    role: Role
    is_active: bool
    email_verified: bool
    created_at: datetime
    version: int
    scopes: frozenset[Scope] | None = None

    @property
    def is_service(self) -> bool:
        return self.id < 0

    @property
    def is_admin(self) -> bool:
        return self.role in (Role.ADMIN, Role.SUPERADMIN)

    @property
    def is_superadmin(self) -> bool:
        return self.role is Role.SUPERADMIN


def require_admin(principal: Principal) -> None:
    if not principal.is_admin:
        raise Forbidden


def require_superadmin(principal: Principal) -> None:
    if not principal.is_superadmin:
        raise Forbidden


def require_scope(principal: Principal, scope: Scope) -> None:
    """A token that was narrowed, and a service account, must have this scope."""
    if principal.scopes is not None and scope not in principal.scopes:
        raise InsufficientScope


def require_person(principal: Principal) -> None:
    """A user, whatever the token was narrowed to."""
    if principal.is_service:
        raise InsufficientScope


def require_whole(principal: Principal) -> None:
    """A user's token that was not narrowed: for what no scope is named, such as passwords and sessions."""
    if principal.scopes is not None:
        raise InsufficientScope


def client_id(account_id: int) -> str:
    """What a service account calls itself, and the `sub` of its tokens."""
    return f"{SERVICE}{account_id}"


def account_of(client: str) -> int | None:
    """The id of the service account; None for what is no client id."""
    digits = client.removeprefix(SERVICE)
    fits = client.startswith(SERVICE) and digits.isascii() and digits.isdigit() and 0 < len(digits) < 19
    return int(digits) if fits and digits[0] != "0" else None
