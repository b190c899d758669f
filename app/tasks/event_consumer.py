"""Takes what other services say, for as long as the worker runs."""

import asyncio

from app.core.logging import get_logger
from app.services.outer_events import OuterEventService
from app.tasks.cancellation import came

log = get_logger(__name__)
AGAIN_SECONDS = 1.0


class EventConsumer:
    """Any number may run; the bus shares the messages out among them. Without a bus there is nothing to do."""

    def __init__(self, service: OuterEventService) -> None:
        self._service = service
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Until `stop`. Whatever fails is logged and comes again."""
        if self._service.bus is None:
            await self._stopping.wait()
        while not self._stopping.is_set():
            try:
                await self._service.receive()
            except Exception as error:  # noqa: BLE001 - the consumer outlives every fault of its parts
                log.warning("events are not taken", error=repr(error))
                await came(self._stopping, within=AGAIN_SECONDS)

    def stop(self) -> None:
        """End `run` after the messages under way."""
        self._stopping.set()
