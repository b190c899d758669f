"""Ports that can't be had."""

from __future__ import annotations

import os
import socket

import pytest

from deploy.local import ports


def test_a_taken_port_is_named_with_its_owner_and_the_way_out() -> None:
    """The message says which port, who listens there and what to set."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ports.PortError, match=rf"port {port} is taken by pid {os.getpid()} .*PORT=1 make run"):
            ports.check("127.0.0.1", port, advice="PORT=1 make run")
        with pytest.raises(ports.PortError, match=f"port {port} is taken"):
            ports.check("0.0.0.0", port, advice="PORT=1 make run")  # noqa: S104 - a taken port is taken there, too
    ports.check("127.0.0.1", port, advice="")


def test_an_address_of_another_machine_is_refused() -> None:
    """HOST has to be ours."""
    with pytest.raises(ports.PortError, match=r"192\.0\.2\.1"):
        ports.check("192.0.2.1", 8000, advice="HOST")


def test_a_closed_port_has_no_owner() -> None:
    """Nobody is blamed for a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert ports.owner(port) is None
