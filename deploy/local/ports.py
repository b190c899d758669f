"""Whether a port can be had, and who has it otherwise."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
LISTENING = "0A"


class PortError(Exception):
    """A port can't be listened on; the text names it, its owner if known, and what to set."""


def check(host: str, port: int, *, advice: str) -> None:
    """Return if a server could listen on `host`:`port` now; raises PortError."""
    if not 0 < port < 65536:
        raise PortError(f"{port} is no port: set {advice}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise PortError(f"HOST={host} is no address of this machine ({error.strerror})") from error
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)  # another socket may be bound to the port without listening yet
        except OSError as error:
            raise PortError(_reason(host, port, error, advice)) from error


def _reason(host: str, port: int, error: OSError, advice: str) -> str:
    if error.errno == errno.EADDRINUSE:
        pid = owner(port)
        by = f"pid {pid} ({_name(pid)})" if pid is not None else "another process"
        return f"port {port} is taken by {by}: stop it, or set another one: {advice}"
    if error.errno == errno.EACCES:
        return f"port {port} is reserved for root: set another one: {advice}"
    return f"cannot listen on {host}, port {port}: {error.strerror}; set {advice}"


def owner(port: int) -> int | None:
    """The process that listens on a TCP port, as far as this account may know (Linux)."""
    inodes = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _listening(port, PROC / "net" / table)}
    for entry in PROC.glob("[0-9]*") if inodes else ():
        with suppress(OSError):
            if any(str(handle.readlink()) in inodes for handle in (entry / "fd").iterdir()):
                return int(entry.name)
    return None


def _listening(port: int, table: Path) -> list[str]:
    with suppress(OSError):
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
        return [row[9] for row in rows if row[3] == LISTENING and int(row[1].rpartition(":")[2], 16) == port]
    return []


def _name(pid: int) -> str:
    with suppress(OSError):
        return (PROC / str(pid) / "comm").read_text().strip()
    return "?"
