"""The route class of everything that writes: retries a transaction that lost to a rival, and stores idempotent answers.

FastAPI resolves function-scoped dependencies on an exit stack in the request's scope. Each attempt gets a stack of its
own, closed here: so the commit happens inside the attempt, where its failure can still be answered or retried.
"""

from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute, APIRouter
from starlette.routing import Match
from starlette.types import Scope
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from app.core.database import is_retryable
from app.core.errors import Conflict, IdempotencyInFlight
from app.dependencies.idempotency import Keeper, StoredAnswer
from app.routers.problems import answer

BASE_PATH = "/api/v1"
FUNCTION_STACK = "fastapi_function_astack"
ATTEMPTS = 4


class TransactionalRoute(APIRoute):
    """One attempt is one transaction; a deadlock or serialization failure is tried again a bounded number of times."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def attempt(request: Request) -> Response:
            outer = request.scope[FUNCTION_STACK]
            request.state.idempotent = None
            try:
                async with AsyncExitStack() as stack:
                    request.scope[FUNCTION_STACK] = stack
                    return await _with_stored_answer(handle, request)
            except StoredAnswer as stored:
                return Response(stored.body, stored.status, {**stored.headers, "Idempotency-Replayed": "true"})
            finally:
                request.scope[FUNCTION_STACK] = outer

        async def handler(request: Request) -> Response:
            try:
                return await attempt(request)
            except Exception as error:
                if not is_retryable(error):
                    raise
            async for one in AsyncRetrying(
                stop=stop_after_attempt(ATTEMPTS - 1),
                wait=wait_random_exponential(multiplier=0.02, max=0.2),
                retry=retry_if_exception(is_retryable),
                reraise=True,
            ):
                with one:
                    return await attempt(request)
            raise AssertionError("unreachable: tenacity re-raises")

        return handler


class Router(APIRouter):
    """Tries its routes only when the path begins with its prefix; FastAPI tries them all, and twice."""

    def __init__(self, prefix: str = "", **options: Any) -> None:
        super().__init__(prefix=prefix, route_class=TransactionalRoute, **options)
        self._begins = BASE_PATH + prefix

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if not scope["path"].startswith(self._begins, len(scope.get("root_path", ""))):
            return Match.NONE, {}
        return super().matches(scope)


async def _with_stored_answer(handle: Callable[[Request], Coroutine[Any, Any, Response]], request: Request) -> Response:
    try:
        response = await handle(request)
    except Conflict as conflict:
        # A conflict is an answer, not an accident: it is kept, and what led to it is undone.
        idempotent: Keeper | None = request.state.idempotent
        if idempotent is None or isinstance(conflict, IdempotencyInFlight):
            raise
        if idempotent.effect is not None:
            await idempotent.effect.rollback()
        response = answer(request, conflict)
    idempotent = request.state.idempotent
    if idempotent is not None:
        if idempotent.effect is not None and idempotent.effect.is_active:
            await idempotent.effect.commit()
        await idempotent.keep(status=response.status_code, headers=dict(response.headers), body=bytes(response.body))
    return response
