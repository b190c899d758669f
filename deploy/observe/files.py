"""The configuration for this machine, made of that for the compose file: the same rules, other addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.local.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
HERE = "127.0.0.1"


@dataclass(frozen=True)
class Ports:
    """Where each program answers."""

    prometheus: int = 9090
    alertmanager: int = 9093
    grafana: int = 3000
    tempo: int = 3200
    otlp: int = 4318


def targets(settings: Settings) -> dict[str, str]:
    """The scrape target of each job."""
    ports = {
        "frontdesk-api": settings.port,
        "frontdesk-worker": settings.worker_metrics_port,
        "frontdesk-celery": settings.celery_metrics_port,
    }
    return {job: f"{HERE}:{port}" for job, port in ports.items()}


def prometheus(settings: Settings, ports: Ports, *, alertmanager: bool) -> dict[str, Any]:
    """Prometheus' configuration: what runs here, and the rules of the repository."""
    config = _read(DEPLOY / "prometheus" / "prometheus.yml")
    here = {**targets(settings), "prometheus": f"{HERE}:{ports.prometheus}"}
    jobs = [job["job_name"] for job in config["scrape_configs"] if job["job_name"] in here]
    config["scrape_configs"] = [{"job_name": job, "static_configs": [{"targets": [here[job]]}]} for job in jobs]
    config["rule_files"] = [str(DEPLOY / "prometheus" / "rules" / "*.yml")]
    known = [{"static_configs": [{"targets": [f"{HERE}:{ports.alertmanager}"]}]}] if alertmanager else []
    config["alerting"] = {"alertmanagers": known}
    return config


def alertmanager() -> dict[str, Any]:
    """Alertmanager's configuration, which mails nobody: its page shows what it would."""
    config = _read(DEPLOY / "alertmanager" / "alertmanager.yml")
    del config["global"]
    config["receivers"] = [{"name": receiver["name"]} for receiver in config["receivers"]]
    return config


def tempo(ports: Ports, *, storage: Path) -> dict[str, Any]:
    """Tempo's configuration, with its blocks below `storage`."""
    config = _read(DEPLOY / "tempo" / "tempo.yml")
    config["server"] |= {"http_listen_address": HERE, "http_listen_port": ports.tempo}
    config["distributor"]["receivers"]["otlp"]["protocols"]["http"]["endpoint"] = f"{HERE}:{ports.otlp}"
    config["storage"]["trace"]["local"]["path"] = str(storage / "blocks")
    config["storage"]["trace"]["wal"]["path"] = str(storage / "wal")
    return config


def grafana(ports: Ports, *, storage: Path) -> dict[str, str]:
    """Grafana's settings, as environment: open to whoever is on this machine, with the dashboards of the repository."""
    return {
        "GF_SERVER_HTTP_ADDR": HERE,
        "GF_SERVER_HTTP_PORT": str(ports.grafana),
        "GF_PATHS_DATA": str(storage),
        "GF_PATHS_LOGS": str(storage / "log"),
        "GF_PATHS_PLUGINS": str(storage / "plugins"),
        "GF_PATHS_PROVISIONING": str(DEPLOY / "grafana" / "provisioning"),
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": str(DEPLOY / "grafana" / "dashboards" / "overview.json"),
        "DASHBOARDS": str(DEPLOY / "grafana" / "dashboards"),
        "PROMETHEUS_URL": f"http://{HERE}:{ports.prometheus}",
        "TEMPO_URL": f"http://{HERE}:{ports.tempo}",
    }


def write(path: Path, config: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
    return path


def _read(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return config
