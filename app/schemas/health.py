"""What the probes read."""

from typing import Literal

from app.schemas.base import Out


class Liveness(Out):
    status: Literal["ok"] = "ok"


class Readiness(Out):
    """`parts` names each part and says `ok` or what is wrong with it; without a `replica` everything goes on."""

    status: Literal["ok"] = "ok"
    parts: dict[str, str]
