"""Bodies of the jobs about orders."""

from typing import Any

from app.core.database import WriteSession
from app.schemas.messages.orders import ExpireOrder, SendOrderMail
from app.services.mails import MailService
from app.services.orders import OrderService
from app.tasks.attempt import Attempt, Bodies, Effect


def order_bodies(orders: OrderService, mails: MailService) -> Bodies:
    async def expire(message: ExpireOrder, _: Attempt) -> Any:
        async def write(session: WriteSession) -> Any:
            return await orders.expire(session, order_id=message.order_id)

        return Effect(write)

    async def mail(message: SendOrderMail, attempt: Attempt) -> Any:
        return await mails.send_order(message, job_key=attempt.job_key)

    return {ExpireOrder: expire, SendOrderMail: mail}
