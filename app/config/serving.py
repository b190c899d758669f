"""The processes that serve, and what they write."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from app.config import machine
from app.config.common import CommaSeparated, Concern
from app.config.exposure import is_too_wide

# Twice what `make bench` measures for one, so that a recycled one and its successor have room beside each other.
PROCESS_BYTES = 300_000_000


class LogSettings(Concern):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["auto", "json", "console"] = "auto"


class ApiSettings(Concern):
    """The HTTP process."""

    workers: int = Field(default=1, ge=0, le=64, description="processes; 0: as many as cores and memory allow")
    body_limit: int = Field(default=1024 * 1024, ge=1024, description="bytes")
    body_timeout: float = Field(default=20, gt=0, description="seconds a client has to send its body")
    shutdown_grace: int = Field(default=15, ge=0, description="seconds for requests under way")
    max_requests: int = Field(default=200_000, ge=0, description="requests after which a process is replaced; 0: never")
    trusted_proxies: CommaSeparated = Field(default=[])
    allowed_hosts: CommaSeparated = Field(default=["*"])
    cors_origins: CommaSeparated = Field(default=[])
    docs: bool | None = Field(default=None, description="serve /docs and /openapi.json; unset: not in production")

    @property
    def processes(self) -> int:
        """How many processes serve: one a core, fewer where each would have less than 300 MB."""
        return self.workers or max(1, min(machine.cores(), machine.memory() // PROCESS_BYTES))

    def production_faults(self) -> Iterator[str]:
        if "*" in self.allowed_hosts:
            yield "API_ALLOWED_HOSTS: '*' is not allowed; name the hosts"
        if not self.allowed_hosts:
            yield "API_ALLOWED_HOSTS: is empty; name the hosts"
        if "*" in self.cors_origins:
            yield "API_CORS_ORIGINS: '*' is not allowed; name the origins"
        if "*" in self.trusted_proxies:
            yield "API_TRUSTED_PROXIES: '*' is not allowed; name the proxies"
        if any(map(is_too_wide, self.trusted_proxies)):
            yield "API_TRUSTED_PROXIES: has a network that is everybody's; name the proxies, or their own network"


class WorkerSettings(Concern):
    metrics_port: int = Field(default=9000, ge=1, le=65535)


class CelerySettings(Concern):
    metrics_port: int = Field(default=10000, ge=1, le=65535)
