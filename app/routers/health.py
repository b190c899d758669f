"""For operators and their probes; never behind a sign-in, never under the public base path."""

import asyncio
from collections.abc import Awaitable

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from app.core.errors import Unavailable
from app.dependencies.resources import ContainerDep
from app.schemas.health import Liveness, Readiness
from app.services.readiness import database_ready, migrations_ready, redis_ready, replica_state

router = APIRouter(tags=["operators"])
TIMEOUT = 3.0


@router.get("/health/live")
async def live() -> Liveness:
    """The process turns; says nothing of what it needs."""
    return Liveness()


async def _state(check: Awaitable[None]) -> str:
    try:
        await asyncio.wait_for(check, TIMEOUT)
    except Unavailable as error:
        return error.detail
    except TimeoutError:
        return "does not answer"
    except Exception as error:  # noqa: BLE001 - any failure of a part is what this probe reports
        return type(error).__name__
    return "ok"


@router.get(
    "/health/ready",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "a part fails; `parts` names it"}},
)
async def ready(container: ContainerDep) -> Response:
    """200 when the database answers, Redis answers and the migrations are at head."""
    checks = {
        "database": database_ready(container.database),
        "redis": redis_ready(container.redis),
        "migrations": migrations_ready(container.database),
    }
    states = await asyncio.gather(*(_state(check) for check in checks.values()))
    fine = all(state == "ok" for state in states)
    parts = dict(zip(checks, states, strict=True))
    if (replica := await replica_state(container.database)) is not None:
        # Only said: without it everything goes on.
        parts["replica"] = replica
    body = Readiness(status="ok" if fine else "unavailable", parts=parts)
    return JSONResponse(body.model_dump(), 200 if fine else 503, {} if fine else {"Retry-After": "2"})
