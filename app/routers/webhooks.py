"""Webhooks from partners, and what admins see of them."""

from typing import Annotated, Any

from fastapi import Depends, Path, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from app.core.enums import WebhookProvider
from app.core.etag import shown_tag
from app.core.listing import PageQuery
from app.dependencies.access import WebhooksReader, WebhooksWriter
from app.dependencies.idempotency import Idempotent
from app.dependencies.listing import page_query
from app.dependencies.resources import CursorsDep, Inbox, Jobs
from app.dependencies.session import IfNoneMatch, Read, Write
from app.routers.responses import PathId, accepted, conditional, paged
from app.routers.route import Router
from app.schemas.base import PageOut
from app.schemas.jobs import JobRead
from app.schemas.webhook_events import WEBHOOK_EVENTS, WebhookAccepted, WebhookEventDetail, WebhookEventRead
from app.services.container import Container

router = Router(prefix="/webhooks", tags=["webhooks"])
BODY_LIMIT = 256 * 1024
ADDRESS = "/webhooks/{provider}"
_SIGNED = {
    "requestBody": {
        "content": {"application/json": {"schema": {"type": "object"}}},
        "description": "the event; signed as it is sent, byte by byte",
        "required": True,
    },
    "responses": {
        "401": {"description": "`invalid_signature`: none, not ours, or stale"},
    },
}


@router.get("/events", response_model=PageOut[WebhookEventRead])
async def list_webhook_events(
    query: Annotated[PageQuery, Depends(page_query(WEBHOOK_EVENTS))],
    principal: WebhooksReader,
    inbox: Inbox,
    read: Read,
    cursors: CursorsDep,
) -> Any:
    """Admins only: what partners sent in the last 30 days."""
    return paged(await inbox.page(read, principal=principal, query=query), query, WEBHOOK_EVENTS, cursors)


@router.get("/events/{event_id}", response_model=WebhookEventDetail)
async def get_webhook_event(
    event_id: PathId,
    principal: WebhooksReader,
    inbox: Inbox,
    read: Read,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Admins only: one event with its body."""
    event = WebhookEventDetail.model_validate(await inbox.get(read, principal=principal, event_id=event_id))
    return conditional(response, event, if_none_match, tag=shown_tag(event))


@router.post("/events/{event_id}/replay", status_code=202, response_model=JobRead)
async def replay_webhook_event(
    event_id: PathId,
    principal: WebhooksWriter,
    _: Annotated[None, Idempotent],
    inbox: Inbox,
    jobs: Jobs,
    session: Write,
    response: Response,
) -> Any:
    """Admins only. Has the event handled once more; what it has already caused is not caused again."""
    job_id = await inbox.replay(session, principal=principal, event_id=event_id)
    return accepted(response, await jobs.accepted(session, job_id=job_id))


# No closed set: another one is 404, not 422.
Provider = Annotated[
    str,
    Path(
        description=f"{' or '.join(WebhookProvider)}; another one is 404",
        examples=[one.value for one in WebhookProvider],
    ),
]


async def receive_webhook(provider: Provider, request: Request, inbox: Inbox) -> JSONResponse:
    """For partners. `payments` signs by Standard Webhooks, `marketplace` by `X-Hub-Signature-256`.

    202 says that the event is stored, now or before; send it again after anything but a 2xx.
    """
    inbox.verifier(provider)
    event_id = await inbox.receive(provider=provider, headers=request.scope["headers"], body=await request.body())
    return JSONResponse({"event_id": event_id}, 202)


async def receive_directly(provider: str, request: Request, container: Container) -> JSONResponse:
    """As `receive_webhook`, for the short way."""
    return await receive_webhook(provider, request, container.inbox)


# No transaction of its own, and so nothing that would have to be tried again: the inbox writes many at once.
router.add_api_route(
    "/{provider}",
    receive_webhook,
    methods=["POST"],
    status_code=202,
    response_model=WebhookAccepted,
    openapi_extra=_SIGNED,
    route_class_override=APIRoute,
)
