"""For operators and their probes; never behind a sign-in, never under the public base path."""

import asyncio
from collections.abc import Awaitable

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from app.core.errors import Unavailable
from app.dependencies.resources import ContainerDep
from app.routers.problems import MEDIA_TYPE, answer
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
    responses={
        503: {
            "description": "`unavailable`: a part fails; `parts` names it",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Unready"}}},
        }
    },
)
async def ready(request: Request, container: ContainerDep) -> Response:
    """200 when the database answers, Redis answers and the migrations are at head."""
    checks = {
        "database": database_ready(container.database),
        "redis": redis_ready(container.redis),
        "migrations": migrations_ready(container.database),
    }
    states = await asyncio.gather(*(_state(check) for check in checks.values()))
    parts = dict(zip(checks, states, strict=True))
    if (replica := await replica_state(container.database)) is not None:
        # Only said: without it everything goes on.
        parts["replica"] = replica
    if failing := [name for name, state in zip(checks, states, strict=True) if state != "ok"]:
        return answer(request, Unavailable(f"Not ready: {', '.join(failing)}."), parts=parts)
    return JSONResponse(Readiness(parts=parts).model_dump())
