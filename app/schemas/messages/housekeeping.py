"""What the schedules enqueue."""

from enum import StrEnum
from typing import ClassVar

from app.core.jobs import JobMessage, Priority


class Pruned(StrEnum):
    """What grows, and is cut back by age."""

    JOBS = "jobs"
    WEBHOOK_EVENTS = "webhook_events"
    DELIVERIES = "deliveries"
    OBJECTS = "objects"
    IDEMPOTENCY_KEYS = "idempotency_keys"
    TOKENS = "tokens"
    SESSIONS = "sessions"
    AUDIT_EVENTS = "audit_events"
    NOTIFICATIONS = "notifications"
    RECEIVED_EVENTS = "received_events"
    CATALOGUE_RUNS = "catalogue_runs"


class Prune(JobMessage):
    name: ClassVar[str] = "housekeeping.prune"
    priority: ClassVar[Priority] = Priority.LOW
    timeout: ClassVar[float] = 600
    subject: Pruned

    def unique_key(self) -> str:
        return self.subject


class SendDueReminders(JobMessage):
    """Look for the appointments that begin within a day, and enqueue a mail for each."""

    name: ClassVar[str] = "appointments.remind"
    timeout: ClassVar[float] = 300

    def unique_key(self) -> str:
        return "all"
