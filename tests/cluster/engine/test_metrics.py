"""The metrics that documentation and alerts rely on are those of a running operator."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs/operations.md"
ALERTS = ROOT / "charts/modelyard/files/alerts.yaml"
OF_THE_SCRAPE = {"namespace", "job", "instance", "pod"}
OF_HISTOGRAMS = {"le"}


def documented() -> dict[str, tuple[str, set[str]]]:
    """Metric → (type, labels), from the table."""
    rows = re.findall(r"^\| `(modelyard_\w+)` \| (\w+) \| ([\w, ]*) ?\|", GUIDE.read_text(), re.M)
    return {name: (kind, set(re.findall(r"\w+", labels))) for name, kind, labels in rows}


def test_documented_metrics_are_those_of_the_operator(
    server: Any, space: str, start: Any, wait: Any
) -> None:
    operator = start()
    server.dataset(space, "good")
    server.dataset(space, "bad", mode="poison")
    wait(lambda: server.phase(space, "good") == "Ready", what="Ready")
    wait(lambda: operator.metric("modelyard_stalled_objects") == 1, what="Stalled")
    families = {}
    for family in text_string_to_metric_families(operator.ask("/metrics").text):
        total = "_total" if family.type == "counter" else ""
        families[family.name + total] = family
    table = documented()
    ours = {name for name in families if name.startswith("modelyard_")}
    assert ours == set(table)
    for name, (kind, labels) in table.items():
        assert families[name].type == kind, name
        for sample in families[name].samples:
            assert set(sample.labels) - OF_HISTOGRAMS == labels, name
    missing = {name for name, _ in used_by_alerts() if name not in families}
    assert missing == set(), "alerts about metrics that the operator does not have"


def test_alerts_select_by_labels_that_exist() -> None:
    table = documented()
    for name, labels in used_by_alerts():
        known = table[name][1] if name in table else set()
        assert labels <= known | OF_THE_SCRAPE, name


def used_by_alerts() -> Iterable[tuple[str, set[str]]]:
    """(metric, labels that are selected by) of every selector of every alert."""
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            yield from selectors(promql_parser.parse(rule["expr"]))


def selectors(expression: Any) -> Iterable[tuple[str, set[str]]]:
    if isinstance(expression, promql_parser.VectorSelector):
        yield expression.name, {one.name for one in expression.matchers.matchers}
    for part in ("vector_selector", "expr", "lhs", "rhs"):
        inner = getattr(expression, part, None)
        if inner is not None:
            yield from selectors(inner)
    for argument in getattr(expression, "args", ()):
        yield from selectors(argument)
