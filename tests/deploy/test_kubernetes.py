"""The files of deploy/kubernetes, built and held against the program that they run."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from cronsim import CronSim
from prometheus_client import REGISTRY

from app.__main__ import parser
from app.config import ConfigurationError, Settings, load_settings
from app.config.serving import PROCESS_BYTES
from app.core import metrics
from app.core.database_address import DatabaseAddress
from app.server_processes import OUTER_GRACE
from app.tasks import celery_app, worker
from tests.deploy.kustomize import Resource, build, pod_template
from tests.test_config import variables

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/kubernetes"
OVERLAYS = ("production", "staging")
ROLES = {"api": "PORT", "worker": "WORKER_METRICS_PORT", "celery": "CELERY_METRICS_PORT"}
VERSIONS = ("1.31", "1.37")
"""The oldest and the newest Kubernetes that the files are for."""
OTHERS = ("ScaledObject", "PodMonitor")
"""Kinds that are no part of Kubernetes: KEDA's and the Prometheus Operator's."""
MEBIBYTE = 2**20
SECRETS = {
    "database_url": "postgresql+asyncpg://frontdesk:s3cret-s3cret@postgres:5432/frontdesk",
    "redis_url": "redis://redis:6379/0",
    "auth_secret_key": "a-long-random-key-that-nobody-else-has-0123456789",
    "first_superadmin_password": "a password of our own",
    "payments_api_key": "a key of our own",
    "payments_webhook_secrets": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "marketplace_api_key": "a key of our own",
    "marketplace_webhook_secrets": "0123456789abcdef0123456789abcdef",
}
CLOCKED = {"backup", "verify-backup"}
HOUR = 3600


@pytest.fixture(params=OVERLAYS, scope="module")
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def made(overlay: str) -> list[Resource]:
    return build(FOLDER / "overlays" / overlay)


def of_kind(made: list[Resource], *kinds: str) -> dict[str, Resource]:
    return {one["metadata"]["name"]: one for one in made if one["kind"] in kinds}


def deployments(made: list[Resource]) -> Iterator[tuple[str, Resource, Resource, Resource]]:
    """Role, deployment, pod and container."""
    for role in ROLES:
        deployment = of_kind(made, "Deployment")[f"frontdesk-{role}"]
        template = deployment["spec"]["template"]
        (container,) = template["spec"]["containers"]
        yield role, deployment, template, container


def pods(made: list[Resource]) -> Iterator[tuple[Resource, Resource]]:
    """Labels and specification of every pod that is ever made."""
    for one in made:
        if template := pod_template(one):
            yield template["metadata"]["labels"], template["spec"]


def clocked(made: list[Resource]) -> Iterator[tuple[str, Resource, Resource]]:
    """Command, schedule, and the one container of what runs by the clock."""
    for name, one in of_kind(made, "CronJob").items():
        (container,) = pod_template(one)["spec"]["containers"]
        yield name.removeprefix("frontdesk-"), one["spec"], container


def settings_of(made: list[Resource], container: Resource) -> dict[str, str]:
    """The plain variables of a container."""
    (reference,) = container["envFrom"]
    given: dict[str, str] = dict(of_kind(made, "ConfigMap")[reference["configMapRef"]["name"]]["data"])
    return given | {one["name"]: one["value"] for one in container["env"] if "value" in one}


def keyed(resources: list[Resource]) -> dict[tuple[str, str], Resource]:
    return {(one["kind"], one["metadata"]["name"]): one for one in resources}


def test_it_is_what_kustomize_builds(made: list[Resource], overlay: str) -> None:
    """The real program makes the same resources."""
    folder = str(FOLDER / "overlays" / overlay)
    if program := shutil.which("kustomize"):
        command = [program, "build", folder]
    elif program := shutil.which("kubectl"):
        command = [program, "kustomize", folder]
    else:
        pytest.skip("neither kustomize nor kubectl is installed")
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert keyed(list(yaml.safe_load_all(text))) == keyed(made)


def test_every_resource_is_valid(made: list[Resource]) -> None:
    """Strictly: no field that Kubernetes does not know; others' kinds by the fields that are used of them."""
    others = {kind: json.loads((Path(__file__).parent / f"{kind.lower()}.schema.json").read_text()) for kind in OTHERS}
    for resource in made:
        if resource["kind"] in others:
            jsonschema.validate(resource, others[resource["kind"]])
        else:
            for version in VERSIONS:
                kubernetes_validate.validate(resource, version, strict=True)
    assert len(keyed(made)) == len(made) > 15


def test_every_variable_is_a_setting(made: list[Resource]) -> None:
    """A name that the program does not read would be a setting that somebody believes in."""
    known = {*variables(), "SECRETS_DIR"}
    for container in (container for _, pod in pods(made) for container in pod["containers"]):
        assert settings_of(made, container).keys() <= known
        assert {one["name"] for one in container["env"]} <= known


def test_the_settings_are_fit_for_production(
    made: list[Resource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the secrets that the README asks for, laid out as Kubernetes mounts them, every role would start."""
    readme = (FOLDER / "README.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE)) == SECRETS.keys()
    mounted = tmp_path / "..2026_11_25"
    mounted.mkdir()
    for name, value in SECRETS.items():
        (mounted / name).write_text(value)
        (tmp_path / name).symlink_to(Path("..data", name))
    (tmp_path / "..data").symlink_to(mounted.name)
    monkeypatch.setitem(Settings.model_config, "env_file", None)
    for _, _, _, container in deployments(made):
        given = settings_of(made, container)
        (mount,) = (one for one in container["volumeMounts"] if one["name"] == "secrets")
        assert given["SECRETS_DIR"] == mount["mountPath"]
        for name in variables():
            monkeypatch.delenv(name, raising=False)
        for name, value in (given | {"SECRETS_DIR": str(tmp_path)}).items():
            monkeypatch.setenv(name, value)
        settings = load_settings()
        assert settings.production
        assert settings.database.url.get_secret_value() == SECRETS["database_url"]
    (mounted / "auth_secret_key").unlink()
    with pytest.raises(ConfigurationError, match="AUTH_SECRET_KEY"):
        load_settings()


def test_ports_and_probes_are_those_of_the_program(made: list[Resource]) -> None:
    """Each role's port is the one it is told to listen on; what is probed is answered there."""
    for role, _, _, container in deployments(made):
        (port,) = container["ports"]
        assert str(port["containerPort"]) == settings_of(made, container)[ROLES[role]]
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = container[kind]["httpGet"]
            assert asked["port"] == port["name"]
            assert asked["path"] in ("/health/live", "/health/ready")
    api = of_kind(made, "Service")["frontdesk-api"]["spec"]
    assert api["ports"][0]["targetPort"] == "http"


def test_the_api_starts_at_its_migration_and_is_then_asked_for_itself(made: list[Resource]) -> None:
    """Only the start waits for engines and migration: with Redis away no pod that answers is taken out."""
    (probes,) = (container for role, _, _, container in deployments(made) if role == "api")
    paths = [probes[kind]["httpGet"]["path"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert paths == ["/health/ready", "/health/live", "/health/live"]


def test_commands_are_those_of_the_program(made: list[Resource]) -> None:
    """Every container runs the image that the overlay names, with a command that exists."""
    commands = {*ROLES, *CLOCKED, "migrate"}
    for container in (container for _, pod in pods(made) for container in pod["containers"]):
        assert parser().parse_args(container["args"]).command == container["name"]
        # As the workflow of releases names it, by the tag of the commit.
        assert re.fullmatch(r"ghcr.io/example/frontdesk:v\d+\.\d+\.\d+", container["image"])
        commands.remove(container["name"])
    assert not commands


def test_a_pod_is_given_longer_than_its_program_takes_to_end(made: list[Resource]) -> None:
    """Pause, uvicorn's grace and gunicorn's; or the jobs' and all that follows: below the pod's."""
    for role, _, template, container in deployments(made):
        given = settings_of(made, container)
        grace = template["spec"]["terminationGracePeriodSeconds"]
        jobs = int(given["JOBS_SHUTDOWN_GRACE"])
        needed = {
            "api": container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            + int(given["API_SHUTDOWN_GRACE"])
            + OUTER_GRACE,
            "worker": jobs + worker.INTERRUPT_SECONDS + 4 * worker.STEP_SECONDS + worker.CLOSE_SECONDS + 3,
            "celery": jobs + celery_app.INTERRUPT_SECONDS + celery_app.THREADS_SECONDS,
        }
        assert needed[role] < grace, role


def test_memory_suffices_for_the_processes(made: list[Resource]) -> None:
    """The API's limit has room for as many processes as it is told to run."""
    (container,) = (container for role, _, _, container in deployments(made) if role == "api")
    limit = int(container["resources"]["limits"]["memory"].removesuffix("Mi")) * MEBIBYTE
    assert limit >= int(settings_of(made, container)["API_WORKERS"]) * PROCESS_BYTES


def test_selectors_select(made: list[Resource]) -> None:
    """Budgets, services, policies and autoscalers name what is there, and no number of replicas fights with them."""
    labels = {role: template["metadata"]["labels"] for role, _, template, _ in deployments(made)}
    for kind, count in (("PodDisruptionBudget", 3), ("Service", 1), ("NetworkPolicy", 4)):
        found = of_kind(made, kind)
        assert len(found) == count
        for one in found.values():
            spec = one["spec"]
            selector = spec.get("podSelector") or spec["selector"]
            wanted = selector.get("matchLabels", selector)
            assert any(wanted.items() <= label.items() for label in labels.values()), one["metadata"]["name"]
    for role, deployment, _, _ in deployments(made):
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels[role].items()
        assert "replicas" not in deployment["spec"]
    scaled = [one["spec"]["scaleTargetRef"]["name"] for one in made if "scaleTargetRef" in one.get("spec", {})]
    assert sorted(scaled) == sorted(f"frontdesk-{role}" for role in ROLES)


ENGINES = {5432: "postgresql", 6432: "pgbouncer", 6379: "redis", 6380: "rediss", 26379: "sentinel", 5672: "amqp"}
ENGINES |= {5671: "amqps", 4318: "otlp"}


def test_every_engine_is_reached_with_and_without_tls(made: list[Resource]) -> None:
    """The one way out into private networks is open for the usual port of every engine that settings can name."""
    rules = of_kind(made, "NetworkPolicy")["frontdesk-out"]["spec"]["egress"]
    private = [rule for rule in rules if {"ipBlock": {"cidr": "10.0.0.0/8"}} in rule["to"]]
    assert [{port["port"] for port in rule["ports"]} for rule in private] == [ENGINES.keys()]


def test_workers_are_scaled_by_a_metric_that_exists() -> None:
    """The queue's age, by its name and label; never to none, because a worker measures it."""
    age = metrics.JOBS_OLDEST_SECONDS
    assert age in REGISTRY._collector_to_names
    for component in ("keda", "workers-hpa"):
        for one in build(FOLDER / "components" / component):
            spec: dict[str, Any] = one["spec"]
            assert (spec.get("minReplicaCount") or spec["minReplicas"]) >= 1
            if component == "keda":
                query = spec["triggers"][0]["metadata"]["query"]
                (name, label) = re.findall(r'^max\((\w+)\{namespace="\w+", (\w+)="\w+"\}\)$', query)[0]
            else:
                metric = spec["metrics"][0]["external"]["metric"]
                name, (label,) = metric["name"], metric["selector"]["matchLabels"]
            assert (name, (label,)) == (age._name, age._labelnames)


def test_pods_may_nothing_that_they_do_not_need(made: list[Resource]) -> None:
    """No root, no write, no capability, no token, limits of everything; secrets by reference alone."""
    for labels, pod in pods(made):
        # What the policies of the network select.
        assert labels["app.kubernetes.io/name"] == "frontdesk"
        assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert (
                {"cpu", "memory"}
                == container["resources"]["limits"].keys()
                == container["resources"]["requests"].keys()
            )
            assert all("secretKeyRef" in env["valueFrom"] for env in container["env"] if "value" not in env)
    assert not of_kind(made, "Secret")
    plain = {name for one in of_kind(made, "ConfigMap").values() for name in one["data"]}
    assert not {name for name in plain if re.search("PASSWORD|SECRET(?!S_DIR)|KEY|TOKEN|DATABASE_URL", name)}


def test_what_is_needed_first_is_marked(made: list[Resource]) -> None:
    """The migration, and all that it refers to, is applied before the rest by one label; Argo CD keeps that order."""
    first = [one for one in made if one["metadata"]["labels"].get("frontdesk/phase")]
    kinds = {one["kind"] for one in first}
    assert kinds == {"Namespace", "ServiceAccount", "ConfigMap", "NetworkPolicy", "Job"}
    assert first == [one for one in made if one["kind"] in kinds]
    (job,) = of_kind(made, "Job").values()
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    told = {one["kind"]: one["metadata"].get("annotations", {}) for one in made}
    wave, hook = "argocd.argoproj.io/sync-wave", "argocd.argoproj.io/hook"
    # Within one phase by waves: a hook of an earlier phase would come before the account that it runs as.
    assert (told["Job"][hook], told["Job"][wave]) == ("Sync", "-1")
    assert {kind for kind in told if told[kind].get(wave) == "-2"} == kinds - {"Job"}
    assert not any(wave in told[kind] or hook in told[kind] for kind in told.keys() - kinds)


def test_another_setting_is_another_rollout(made: list[Resource], overlay: str, tmp_path: Path) -> None:
    """The settings' name follows from what is in them, everywhere: pods are made anew, those of before keep theirs."""

    def names(made: list[Resource]) -> set[str]:
        found = {
            container["envFrom"][0]["configMapRef"]["name"] for _, pod in pods(made) for container in pod["containers"]
        }
        assert found == of_kind(made, "ConfigMap").keys()
        return found

    copied = tmp_path / "kubernetes"
    shutil.copytree(FOLDER, copied)
    with (copied / "overlays" / overlay / "settings.env").open("a") as file:
        file.write("LOG_LEVEL=DEBUG\n")
    assert not names(made) & names(build(copied / "overlays" / overlay))
    (settings,) = of_kind(made, "ConfigMap").values()
    # Argo CD takes away what is no longer there, but not before the last pod that uses it has gone.
    assert settings["metadata"]["annotations"]["argocd.argoproj.io/sync-options"] == "PruneLast=true"


def test_a_backup_is_made_every_night_and_one_is_tried_every_week(made: list[Resource]) -> None:
    """By commands of the program, one at a time, by a clock that does not depend on the cluster's zone; what was missed
    is made good before it is due again, and a run that hangs is ended by then; finished ones don't pile up.
    """
    due = {}
    for command, spec, _ in clocked(made):
        now = datetime(2026, 11, 25, tzinfo=UTC)
        times = CronSim(spec["schedule"], now)
        due[command] = ((one := next(times)), next(times) - one)
        assert spec["timeZone"] == "Etc/UTC"
        assert spec["concurrencyPolicy"] == "Forbid"
        assert not spec.get("suspend")
        assert spec["successfulJobsHistoryLimit"] <= 3 >= spec["failedJobsHistoryLimit"] >= 1
        job = spec["jobTemplate"]["spec"]
        pause = due[command][1].total_seconds()
        assert HOUR <= spec["startingDeadlineSeconds"] < pause
        assert job["activeDeadlineSeconds"] < pause
        assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert due["backup"][1] == timedelta(days=1)
    assert due["verify-backup"][1] == timedelta(days=7)
    assert due.keys() == CLOCKED


def test_a_backup_finds_what_it_needs(made: list[Resource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner's address past any pooler, a key, and a bucket of its own: a folder would end with its pod."""
    monkeypatch.setitem(Settings.model_config, "env_file", None)
    for name, value in SECRETS.items():
        (tmp_path / name).write_text(value)
    owner, key = "postgresql+asyncpg://owner:s3cret-s3cret@postgres:5432/frontdesk", "k" * 40
    kept = {"database_url": owner, "backup_keys": key}
    for _, _, container in clocked(made):
        references = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in container["env"]}
        assert {one["name"] for one in references.values()} == {"frontdesk-backup"}
        assert not any(one.get("optional") for one in references.values())
        for name in variables():
            monkeypatch.delenv(name, raising=False)
        for name, reference in references.items():
            monkeypatch.setenv(name, kept[reference["key"]])
        for name, value in (settings_of(made, container) | {"SECRETS_DIR": str(tmp_path)}).items():
            monkeypatch.setenv(name, value)
        settings = load_settings()
        assert DatabaseAddress.direct(settings.database).url == owner
        assert [one.get_secret_value() for one in settings.backup.keys] == [key]
        assert settings.backup.bucket not in ("", settings.storage.bucket)
    readme = (FOLDER / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in ("frontdesk-backup", *kept))


def test_the_alerts_wait_longer_than_the_clock(made: list[Resource]) -> None:
    """A run at its time raises none; a missed backup does before the next is, a second missed trial before a third."""
    rules = yaml.safe_load((ROOT / "deploy/prometheus/rules/alerts.yml").read_text())["groups"]
    said = {rule["alert"]: rule["expr"] for group in rules for rule in group["rules"] if "alert" in rule}
    limits = {}
    for command, alert in (("backup", "BackupTooOld"), ("verify-backup", "BackupNotTried")):
        number, unit = re.findall(r"> (\d+) \* (\d+)$", said[alert])[0]
        limits[command] = int(number) * int(unit)
    assert 24 * HOUR < limits["backup"] < 48 * HOUR
    assert 14 * 24 * HOUR < limits["verify-backup"] < 21 * 24 * HOUR
