"""A primary, its replica and three sentinels, all of them the embedded server's own program."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from deploy.local.valkey import binary
from tests.ports import free_port
from tests.support import eventually

SERVICE, PASSWORD = "frontdesk", "servers-password"
LOOPBACK = "127.0.0.1"


class Server:
    """One process with a file of settings, which a sentinel writes into."""

    def __init__(self, folder: Path, name: str, *settings: str, mode: str = "") -> None:
        self.port = free_port()
        self._file = folder / f"{name}.conf"
        lines = (f"port {self.port}", f"bind {LOOPBACK}", f"dir {folder}", "loglevel warning", *settings)
        self._file.write_text("\n".join(lines) + "\n")
        self._log = folder / f"{name}.log"
        self._mode = [mode] if mode else []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            command = [str(binary()), str(self._file), *self._mode]
            self._process = subprocess.Popen(command, env=dict(os.environ), stdout=log, stderr=log)

    def kill(self) -> None:
        """SIGKILL, as a machine that is gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def info(self, section: str, password: str | None = PASSWORD) -> dict[str, object]:
        """What it says of itself; nothing while it does not answer."""
        with suppress(RedisError), Redis(port=self.port, password=password, socket_timeout=1) as client:
            return dict(client.info(section))
        return {}


class Sentinels:
    """`url` is what REDIS_URL takes."""

    def __init__(self, folder: Path) -> None:
        logins = (f"requirepass {PASSWORD}", f"primaryauth {PASSWORD}", 'save ""', "appendonly no")
        self.primary = Server(folder, "primary", *logins)
        self.replica = Server(
            folder, "replica", *logins, f"replicaof {LOOPBACK} {self.primary.port}", "repl-diskless-sync-delay 0"
        )
        watched = (
            f"sentinel monitor {SERVICE} {LOOPBACK} {self.primary.port} 2",
            f"sentinel auth-pass {SERVICE} {PASSWORD}",
            f"sentinel down-after-milliseconds {SERVICE} 1000",
            f"sentinel failover-timeout {SERVICE} 3000",
        )
        self._watchers = [Server(folder, f"sentinel{number}", *watched, mode="--sentinel") for number in range(3)]
        hosts = ",".join(f"{LOOPBACK}:{one.port}" for one in self._watchers)
        self.url = f"redis+sentinel://:{PASSWORD}@{hosts}/{SERVICE}/0"

    async def start(self) -> None:
        """Return when each of the sentinels knows the others and the replica."""
        self.primary.start()
        self.replica.start()

        async def linked() -> bool:
            return self.replica.info("replication").get("master_link_status") == "up"

        # A sentinel asks for replicas when it starts, and then every ten seconds.
        await eventually(linked, seconds=30)
        for one in self._watchers:
            one.start()

        async def watched() -> bool:
            known = [one.info("sentinel", None).get("master0", {}) for one in self._watchers]
            return all(isinstance(one, dict) and one.get("sentinels") == 3 and one.get("slaves") == 1 for one in known)

        await eventually(watched, seconds=30)

    def stop(self) -> None:
        for one in (*self._watchers, self.replica, self.primary):
            one.kill()
