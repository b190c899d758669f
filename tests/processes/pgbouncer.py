"""A real PgBouncer with the file of deploy/pgbouncer before the tests' PostgreSQL, as an account that is not root."""

import os
import shutil
import socket
from configparser import ConfigParser
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from deploy.local.account import give, unprivileged
from deploy.local.command import Command, marked
from deploy.local.engine import Engine
from deploy.local.engines import PostgresEngine
from deploy.local.files import write_private
from tests.ports import free_port

FILE = Path(__file__).resolve().parents[2] / "deploy/pgbouncer/pgbouncer.ini"
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def shipped() -> ConfigParser:
    """The file as it is shipped."""
    read = ConfigParser(interpolation=None)
    read.read(FILE)
    return read


class PgBouncer(Engine):
    """`servers` connections to PostgreSQL for each name; only addresses and sizes differ from the shipped file."""

    name = "pgbouncer"

    def __init__(self, folder: Path, postgres: PostgresEngine, *, servers: int) -> None:
        super().__init__(folder)
        self._postgres = postgres
        self._servers = servers
        self._port = free_port()
        self._login = urlsplit(postgres.url)

    @property
    def url(self) -> str:
        """For the API."""
        return self.url_of("frontdesk")

    def url_of(self, database: str) -> str:
        login = f"{self._login.username}:{self._login.password}"
        return f"postgresql+asyncpg://{login}@127.0.0.1:{self._port}/{database}"

    def command(self) -> Command:
        assert PROGRAM is not None
        account = unprivileged(self._postgres.directory)
        file = self.directory / "pgbouncer.ini"
        return Command(
            argv=(PROGRAM, "-q", str(file)),
            env=marked(os.environ, self.state),
            cwd=self.state,
            account=account,
            capability=None if account is None else account.capability_for(Path(PROGRAM), (file,)),
        )

    def is_ready(self, pid: int) -> bool:  # noqa: ARG002 - the port is this test's own
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=0.2):
            return True
        return False

    def _prepare(self) -> None:
        self.directory.mkdir(exist_ok=True)
        made = shipped()
        for name, line in made["databases"].items():
            made["databases"][name] = line.replace("host=postgres", f"host={self._postgres.sockets}")
        made["databases"]["bare"] = f"host={self._postgres.sockets} port=5432 dbname=frontdesk"
        ours = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self._port),
            "auth_file": str(self.directory / "userlist.txt"),
            "default_pool_size": str(self._servers),
        }
        made["pgbouncer"].update(ours)
        with (self.directory / "pgbouncer.ini").open("w") as file:
            made.write(file)
        write_private(self.directory / "userlist.txt", f'"{self._login.username}" "{self._login.password}"\n')
        give(self.directory, unprivileged(self._postgres.directory))
