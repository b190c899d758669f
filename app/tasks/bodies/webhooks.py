"""Bodies of the webhook jobs."""

from typing import Any

from app.core.database import WriteSession
from app.schemas.messages.webhooks import HandleWebhook, RedeliverWebhook
from app.services.webhook_endpoints import WebhookEndpointService
from app.services.webhook_inbox import WebhookInbox
from app.tasks.attempt import Attempt, Bodies, Effect


def webhook_bodies(inbox: WebhookInbox, endpoints: WebhookEndpointService) -> Bodies:
    async def handle(message: HandleWebhook, _: Attempt) -> Any:
        async def write(session: WriteSession) -> Any:
            return await inbox.handle(session, event_id=message.event_id)

        return Effect(write)

    async def redeliver(message: RedeliverWebhook, _: Attempt) -> Any:
        async def write(session: WriteSession) -> Any:
            return await endpoints.redeliver(session, delivery_id=message.delivery_id)

        return Effect(write)

    return {HandleWebhook: handle, RedeliverWebhook: redeliver}
