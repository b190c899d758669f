"""Deployments on this machine: deploy/rollout with processes.toml, a real Traefik, clients that ask all the time."""

import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings
from deploy.local import leftovers
from tests.load import Asked, Load
from tests.ports import free_port
from tests.processes.traefik import LOOPBACK, ROOT, Proxy
from tests.support import API, World, eventually

SMALL = Path(__file__).with_name("small_release.py")
CLIENTS = 4
READ = Asked("GET", f"{API}/doctors?limit=1")


class Host:
    """A machine with Traefik, two slots, and folders of releases."""

    def __init__(self, folder: Path, proxy: Proxy) -> None:
        self.folder, self.proxy = folder, proxy
        text = (ROOT / "deploy/rollout/processes.toml").read_text()
        for port in ("8001", "9001", "10001", "8002", "9002", "10002"):
            text = text.replace(port, str(free_port()))
        text = text.replace("traefik/servers.yml", str(proxy.servers)).replace(
            "127.0.0.1:443", f"{LOOPBACK}:{proxy.https}"
        )
        # Workers are started as the API is, and not asked for here.
        text = text.replace(', "worker", "celery"]', "]")
        lines = [line.split(", ")[0] + "]" if line.startswith("ready = ") else line for line in text.splitlines()]
        lines += ["[seconds]", "ready = 20", "switch = 10", "watch = 0.3", "settle = 0.2"]
        self.config = folder / "rollout.toml"
        self.config.write_text("\n".join(lines))
        (folder / ".env").write_text(f"PUBLIC_HOST={LOOPBACK}\n")

    def small(self, name: str, *, fault: str = "") -> Path:
        """A release that begins at once, and fails at this."""
        release = self.folder / name
        (release / "app").mkdir(parents=True)
        (release / ".venv/bin").mkdir(parents=True)
        (release / ".venv/bin/python").symlink_to(sys.executable)
        shutil.copy(SMALL, release / "app/__main__.py")
        (release / "app/__init__.py").touch()
        (release / "app/fault").write_text(fault)
        return release

    def real(self, name: str) -> Path:
        """This very service."""
        release = self.folder / name
        release.mkdir()
        (release / ".venv").symlink_to(sys.prefix)
        for part in ("app", "alembic", "alembic.ini"):
            (release / part).symlink_to(ROOT / part)
        return release

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """`python -m deploy.rollout ARGUMENTS`, as an operator types it."""
        command = [sys.executable, "-m", "deploy.rollout", "--config", str(self.config)]
        command += ["--root", str(self.folder), *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=subprocess.STDOUT, text=True)

    async def run(self, *arguments: str, code: int = 0) -> str:
        """What it says; fails when it ends otherwise."""
        process = self.begin(*arguments)
        said, _ = await asyncio.to_thread(process.communicate, timeout=60)
        assert process.returncode == code, said
        return said

    def state(self) -> dict[str, Any]:
        with suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads((self.folder / "var/rollout/state.json").read_text())
            return found
        return {"current": None, "former": None, "target": None, "step": "nothing"}

    @property
    def current(self) -> Path:
        return Path(self.state()["current"]["release"])

    def processes(self, slot: str) -> int:
        """How many run in this slot."""
        return len(leftovers.find((self.folder / "var/rollout" / slot).resolve(), leftovers.has_marker))

    def serves(self, release: Path) -> bool:
        """Whether this release is the current one, and nothing runs but it."""
        state = self.state()
        current = state["current"]
        other = "green" if current["slot"] == "blue" else "blue"
        running = self.processes(current["slot"]) > 0 and self.processes(other) == 0
        return running and state["target"] is None and current["release"] == str(release)

    def load(self, *asked: Asked) -> Load:
        return Load(self.proxy.https, asked or (READ,), tls=True, note="X-Generation", rest=0.03)

    def end(self) -> None:
        for slot in ("blue", "green"):
            leftovers.end(leftovers.find((self.folder / "var/rollout" / slot).resolve(), leftovers.has_marker))


@pytest.fixture(scope="module")
async def proxy(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    running = Proxy(tmp_path_factory.mktemp("traefik"))
    await running.answers("/", 404)
    yield running
    running.stop()


@pytest.fixture(scope="module")
async def machine(proxy: Proxy, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Host]:
    made = Host(tmp_path_factory.mktemp("host"), proxy)
    await made.run("deploy", str(made.small("first")))
    yield made
    made.end()


@pytest.fixture
def host(machine: Host) -> Iterator[Host]:
    """A release serves, whichever it was that the test before has left."""
    text = machine.config.read_text()
    yield machine
    machine.config.write_text(text)


async def test_a_deployment_fails_no_request(host: Host, world: World) -> None:
    """From one generation of the service to the next, reads and writes through the proxy are all answered well."""
    await world.doctor()
    headers = (await world.person()).headers | {"Content-Type": "application/json"}
    write = Asked("PATCH", f"{API}/users/me", headers, b'{"full_name": "Pat Ient the Second"}', pause=0.05)
    # `check` and `migrate` take as long as all the rest, and have tests of their own.
    host.config.write_text(
        re.sub(r"^(check|migrate) = .*$", r'\1 = ["true"]', host.config.read_text(), flags=re.MULTILINE)
    )
    first, second = host.real("real1"), host.real("real2")
    await host.run("deploy", str(first))
    load = host.load(READ, write)
    async with load.running(CLIENTS) as tally:
        await load.until(50)
        await host.run("deploy", str(second))
        await load.until(50)
    assert tally.failed == {}
    assert len(tally.seen) == 2, "the requests did not meet both generations"
    assert host.serves(second)
    print(f"{tally.answered.total()} requests over a deployment, none failed, the slowest {tally.slowest:.2f} s")


@pytest.mark.parametrize(
    "fault",
    [
        "migrate",
        pytest.param("api", marks=pytest.mark.slow),
        pytest.param("smoke", marks=pytest.mark.slow),
        "proxied",
    ],
)
async def test_a_release_that_does_not_work_is_taken_back(host: Host, fault: str) -> None:
    """Whatever fails, the former generation goes on to serve, no request fails, and nothing of the new one is left."""
    good = host.current
    host.config.write_text(host.config.read_text().replace("ready = 20", "ready = 1"))
    load = host.load()
    async with load.running(CLIENTS) as tally:
        said = await host.run("deploy", str(host.small(f"bad-{fault}", fault=fault)), code=1)
        await load.until(20)
    assert tally.failed == {}
    assert host.serves(good), said
    assert "that failed: going back" in said or f"this release can't {fault}" in said
    if "going back" in said:
        assert "/api.log <==" in (host.folder / "var/rollout/log").read_text(), "its words are gone with it"


@pytest.mark.slow
async def test_a_deployment_that_was_killed_is_healed_by_the_next(host: Host) -> None:
    """Killed as it starts, switches or drains: the next deployment continues or takes back, and no request fails."""
    # What is to be killed stays in its step for long enough to be seen there; what heals it does not.
    releases = [host.current, host.small("release1", fault="sluggish")]
    releases += [host.small(f"release{number}") for number in range(2, 5)]
    quick = host.config.read_text()
    load = host.load()
    async with load.running(CLIENTS) as tally:
        steps = {"starting": "ready", "switching": "watch", "draining": "settle"}
        for number, (step, seconds) in enumerate(steps.items(), start=1):
            host.config.write_text(re.sub(rf"^{seconds} = [0-9.]+$", f"{seconds} = 9", quick, flags=re.MULTILINE))
            killed = host.begin("deploy", str(releases[number]))

            async def there(step: str = step) -> bool:
                return bool(host.state()["step"] == step)

            await eventually(there, seconds=20, every=0.005)
            killed.kill()
            await asyncio.to_thread(killed.communicate)
            host.config.write_text(quick)
            assert host.state()["target"] is not None
            assert f"half-way, at {step}" in await host.run("status")
            assert f"is half-way, at {step}" in await host.run("heal")
            assert host.serves(releases[3 if step == "draining" else 0])
        await host.run("deploy", str(releases[4]))
        await load.until(20)
    assert tally.failed == {}
    assert host.serves(releases[4])


@pytest.mark.slow
async def test_rolling_back_serves_the_former_release(host: Host, tmp_path: Path) -> None:
    """`rollback` goes to the former release without migrating, and twice is there and back."""
    assert "no former release" in await Host(tmp_path, host.proxy).run("rollback", code=1)
    first, second = host.small("one"), host.small("two")
    await host.run("deploy", str(first))
    await host.run("deploy", str(second))
    (first / "app/fault").write_text("migrate")
    load = host.load()
    async with load.running(CLIENTS) as tally:
        await host.run("rollback")
        assert host.serves(first)
        await host.run("rollback")
    assert tally.failed == {}
    assert host.serves(second)
    assert "serves already" in await host.run("deploy", str(second))


async def test_two_deployments_do_not_run_at_once(host: Host) -> None:
    """The second says who is at it and changes nothing; one that is asked to stop takes back what it has begun."""
    first, second = host.current, host.small("stopped")
    host.config.write_text(host.config.read_text().replace("watch = 0.3", "watch = 30"))
    running = host.begin("deploy", str(second))

    async def switching() -> bool:
        return bool(host.state()["step"] == "switching")

    await eventually(switching, seconds=20)
    assert f"process {running.pid}" in await host.run("deploy", str(second), code=75)
    running.terminate()
    said, _ = await asyncio.to_thread(running.communicate)
    assert running.returncode == 1, said
    assert host.serves(first)


async def test_a_command_is_one_of_the_release_that_serves(host: Host, tmp_path: Path) -> None:
    """`run` hands every word on to the release that serves, and ends as it does; before there is one it says so."""
    assert "deploy first" in await Host(tmp_path, host.proxy).run("run", "seed", code=1)
    release = host.small("asked")
    await host.run("deploy", str(release))
    assert "which command?" in await host.run("run", code=1)
    assert "asked for backup --list" in await host.run("run", "backup", "--list")
    (release / "app/fault").write_text("restore")
    assert "this release can't restore" in await host.run("run", "restore", "--replace", "frontdesk", code=1)
    (release / "app/fault").write_text("")


async def test_a_connection_that_breaks_does_not_stop_a_deployment(host: Host) -> None:
    """With nobody who reads what it says, and a hang-up on top, it goes on to its end; the log has it all."""
    second = host.small("unheard")
    running = host.begin("deploy", str(second))
    assert running.stdout is not None
    running.stdout.close()

    async def starting() -> bool:
        return bool(host.state()["step"] != "nothing")

    await eventually(starting, seconds=20, every=0.005)
    running.send_signal(signal.SIGHUP)
    assert await asyncio.to_thread(running.wait, 30) == 0
    assert host.serves(second)
    assert f"{second}) serves" in (host.folder / "var/rollout/log").read_text()
