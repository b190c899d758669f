"""What the parts of docker-compose.yml have to have in common with the program."""

from pathlib import Path
from typing import Any

import yaml

from app.config.engines import JobSettings
from app.config.serving import ApiSettings
from app.server import OUTER_GRACE

ROOT = Path(__file__).resolve().parents[2]


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def roles() -> dict[str, Any]:
    """The services that run our image and go on for good."""
    return {name: one for name, one in compose()["services"].items() if one.get("command", [""])[0] in ROLES}


ROLES = ("api", "worker", "celery")


def test_a_container_is_given_longer_than_its_program_takes_to_end() -> None:
    """uvicorn's grace < gunicorn's < the container's, and the workers' < the container's."""
    inner = ApiSettings().shutdown_grace
    for name, service in roles().items():
        grace = int(service["stop_grace_period"].removesuffix("s"))
        assert inner < inner + OUTER_GRACE < grace, name
        assert JobSettings().shutdown_grace < grace, name
