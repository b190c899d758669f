"""What `make observe` writes for this machine, and what it says when something is not installed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.settings import Settings
from deploy.observe import files, plan
from deploy.observe.files import ROOT, Ports

SETTINGS = Settings.parse({"PORT": "8110", "CELERY_METRICS_PORT": "10999"})
ALL = {name: f"/opt/{name}" for name in plan.NAMES}


def written(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(path.read_text())
    return config


def test_prometheus_asks_the_processes_of_this_machine(tmp_path: Path) -> None:
    """Each role at its port, itself, nobody else; the rules are the repository's, and Alertmanager is told."""
    plan.make(SETTINGS, Ports(prometheus=9999), ALL, state=tmp_path)
    config = written(tmp_path / "prometheus.yml")
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    assert targets == {
        "frontdesk-api": ["127.0.0.1:8110"],
        "frontdesk-worker": ["127.0.0.1:9110"],
        "frontdesk-celery": ["127.0.0.1:10999"],
        "prometheus": ["127.0.0.1:9999"],
    }
    [pattern] = config["rule_files"]
    assert {file.name for file in Path(pattern).parent.glob("*.yml")} == {"alerts.yml", "recording.yml"}
    [manager] = config["alerting"]["alertmanagers"]
    assert manager["static_configs"][0]["targets"] == ["127.0.0.1:9093"]


def test_nothing_listens_beyond_this_machine_and_nobody_is_mailed(tmp_path: Path) -> None:
    """Every address of every program is 127.0.0.1, and the receivers of alerts have no address at all."""
    made = plan.make(SETTINGS, Ports(), ALL, state=tmp_path)
    assert [program.name for program in made.programs] == ["prometheus", "alertmanager", "tempo", "grafana"]
    assert all(program.health is not None and "//127.0.0.1:" in program.health for program in made.programs)
    arguments = " ".join(part for program in made.programs for part in program.argv)
    assert "--web.listen-address=127.0.0.1:9090" in arguments
    assert "--web.listen-address=127.0.0.1:9093" in arguments
    assert made.env["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    tempo = json.dumps(written(tmp_path / "tempo.yml"))
    assert '"endpoint": "127.0.0.1:4318"' in tempo
    assert str(tmp_path) in tempo
    alertmanager = written(tmp_path / "alertmanager.yml")
    assert alertmanager["receivers"] == [{"name": "on-call"}, {"name": "team"}]


def test_what_is_not_installed_is_left_out_and_said(tmp_path: Path) -> None:
    """With Prometheus alone there is Prometheus alone, which knows of no Alertmanager; the rest is named."""
    made = plan.make(SETTINGS, Ports(), {"prometheus": "/opt/prometheus"}, state=tmp_path)
    assert [program.name for program in made.programs] == ["prometheus"]
    assert written(tmp_path / "prometheus.yml")["alerting"]["alertmanagers"] == []
    assert made.ready_line.startswith("ready  Prometheus http://127.0.0.1:9090")
    assert "without grafana: https://" in made.ready_line


def test_programs_are_found_by_the_names_of_packages() -> None:
    """Debian calls Alertmanager prometheus-alertmanager; without Prometheus the message says how to get it."""
    debian = {"prometheus": "/usr/bin/prometheus", "prometheus-alertmanager": "/usr/bin/prometheus-alertmanager"}
    found = plan.installed(debian.get)
    assert found == {"prometheus": "/usr/bin/prometheus", "alertmanager": "/usr/bin/prometheus-alertmanager"}
    with pytest.raises(plan.Missing, match="apt-get install prometheus"):
        plan.installed({"grafana": "/usr/bin/grafana"}.get)


def test_grafana_finds_dashboards_and_datasources() -> None:
    """The folders and addresses that its environment names are what its provisioning files ask for."""
    environment = files.grafana(Ports(), storage=Path("/nowhere"))
    folder = Path(environment["GF_PATHS_PROVISIONING"])
    for file in (*folder.glob("*/*.yml"),):
        for variable in set(filter(None, (part.partition("}")[0] for part in file.read_text().split("${")[1:]))):
            assert variable in environment, f"{file.name}: {variable}"
    assert len(list(Path(environment["DASHBOARDS"]).glob("*.json"))) == 5
    assert Path(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]).is_file()


def test_grafana_draws_no_map_that_nobody_makes() -> None:
    """A map of services is drawn from metrics that Tempo writes when its generator runs; without it there is none."""
    tempo = yaml.safe_load((ROOT / "deploy/tempo/tempo.yml").read_text())
    found = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/frontdesk.yml").read_text())["datasources"]
    assert [one["uid"] for one in found] == ["prometheus", "tempo"]
    maps = [one["uid"] for one in found if "serviceMap" in one.get("jsonData", {})]
    assert bool(maps) is ("metrics_generator" in tempo)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"PROMETHEUS_PORT": "no"}, "PROMETHEUS_PORT=no is no port"),
        ({}, "nothing runs on port 8110: start it with `make run`"),
    ],
)
def test_what_can_t_be_done_is_one_line(tmp_path: Path, environment: dict[str, str], said: str) -> None:
    """A port that is none, and a service that does not run: exit code 1 and a sentence, no traceback."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "prometheus").symlink_to("/bin/true")
    env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PORT": "8110", **environment}
    command = [sys.executable, "-m", "deploy.observe", "--state", str(tmp_path / "var")]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_takes_what_is_written(tmp_path: Path) -> None:
    """Its own check of the configuration and of the rules that it names passes."""
    plan.make(SETTINGS, Ports(), ALL, state=tmp_path)
    command = ["promtool", "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "rules found" in done.stdout
