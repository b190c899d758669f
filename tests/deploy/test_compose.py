"""What docker-compose.yml has to have in common with the program and with deploy/rollout."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from app.config.engines import JobSettings
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
                assert services[name]["environment"][setting].startswith(f"${{{setting}:-"), "what .env says is beaten"
    assert len(set(addresses)) == len(addresses)
    assert services["migrate"]["command"] == ["migrate"]


def test_only_the_proxy_is_reached_from_outside(services: dict[str, Any]) -> None:
    """No other service publishes a port but to the host itself; each has limits, bounded logs and a health check."""
    for name, service in services.items():
        for port in service.get("ports", ()):
            assert name == "traefik" or str(port).startswith("127.0.0.1:"), name
        assert service["logging"]["options"]["max-size"], name
        if name != "migrate":
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


def test_the_name_of_the_host_has_to_be_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PUBLIC_HOST comes from the environment or .env; without it nothing is begun."""
    monkeypatch.delenv("PUBLIC_HOST", raising=False)
    file = ROOT / "deploy/rollout/compose.toml"
    with pytest.raises(RolloutError, match="PUBLIC_HOST"):
        read(file, tmp_path)
    (tmp_path / ".env").write_text("A=1\nPUBLIC_HOST='clinic.example.org'\n")
    assert read(file, tmp_path).host == "clinic.example.org"
