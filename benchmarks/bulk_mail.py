"""`python -m benchmarks.bulk_mail [undisturbed|killed]`: mail to 10,000, as fast as it goes and with a SIGKILL amidst.

A worker as it runs in earnest, PostgreSQL with its default durability, and an SMTP server in a process of its own,
which notes the Message-ID and the connection of each mail that it takes. The second notification goes out at the
default pace; when half of it is there, its worker is killed and started again.
"""

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session
from sqlalchemy import text

from app.config import get_settings
from app.core.database import Database
from app.core.enums import Role
from app.core.jobs import enqueue
from app.core.wakeup import RedisWaker, use_waker
from app.models import Notification
from app.schemas.messages.notifications import SendNotification
from app.services.container import Container, build
from benchmarks.servers import ROOT, free_port
from deploy.local.engines import PostgresEngine, ValkeyEngine

RECIPIENTS, UNLIMITED = 10_000, "1000000"
_PEOPLE = f"""
    INSERT INTO users (email, full_name, password_hash, email_verified)
    SELECT 'person' || n || '@example.org', 'Person ' || n, '!', true FROM generate_series(1, {RECIPIENTS}) n
"""  # noqa: S608 - a number of our own
_JOB = """
    SELECT status, attempt, result, extract(epoch FROM finished_at - created_at) AS seconds,
        (SELECT count(*) FROM notification_recipients) AS known FROM jobs WHERE id = :id
"""


class Taken:
    """Takes every mail; a line for each, with its Message-ID and the port that it came from."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        found = re.search(rb"(?im)^message-id:\s*(\S+)", envelope.content)
        assert found, "a mail without a Message-ID"
        assert session.peer is not None
        self._file.write(f"{found[1].decode()} {session.peer[1]}\n")
        return "250 OK"


async def _take_mail(port: int, path: Path) -> None:
    handler = Taken(path)
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(handler), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


@dataclass(frozen=True, slots=True)
class Bench:
    container: Container
    folder: Path
    env: Mapping[str, str]
    inbox: Path

    @property
    def database(self) -> Database:
        return self.container.database

    def mails(self) -> list[list[str]]:
        """(Message-ID, port) of each mail that was taken."""
        return [line.split() for line in self.inbox.read_text().splitlines()] if self.inbox.exists() else []

    async def taken(self, number: int) -> None:
        """Return once there are so many."""
        while len(self.mails()) < number:  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.05)

    def worker(self, **env: str) -> "Worker":
        return Worker(self.folder / "worker.log", {**self.env, **env})

    async def accept(self) -> int:
        """A notification to all clients; the id of its job."""
        async with self.database.session_scope() as session:
            notification = Notification(
                template="announcement",
                subject="We are moving",
                context={"body": "From 1 March on you find us at 12 Bridge Street."},
                role=Role.CLIENT,
                last_user_id=RECIPIENTS,
            )
            session.add(notification)
            await session.flush()
            return await enqueue(session, SendNotification(notification_id=notification.id))

    async def done(self, job_id: int) -> str:
        while True:
            async with self.database.engine.connect() as connection:
                job = (await connection.execute(text(_JOB), {"id": job_id})).one()
            if job.status not in ("queued", "running"):
                break
            await asyncio.sleep(0.1)
        if job.status != "succeeded" or job.result["sent"] != RECIPIENTS:
            raise SystemExit(f"the job came to {job.status}: {job.result}")
        seconds = float(job.seconds)
        return f"{job.attempt} attempt(s), {seconds:.1f} s, {RECIPIENTS / seconds:.0f} mails/s"


class Worker:
    """`python -m app worker`."""

    def __init__(self, log: Path, env: Mapping[str, str]) -> None:
        with log.open("ab") as file:
            argv = [sys.executable, "-m", "app", "worker"]
            self._process = subprocess.Popen(argv, cwd=ROOT, env=dict(env), stdout=file, stderr=file)

    def peak(self) -> float:
        """The most memory that it has ever held, in MiB."""
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{self._process.pid}/status").read_text())
        return int(found[1]) / 1024 if found else 0

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait()


async def undisturbed(bench: Bench) -> None:
    worker = bench.worker(NOTIFICATIONS_RATE=UNLIMITED)
    try:
        await asyncio.sleep(5)
        before = worker.peak()
        said = await bench.done(await bench.accept())
        print(f"as fast as it goes: {said}; memory at most {worker.peak():.0f} MiB, {before:.0f} MiB before")
    finally:
        worker.end()
    tell(bench.mails())


async def killed(bench: Bench) -> None:
    start = len(bench.mails())
    worker = bench.worker()
    try:
        job_id = await bench.accept()
        await bench.taken(start + RECIPIENTS // 2)
        peak, at = worker.peak(), time.monotonic()
        worker.end(signal.SIGKILL)
        sent = len(bench.mails())
        worker = bench.worker()
        await bench.taken(sent + 1)
        gap = time.monotonic() - at
        said = await bench.done(job_id)
        peak = max(peak, worker.peak())
        print(f"killed in the middle, at the default pace: {said}; goes on after {gap:.1f} s; at most {peak:.0f} MiB")
    finally:
        worker.end()
    tell(bench.mails()[start:])


def tell(mails: list[list[str]]) -> None:
    copies = Counter(mail_id for mail_id, _ in mails)
    twice = sum(number - 1 for number in copies.values())
    print(f"    {len(copies)} Message-IDs, {RECIPIENTS - len(copies)} missing, {twice} taken a second time")
    print(f"    {len({port for _, port in mails})} connection(s)")


PARTS = {"undisturbed": undisturbed, "killed": killed}


async def measure(folder: Path, inbox: Path, wanted: Sequence[str]) -> None:
    container = build(get_settings(), role="worker")
    use_waker(RedisWaker(container.redis))
    async with container.database.engine.begin() as connection:
        await connection.execute(text(_PEOPLE))
    bench = Bench(container, folder, dict(os.environ), inbox)
    for name in wanted:
        await PARTS[name](bench)
    use_waker(None)
    await container.close()


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(_take_mail(int(sys.argv[2]), Path(sys.argv[3])))
        return
    if not set(sys.argv[1:]) <= PARTS.keys():
        raise SystemExit(__doc__)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="frontdesk-bulk-mail-") as name:
        folder, port = Path(name), free_port()
        # PostgreSQL runs as another account when we are root.
        folder.chmod(0o755)
        inbox = folder / "taken"
        postgres, valkey = PostgresEngine(folder), ValkeyEngine(folder)
        postgres.start()
        valkey.start()
        server = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bulk_mail", "serve", str(port), str(inbox)], cwd=ROOT
        )
        try:
            os.environ |= {"DATABASE_URL": postgres.url, "REDIS_URL": valkey.url, "ENVIRONMENT": "test"}
            os.environ |= {"MAIL_BACKEND": "smtp", "MAIL_HOST": "127.0.0.1", "MAIL_PORT": str(port)}
            os.environ |= {"MAIL_SECURITY": "none", "LOG_LEVEL": "WARNING", "WORKER_METRICS_PORT": str(free_port())}
            subprocess.run([sys.executable, "-m", "app", "migrate"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            with suppress(KeyboardInterrupt):
                asyncio.run(measure(folder, inbox, sys.argv[1:] or list(PARTS)))
        finally:
            server.kill()
            server.wait()
            valkey.stop()
            postgres.stop()


if __name__ == "__main__":
    main()
