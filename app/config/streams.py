"""Streams of events to clients (server-sent events)."""

from pydantic import Field

from app.config.common import Concern


class StreamSettings(Concern):
    open: int = Field(default=200, ge=1, description="at once in each API process; more are answered 503")
    per_user: int = Field(default=10, ge=1, description="at once in each API process; more get 429")
    heartbeat: float = Field(default=15, gt=0, description="seconds between signs of life, and checks of the session")
    lifetime: float = Field(default=900, gt=0, description="seconds after which a stream ends, to be resumed")
    look: float = Field(default=3, gt=0, description="seconds between looks into the ledger, beside what is announced")
