"""The PromQL that documentation and examples show, with what it must give for a played load."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
OPERATIONS = ROOT / "docs/operations.md"
SERVING = ROOT / "docs/serving.md"
EXAMPLES = ROOT / "examples"
SHORT = "5s"
"""For the windows of the documentation: the tests' metrics are not minutes old."""


def filled(query: str, **words: str) -> str:
    """A query as the operator would ask it, over a short window."""
    for name, text in words.items():
        query = query.replace("{{" + name + "}}", text)
    assert "{{" not in query, query
    return re.sub(r"\[\d+[ms]\]", f"[{SHORT}]", query)


def of_operations() -> list[str]:
    """Queries of the blocks ```promql; one a line, indented lines belong to the one before."""
    blocks = re.findall(r"^```promql\n(.*?)^```$", OPERATIONS.read_text(), re.M | re.S)
    return [query for block in blocks for query in re.split(r"\n(?! )", block.strip())]


def of_examples() -> dict[str, str]:
    """Metric's name → query, of all examples' analyses."""
    found: dict[str, str] = {}
    for path in sorted(EXAMPLES.rglob("*.yaml")):
        for one in yaml.safe_load_all(path.read_text()):
            found.update(_queries(one))
    return found


def _queries(value: object) -> dict[str, str]:
    if isinstance(value, list):
        return {k: v for one in value for k, v in _queries(one).items()}
    if not isinstance(value, dict):
        return {}
    own = {value["name"]: value["query"]} if {"name", "query"} <= value.keys() else {}
    return own | {k: v for one in value.values() for k, v in _queries(one).items()}


def of_the_adapter(namespace: str, pod: str) -> dict[str, tuple[str, str]]:
    """Metric → (query of the series, query of the figure), of docs/serving.md's rules for
    prometheus-adapter, filled in as it does for one pod:
    https://github.com/kubernetes-sigs/prometheus-adapter/blob/master/docs/config.md"""
    blocks = [block.split("```")[0] for block in SERVING.read_text().split("```yaml\n")[1:]]
    (block,) = [one for one in blocks if "metricsQuery" in one]
    found = {}
    for rule in yaml.safe_load(block)["rules"]["custom"]:
        query = rule["metricsQuery"].replace("<<.GroupBy>>", "pod")
        query = query.replace("<<.LabelMatchers>>", f'namespace="{namespace}",pod=~"{pod}"')
        found[rule["name"]["as"]] = (rule["seriesQuery"], filled(query))
    return found
