"""Service accounts on the wire."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, field_validator

from app.core.listing import ORDER, TEXT, Filterable, Listing
from app.core.scopes import FOR_SERVICES, Scope
from app.schemas.base import Id, In, Instant, Out, ShortText

SERVICE_ACCOUNTS = Listing(
    "service-accounts",
    filters={"name": Filterable(ShortText, TEXT), "created_at": Filterable(Instant, ORDER)},
    sorts={"id": Id, "name": str, "created_at": Instant},
)


class SecretRead(Out):
    id: int
    created_at: datetime


class SecretOnce(SecretRead):
    secret: str = Field(description="shown this once; only its hash is kept")


class ServiceAccountRead(Out):
    id: int
    client_id: str
    name: str
    scopes: list[Scope]
    secrets: list[SecretRead] = Field(description="the living ones, oldest first; at most two")
    created_at: datetime


class ServiceAccountOnce(ServiceAccountRead):
    secret: str = Field(description="shown this once; only its hash is kept")


class ServiceAccountCreate(In):
    name: ShortText
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))]

    @field_validator("scopes")
    @classmethod
    def _each_once(cls, scopes: list[Scope]) -> list[Scope]:
        refused = sorted(set(scopes) - FOR_SERVICES)
        if refused:
            raise ValueError(f"{', '.join(refused)}: for people alone")
        return sorted(set(scopes))
