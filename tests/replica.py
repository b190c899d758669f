"""A real streaming replica, made by pg_basebackup of the embedded PostgreSQL."""

import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

from deploy.local.account import give
from deploy.local.engine import EngineError
from deploy.local.engines import PostgresEngine
from deploy.local.postgres import DATABASE, USER


class ReplicaEngine(PostgresEngine):
    """Follows `primary`, which has to run while this one is started for the first time."""

    def __init__(self, state_dir: Path, primary: PostgresEngine) -> None:
        super().__init__(state_dir, settings={"fsync": "off", "hot_standby_feedback": "on"})
        self._primary = primary
        self._password = primary.url.partition(f"{USER}:")[2].partition("@")[0]

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://{USER}:{self._password}@/{DATABASE}?host={quote(str(self.sockets))}"

    def _create(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        account = self._account(self._primary.directory)
        self.directory.mkdir(mode=0o700)
        give(self.directory, account)
        source = f"host={self._primary.sockets} user={USER} password={self._password}"
        copy = ("-D", str(self.directory), "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync")
        command = self._command("pg_basebackup", *copy)
        arguments, environment = command.guarded(bound=False), dict(command.env)
        made = subprocess.run(arguments, env=environment, cwd=command.cwd, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise EngineError(made.stderr)
