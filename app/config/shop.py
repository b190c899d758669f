"""What the shop promises its customers."""

from datetime import timedelta

from pydantic import Field

from app.config.common import Concern


class OrderSettings(Concern):
    payment_minutes: int = Field(default=30, ge=1, le=10_080, description="how long an order waits for its payment")

    @property
    def patience(self) -> timedelta:
        return timedelta(minutes=self.payment_minutes)
