"""Mail to many on the wire: a closed set of templates, each with a context of its own."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from app.core.enums import Role
from app.schemas.base import BodyId, Day, In, ShortText, Untagged, storable

MAX_USER_IDS = 10_000
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _one_line(value: str) -> str:
    if _BREAKS.search(value):
        raise ValueError("must be a single line, without control characters")
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return storable(value)


Subject = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        json_schema_extra={
            "pattern": r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
        },
    ),
    AfterValidator(_one_line),
    AfterValidator(_not_blank),
]
Body = Annotated[
    str,
    Field(
        min_length=1,
        max_length=20_000,
        description="plain text; each line becomes a paragraph",
        json_schema_extra={"pattern": r"^[^\x00]*[^\s\x00][^\x00]*$"},
    ),
    AfterValidator(_not_blank),
]


class RoleAudience(In):
    """Everybody who has the role now."""

    role: Role


class UserAudience(In):
    """These accounts; an id that is nobody's, or of somebody who gets no mail, is left out."""

    user_ids: list[BodyId] = Field(min_length=1, max_length=MAX_USER_IDS)


def _kind(audience: object) -> str | None:
    given = audience if isinstance(audience, dict) else vars(audience) if isinstance(audience, In) else ()
    kinds = [kind for kind in ("role", "user_ids") if kind in given]
    return kinds[0] if len(kinds) == 1 else None


Audience = Annotated[
    Annotated[RoleAudience, Tag("role")] | Annotated[UserAudience, Tag("user_ids")],
    Discriminator(
        _kind, custom_error_type="one_of", custom_error_message="must be an object with exactly one of role, user_ids"
    ),
    Untagged,
]


class _Notification(In):
    subject: Subject
    audience: Audience


class AnnouncementContext(In):
    body: Body

    def words(self) -> dict[str, str | None]:
        """As the mail says it."""
        return {"body": self.body}


class Announcement(_Notification):
    """News, in words of one's own."""

    template: Literal["announcement"]
    context: AnnouncementContext


class ClosureContext(In):
    """Both days are closed, and those between."""

    first_day: Day
    last_day: Day
    reason: ShortText | None = None

    @model_validator(mode="after")
    def _forwards(self) -> "ClosureContext":
        if self.last_day < self.first_day:
            raise ValueError("last_day must not be before first_day")
        return self

    def words(self) -> dict[str, str | None]:
        """As the mail says it."""
        first, last = (f"{day:%A}, {day.day} {day:%B %Y}" for day in (self.first_day, self.last_day))
        return {"first_day": first, "last_day": last, "reason": self.reason}


class Closure(_Notification):
    """The clinic is closed on some days."""

    template: Literal["closure"]
    context: ClosureContext


NotificationCreate = Annotated[Announcement | Closure, Discriminator("template"), Untagged]
