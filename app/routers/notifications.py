"""Mail to many."""

from typing import Annotated, Any

from fastapi import Response

from app.dependencies.access import NotificationsWriter
from app.dependencies.idempotency import Idempotent
from app.dependencies.resources import Jobs, Notifications
from app.dependencies.session import Write
from app.routers.responses import accepted
from app.routers.route import Router
from app.schemas.jobs import JobRead
from app.schemas.notifications import NotificationCreate

router = Router(prefix="/notifications", tags=["background"])


@router.post("", status_code=202, response_model=JobRead)
async def create_notification(
    data: NotificationCreate,
    principal: NotificationsWriter,
    _: Annotated[None, Idempotent],
    notifications: Notifications,
    jobs: Jobs,
    session: Write,
    response: Response,
) -> Any:
    """Admins only. One mail to each account of the audience that is active. The answer is the job that sends them: its
    progress counts them, its result lists those that failed.
    """
    job_id = await notifications.request(session, principal=principal, data=data)
    return accepted(response, await jobs.accepted(session, job_id=job_id))
