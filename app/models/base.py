"""What the tables share."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Enum, Identity, func
from sqlalchemy.orm import Mapped, mapped_column


def enum_column(kind: type[StrEnum]) -> Enum:
    """A closed set stored by value in a VARCHAR, so that a new value needs no ALTER TYPE; pair it with a CHECK."""
    return Enum(
        kind, native_enum=False, length=16, values_callable=lambda members: [member.value for member in members]
    )


def one_of(column: str, kind: type[StrEnum]) -> str:
    """The CHECK that goes with `enum_column`."""
    return f"{column} IN ({', '.join(repr(member.value) for member in kind)})"


class WithId:
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True, sort_order=-1)


class Created:
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=100)


class SoftDeleted:
    deleted_at: Mapped[datetime | None] = mapped_column(sort_order=101)


class Versioned:
    """Raised by every change, for ETag and If-Match; writers hold the row's lock, so it never goes stale under them."""

    version: Mapped[int] = mapped_column(server_default="1", default=1, sort_order=102)
