"""What a run consists of: engines, steps, processes and their environment."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from deploy.local import ports
from deploy.local.command import Command, marked
from deploy.local.engines import Engine, PostgresEngine, ValkeyEngine
from deploy.local.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Program:
    """A program of the app: one of the `programs` of a plan is kept running, one of its `steps` must end well."""

    name: str
    argv: tuple[str, ...]
    health: str | None = None

    def command(self, env: Mapping[str, str], *, state: Path, cwd: Path) -> Command:
        """With a metrics directory of its own, emptied."""
        metrics = state / "metrics" / self.name
        shutil.rmtree(metrics, ignore_errors=True)
        metrics.mkdir(parents=True)
        return Command(argv=self.argv, env=marked({**env, "PROMETHEUS_MULTIPROC_DIR": str(metrics)}, state), cwd=cwd)


@dataclass(frozen=True)
class Plan:
    """A whole run. `engines` are (variable for the address, name in the log, engine); values in `env` are given."""

    env: Mapping[str, str]
    engines: tuple[tuple[str, str, Engine], ...] = ()
    steps: tuple[Program, ...] = ()
    programs: tuple[Program, ...] = ()
    ready_line: str = "ready"
    cwd: Path = ROOT
    shell: tuple[str, ...] = field(default=("DATABASE_URL", "REDIS_URL", "HOST", "PORT"))


def app(name: str, health: str | None = None) -> Program:
    """A command of the app."""
    return Program(name, (sys.executable, "-m", "app", name), health)


def frontdesk(settings: Settings, *, state: Path) -> Plan:
    """The app with every process it has, on embedded engines where no address was given."""
    env = {
        "HOST": settings.host,
        "PORT": str(settings.port),
        "WORKER_METRICS_PORT": str(settings.worker_metrics_port),
        "CELERY_METRICS_PORT": str(settings.celery_metrics_port),
        "SANDBOX_PORT": str(settings.sandbox_port),
        "PYTHONUNBUFFERED": "1",
    }
    defaults = {
        "MAIL_DIRECTORY": str(state / "mail"),
        "STORAGE_DIRECTORY": str(state / "storage"),
        "SANDBOX_FILE": str(state / "sandbox.sqlite3"),
        "PAYMENTS_URL": settings.sandbox_address,
        "MARKETPLACE_URL": settings.sandbox_address,
        "LOG_FORMAT": "console",
    }
    given = {"DATABASE_URL": settings.database_url, "REDIS_URL": settings.redis_url}
    env |= {name: value for name, value in given.items() if value is not None}
    env |= {name: value for name, value in defaults.items() if name not in settings.given}
    engines: list[tuple[str, str, Engine]] = []
    if settings.database_url is None:
        engines.append(("DATABASE_URL", "postgres", PostgresEngine(state)))
    if settings.redis_url is None:
        engines.append(("REDIS_URL", "redis", ValkeyEngine(state)))
    return Plan(
        env={**os.environ, **env},
        engines=tuple(engines),
        steps=(app("migrate"), app("seed")),
        programs=(
            app("api", f"{settings.address}/health/ready"),
            app("worker", f"http://127.0.0.1:{settings.worker_metrics_port}/health/ready"),
            app("celery", f"http://127.0.0.1:{settings.celery_metrics_port}/health/ready"),
            *((app("sandbox", f"{settings.sandbox_address}/health"),) if settings.sandbox else ()),
        ),
        ready_line=settings.ready_line,
    )


def check_ports(settings: Settings) -> None:
    """Raises PortError naming the first port that can't be had."""
    ports.check(settings.host, settings.port, advice=f"PORT={settings.port + 1} make run")
    for name, port in (
        ("WORKER_METRICS_PORT", settings.worker_metrics_port),
        ("CELERY_METRICS_PORT", settings.celery_metrics_port),
        *((("SANDBOX_PORT", settings.sandbox_port),) if settings.sandbox else ()),
    ):
        ports.check("127.0.0.1", port, advice=f"{name}={port + 1} make run, or PORT={settings.port + 1} make run")


def psql_variables(url: str) -> dict[str, str]:
    """The variables by which `psql` and the other PostgreSQL clients find the database of an SQLAlchemy address."""
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    found = {
        "PGHOST": query.get("host") or parts.hostname,
        "PGPORT": query.get("port") or (str(parts.port) if parts.port else None),
        "PGUSER": unquote(parts.username) if parts.username else None,
        "PGPASSWORD": unquote(parts.password) if parts.password else None,
        "PGDATABASE": unquote(parts.path.lstrip("/")) or None,
    }
    return {name: value for name, value in found.items() if value}
