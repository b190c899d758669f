"""What a token may be narrowed to, and what a service account may be given. One line a scope."""

from collections.abc import Iterable
from enum import StrEnum

from app.core.errors import InvalidScope


class Scope(StrEnum):
    """`noun:read` looks, `noun:write` changes. A scope never gives more than the role has."""

    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    DOCTORS_READ = "doctors:read"
    DOCTORS_WRITE = "doctors:write"
    APPOINTMENTS_READ = "appointments:read"
    APPOINTMENTS_WRITE = "appointments:write"
    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    REPORTS_WRITE = "reports:write"
    PRODUCTS_WRITE = "products:write"
    ORDERS_READ = "orders:read"
    ORDERS_WRITE = "orders:write"
    NOTIFICATIONS_WRITE = "notifications:write"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"


DESCRIPTIONS = {
    Scope.USERS_READ: "see accounts",
    Scope.USERS_WRITE: "make, change and delete accounts",
    Scope.DOCTORS_READ: "see doctors' absences; the rest of a doctor is public",
    Scope.DOCTORS_WRITE: "change doctors, their hours, absences and photos",
    Scope.APPOINTMENTS_READ: "see appointments",
    Scope.APPOINTMENTS_WRITE: "book, move and end appointments",
    Scope.JOBS_READ: "see jobs and schedules, follow jobs and fetch their results",
    Scope.JOBS_WRITE: "repeat and cancel jobs",
    Scope.REPORTS_WRITE: "ask for reports",
    Scope.PRODUCTS_WRITE: "change the catalogue",
    Scope.ORDERS_READ: "see orders",
    Scope.ORDERS_WRITE: "order, pay and cancel; for people alone",
    Scope.NOTIFICATIONS_WRITE: "send mail to many",
    Scope.WEBHOOKS_READ: "see webhook endpoints, their deliveries and what partners sent",
    Scope.WEBHOOKS_WRITE: "change webhook endpoints, send deliveries again, replay what partners sent",
}
FOR_SERVICES = frozenset(Scope) - {Scope.ORDERS_WRITE}
"""What a service account may be given: an order has a patient, and a program is none."""
_KNOWN = {scope.value: scope for scope in Scope}


def parse(text: str) -> frozenset[Scope]:
    """The scopes of a space-separated list (RFC 6749, 3.3); InvalidScope when one is unknown."""
    try:
        return frozenset(_KNOWN[name] for name in text.split())
    except KeyError:
        raise InvalidScope from None


def known(text: str) -> frozenset[Scope]:
    """The same of a token that we signed: what a newer version knows is left out."""
    return frozenset(_KNOWN[name] for name in text.split() if name in _KNOWN)


def join(scopes: Iterable[Scope]) -> str:
    """As a token and its answer have them, in one order."""
    return " ".join(sorted(scopes))
