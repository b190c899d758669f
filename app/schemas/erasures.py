"""What is kept beside the backups of somebody who was erased."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict


class Erasure(BaseModel):
    """That this account was erased: a number and a time, so that a backup restored later does not bring it back."""

    model_config = ConfigDict(extra="forbid")

    user_id: int
    erased_at: datetime
