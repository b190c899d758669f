"""How many requests a minute one user, or one address that is not signed in or signs in, may make."""

from pydantic import Field

from app.config.common import Concern


class LimitSettings(Concern):
    """By class of request; 0 is no limit. Unset: generous in production, and out of the way elsewhere."""

    read: int | None = Field(default=None, ge=0)
    write: int | None = Field(default=None, ge=0)
    auth: int | None = Field(default=None, ge=0)
