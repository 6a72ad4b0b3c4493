"""The alerts: one file for all users, expressions that Prometheus reads, advice that exists."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from modelyard_local.cluster.binaries import cached

ROOT = Path(__file__).parent.parent.parent.parent
CHART = ROOT / "charts/modelyard"
ALERTS = CHART / "files/alerts.yaml"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
GUIDE = ROOT / "docs/operations.md"
MONITORED = {"metrics": {"serviceMonitor": {"enabled": True}}}


def anchors() -> set[str]:
    """Anchors of the headings of docs/operations.md, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", GUIDE.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do(rule: Any) -> None:
    promql_parser.parse(rule["expr"])
    assert re.fullmatch(r"\d+m", rule["for"])
    assert rule["labels"]["severity"] in ("critical", "warning")
    notes = rule["annotations"]
    assert len(notes["summary"]) <= 80
    assert len(notes["description"]) > len(notes["summary"])
    page, anchor = notes["runbook"].split("#")
    assert page == "docs/operations.md"
    assert anchor in anchors()
    assert anchor == rule["alert"].lower()


def test_alerts_have_names_of_their_own() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("verb", "file"), [("check", ALERTS), ("test", Path(__file__).with_name("alerts.test.yaml"))]
)
def test_promtool_agrees(verb: str, file: Path) -> None:
    built = cached("promtool")
    promtool = built if os.access(built, os.X_OK) else shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is neither built (tests/cluster/prometheus) nor on PATH")
    done = subprocess.run(
        [promtool, verb, "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_chart_makes_a_rule_of_the_same_file(render: Any) -> None:
    values = {"metrics": {"rules": {"enabled": True, "labels": {"release": "kube-prometheus"}}}}
    rule = render(values).one("PrometheusRule", "modelyard-operator")
    assert rule["spec"] == yaml.safe_load(ALERTS.read_text())
    assert rule["metadata"]["labels"]["release"] == "kube-prometheus"


@pytest.mark.parametrize(
    ("values", "installed", "made"),
    [
        pytest.param({}, True, False, id="nothing scrapes the operator"),
        pytest.param(MONITORED, False, False, id="no Prometheus operator"),
        pytest.param(MONITORED, True, True, id="both"),
        pytest.param(
            {"metrics": {**MONITORED["metrics"], "rules": {"enabled": False}}},
            True,
            False,
            id="not wanted",
        ),
    ],
)
def test_by_default_rules_come_where_they_are_of_use(
    render: Any, values: dict[str, Any], installed: bool, made: bool
) -> None:
    apis = ["--api-versions", "monitoring.coreos.com/v1/PrometheusRule"] if installed else []
    assert len(render(values, *apis).of("PrometheusRule")) == made
