"""What the user has asked for, from the environment and `.env`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

DEFAULT_EMAIL = "admin@example.com"
DEFAULT_PASSWORD = "frontdesk-admin"  # noqa: S105 - the app's development default, published in its documentation


class SettingsError(Exception):
    """A value that can't be used; the text names the variable."""


def read(root: Path, base: Path, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The values in force: the environment beats `.env`, an empty value counts as not given.

    The parser of `.env` is the one the app's settings use, so both understand a file in the same way. The address of
    an embedded engine below `base` is left out: a shell that has read an earlier `run/env` still exports it, and the
    engine behind it is started by whoever asks.
    """
    kept = {name: value for name, value in dotenv_values(root / ".env").items() if value}
    values = kept | {name: value for name, value in environment.items() if value}
    secrets = [path.read_text() for pattern in ("*.password", "*/*.password") for path in base.glob(pattern)]
    for name in ("DATABASE_URL", "REDIS_URL"):
        if any(secret and f":{secret}@" in values.get(name, "") for secret in secrets):
            del values[name]
    return values


@dataclass(frozen=True)
class Settings:
    """The part of the values that the supervisor acts on."""

    host: str
    port: int
    worker_metrics_port: int
    celery_metrics_port: int
    sandbox_port: int
    database_url: str | None
    redis_url: str | None
    email: str
    password: str | None
    given: frozenset[str]

    @classmethod
    def parse(cls, values: Mapping[str, str]) -> Settings:
        """Raises SettingsError."""
        port = port_of(values, "PORT", 8000)
        return cls(
            host=values.get("HOST", "127.0.0.1"),
            port=port,
            worker_metrics_port=port_of(values, "WORKER_METRICS_PORT", port + 1000),
            celery_metrics_port=port_of(values, "CELERY_METRICS_PORT", port + 2000),
            # Below the port where there is no room above it: no run fails for want of a partner.
            sandbox_port=port_of(values, "SANDBOX_PORT", port + 3000 if port < 62536 else port - 3000),
            database_url=values.get("DATABASE_URL"),
            redis_url=values.get("REDIS_URL"),
            email=values.get("FIRST_SUPERADMIN_EMAIL", DEFAULT_EMAIL),
            password=values.get("FIRST_SUPERADMIN_PASSWORD"),
            given=frozenset(values),
        )

    @property
    def address(self) -> str:
        """Where a browser on this machine finds the API."""
        return self._address(self.port)

    def _address(self, port: int) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def sandbox(self) -> bool:
        """Whether the sandbox is to play a partner: not when both are given."""
        return not {"PAYMENTS_URL", "MARKETPLACE_URL"} <= self.given

    @property
    def sandbox_address(self) -> str:
        """Where the sandbox is found on this machine, by the service and by a browser."""
        return self._address(self.sandbox_port)

    @property
    def ready_line(self) -> str:
        """The line that says it works; a password of the user's own is never shown."""
        password = DEFAULT_PASSWORD if self.password is None else "(your FIRST_SUPERADMIN_PASSWORD)"
        return f"ready  {self.address}  docs {self.address}/docs  sign in as {self.email} / {password}"


def port_of(values: Mapping[str, str], name: str, default: int) -> int:
    """The port that a variable names. Raises SettingsError."""
    text = values.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
        raise SettingsError(f"{name}={text} is no port: set {name} to a number between 1 and 65535")
    return int(text)
