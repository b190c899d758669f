"""Who asks, and the policies that routes and services share."""

from dataclasses import dataclass
from datetime import datetime

from app.core.enums import Role
from app.core.errors import Forbidden


@dataclass(frozen=True, slots=True)
class Principal:
    """A signed-in user as of this request, read with the session that vouches for them."""

    session_id: int
    id: int
    email: str
    full_name: str
    role: Role
    is_active: bool
    email_verified: bool
    created_at: datetime
    version: int

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
