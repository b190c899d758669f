"""What Prometheus learns of the pods of deploy/kubernetes, held against what its rules ask for."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.kustomize import build
from tests.deploy.test_kubernetes import FOLDER, OVERLAYS, ROLES, ROOT, deployments, of_kind

RULES = ROOT / "deploy/prometheus/rules"
MONITORING = FOLDER / "monitoring"
JOBS = {f"frontdesk-{role}" for role in ROLES}
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def test_the_rules_ask_for_the_jobs_of_the_roles() -> None:
    """Each role is a job that some rule names, so that one that is missing is missed."""
    text = "".join(file.read_text() for file in RULES.glob("*.yml"))
    assert set(re.findall(r'job="(frontdesk-\w+)"', text)) == JOBS


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_operator_makes_the_jobs_that_the_rules_ask_for(overlay: str) -> None:
    """Each role's pods are found by their labels, asked at the port they have, and called as the rules call them."""
    made = build(FOLDER / "overlays" / overlay)
    monitors = of_kind(made, "PodMonitor")
    assert monitors.keys() == JOBS
    for role, deployment, template, container in deployments(made):
        monitor = monitors[f"frontdesk-{role}"]
        assert monitor["metadata"]["namespace"] == deployment["metadata"]["namespace"]
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        chosen = [one for one, _, other, _ in deployments(made) if wanted <= other["metadata"]["labels"].items()]
        assert (chosen, wanted <= template["metadata"]["labels"].items()) == ([role], True)
        (asked,) = monitor["spec"]["podMetricsEndpoints"]
        assert (asked["port"], asked["path"]) == (container["ports"][0]["name"], "/metrics")
        assert asked["relabelings"] == [{"action": "replace", "targetLabel": "job", "replacement": f"frontdesk-{role}"}]


def discovered(tmp_path: Path, pods: list[dict[str, str]]) -> list[dict[str, str]]:
    """The labels that Prometheus' own relabelling gives to the pods that it finds; none for one that it drops."""
    config = yaml.safe_load((MONITORING / "scrape.yml").read_text())
    (job,) = config["scrape_configs"]
    del job["kubernetes_sd_configs"]
    job["static_configs"] = [
        {"targets": [f"10.42.0.{number}:8000"], "labels": {f"__meta_kubernetes_{name}": pod[name] for name in pod}}
        for number, pod in enumerate(pods)
    ]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = ["promtool", "check", "service-discovery", "--timeout=1s", str(tmp_path / "prometheus.yml"), "frontdesk"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    by_address = {one["discoveredLabels"]["__address__"]: one.get("labels") or {} for one in told}
    return [by_address[f"10.42.0.{number}:8000"] for number in range(len(pods))]


@needs_promtool
def test_without_the_operator_the_jobs_are_the_same(tmp_path: Path) -> None:
    """By the scrape configuration pods get their role's job and namespace; what is no target of ours is dropped."""
    pods, wanted = [], []
    for overlay in OVERLAYS:
        for role, deployment, template, container in deployments(build(FOLDER / "overlays" / overlay)):
            labels = template["metadata"]["labels"]
            pods.append(
                {
                    "namespace": deployment["metadata"]["namespace"],
                    "pod_phase": "Running",
                    "pod_name": "a-pod",
                    "pod_container_port_name": container["ports"][0]["name"],
                }
                | {f"pod_label_{re.sub('[./]', '_', name)}": labels[name] for name in labels}
            )
            wanted.append((f"frontdesk-{role}", deployment["metadata"]["namespace"]))
    strangers = [
        pods[0] | {"pod_label_app_kubernetes_io_name": "another"},
        pods[0] | {"pod_container_port_name": "istio"},
        pods[0] | {"pod_phase": "Succeeded"},
    ]
    *found, one, two, three = discovered(tmp_path, [*pods, *strangers])
    assert [(labels["job"], labels["namespace"]) for labels in found] == wanted
    assert one == two == three == {}


def test_the_operator_gets_the_same_rules() -> None:
    """What the script prints are PrometheusRules with the groups of the files, and the labels that it was given."""
    command = [str(MONITORING / "prometheus-rules"), "release=kube-prometheus-stack"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout
    made: list[dict[str, Any]] = list(yaml.safe_load_all(printed))
    groups = [one["spec"]["groups"] for one in made]
    assert groups == [yaml.safe_load((RULES / f"{name}.yml").read_text())["groups"] for name in ("recording", "alerts")]
    assert {file.stem for file in RULES.iterdir()} == {"recording", "alerts"}
    for one in made:
        assert (one["apiVersion"], one["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
        assert one["metadata"]["labels"] == {"app.kubernetes.io/name": "frontdesk", "release": "kube-prometheus-stack"}
    assert len({one["metadata"]["name"] for one in made}) == len(made)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_workers_are_scaled_by_their_own_queue(overlay: str) -> None:
    """An environment's autoscalers ask for the queue of its own namespace, and fall back when nobody measures it."""
    made = build(FOLDER / "overlays" / overlay)
    (namespace,) = of_kind(made, "Namespace")
    for one in of_kind(made, "ScaledObject").values():
        (trigger,) = one["spec"]["triggers"]
        assert f'{{namespace="{namespace}", ' in trigger["metadata"]["query"]
        # A series that is not there would be taken for an empty queue.
        assert trigger["metadata"]["ignoreNullValues"] == "false"
        assert one["spec"]["fallback"]["replicas"] >= one["spec"]["minReplicaCount"]
    assert of_kind(made, "ScaledObject") or of_kind(made, "HorizontalPodAutoscaler")["frontdesk-worker"]


def test_the_adapter_gives_one_number_for_all_workers() -> None:
    """The metric that the autoscalers name, as the largest that any worker of the namespace measures."""
    (rule,) = yaml.safe_load((MONITORING / "adapter-rules.yml").read_text())["externalRules"]
    scaled = build(FOLDER / "components/workers-hpa")
    assert {one["spec"]["metrics"][0]["external"]["metric"]["name"] for one in scaled} == {rule["seriesQuery"]}
    assert rule["metricsQuery"] == "max(<<.Series>>{<<.LabelMatchers>>})"
    assert rule["resources"] == {"overrides": {"namespace": {"resource": "namespace"}}}
