"""Where partners want to be told of events, and what was sent to them."""

from typing import Annotated, Any

from fastapi import Depends, Response

from app.core.etag import shown_tag
from app.core.listing import PageQuery
from app.dependencies.access import WebhooksReader, WebhooksWriter
from app.dependencies.idempotency import Idempotent
from app.dependencies.listing import page_query
from app.dependencies.resources import CursorsDep, Jobs, WebhookEndpoints
from app.dependencies.session import IfMatch, IfNoneMatch, Read, Write
from app.routers.responses import PathId, accepted, conditional, created, paged, tagged
from app.routers.route import Router
from app.schemas.base import PageOut
from app.schemas.jobs import JobRead
from app.schemas.webhook_endpoints import (
    DELIVERIES,
    WEBHOOK_ENDPOINTS,
    DeliveryRead,
    EndpointCreate,
    EndpointUpdate,
    WebhookEndpointRead,
    WebhookEndpointSecret,
)

router = Router(prefix="/webhook-endpoints", tags=["webhooks"])


@router.get("", response_model=PageOut[WebhookEndpointRead])
async def list_webhook_endpoints(
    query: Annotated[PageQuery, Depends(page_query(WEBHOOK_ENDPOINTS))],
    principal: WebhooksReader,
    endpoints: WebhookEndpoints,
    read: Read,
    cursors: CursorsDep,
) -> Any:
    """Admins only."""
    page = await endpoints.page(read, principal=principal, query=query)
    return paged(page, query, WEBHOOK_ENDPOINTS, cursors)


@router.post("", status_code=201, response_model=WebhookEndpointSecret)
async def create_webhook_endpoint(
    data: EndpointCreate,
    principal: WebhooksWriter,
    _: Annotated[None, Idempotent],
    endpoints: WebhookEndpoints,
    session: Write,
    response: Response,
) -> Any:
    """Admins only. The secret is shown this once; the URL must lead to a public address."""
    endpoint, secret = await endpoints.create(session, principal=principal, data=data)
    return _with_secret(created(response, endpoint, "webhook-endpoints"), secret)


@router.get("/{endpoint_id}", response_model=WebhookEndpointRead)
async def get_webhook_endpoint(
    endpoint_id: PathId,
    principal: WebhooksReader,
    endpoints: WebhookEndpoints,
    read: Read,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Admins only."""
    endpoint = await endpoints.get(read, principal=principal, endpoint_id=endpoint_id)
    return conditional(response, endpoint, if_none_match)


@router.patch("/{endpoint_id}", response_model=WebhookEndpointRead)
async def update_webhook_endpoint(
    endpoint_id: PathId,
    data: EndpointUpdate,
    principal: WebhooksWriter,
    endpoints: WebhookEndpoints,
    session: Write,
    response: Response,
    if_match: IfMatch = None,
) -> Any:
    """Admins only. Turning it on again sends what waits for it since less than three days."""
    endpoint = await endpoints.update(
        session, principal=principal, endpoint_id=endpoint_id, data=data, if_match=if_match
    )
    return tagged(response, endpoint)


@router.delete("/{endpoint_id}", status_code=204, response_class=Response)
async def delete_webhook_endpoint(
    endpoint_id: PathId,
    principal: WebhooksWriter,
    endpoints: WebhookEndpoints,
    session: Write,
    if_match: IfMatch = None,
) -> None:
    """Admins only."""
    await endpoints.delete(session, principal=principal, endpoint_id=endpoint_id, if_match=if_match)


@router.post("/{endpoint_id}/secret", status_code=201, response_model=WebhookEndpointSecret)
async def rotate_webhook_secret(
    endpoint_id: PathId,
    principal: WebhooksWriter,
    _: Annotated[None, Idempotent],
    endpoints: WebhookEndpoints,
    session: Write,
    response: Response,
) -> Any:
    """Admins only. A new secret, shown this once; for 24 hours the old one signs beside it."""
    endpoint, secret = await endpoints.rotate_secret(session, principal=principal, endpoint_id=endpoint_id)
    return _with_secret(tagged(response, endpoint), secret)


@router.get("/{endpoint_id}/deliveries", response_model=PageOut[DeliveryRead])
async def list_deliveries(
    endpoint_id: PathId,
    query: Annotated[PageQuery, Depends(page_query(DELIVERIES))],
    principal: WebhooksReader,
    endpoints: WebhookEndpoints,
    read: Read,
    cursors: CursorsDep,
) -> Any:
    """Admins only: what was sent in the last 30 days, and what was answered."""
    page = await endpoints.deliveries(read, principal=principal, endpoint_id=endpoint_id, query=query)
    return paged(page, query, DELIVERIES, cursors)


@router.get("/{endpoint_id}/deliveries/{delivery_id}", response_model=DeliveryRead)
async def get_delivery(
    endpoint_id: PathId,
    delivery_id: PathId,
    principal: WebhooksReader,
    endpoints: WebhookEndpoints,
    read: Read,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Admins only."""
    delivery = await endpoints.delivery(read, principal=principal, endpoint_id=endpoint_id, delivery_id=delivery_id)
    return conditional(response, delivery, if_none_match, tag=shown_tag(delivery))


@router.post("/{endpoint_id}/deliveries/{delivery_id}/redeliver", status_code=202, response_model=JobRead)
async def redeliver(
    endpoint_id: PathId,
    delivery_id: PathId,
    principal: WebhooksWriter,
    _: Annotated[None, Idempotent],
    endpoints: WebhookEndpoints,
    jobs: Jobs,
    session: Write,
    response: Response,
) -> Any:
    """Admins only. Sends it once more under the same `webhook-id`; 409 while the endpoint is off."""
    job_id = await endpoints.request_redelivery(
        session, principal=principal, endpoint_id=endpoint_id, delivery_id=delivery_id
    )
    return accepted(response, await jobs.accepted(session, job_id=job_id))


def _with_secret(endpoint: Any, secret: str) -> WebhookEndpointSecret:
    shown = WebhookEndpointRead.model_validate(endpoint)
    return WebhookEndpointSecret(**shown.model_dump(), secret=secret)
