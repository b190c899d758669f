"""Which programs are installed, and what a run with them consists of."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from deploy.local.plan import Plan, Program
from deploy.local.settings import Settings
from deploy.observe import files
from deploy.observe.files import HERE, Ports

# By the names that packages give them.
NAMES: Mapping[str, tuple[str, ...]] = {
    "prometheus": ("prometheus",),
    "alertmanager": ("alertmanager", "prometheus-alertmanager"),
    "grafana": ("grafana", "grafana-server"),
    "tempo": ("tempo",),
}
ADVICE: Mapping[str, str] = {
    "prometheus": "apt-get install prometheus, or https://prometheus.io/download",
    "alertmanager": "apt-get install prometheus-alertmanager, or https://prometheus.io/download",
    "grafana": "https://grafana.com/grafana/download",
    "tempo": "https://github.com/grafana/tempo/releases",
}
Which = Callable[[str], str | None]


class Missing(Exception):
    """Prometheus is not installed; the text says how to get it."""


def installed(which: Which = shutil.which) -> dict[str, str]:
    """The path of each program that is there. Raises Missing without Prometheus: the others show nothing without it."""
    paths = {name: next(filter(None, map(which, names)), None) for name, names in NAMES.items()}
    if paths["prometheus"] is None:
        raise Missing(f"Prometheus is not installed: {ADVICE['prometheus']}; `prometheus` has to be in PATH")
    return {name: path for name, path in paths.items() if path is not None}


def make(settings: Settings, ports: Ports, programs: Mapping[str, str], *, state: Path) -> Plan:
    """The run, with every file that it needs written below `state`."""
    made = {
        "prometheus": _prometheus(settings, ports, programs, state),
        "alertmanager": _alertmanager(ports, programs, state),
        "tempo": _tempo(ports, programs, state),
        "grafana": _grafana(ports, programs),
    }
    chosen = tuple(program for name, program in made.items() if name in programs)
    env = files.grafana(ports, storage=state / "grafana") if "grafana" in programs else {}
    return Plan(env={**os.environ, **env}, programs=chosen, ready_line=ready_line(ports, programs), shell=())


def ready_line(ports: Ports, programs: Mapping[str, str]) -> str:
    """The addresses of what runs, and where to get what does not."""
    addresses = {
        "grafana": f"Grafana http://{HERE}:{ports.grafana}",
        "prometheus": f"Prometheus http://{HERE}:{ports.prometheus}",
        "alertmanager": f"Alertmanager http://{HERE}:{ports.alertmanager}",
        "tempo": f"Tempo (TELEMETRY_ENDPOINT=http://{HERE}:{ports.otlp} make run)",
    }
    lines = ["ready  " + "  ".join(text for name, text in addresses.items() if name in programs)]
    lines += [f"without {name}: {ADVICE[name]}" for name in NAMES if name not in programs]
    return "\n".join(lines)


def _prometheus(settings: Settings, ports: Ports, programs: Mapping[str, str], state: Path) -> Program:
    config = files.prometheus(settings, ports, alertmanager="alertmanager" in programs)
    return Program(
        "prometheus",
        (
            programs["prometheus"],
            f"--config.file={files.write(state / 'prometheus.yml', config)}",
            f"--storage.tsdb.path={state / 'prometheus'}",
            "--storage.tsdb.retention.time=15d",
            f"--web.listen-address={HERE}:{ports.prometheus}",
            "--log.level=warn",
        ),
        f"http://{HERE}:{ports.prometheus}/-/ready",
    )


def _alertmanager(ports: Ports, programs: Mapping[str, str], state: Path) -> Program:
    return Program(
        "alertmanager",
        (
            programs.get("alertmanager", ""),
            f"--config.file={files.write(state / 'alertmanager.yml', files.alertmanager())}",
            f"--storage.path={state / 'alertmanager'}",
            f"--web.listen-address={HERE}:{ports.alertmanager}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ),
        f"http://{HERE}:{ports.alertmanager}/-/ready",
    )


def _tempo(ports: Ports, programs: Mapping[str, str], state: Path) -> Program:
    config = files.write(state / "tempo.yml", files.tempo(ports, storage=state / "tempo"))
    return Program("tempo", (programs.get("tempo", ""), f"-config.file={config}"), f"http://{HERE}:{ports.tempo}/ready")


def _grafana(ports: Ports, programs: Mapping[str, str]) -> Program:
    path = programs.get("grafana", "")
    home = ("--homepath", "/usr/share/grafana") if Path("/usr/share/grafana").is_dir() else ()
    argv = (path, *home) if path.endswith("-server") else (path, "server", *home)
    return Program("grafana", argv, f"http://{HERE}:{ports.grafana}/api/health")
