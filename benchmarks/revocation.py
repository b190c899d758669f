"""`python -m benchmarks.revocation`: what remembering principals saves, what counting requests costs, and how soon a
session that has ended is refused elsewhere.

The service as in production, once for each setting, on the stage of `make bench`; loaded one at a time, in turns. Then
a session that two processes know is ended in SQL, and the other process is asked until it refuses: a delay is the time
from the commit to the end of the first answer that is 401.
"""

import asyncio
import http.client
import tempfile
import time
from pathlib import Path
from statistics import median

import asyncpg

from benchmarks.measures import API, WARMUP, Contender
from benchmarks.servers import Cores, Generator, Group, Server, free_port
from benchmarks.stage import CLIENTS, HOST, Account, Stage
from benchmarks.stats import Sample, percentile

TURNS, SECONDS, SESSIONS = 5, 1.5, 300
FIRST = 101
"""The first of the accounts whose sessions are ended."""
ENOUGH = str(10**9)
LIMITED = {"LIMITS_READ": ENOUGH, "LIMITS_WRITE": ENOUGH, "LIMITS_AUTH": ENOUGH}
SETTINGS = {
    "as it is": LIMITED,
    "a read each": LIMITED | {"AUTH_PRINCIPAL_SECONDS": "0"},
    "no limits": {"LIMITS_READ": "0", "LIMITS_WRITE": "0", "LIMITS_AUTH": "0"},
}


class Deployment(Stage):
    """The stage, with processes of the service that differ by their settings."""

    def process(self, name: str, settings: dict[str, str]) -> Contender:
        port = free_port()
        # Each worker counts by itself what it hears; one process is one worker.
        server = self._start(name.replace(" ", "-"), ["-m", "app", "api"], self.service_env(port) | settings, port)
        contender = Contender(server, API, self.service_token)
        server.wait_for(f"{API}/users/me", headers(self.service_token(self.accounts[0])))
        return contender


def headers(token: str) -> dict[str, str]:
    return {"Host": HOST, "Authorization": f"Bearer {token}"}


def rates(generator: Generator, contenders: dict[str, Contender], accounts: list[Account]) -> None:
    """`GET /users/me` and a `PATCH` of it that changes nothing, at 32 clients."""
    for what, method, body in (("GET /users/me", "GET", ""), ("PATCH /users/me", "PATCH", "{}")):
        met: dict[str, list[Sample]] = {name: [] for name in contenders}
        for _ in range(TURNS):
            for name, one in contenders.items():
                requests = [
                    one.request(method, "/users/me", account, body=body, kind="application/json")
                    for account in accounts
                ]
                group = Group(what, CLIENTS, requests)
                met[name].append(generator.run(one.server, group, seconds=SECONDS, warmup=WARMUP)[what])
        base = median(sample.rate for sample in met["as it is"])
        print(f"\n{what}, {CLIENTS} clients, median of {TURNS} turns of {SECONDS} s")
        for name, samples in met.items():
            rate = median(sample.rate for sample in samples)
            p99 = median(sample.p99 for sample in samples)
            share = f"{1e6 / rate - 1e6 / base:+.0f} µs a request" if name != "as it is" else ""
            print(f"  {name:12} {rate:7.0f}/s  p99 {p99 * 1000:5.1f} ms  {share}")


async def delays(stage: Deployment, server: Server) -> list[float]:
    """Seconds from the end of a session in SQL to its refusal by a process that knew it."""
    database = await asyncpg.connect(stage.dsn)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    found = []

    def asked(token: str) -> int:
        connection.request("GET", f"{API}/users/me", headers=headers(token))
        answer = connection.getresponse()
        answer.read()
        return answer.status

    try:
        for number in range(FIRST, FIRST + SESSIONS):
            token = stage.service_token(Account(number, f"person{number}@example.org"))
            assert [asked(token), asked(token)] == [200, 200]
            await database.execute("UPDATE auth_sessions SET revoked_at = now() WHERE id = $1", number)
            committed = time.perf_counter()
            while asked(token) != 401:
                assert time.perf_counter() < committed + 10, "a session that has ended is taken"
            found.append(time.perf_counter() - committed)
    finally:
        connection.close()
        await database.close()
    return found


def main() -> None:
    cores = Cores.available()
    with tempfile.TemporaryDirectory(prefix="frontdesk-revocation-") as folder:
        state = Path(folder)
        # PostgreSQL runs as another account when we are root.
        state.chmod(0o755)
        stage = Deployment(state, cores)
        generator = Generator(state / "load.json", cores.rest)
        contenders: dict[str, Contender] = {}
        try:
            stage.open()
            for name, settings in SETTINGS.items():
                contenders[name] = stage.process(name, settings)
            rates(generator, contenders, stage.accounts)
            found = sorted(asyncio.run(delays(stage, contenders["as it is"].server)))
            p50, p99 = (percentile(found, percent) * 1000 for percent in (50, 99))
            print(f"\n{SESSIONS} sessions ended elsewhere: refused after p50 {p50:.1f} ms, p99 {p99:.1f} ms, ", end="")
            print(f"at most {found[-1] * 1000:.1f} ms")
        finally:
            generator.stop()
            for one in contenders.values():
                one.server.stop()
            stage.close()


if __name__ == "__main__":
    main()
