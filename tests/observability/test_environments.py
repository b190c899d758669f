"""Several environments on one Prometheus and one Alertmanager: neither hides what another has."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.observability.promql import asked
from tests.observability.test_rules_and_dashboards import (
    DASHBOARDS,
    OTHERS,
    PROMETHEUS,
    ROOT,
    panels,
    rules,
)
from tests.ports import free_port

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
AGGREGATION = re.compile(r"(?<!:)\b(?:sum|max|min|avg|count|group|topk|quantile|stddev)\b\s*(?:by\s*\(([^)]*)\))?")
MATCHING = re.compile(r"\b(\w+)\s+on\s*\(([^)]*)\)")
Silenced = Callable[..., set[str]]


def mixed(expression: str) -> Iterator[str]:
    """What in it adds up, or matches, series of more than one environment."""
    for found in AGGREGATION.finditer(expression):
        if "namespace" not in re.split(r"\W+", found[1] or ""):
            yield found[0].strip()
    for found in MATCHING.finditer(expression):
        # Whether anything at all was ever seen is no environment's own.
        if "namespace" not in re.split(r"\W+", found[2]) and found[0] != "unless on ()":
            yield found[0]


def test_no_rule_mixes_environments() -> None:
    """Every sum, maximum and match of a rule keeps the label that tells environments apart."""
    assert [(rule.get("alert") or rule["record"], fault) for rule in rules() for fault in mixed(rule["expr"])] == []


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("max(up) == 0", "max"),
        ("sum by (job) (up)", "sum by (job)"),
        ("sum by (namespace) (up) and on (job) up", "and on (job)"),
        ("histogram_quantile(0.9, sum by (le) (rate(x_bucket[5m])))", "sum by (le)"),
    ],
)
def test_the_check_sees_what_mixes(expression: str, said: str) -> None:
    """An aggregation or a match without the label is found."""
    assert list(mixed(expression)) == [said]


def test_dashboards_show_the_chosen_environment() -> None:
    """One is chosen at the top; without a choice all are shown, and what has no such label; every query obeys."""
    proxy = {metric for metric in OTHERS if metric.startswith("traefik_")}
    for file in DASHBOARDS:
        dashboard = json.loads(file.read_text())
        (chosen,) = (one for one in dashboard["templating"]["list"] if one["name"] == "namespace")
        assert (chosen["includeAll"], chosen["allValue"], chosen["current"]["value"]) == (True, ".*", "$__all")
        assert all(link["includeVars"] for link in dashboard["links"])
        queries = [target["expr"] for panel in panels(dashboard) for target in panel.get("targets", ())]
        queries += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
        for query in queries:
            for selector in asked(query).selectors:
                obeys = ("namespace", "=~", "$namespace") in selector.matchers
                assert obeys is not (selector.metric in proxy), f"{file.stem}: {query}"
            # What is added up may be of several at once; a largest of several would hide one.
            hiding = [
                fault for fault in mixed(query) if fault in ("max", "min") or fault.startswith(("max by", "min by"))
            ]
            assert not hiding or "traefik_" in query, f"{file.stem}: {query}"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_every_case_holds_beside_all_others(tmp_path: Path) -> None:
    """Each story of the alerts' tests is an environment of its own on one Prometheus, and each still ends as it did."""
    file = yaml.safe_load((PROMETHEUS / "tests" / "alerts.yml").read_text())
    series, questions = [], []
    for number, test in enumerate(file["tests"]):
        label = f'{{namespace="case-{number}", '
        series += [one | {"series": one["series"].replace("{", label, 1)} for one in test["input_series"]]
        for case in test.get("promql_expr_test", ()):
            samples = [one | {"labels": one["labels"].replace("{", label, 1)} for one in case["exp_samples"]]
            questions.append(case | {"expr": case["expr"].replace("{", label, 1), "exp_samples": samples})
    assert len(questions) >= 60
    made = {
        "rule_files": [str(one) for one in sorted((PROMETHEUS / "rules").glob("*.yml"))],
        "evaluation_interval": file["evaluation_interval"],
        "group_eval_order": file["group_eval_order"],
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": questions}],
    }
    (tmp_path / "all.yml").write_text(yaml.safe_dump(made))
    done = subprocess.run(
        ["promtool", "test", "rules", tmp_path / "all.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def silenced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Silenced]:
    """Which of the alerts given to a real Alertmanager are silenced by another, as `NAMESPACE/ALERT`."""
    if ALERTMANAGER is None:
        pytest.skip("Alertmanager is not installed")
    address = f"127.0.0.1:{free_port()}"
    config = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
    command = [ALERTMANAGER, f"--config.file={config}", f"--web.listen-address={address}", "--cluster.listen-address="]
    log = tmp_path_factory.mktemp("alertmanager")
    with (log / "log").open("wb") as output:
        process = subprocess.Popen([*command, f"--storage.path={log}"], stdout=output, stderr=output)

    def given(*alerts: str) -> set[str]:
        labels = []
        for alert in alerts:
            namespace, _, name = alert.rpartition("/")
            labels.append({"alertname": name} | ({"namespace": namespace} if namespace else {}))
        client.post("alerts", json=[{"labels": one} for one in labels]).raise_for_status()
        # What silences takes note of an alert a moment after it is told of.
        deadline = time.monotonic() + 5
        told: list[dict[str, Any]] = []
        while not any(one["status"]["inhibitedBy"] for one in told) and time.monotonic() < deadline:
            told = [one for one in client.get("alerts").json() if one["labels"] in labels]
        assert len(told) == len(alerts)
        # What was given ends, or it would silence what the next test gives.
        client.post("alerts", json=[{"labels": one, "endsAt": "2000-01-01T00:00:00Z"} for one in labels])
        return {
            "/".join(filter(None, (one["labels"].get("namespace"), one["labels"]["alertname"])))
            for one in told
            if one["status"]["inhibitedBy"]
        }

    client = httpx.Client(base_url=f"http://{address}/api/v2/", timeout=5, trust_env=False)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                client.get("status").raise_for_status()
                break
            except httpx.HTTPError:
                assert process.poll() is None, (log / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield given
    finally:
        client.close()
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("cause", "effect"),
    [
        ("PostgresDown", "JobsWaiting"),
        ("PostgresDown", "ErrorBudgetBurnsFast"),
        ("RedisDown", "RelayLags"),
        ("RoleMissing", "InstanceDown"),
        ("ErrorBudgetBurnsFast", "ErrorBudgetBurnsSlowly"),
    ],
)
def test_a_cause_silences_its_own_environment_alone(silenced: Silenced, cause: str, effect: str) -> None:
    """Staging's outage silences what follows from it in staging; production's alert wakes somebody."""
    given = (f"staging/{cause}", f"staging/{effect}", f"production/{effect}")
    assert silenced(*given) == {f"staging/{effect}"}


def test_a_cause_silences_where_there_is_one_environment(silenced: Silenced) -> None:
    """On a single host, where nothing has the label, the cause still says it all."""
    assert silenced("PostgresDown", "JobsWaiting", "JobDied") == {"JobsWaiting"}
