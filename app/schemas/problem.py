"""The one form of every error (RFC 9457)."""

from pydantic import BaseModel, Field

from app.core import errors

_DOMAIN = {
    kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DomainError)
}
CODES = sorted(
    _DOMAIN - {errors.DomainError.code} | {"bad_request", "head_too_large", "internal_error", "method_not_allowed"}
)
"""Every code there is."""


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
    code: str = Field(description=f"stable and machine-readable: {', '.join(CODES)}", examples=["slot_taken"])
    request_id: str | None
    errors: list[Fault] | None = Field(default=None, description="only with 422")


class Unready(Problem):
    """Why the service is not ready: `parts` names each part and says `ok` or what is wrong with it."""

    parts: dict[str, str]


class TokenProblem(Problem):
    """What `/auth/token` refuses with (RFC 6749, 5.2); a request that was no HTTP has the problem's part alone."""

    error: str = Field(default="", description="RFC 6749's code")
    error_description: str = Field(default="", description="as `detail`")
