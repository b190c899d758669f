"""Events to and from other services of the house."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, SecretStr

from app.config.common import Concern, is_address


class EventsSettings(Concern):
    """Over Redis Streams, or over SQS. Off unless there is somebody to talk to."""

    enabled: bool = False
    backend: Literal["redis", "sqs"] = "redis"
    outbox: str = Field(default="frontdesk.events", description="the stream, or the queue's address, we write to")
    inbox: str = Field(default="frontdesk.inbox", description="the one that we read; `.dead` behind it for Redis")
    dead: str = Field(default="frontdesk.inbox.dead", description="where goes what nobody could take")
    group: str = Field(default="frontdesk", description="consumer group of Redis Streams")
    keep: int = Field(default=100_000, ge=1, description="events that the Redis stream keeps, about")
    attempts: int = Field(default=5, ge=1, description="deliveries of a message before it is set aside")
    claim_after: float = Field(default=30, gt=0, description="seconds after which an unfinished message is taken over")
    endpoint: str = Field(default="", description="of SQS; unset: AWS")
    region: str = "eu-central-1"
    access_key: SecretStr = SecretStr("")
    secret_key: SecretStr = SecretStr("")

    def faults(self) -> Iterator[str]:
        if not self.enabled or self.backend != "sqs":
            return
        for name in ("outbox", "inbox", "dead"):
            if not is_address(getattr(self, name), "http", "https"):
                yield f"EVENTS_{name.upper()}: must be the address of an SQS queue"
