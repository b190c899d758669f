"""The drills. Each gives what it has measured, and raises DrillFailed when a promise does not hold."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import httpx
from redis.asyncio import Redis

from deploy.drills.house import ROOT, DrillFailed, House, until
from deploy.drills.load import API, token, under_load
from deploy.local.postgres import binaries

SCRIPTS = ROOT / "deploy" / "postgres"
# Rows that look like some years of a clinic: appointments that are over, their jobs.
FILL = """
INSERT INTO users (email, full_name, password_hash)
SELECT 'drill' || n || '@example.com', 'Patient ' || n, '!' FROM generate_series(1, 20000) AS n;
INSERT INTO appointments (doctor_id, patient_id, starts_at, ends_at, status, reason)
SELECT (SELECT min(id) FROM doctors), (SELECT max(id) FROM users) - n % 20000,
  now() - n * interval '7 min', now() - n * interval '7 min' + interval '5 min', 'cancelled', md5(n::text)
FROM generate_series(1, 200000) AS n;
INSERT INTO jobs (name, queue, payload, max_attempts, status, finished_at, result)
SELECT 'mail.appointment', 'io', jsonb_build_object('appointment_id', n), 5, 'succeeded', now(), '{"message_id": "x"}'
FROM generate_series(1, 200000) AS n;
"""


async def restore(house: House) -> list[str]:
    """The database is dropped under load and restored from the last backup; nothing but what came later is missing."""
    await house.sql(FILL)
    size = await house.sql(f"SELECT pg_size_pretty(pg_database_size('{house.database}'))")
    async with under_load(house) as load:
        await asyncio.sleep(3)
        before = set(load.booked)
        said, seconds = await house.app("backup")
        lines = [said.splitlines()[0], f"the database: {size}; the command took {seconds:.1f} s, under load"]
        verified, seconds = await house.app("verify-backup")
        lines.append(f"{verified}; the command took {seconds:.1f} s, under load")
        lost_at = time.monotonic()
        await house.sql(f"DROP DATABASE {house.database} WITH (FORCE)", database="postgres")
        said, seconds = await house.app("restore")
        await house.ready_again()
        lines.append(
            f"{said.splitlines()[0]}; `ready` was 200 {time.monotonic() - lost_at:.1f} s after the database was gone"
        )
        async with httpx.AsyncClient(base_url=house.url, timeout=15) as client:
            await token(client)
    there = set((await house.sql("SELECT id FROM appointments")).split())
    if missing := {str(one) for one in before} - there:
        raise DrillFailed(f"{len(missing)} bookings from before the backup are missing")
    return [*lines, f"{len(before)} of {len(before)} bookings from before the backup are there"]


async def moment(house: House) -> list[str]:
    """The server is killed under load and its data thrown away: base backup, archive and its last WAL have all."""
    archive, bases = house.folder / "archive", house.folder / "bases"
    archive.mkdir()
    archive.chmod(0o777)
    command = f"{SCRIPTS / 'archive-wal.sh'} {archive} %p %f"
    for setting in (
        "wal_level = replica",
        "archive_mode = on",
        f"archive_command = '{command}'",
        "archive_timeout = 5",
    ):
        await house.sql(f"ALTER SYSTEM SET {setting}")
    house.kill("postgres", signal.SIGINT)
    await asyncio.sleep(1)
    await house.ready_again()
    async with under_load(house) as load:
        await asyncio.sleep(3)
        _, seconds = await house.run(str(SCRIPTS / "base-backup.sh"), str(bases), str(archive))
        await asyncio.sleep(8)
        archived = set(await _ids(house))
        await house.sql("SELECT pg_switch_wal()")
        await asyncio.sleep(2)
        house.kill("postgres", signal.SIGKILL)
        lost_at = time.monotonic()
        await asyncio.to_thread(house.stop)
    data, old = house.folder / "postgres", house.folder / "lost"
    data.rename(old)
    base = max(path for path in bases.iterdir() if path.name[0].isdigit())
    lines = [f"base backup in {seconds:.1f} s under load; {load.said()}"]
    for wal, promised in ((None, archived), (old / "pg_wal", {str(one) for one in load.booked})):
        shutil.rmtree(data, ignore_errors=True)
        more = {"PG_WAL": str(wal)} if wal else {}
        began = time.monotonic()
        await _script("restore-moment.sh", str(base), str(archive), str(data), **more)
        with (data / "postgresql.auto.conf").open("a") as settings:
            settings.write("archive_mode = off\n")  # the next restore would follow the timeline of this one
        took = await asyncio.to_thread(house.start)
        there = set(await _ids(house))
        if missing := promised - there:
            raise DrillFailed(f"{len(missing)} bookings are missing ({'with' if wal else 'without'} the old WAL)")
        lost = len({str(one) for one in load.booked} - there)
        what = "archive and the dead server's WAL" if wal else "archive alone"
        lines.append(
            f"{what}: {time.monotonic() - began:.1f} s, of which {took:.1f} s to replay and start everything; "
            f"{len(promised)} promised bookings are there, {lost} of all acknowledged are lost"
        )
        await asyncio.to_thread(house.stop)
    return [*lines, f"from the crash to the end of both: {time.monotonic() - lost_at:.0f} s"]


async def _ids(house: House) -> list[str]:
    return (await house.sql("SELECT id FROM appointments")).split()


async def _script(name: str, *arguments: str, **environment: str) -> None:
    path = f"{binaries()}:{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        str(SCRIPTS / name), *arguments, env=os.environ | {"PATH": path} | environment
    )
    if await process.wait() != 0:
        raise DrillFailed(f"{name} failed")


async def keys(house: House) -> list[str]:
    """The signing key is rotated, and rotated at once, while clients call with old tokens and get new ones."""
    signed: list[str] = []
    async with under_load(house) as load, httpx.AsyncClient(base_url=house.url, timeout=15) as client:
        stop = asyncio.Event()

        async def sign_in() -> None:
            while not stop.is_set():
                headers = await token(client)
                load.note((await client.get(f"{API}/users/me", headers=headers)).status_code)
                signed.append(headers["Authorization"].split()[1].split(".")[0])

        signing = asyncio.create_task(sign_in())
        await asyncio.sleep(3)
        said = [(await house.app("keys", "rotate", "--now"))[0] for _ in range(3)]
        published = (await client.get("/.well-known/jwks.json")).json()["keys"]
        await asyncio.sleep(3)
        stop.set()
        await signing
    if load.answers["401"]:
        raise DrillFailed(f"{load.answers['401']} answers were 401")
    return [
        f"{len(said)} rotations at once; {load.said()}; 401: 0",
        f"{len(signed)} sign-ins under {len(set(signed))} keys; the key set has {len(published)}",
    ]


async def redis(house: House) -> list[str]:
    """Valkey forgets everything, then dies, under load: what was accepted is done all the same."""
    lines = []
    for what in ("FLUSHALL", "SIGKILL and restart"):
        async with under_load(house) as load:
            await asyncio.sleep(3)
            if what == "FLUSHALL":
                async with Redis.from_url(house.env["REDIS_URL"]) as client:
                    await client.flushall()
            else:
                house.kill("redis", signal.SIGKILL)
            await asyncio.sleep(5)
        seconds = await until(lambda: _drained(house))
        lines.append(f"{what}: {load.said()}; the last job was done {seconds:.1f} s after the last request")
    if dead := await house.sql("SELECT count(*) FROM jobs WHERE status = 'failed'"):
        lines.append(f"failed jobs: {dead}")
    return lines


async def _drained(house: House) -> bool:
    return await house.sql("SELECT count(*) FROM jobs WHERE status IN ('queued', 'running') AND run_at <= now()") == "0"


async def postgres(house: House) -> list[str]:
    """PostgreSQL is restarted, then killed, under load."""
    lines = []
    for what, number in (("fast shutdown", signal.SIGINT), ("SIGKILL", signal.SIGKILL)):
        async with under_load(house) as load:
            await asyncio.sleep(3)
            house.kill("postgres", number)
            await asyncio.sleep(0.2)
            await house.ready_again()
            await asyncio.sleep(3)
        if missing := {str(one) for one in load.booked} - set(await _ids(house)):
            raise DrillFailed(f"{len(missing)} acknowledged bookings are missing")
        lines.append(f"{what}: {load.said()}; longest time without a good answer {load.longest_gap:.1f} s; none lost")
    return lines


Drill = Callable[[House], Awaitable[list[str]]]
DRILLS: Mapping[str, Drill] = {one.__name__: one for one in (restore, moment, keys, redis, postgres)}


async def run(name: str, folder: Path, port: int) -> list[str]:
    """One drill on a service of its own."""
    house = House(folder, port)
    seconds = await asyncio.to_thread(house.start)
    try:
        return [f"started in {seconds:.1f} s", *await DRILLS[name](house)]
    finally:
        await asyncio.to_thread(house.stop)
