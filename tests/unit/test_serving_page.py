"""The YAML of docs/serving.md is valid and fits what the operator makes."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from modelyard.api.deployment import DeploymentSpec
from modelyard.core.deployment.autoscaling import QUEUE_METRIC, REQUESTS_METRIC
from modelyard.serving.names import Generation, network_name, pipeline_name

PAGE = (Path(__file__).parents[2] / "docs/serving.md").read_text()
BLOCKS = [block.split("```")[0] for block in PAGE.split("```yaml\n")[1:]]


def block(word: str) -> str:
    """The page's YAML that has a word."""
    (found,) = [one for one in BLOCKS if word in one]
    return found


def test_the_pages_own_yaml_is_valid() -> None:
    specs = [yaml.safe_load(one)["spec"] for one in BLOCKS if "modelLine" in one]
    assert len(specs) == 4
    for spec in specs:
        DeploymentSpec.model_validate(spec)


def test_the_adapter_gives_the_metrics_that_autoscalers_ask_for() -> None:
    rules = yaml.safe_load(block("metricsQuery"))["rules"]["custom"]
    assert {rule["name"]["as"] for rule in rules} == {QUEUE_METRIC, REQUESTS_METRIC}


def test_the_adapter_counts_each_request_once_where_the_network_computes() -> None:
    made = Generation("shelf", 3, "0123abcd")
    patterns = set(re.findall(r'model=~"([^"]*)"', block("metricsQuery")))
    assert len(patterns) == 1
    (pattern,) = patterns
    found = [
        model
        for model in (*made.models, pipeline_name("shelf"), network_name("shelf"))
        if re.fullmatch(pattern, model)
    ]
    # A generation has one of them: its only step, or the second of three.
    assert found == [made.pipeline, made.network]


def test_the_pod_monitor_finds_serving_pods_and_their_port() -> None:
    spec = yaml.safe_load(block("PodMonitor"))["spec"]
    assert spec["selector"]["matchLabels"]["app.kubernetes.io/component"] == "server"
    assert [e["port"] for e in spec["podMetricsEndpoints"]] == ["metrics"]
