"""Dashboards, rules and runbooks speak of metrics, labels and pages that exist."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI
from prometheus_client import REGISTRY, Histogram
from prometheus_client.utils import floatToGoString

from app.core.jobs import JobStatus, Queue
from app.tasks import worker  # noqa: F401 - its metrics
from tests.observability.promql import asked

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS, RUNBOOKS = ROOT / "deploy" / "prometheus", ROOT / "docs" / "runbooks"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
# What Prometheus adds to each series, and what it makes itself.
TARGET = {"job", "instance", "namespace"}
OTHERS = {
    "up": TARGET,
    "ALERTS": {"alertname", "alertstate", "severity", *TARGET},
    # Traefik's; tests/processes/test_traefik.py asks a real one.
    "traefik_tls_certs_not_after": {"cn", "sans", "serial", *TARGET},
}


def rules() -> Iterator[dict[str, Any]]:
    for file in sorted((PROMETHEUS / "rules").glob("*.yml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            yield from group["rules"]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def panels(dashboard: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", ())


def expressions() -> Iterator[tuple[str, str]]:
    """(where it stands, PromQL) of every rule and every panel."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for file in DASHBOARDS:
        dashboard = json.loads(file.read_text())
        for panel in panels(dashboard):
            yield from ((f"{file.stem}: {panel['title']}", target["expr"]) for target in panel.get("targets", ()))
        for annotation in dashboard["annotations"]["list"]:
            yield f"{file.stem}: {annotation['name']}", annotation["expr"]


@cache
def exposed() -> dict[str, set[str]]:
    """Every sample that the code can expose, with its labels; and those that rules record."""
    found: dict[str, set[str]] = {name: set(labels) for name, labels in OTHERS.items()}
    for collector in set(REGISTRY._collector_to_names):
        labels = {*getattr(collector, "_labelnames", ()), *TARGET}
        kind, name = getattr(collector, "_type", ""), getattr(collector, "_name", "")
        if kind == "histogram":
            found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
        elif name:
            found[f"{name}_total" if kind == "counter" else name] = labels
    for rule in rules():
        if "record" in rule:
            wanted = asked(rule["expr"])
            found[rule["record"]] = wanted.grouped - {"le"}
    return found


@pytest.fixture(scope="module")
def values(session_app: FastAPI) -> dict[str, set[str]]:
    """Labels of which every value is known."""
    return {
        "handler": {"none", *session_app.openapi()["paths"]},
        "status": {*(f"{number}xx" for number in range(1, 6)), *JobStatus},
        "queue": set(Queue),
        "part": {"database", "redis"},
        "alertstate": {"firing"},
        "job": {"frontdesk-api", "frontdesk-worker", "frontdesk-celery"},
    }


@cache
def bounds() -> dict[str, set[str]]:
    """The buckets of each histogram, as they are written."""
    histograms = (one for one in set(REGISTRY._collector_to_names) if isinstance(one, Histogram))
    return {f"{one._name}_bucket": {floatToGoString(bound) for bound in one._upper_bounds} for one in histograms}  # type: ignore[no-untyped-call]


def faults(expression: str, values: Mapping[str, set[str]]) -> Iterator[str]:
    """What in it nobody exposes."""
    wanted, names = asked(expression), exposed()
    labels: set[str] = set()
    for selector in wanted.selectors:
        if selector.metric not in names:
            yield f"no metric {selector.metric}"
            continue
        labels |= names[selector.metric]
        for label, sign, value in selector.matchers:
            if label not in names[selector.metric]:
                yield f"{selector.metric} has no label {label}"
            elif label == "le" and value not in bounds()[selector.metric]:
                yield f"{selector.metric} has no bucket {value}"
            elif label in values and not _fits(sign, value, values[label]):
                yield f"{label}{sign}{value} is nothing"
    yield from (f"groups by {label}, which nothing in it has" for label in wanted.grouped - labels)


def _fits(sign: str, pattern: str, values: set[str]) -> bool:
    """Whether each alternative of the matcher is some value that there is."""
    if "~" not in sign:
        return pattern in values
    return all(any(re.fullmatch(one, value) for value in values) for one in _alternatives(pattern))


def _alternatives(pattern: str) -> list[str]:
    return pattern.split("|") if "(" not in pattern else [pattern]


def test_every_query_asks_for_what_is_exposed(values: Mapping[str, set[str]]) -> None:
    """No dashboard and no rule names a metric, a label or a value that the code does not have."""
    found = [f"{where}: {fault}" for where, expression in expressions() for fault in faults(expression, values)]
    assert found == []
    assert len(list(expressions())) > 120


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("sum(rate(frontdesk_job_total[5m]))", "no metric frontdesk_job_total"),
        ("frontdesk_jobs_total{outcom='x'}", "frontdesk_jobs_total has no label outcom"),
        ("sum by (vendr) (frontdesk_partner_calls_total)", "groups by vendr"),
        ('http_request_duration_seconds_count{status="500"}', "status=500 is nothing"),
        ('http_request_duration_seconds_count{handler!~"none|/api/v2/.*"}', "is nothing"),
        ("histogram_quantile(0.9, sum by (le) (rate(frontdesk_jobs_total[5m])))", "groups by le"),
        ('http_request_duration_seconds_bucket{le="0.3"}', "has no bucket 0.3"),
        ("1 + frontdesk_jobs_total_bucket offset 5m", "no metric frontdesk_jobs_total_bucket"),
    ],
)
def test_the_check_sees_what_is_wrong(values: Mapping[str, set[str]], expression: str, said: str) -> None:
    """A name, a label or a value that nobody exposes is a fault."""
    assert said in "; ".join(faults(expression, values))


def test_no_stream_is_taken_for_a_slow_request() -> None:
    """Panels that show how long requests take leave out the route that is open as long as somebody listens."""
    stream, seen = "/api/v1/jobs/{job_id}/events", 0
    durations = {"http_request_duration_seconds_bucket", "http_request_duration_seconds_sum"}
    for file in DASHBOARDS:
        for panel in panels(json.loads(file.read_text())):
            for target in panel.get("targets", ()):
                for selector in asked(target["expr"]).selectors:
                    if selector.metric in durations or selector.metric.startswith("handler:http_request_seconds:"):
                        excluded = [
                            value for label, sign, value in selector.matchers if (label, sign) == ("handler", "!~")
                        ]
                        assert any(re.fullmatch(one, stream) for one in excluded), f"{file.stem}: {panel['title']}"
                        seen += 1
    assert seen >= 5


def test_every_metric_is_looked_at() -> None:
    """Whatever the service counts is on a dashboard or in a rule, or nobody needs it."""

    def families(names: Iterable[str]) -> set[str]:
        return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names if name.startswith(("frontdesk_", "http_"))}

    wanted = (selector.metric for _, expression in expressions() for selector in asked(expression).selectors)
    assert families(exposed()) - families(wanted) == set(), "neither a panel of a dashboard nor an alert shows these"


def test_each_alert_says_how_bad_it_is_what_it_is_and_what_to_do() -> None:
    """Severity, summary, and the link to a page that is there, names the alert, and has the four parts."""
    index = (RUNBOOKS / "README.md").read_text()
    for alert in alerts():
        name = alert["alert"]
        assert alert["labels"]["severity"] in {"page", "ticket"}, name
        assert alert["annotations"]["summary"][:1].isprintable(), name
        page = RUNBOOKS / alert["annotations"]["runbook_url"].rpartition("/")[2]
        assert page.is_file(), name
        text = page.read_text()
        assert f"`{name}`" in text, f"{page.name} does not say that it is of {name}"
        assert all(f"**{part}.**" in text for part in ("Symptom", "Check", "Act", "Verify")), page.name
        assert f"({page.name})" in index, page.name
        assert f"`{name}`" in index, name
    named = set(re.findall(r"^\| `([A-Z]\w+)`|, `([A-Z]\w+)`", index, re.MULTILINE))
    assert {one or other for one, other in named} <= {alert["alert"] for alert in alerts()}


def test_each_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    """The cases of promtool know every alert, by both outcomes."""
    fires: dict[bool, set[str]] = {True: set(), False: set()}
    for file in (PROMETHEUS / "tests").glob("*.yml"):
        for test in yaml.safe_load(file.read_text())["tests"]:
            for case in test.get("promql_expr_test", ()):
                fires[bool(case["exp_samples"])] |= {value for _, _, value in asked(case["expr"]).selectors[0].matchers}
    names = {alert["alert"] for alert in alerts()}
    assert names - fires[True] == set()
    assert names - fires[False] == set()


def test_dashboards_are_of_one_form() -> None:
    """Every panel asks the chosen Prometheus, has a title of its own, and does not lie over another; uids differ."""
    uids = set()
    for file in DASHBOARDS:
        dashboard = json.loads(file.read_text())
        uids.add(dashboard["uid"])
        taken: set[tuple[int, int]] = set()
        for panel in panels(dashboard):
            place = panel["gridPos"]
            cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
            assert not cells & taken, panel["title"]
            assert place["x"] + place["w"] <= 24, panel["title"]
            taken |= cells
            assert all(target["datasource"]["uid"] == "${datasource}" for target in panel.get("targets", ()))
        titles = [panel["title"] for panel in panels(dashboard)]
        assert len(titles) == len(set(titles))
    assert len(uids) == len(DASHBOARDS) == 5


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_every_query_is_promql(tmp_path: Path) -> None:
    """Prometheus' own parser takes the queries of the dashboards."""
    made = [{"record": f"query:{number}", "expr": expression} for number, (_, expression) in enumerate(expressions())]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": made}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", "--lint=none", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is not installed")
@pytest.mark.parametrize(("severity", "receiver"), [("page", "on-call"), ("ticket", "team")])
def test_an_alert_reaches_whom_it_is_for(severity: str, receiver: str) -> None:
    """By its severity: pages wake the one on call, tickets wait for the team."""
    config = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
    command = ["amtool", "config", "routes", "test", f"--config.file={config}", f"severity={severity}", "alertname=X"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == receiver


def test_what_is_silenced_by_a_cause_is_an_alert() -> None:
    """Every name in the inhibition rules is that of an alert."""
    config = yaml.safe_load((ROOT / "deploy" / "alertmanager" / "alertmanager.yml").read_text())
    names = {alert["alert"] for alert in alerts()}
    for rule in config["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            pattern = re.fullmatch(r'alertname =~? "(.*)"', matcher)
            assert pattern is not None
            for one in re.sub(r"\((\w+)\|(\w+)\)", r"(?:\1,\2)", pattern[1]).split("|"):
                assert any(re.fullmatch(one.replace(",", "|"), name) for name in names), one
