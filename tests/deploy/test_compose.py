"""What docker-compose.yml has to have in common with the program and with deploy/rollout."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from app.config.engines import JobSettings
from app.config.photos import PhotoSettings
from app.config.serving import ApiSettings
from app.server_processes import OUTER_GRACE
from deploy.rollout.config import SLOTS, Config, read
from deploy.rollout.errors import RolloutError

ROOT = Path(__file__).resolve().parents[2]
ROLES = ("api", "worker", "celery")
PORTS = {"api": 8000, "worker": 9000, "celery": 10000}


@pytest.fixture
def services() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return loaded


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("PUBLIC_HOST", "clinic.example.org")
    return read(ROOT / "deploy/rollout/compose.toml", ROOT)


def test_a_container_is_given_longer_than_its_program_takes_to_end(services: dict[str, Any]) -> None:
    """uvicorn's grace < gunicorn's < the container's, and the workers' < the container's."""
    inner = ApiSettings().shutdown_grace
    for name in (f"{role}-{slot}" for role in ROLES for slot in SLOTS):
        grace = int(services[name]["stop_grace_period"].removesuffix("s"))
        assert inner < inner + OUTER_GRACE < grace, name
        assert JobSettings().shutdown_grace < grace, name


def test_the_slots_are_where_the_rollout_looks_for_them(services: dict[str, Any], config: Config) -> None:
    """Names, addresses and ports in compose.toml are those of docker-compose.yml, and no two slots share one."""
    addresses = []
    for slot in SLOTS:
        given = config.slots[slot]
        assert given.upstream == f"http://api-{slot}:8000"
        for role, ready in zip(ROLES, given.ready, strict=True):
            service = services[f"{role}-{slot}"]
            assert (service["command"], service["profiles"]) == ([role], [slot])
            address = service["networks"]["inner"]["ipv4_address"]
            assert urlsplit(ready).netloc == f"{address}:{PORTS[role]}"
            addresses.append(address)
        assert given.api == f"http://{services[f'api-{slot}']['networks']['inner']['ipv4_address']}:8000"
        for command in ("start", "stop", "logs"):
            words = config.argv(command, slot=slot, release="IMAGE")
            assert words[-4:] == [*(f"{role}-{slot}" for role in ROLES), f"backup-{slot}"]
            assert words[-4:] == [name for name, one in services.items() if slot in one.get("profiles", ())]
            assert words[words.index("--profile") + 1] == slot
        assert config.env(slot=slot, release="IMAGE")["FRONTDESK_IMAGE"] == "IMAGE"
        for name in (*(f"{role}-{slot}" for role in ROLES), f"backup-{slot}"):
            for setting in ("DATABASE_URL", "REDIS_URL"):
                assert services[name]["environment"][setting].startswith(f"${{{setting}-"), "what .env says is beaten"
    assert len(set(addresses)) == len(addresses)
    for command in ("check", "migrate", "run"):
        assert "command" in config.argv(command, slot="blue", release="IMAGE"), "the service, by its name"
    assert "backups:/backups" in services["command"]["volumes"], "restore finds none"


def mebibytes(size: str) -> int:
    return int(size[:-1]) * {"m": 1, "g": 1024}[size[-1].lower()]


def test_what_is_written_beside_volumes_has_room(services: dict[str, Any]) -> None:
    """Where a root is read-only, Traefik's bodies and our files have a folder in memory, which the limit covers."""
    for name in ("traefik", *(f"{role}-{slot}" for role in (*ROLES, "backup") for slot in SLOTS)):
        service = services[name]
        folder, _, size = service["tmpfs"][0].partition(":size=")
        assert folder == ("/tmp" if name == "traefik" else "/scratch"), name  # noqa: S108 - the container's
        assert 1.5 * mebibytes(size) < mebibytes(service["deploy"]["resources"]["limits"]["memory"]), name


def test_the_proxy_waits_as_long_as_the_api_does(services: dict[str, Any]) -> None:
    """For the slowest body that the API takes, and, when it is stopped, for what is under way."""
    entry = yaml.safe_load((ROOT / "deploy/traefik/traefik.yml").read_text())["entryPoints"]["websecure"]["transport"]
    reads = int(entry["respondingTimeouts"]["readTimeout"].removesuffix("s"))
    assert max(PhotoSettings().upload_timeout, ApiSettings().body_timeout) < reads
    ends = sum(int(grace.removesuffix("s")) for grace in entry["lifeCycle"].values())
    assert ends < int(services["traefik"]["stop_grace_period"].removesuffix("s"))


def test_only_the_proxy_is_reached_from_outside(services: dict[str, Any]) -> None:
    """No other service publishes a port but to the host itself; each has limits, bounded logs and a health check."""
    for name, service in services.items():
        for port in service.get("ports", ()):
            assert name == "traefik" or str(port).startswith("127.0.0.1:"), name
        assert service["logging"]["options"]["max-size"], name
        if name != "command":
            assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}, name
            assert "healthcheck" in service or service["image"].startswith("${FRONTDESK_IMAGE"), name


BROKEN = {
    "x =": "Invalid value",
    "state = 'var'": "'slots'",
    "slots = 1": "is missing, or has in the wrong form",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_file_is_named(text: str, tmp_path: Path) -> None:
    """The message has the file and what is wrong in it."""
    file = tmp_path / "rollout.toml"
    file.write_text(text)
    with pytest.raises(RolloutError, match=BROKEN[text]) as caught:
        read(file, tmp_path)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("line", "host"),
    [
        ("PUBLIC_HOST='clinic.example.org'", "clinic.example.org"),
        ("export PUBLIC_HOST=clinic.example.org", "clinic.example.org"),
        ("PUBLIC_HOST=clinic.example.org # ours", "clinic.example.org"),
        ('PUBLIC_HOST="clinic.example.org" # ours', "clinic.example.org"),
        ("PUBLIC_HOST=old.example.org\nPUBLIC_HOST=new.example.org", "new.example.org"),
    ],
)
def test_env_is_read_as_compose_reads_it(line: str, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quotes, comments, `export`, and the last of two."""
    monkeypatch.delenv("PUBLIC_HOST", raising=False)
    (tmp_path / ".env").write_text(f"# PUBLIC_HOST=no\nA=1\n{line}\n")
    assert read(ROOT / "deploy/rollout/compose.toml", tmp_path).host == host


@pytest.mark.parametrize("line", ["", "PUBLIC_HOST=", "PUBLIC_HOST=${DOMAIN}", "# PUBLIC_HOST=clinic.example.org"])
def test_the_name_of_the_host_has_to_be_known(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PUBLIC_HOST, or with one that only compose could fill in, nothing is begun, and the file is named."""
    monkeypatch.delenv("PUBLIC_HOST", raising=False)
    (tmp_path / ".env").write_text(f"{line}\n")
    with pytest.raises(RolloutError, match=r"PUBLIC_HOST: .*\.env"):
        read(ROOT / "deploy/rollout/compose.toml", tmp_path)
