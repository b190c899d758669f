"""Who may call what: one row for every route of the application."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from app.core.enums import TokenPurpose
from app.core.jobs import JobStatus
from app.core.scopes import FOR_SERVICES, Scope
from tests import route_makers as make
from tests.route_makers import STAFF, Scene
from tests.support import API, PASSWORD

PEOPLE = ("anonymous", "deactivated", "unscoped", "scoped", "other", "owner", "admin", "superadmin")
OK = 0
# What each of PEOPLE gets; OK is the row's status. "unscoped" is a service account with every scope but the route's,
# "scoped" one with the route's alone, or with all that there are where the route names none.
ANYONE, SIGNED_IN, OWNER, OWNER_ALONE, ADMIN, SUPERADMIN = (
    "anyone",
    "signed in",
    "own; staff",
    "own",
    "admin",
    "superadmin",
)
RULES: dict[str, tuple[int, ...]] = {
    ANYONE: (OK, OK, OK, OK, OK, OK, OK, OK),
    SIGNED_IN: (401, 401, 403, OK, OK, OK, OK, OK),
    OWNER: (401, 401, 403, OK, 404, OK, OK, OK),
    OWNER_ALONE: (401, 401, 403, OK, 404, OK, 404, 404),
    ADMIN: (401, 401, 403, OK, 403, 403, OK, OK),
    SUPERADMIN: (401, 401, 403, 403, 403, 403, 403, OK),
}


@dataclass(frozen=True)
class Row:
    """Who may call a route with which scope, and what the call answers and leaves in the audit record.

    `ask` makes what is sent where that is more than `json`; `audit` is recorded for staff, and for everybody who is let
    in where `by_all`; `but` are people whom the rule does not fit.
    """

    who: str
    status: int = 200
    scope: Scope | None = None
    json: Any = None
    ask: Callable[[Scene], Awaitable[dict[str, Any]]] | None = None
    state: JobStatus = JobStatus.FAILED
    audit: str = ""
    by_all: bool = False
    but: Mapping[str, int] = field(default_factory=dict)

    def expected(self, who: str) -> int:
        given = self.scope in FOR_SERVICES or self.who == ANYONE
        if who == "scoped" and not given:
            return 403
        return self.but.get(who) or RULES[self.who][PEOPLE.index(who)] or self.status

    def recorded(self, who: str) -> list[str]:
        """The actions in the audit record after this call."""
        let_in = self.expected(who) == self.status and (self.by_all or who in STAFF)
        return [self.audit] if self.audit and let_in else []


_NEW_PASSWORD = "an entirely new phrase"
_CLINIC = {
    "GET /doctors": Row(ANYONE),
    "GET /doctors/{doctor_id}": Row(ANYONE),
    "GET /doctors/{doctor_id}/slots": Row(ANYONE, ask=make.week),
    "GET /doctors/{doctor_id}/photo/{size}": Row(ANYONE),
    "POST /doctors": Row(
        ADMIN, 201, Scope.DOCTORS_WRITE, {"full_name": "Dr. No", "specialty": "x"}, audit="doctor.created"
    ),
    "PATCH /doctors/{doctor_id}": Row(ADMIN, 200, Scope.DOCTORS_WRITE, {"specialty": "y"}, audit="doctor.updated"),
    "DELETE /doctors/{doctor_id}": Row(ADMIN, 204, Scope.DOCTORS_WRITE, audit="doctor.deleted"),
    "PUT /doctors/{doctor_id}/hours": Row(ADMIN, 200, Scope.DOCTORS_WRITE, [], audit="doctor.hours_set"),
    "GET /doctors/{doctor_id}/time-off": Row(ADMIN, 200, Scope.DOCTORS_READ),
    "POST /doctors/{doctor_id}/time-off": Row(
        ADMIN,
        201,
        Scope.DOCTORS_WRITE,
        {"starts_at": "2100-01-01T00:00:00Z", "ends_at": "2100-01-02T00:00:00Z"},
        audit="time_off.created",
    ),
    "GET /doctors/{doctor_id}/time-off/{time_off_id}": Row(ADMIN, 200, Scope.DOCTORS_READ),
    "DELETE /doctors/{doctor_id}/time-off/{time_off_id}": Row(
        ADMIN, 204, Scope.DOCTORS_WRITE, audit="time_off.deleted"
    ),
    "PUT /doctors/{doctor_id}/photo": Row(ADMIN, 202, Scope.DOCTORS_WRITE, ask=make.portrait, audit="doctor.photo_set"),
    "DELETE /doctors/{doctor_id}/photo": Row(
        ADMIN, 204, Scope.DOCTORS_WRITE, ask=make.with_photo, audit="doctor.photo_removed"
    ),
    "GET /appointments": Row(SIGNED_IN, 200, Scope.APPOINTMENTS_READ),
    "POST /appointments": Row(SIGNED_IN, 201, Scope.APPOINTMENTS_WRITE, ask=make.booking, audit="appointment.booked"),
    "GET /appointments/{appointment_id}": Row(OWNER, 200, Scope.APPOINTMENTS_READ),
    "PATCH /appointments/{appointment_id}": Row(
        OWNER, 200, Scope.APPOINTMENTS_WRITE, ask=make.another_slot, audit="appointment.rescheduled"
    ),
    "POST /appointments/{appointment_id}/cancel": Row(
        OWNER, 200, Scope.APPOINTMENTS_WRITE, audit="appointment.cancelled"
    ),
    "POST /appointments/{appointment_id}/complete": Row(
        OWNER, 200, Scope.APPOINTMENTS_WRITE, audit="appointment.completed", but={"owner": 403}
    ),
    "POST /appointments/{appointment_id}/no-show": Row(
        OWNER, 200, Scope.APPOINTMENTS_WRITE, audit="appointment.no_show", but={"owner": 403}
    ),
}
_SHOP = {
    "GET /products": Row(ANYONE),
    "GET /products/{product_id}": Row(ANYONE),
    "POST /products": Row(ADMIN, 201, Scope.PRODUCTS_WRITE, ask=make.new_product, audit="product.created"),
    "POST /products/sync": Row(ADMIN, 202, Scope.PRODUCTS_WRITE, audit="catalogue.sync_requested"),
    "PATCH /products/{product_id}": Row(ADMIN, 200, Scope.PRODUCTS_WRITE, {"name": "Pin"}, audit="product.updated"),
    "DELETE /products/{product_id}": Row(ADMIN, 204, Scope.PRODUCTS_WRITE, audit="product.deleted"),
    "GET /orders": Row(SIGNED_IN, 200, Scope.ORDERS_READ),
    "POST /orders": Row(SIGNED_IN, 201, Scope.ORDERS_WRITE, ask=make.purchase),
    "GET /orders/{order_id}": Row(OWNER, 200, Scope.ORDERS_READ),
    "POST /orders/{order_id}/cancel": Row(OWNER, 200, Scope.ORDERS_WRITE, audit="order.cancelled"),
    "POST /orders/{order_id}/pay": Row(OWNER, 200, Scope.ORDERS_WRITE, but={"admin": 403, "superadmin": 403}),
}
_IDENTITY = {
    "POST /auth/register": Row(ANYONE, 202, ask=make.new_account),
    "POST /auth/verify-email": Row(
        ANYONE, 204, ask=make.mailed(TokenPurpose.VERIFY_EMAIL), audit="email.verified", by_all=True
    ),
    "POST /auth/token": Row(ANYONE, 200, ask=make.signing_in, audit="session.started", by_all=True),
    "POST /auth/logout": Row(ANYONE, 204, json={"refresh_token": "of nobody"}),
    "POST /auth/password/forgot": Row(ANYONE, 202, json={"email": "nobody@example.com"}),
    "POST /auth/password/reset": Row(
        ANYONE,
        204,
        ask=make.mailed(TokenPurpose.RESET_PASSWORD, password=_NEW_PASSWORD),
        audit="password.reset",
        by_all=True,
    ),
    "POST /auth/confirm-email": Row(
        ANYONE, 204, ask=make.mailed(TokenPurpose.CHANGE_EMAIL), audit="email.changed", by_all=True
    ),
    "POST /auth/mfa/totp": Row(SIGNED_IN, 201),
    "POST /auth/mfa/totp/confirm": Row(SIGNED_IN, 200, ask=make.code, audit="mfa.enabled", by_all=True),
    "DELETE /auth/mfa/totp": Row(SIGNED_IN, 204, ask=make.factor, audit="mfa.disabled", by_all=True),
    "GET /auth/sessions": Row(SIGNED_IN),
    "DELETE /auth/sessions": Row(SIGNED_IN, 204, audit="sessions.ended", by_all=True),
    "DELETE /auth/sessions/{session_id}": Row(OWNER_ALONE, 204, audit="session.ended", by_all=True),
    "GET /users/me": Row(SIGNED_IN),
    "PATCH /users/me": Row(SIGNED_IN, json={"full_name": "Another Name"}),
    "POST /users/me/email": Row(
        SIGNED_IN,
        202,
        json={"email": "elsewhere@example.com", "current_password": PASSWORD},
        audit="email_change.requested",
        by_all=True,
    ),
    "POST /users/me/password": Row(
        SIGNED_IN,
        204,
        json={"current_password": PASSWORD, "new_password": _NEW_PASSWORD},
        audit="password.changed",
        by_all=True,
    ),
    "GET /users": Row(ADMIN, 200, Scope.USERS_READ),
    "POST /users": Row(ADMIN, 201, Scope.USERS_WRITE, ask=make.new_account, audit="user.created"),
    "GET /users/{user_id}": Row(ADMIN, 200, Scope.USERS_READ),
    "PATCH /users/{user_id}": Row(ADMIN, 200, Scope.USERS_WRITE, {"full_name": "Ed Ited"}, audit="user.updated"),
    "DELETE /users/{user_id}": Row(ADMIN, 204, Scope.USERS_WRITE, audit="user.deleted"),
    "GET /service-accounts": Row(SUPERADMIN),
    "POST /service-accounts": Row(
        SUPERADMIN, 201, json={"name": "x", "scopes": ["users:read"]}, audit="service_account.created"
    ),
    "GET /service-accounts/{account_id}": Row(SUPERADMIN),
    "DELETE /service-accounts/{account_id}": Row(SUPERADMIN, 204, audit="service_account.deleted"),
    "POST /service-accounts/{account_id}/secrets": Row(SUPERADMIN, 201, audit="service_account.secret_added"),
    "DELETE /service-accounts/{account_id}/secrets/{secret_id}": Row(
        SUPERADMIN, 204, audit="service_account.secret_deleted"
    ),
    "GET /audit-events": Row(SUPERADMIN),
}
_BACKGROUND = {
    "GET /jobs": Row(ADMIN, 200, Scope.JOBS_READ),
    "GET /jobs/{job_id}": Row(OWNER, 200, Scope.JOBS_READ),
    "GET /jobs/{job_id}/events": Row(OWNER, 200, Scope.JOBS_READ),
    "GET /jobs/{job_id}/result": Row(OWNER, 200, Scope.JOBS_READ, state=JobStatus.SUCCEEDED),
    "POST /jobs/{job_id}/cancel": Row(ADMIN, 200, Scope.JOBS_WRITE, state=JobStatus.QUEUED, audit="job.cancelled"),
    "POST /jobs/{job_id}/retry": Row(ADMIN, 200, Scope.JOBS_WRITE, audit="job.retried"),
    "GET /schedules": Row(ADMIN, 200, Scope.JOBS_READ),
    "POST /reports": Row(
        ADMIN,
        202,
        Scope.REPORTS_WRITE,
        {"kind": "revenue", "from": "2026-01-01", "to": "2026-02-01", "format": "csv"},
        audit="report.requested",
    ),
    "POST /notifications": Row(
        ADMIN,
        202,
        Scope.NOTIFICATIONS_WRITE,
        {"template": "announcement", "subject": "x", "audience": {"role": "client"}, "context": {"body": "x"}},
        audit="notification.requested",
    ),
}
_WEBHOOKS = {
    # Whoever calls: the signature alone counts (test_webhooks_in.py).
    "POST /webhooks/{provider}": Row(ANYONE, 202, ask=make.signed_event),
    "GET /webhooks/events": Row(ADMIN, 200, Scope.WEBHOOKS_READ),
    "GET /webhooks/events/{event_id}": Row(ADMIN, 200, Scope.WEBHOOKS_READ),
    "POST /webhooks/events/{event_id}/replay": Row(ADMIN, 202, Scope.WEBHOOKS_WRITE, audit="webhook.replayed"),
    "GET /webhook-endpoints": Row(ADMIN, 200, Scope.WEBHOOKS_READ),
    "POST /webhook-endpoints": Row(
        ADMIN,
        201,
        Scope.WEBHOOKS_WRITE,
        {"url": "https://hooks.example.invalid/", "events": ["order.paid"]},
        audit="webhook_endpoint.created",
    ),
    "GET /webhook-endpoints/{endpoint_id}": Row(ADMIN, 200, Scope.WEBHOOKS_READ),
    "PATCH /webhook-endpoints/{endpoint_id}": Row(
        ADMIN, 200, Scope.WEBHOOKS_WRITE, {"is_active": False}, audit="webhook_endpoint.updated"
    ),
    "DELETE /webhook-endpoints/{endpoint_id}": Row(ADMIN, 204, Scope.WEBHOOKS_WRITE, audit="webhook_endpoint.deleted"),
    "POST /webhook-endpoints/{endpoint_id}/secret": Row(
        ADMIN, 201, Scope.WEBHOOKS_WRITE, audit="webhook_endpoint.secret_rotated"
    ),
    "GET /webhook-endpoints/{endpoint_id}/deliveries": Row(ADMIN, 200, Scope.WEBHOOKS_READ),
    "GET /webhook-endpoints/{endpoint_id}/deliveries/{delivery_id}": Row(ADMIN, 200, Scope.WEBHOOKS_READ),
    "POST /webhook-endpoints/{endpoint_id}/deliveries/{delivery_id}/redeliver": Row(
        ADMIN, 202, Scope.WEBHOOKS_WRITE, audit="webhook.redelivered"
    ),
}
_OUTSIDE = {
    "GET /": Row(ANYONE),
    "GET /docs": Row(ANYONE),
    "GET /docs/{name}": Row(ANYONE),
    "GET /openapi.json": Row(ANYONE),
    "GET /verify-email": Row(ANYONE),
    "GET /reset-password": Row(ANYONE),
    "GET /confirm-email": Row(ANYONE),
    "GET /.well-known/jwks.json": Row(ANYONE),
    "GET /health/live": Row(ANYONE),
    "GET /health/ready": Row(ANYONE),
    # Never routed to the public: deploy/ holds that, and tests/processes/test_traefik.py.
    "GET /metrics": Row(ANYONE),
}
BELOW = _CLINIC | _SHOP | _IDENTITY | _BACKGROUND | _WEBHOOKS
"""The routes below the base path, without it, as the documents name them."""
ROUTES: dict[str, Row] = {route.replace(" ", f" {API}", 1): row for route, row in BELOW.items()} | _OUTSIDE


def served(app: FastAPI) -> set[str]:
    """Every method and path that the application answers, whatever answers there; HEAD goes with GET."""
    found = set()
    for route in iter_route_contexts(app.routes):
        methods = set(route.methods or {type(route.original_route).__name__})
        found |= {f"{method} {route.path_format}" for method in methods if method != "HEAD" or "GET" not in methods}
    return found
