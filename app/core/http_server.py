"""uvicorn's server, ended without a loss: whatever a client could send before it could know of the end is answered."""

import asyncio
import os
import socket
from contextlib import suppress
from typing import Any

from uvicorn import Server
from uvicorn.server import ServerState

from app.core.shutdown import begin_shutdown

STREAMS_EVERY = 0.1


class DrainingState(ServerState):
    """Tells every connection whether its next answer is the last one."""

    draining = False


class DrainingServer(Server):
    """Takes over what the kernel has accepted before it closes the port; idle connections get time for a last request.

    uvicorn closes a port with connections in its queue, which the kernel then resets, although the client has sent its
    request and was never refused.
    """

    server_state: DrainingState

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.server_state = DrainingState()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.server_state.draining = True
        streams = asyncio.create_task(_end_streams())
        try:
            await self._take_over(self._close(sockets or []))
            await super().shutdown(sockets)
        finally:
            streams.cancel()

    def _close(self, sockets: list[socket.socket]) -> list[socket.socket]:
        """Close the ports; the connections that waited there."""
        listening = [one for server in self.servers for one in server.sockets]
        copies = [socket.socket(fileno=os.dup(one.fileno())) for one in listening]
        for server in self.servers:
            server.close()
        for one in sockets:
            one.close()
        waiting: list[socket.socket] = []
        for copy in copies:
            copy.setblocking(False)
            # To the last one, and closed in the next line: what comes later is refused, which a client may repeat.
            with copy, suppress(OSError):
                while True:
                    waiting.append(copy.accept()[0])
        return waiting

    async def _take_over(self, waiting: list[socket.socket]) -> None:
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn makes it
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )
            return made

        for one in waiting:
            one.setblocking(False)
            with suppress(OSError):
                await loop.connect_accepted_socket(protocol, one)


async def _end_streams() -> None:
    """End the streams that are open, and those that last requests open."""
    while True:
        begin_shutdown()
        await asyncio.sleep(STREAMS_EVERY)
