"""Mail to many."""

from pydantic import Field

from app.config.common import Concern


class NotificationSettings(Concern):
    rate: float = Field(default=200, gt=0, description="mails a second, for each notification under way")
