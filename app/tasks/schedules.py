"""What runs by the clock. Adding a line is all there is to do; renaming one makes it a new one."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from app.config import Settings
from app.core.schedules import Misfire, Schedule
from app.schemas.messages.housekeeping import Prune, Pruned, SendDueReminders
from app.schemas.messages.reports import DrawUtilisationReport
from app.schemas.reports import ReportFormat

PRUNED_AT: Mapping[Pruned, str] = {
    Pruned.OBJECTS: "*/5 * * * *",
    Pruned.IDEMPOTENCY_KEYS: "7 * * * *",
    Pruned.TOKENS: "17 3 * * *",
    Pruned.SESSIONS: "27 3 * * *",
    Pruned.JOBS: "37 3 * * *",
    Pruned.AUDIT_EVENTS: "47 3 * * *",
    Pruned.WEBHOOK_EVENTS: "7 4 * * *",
    Pruned.DELIVERIES: "17 4 * * *",
    Pruned.NOTIFICATIONS: "57 3 * * *",
    Pruned.RECEIVED_EVENTS: "27 4 * * *",
    Pruned.CATALOGUE_RUNS: "37 4 * * *",
}


def schedules(settings: Settings) -> Sequence[Schedule]:
    """All of them. Times are those of the clinic's clock."""
    zone = settings.clinic.timezone

    def yesterday(time: datetime) -> DrawUtilisationReport:
        today = time.astimezone(ZoneInfo(zone)).date()
        return DrawUtilisationReport(from_day=today - timedelta(days=1), to_day=today, format=ReportFormat.PDF)

    def prune(subject: Pruned) -> Schedule:
        return Schedule(f"prune.{subject}", PRUNED_AT[subject], lambda _: Prune(subject=subject), zone=zone)

    return [
        Schedule("reminders", "* * * * *", lambda _: SendDueReminders(), zone=zone),
        Schedule("report.nightly", "30 1 * * *", yesterday, zone=zone, misfire=Misfire.ALL),
        *(prune(subject) for subject in Pruned),
    ]
