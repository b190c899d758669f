"""Events between services: at least once in both directions, each with an id by which its taker knows it again."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from app.core import errors


class BusUnavailable(errors.Unavailable):
    """The bus is away. Worth a retry."""

    message = "Events can't be exchanged right now; try again."

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class OuterEvent(BaseModel):
    """What travels. `id` is the same however often the event is sent; `data` is the event's payload."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Annotated[str, Field(min_length=1, max_length=200)]
    type: Annotated[str, Field(min_length=1, max_length=200)]
    source: Annotated[str, Field(min_length=1, max_length=200)]
    occurred_at: datetime
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that is ours until it is acknowledged; `attempts` counts this delivery."""

    handle: str
    body: bytes
    attempts: int


class EventBus(Protocol):
    """All raise `BusUnavailable`."""

    async def publish(self, event: OuterEvent) -> None: ...

    async def receive(self, *, limit: int = 10) -> list[Delivery]:
        """What is there, or came within a moment: first what an earlier taker has left unfinished."""
        ...

    async def ack(self, delivery: Delivery) -> None:
        """It has had its effect, and does not come again."""
        ...

    async def bury(self, delivery: Delivery, *, reason: str) -> None:
        """Set it aside for somebody to look at; it does not come again."""
        ...

    async def close(self) -> None: ...
