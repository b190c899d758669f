"""What a route asks of who calls it, beyond being signed in: one name for each scope and whether it is for staff.

A route that uses none of these is open to users whose token was not narrowed, and to no service account.
"""

from typing import Annotated, Any

from fastapi import Depends, Request, Security

from app.core.scopes import Scope
from app.dependencies.session import authenticated, bearer
from app.services.principal import Principal, require_admin, require_scope


def _needs(scope: Scope, *, staff: bool = False) -> Any:
    async def principal(request: Request, token: Annotated[str | None, Depends(bearer)]) -> Principal:
        found = await authenticated(request, token)
        require_scope(found, scope)
        if staff:
            require_admin(found)
        return found

    return Security(principal, scopes=[scope.value])


UsersReader = Annotated[Principal, _needs(Scope.USERS_READ, staff=True)]
UsersWriter = Annotated[Principal, _needs(Scope.USERS_WRITE, staff=True)]
DoctorsReader = Annotated[Principal, _needs(Scope.DOCTORS_READ, staff=True)]
DoctorsWriter = Annotated[Principal, _needs(Scope.DOCTORS_WRITE, staff=True)]
AppointmentsReader = Annotated[Principal, _needs(Scope.APPOINTMENTS_READ)]
AppointmentsWriter = Annotated[Principal, _needs(Scope.APPOINTMENTS_WRITE)]
JobsReader = Annotated[Principal, _needs(Scope.JOBS_READ)]
AllJobsReader = Annotated[Principal, _needs(Scope.JOBS_READ, staff=True)]
JobsWriter = Annotated[Principal, _needs(Scope.JOBS_WRITE, staff=True)]
ReportsWriter = Annotated[Principal, _needs(Scope.REPORTS_WRITE, staff=True)]
ProductsWriter = Annotated[Principal, _needs(Scope.PRODUCTS_WRITE, staff=True)]
OrdersReader = Annotated[Principal, _needs(Scope.ORDERS_READ)]
OrdersWriter = Annotated[Principal, _needs(Scope.ORDERS_WRITE)]
NotificationsWriter = Annotated[Principal, _needs(Scope.NOTIFICATIONS_WRITE, staff=True)]
WebhooksReader = Annotated[Principal, _needs(Scope.WEBHOOKS_READ, staff=True)]
WebhooksWriter = Annotated[Principal, _needs(Scope.WEBHOOKS_WRITE, staff=True)]
