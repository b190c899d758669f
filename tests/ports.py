"""Ports for servers that take a while to begin to listen."""

import os
import socket
from collections.abc import Iterator
from itertools import cycle

HOST = "127.0.0.1"
FIRST, SHARE = 20000, 1500
"""Below the range of which the kernel gives ports to whoever connects (32768 on Linux): between the choice of one of
those and the server's own bind, any of the connections that the tests make might get it."""


def _own() -> range:
    """The ports of this worker of xdist; several runs on one machine begin at different places."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
    return range(FIRST + worker * SHARE, FIRST + (worker + 1) * SHARE)


_ports: Iterator[int] = cycle([*_own()[os.getpid() % SHARE :], *_own()[: os.getpid() % SHARE]])


def free_port() -> int:
    """A port that nobody listens on, and that this process has given to nobody for a long time."""
    for port in _ports:
        with socket.socket() as probe:
            # As servers do: what is left of closed connections is no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
                probe.listen(1)
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: there is no end of ports")
