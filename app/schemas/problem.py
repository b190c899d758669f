"""The one form of every error (RFC 9457)."""

from pydantic import BaseModel, Field


class Fault(BaseModel):
    loc: list[str | int] = Field(description="where: body, query, path or header, then the field")
    msg: str
    type: str


class Problem(BaseModel):
    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str = Field(description="stable and machine-readable")
    request_id: str | None
    errors: list[Fault] | None = Field(default=None, description="only with 422")
