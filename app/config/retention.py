"""How long the service keeps what it no longer needs."""

from pydantic import Field

from app.config.common import Concern


class RetentionSettings(Concern):
    """Days, counted from the end: of a job, of a session, of a token's life."""

    jobs: int = Field(default=14, ge=1, description="succeeded and cancelled, with the files they made")
    failed_jobs: int = Field(default=90, ge=1)
    tokens: int = Field(default=7, ge=0)
    sessions: int = Field(default=30, ge=1)
    notifications: int = Field(default=90, ge=1, description="with what became of them for whom")
    received_events: int = Field(
        default=90, ge=15, description="events of others; longer than a bus may bring one again, SQS's 14 days at most"
    )
    catalogue_runs: int = Field(default=90, ge=1, description="finished ones")
    audit_events: int = Field(default=365, ge=30, le=36500, description="the database itself refuses less than 30")
