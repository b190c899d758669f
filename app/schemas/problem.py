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


class Unready(Problem):
    """Why the service is not ready: `parts` names each part and says `ok` or what is wrong with it."""

    parts: dict[str, str]


class TokenProblem(Problem):
    """What `/auth/token` refuses with (RFC 6749, 5.2); a request that was no HTTP has the problem's part alone."""

    error: str = Field(default="", description="RFC 6749's code")
    error_description: str = Field(default="", description="as `detail`")
