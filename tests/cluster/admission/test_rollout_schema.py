"""What the CRD of Deployment accepts and refuses of targets and rollouts, as the real API server
sees it."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.cluster
NS = "work"

EDGE = {"nodeSelector": {"example.com/edge": "true"}}
METRIC = {"name": "errors", "metric": "ErrorRate", "max": 0.01}


def edge(**more: Any) -> dict[str, Any]:
    """Changes that make a Deployment one of edge nodes."""
    return {"target": {"edge": {**EDGE, **more}}}


def steps(*some: dict[str, Any]) -> dict[str, Any]:
    return {"rollout.steps": list(some)}


def metric(**fields: Any) -> dict[str, Any]:
    """Changes that give a rollout an analysis of one metric; None leaves a field out."""
    one = {key: value for key, value in {**METRIC, **fields}.items() if value is not None}
    return {"rollout.analysis": {"metrics": [one]}}


LARGEST = [
    {
        "weight": number,
        "pause": {"duration": "1h"},
        "analysis": {"metrics": [{**METRIC, "name": f"m-{i}"} for i in range(10)]},
    }
    for number in range(1, 21)
]

ACCEPTED: dict[str, dict[str, Any]] = {
    "an edge target": edge(),
    "an edge target with pools": edge(pools={"label": "example.com/site", "values": ["a", "b"]}),
    "a cache on the node": edge(cache={"hostPath": "/var/lib/modelyard", "quota": "20Gi"}),
    "a cache on a claim": edge(cache={"claimName": "cache"}),
    "a port of each node": edge(hostPorts={"http": 1}),
    "two ports of each node": edge(hostPorts={"http": 80, "grpc": 65535}),
    "steps of each sort": steps({"nodes": 1}, {"pool": "north"}, {"weight": 50}),
    "a pause until promoted": steps({"weight": 10, "pause": {}}),
    "a pause of a time": steps({"weight": 10, "pause": {"duration": "1h30m"}}),
    "all steps with all metrics": steps(*LARGEST),
    "a bound on both sides": metric(min=0, max=0),
    "bounds relative to stable": metric(metric="LatencyP95", max=None, minRatio=0, maxRatio=1.2),
    "a query": metric(metric=None, query="up"),
    "agreement with a lower bound": metric(metric="Agreement", max=None, min=0.9),
    "a shadow": {"rollout.shadow": {"share": 1, "duration": "5m", "servers": 1}},
    "a failure budget of 0%": {"rollout.failureBudget": "0%"},
    "an empty rollout": {"rollout": {}},
}

COUNTS = "is a number from 1 or a percentage from 1% to 100%"

# What is wrong: changes, what the user must read.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no target": ({"target": {}}, "spec.target: Invalid value: set exactly one of cluster, edge"),
    "two targets": (
        {"target": {"cluster": {}, "edge": EDGE}},
        "spec.target: Invalid value: set exactly one of cluster, edge",
    ),
    "an edge target of no nodes": (
        {"target": {"edge": {"nodeSelector": {}}}},
        "spec.target.edge.nodeSelector",
    ),
    "a cache in two places": (
        edge(cache={"hostPath": "/cache", "claimName": "cache"}),
        "spec.target.edge.cache: Invalid value: set at most one of hostPath and claimName",
    ),
    "a cache that is the node's root": (
        edge(cache={"hostPath": "/"}),
        "spec.target.edge.cache.hostPath",
    ),
    "no port of a node": (
        edge(hostPorts={}),
        "spec.target.edge.hostPorts: Invalid value: set at least one of http, grpc",
    ),
    "one port for both": (
        edge(hostPorts={"http": 8000, "grpc": 8000}),
        "spec.target.edge.hostPorts: Invalid value: http and grpc are the same port",
    ),
    "a port that no node has": (edge(hostPorts={"grpc": 65536}), "spec.target.edge.hostPorts.grpc"),
    "a time without unit": (edge(offlineAfter="5"), "spec.target.edge.offlineAfter"),
    "a step of nothing": (
        steps({"pause": {}}),
        "spec.rollout.steps[0]: Invalid value: set exactly one of weight, nodes, pool",
    ),
    "a step of two sorts": (
        steps({"weight": 1}, {"weight": 1, "pool": "a"}),
        "spec.rollout.steps[1]: Invalid value: set exactly one of weight, nodes, pool",
    ),
    "a step of 0 %": (steps({"weight": 0}), "spec.rollout.steps[0].weight"),
    "a step of 101 %": (steps({"weight": 101}), "spec.rollout.steps[0].weight"),
    "a step of no nodes": (steps({"nodes": 0}), "spec.rollout.steps[0].nodes"),
    "too many steps": (steps(*[{"weight": 5}] * 21), "spec.rollout.steps: Too many: 21"),
    "a pause without unit": (
        steps({"weight": 5, "pause": {"duration": "90"}}),
        "spec.rollout.steps[0].pause.duration",
    ),
    "no metrics": ({"rollout.analysis": {"metrics": []}}, "spec.rollout.analysis.metrics"),
    "two metrics of one name": (
        {"rollout.analysis": {"metrics": [METRIC, METRIC]}},
        "spec.rollout.analysis.metrics[1]: Duplicate value",
    ),
    "a metric of nothing": (metric(metric=None), "set exactly one of metric, query"),
    "a metric and a query": (metric(query="up"), "set exactly one of metric, query"),
    "a metric without bound": (
        metric(max=None),
        "set at least one of min, max, minRatio, maxRatio",
    ),
    "a query relative to stable": (
        metric(metric=None, query="up", maxRatio=1.1),
        "minRatio and maxRatio compare a metric with stable's",
    ),
    "agreement relative to stable": (
        metric(metric="Agreement", minRatio=0.9),
        "minRatio and maxRatio compare a metric with stable's",
    ),
    "bounds that cross": (metric(min=0.02), "min is above max"),
    "ratios that cross": (
        metric(minRatio=1.2, maxRatio=1.1),
        "minRatio is above maxRatio",
    ),
    "an unknown metric": (metric(metric="Accuracy"), 'supported values: "ErrorRate"'),
    "a shadow of nothing": (
        {"rollout.shadow": {"share": 0}},
        "spec.rollout.shadow.share in body should be greater than 0",
    ),
    "a shadow of no servers": (
        {"rollout.shadow": {"servers": 0}},
        f"spec.rollout.shadow.servers: Invalid value: 0: servers {COUNTS}",
    ),
    "a shadow that is never at work": (
        {"rollout.shadow": {"busyPercent": 0}},
        "spec.rollout.shadow.busyPercent in body should be greater than or equal to 1",
    ),
    "a failure budget below none": (
        {"rollout.failureBudget": -1},
        "failureBudget is a number from 0 or a percentage from 0% to 100%",
    ),
    "no servers at a time": (
        {"rollout.prestageConcurrency": "0%"},
        f"prestageConcurrency {COUNTS}",
    ),
    "all servers and more": ({"rollout.maxUnavailable": "101%"}, f"maxUnavailable {COUNTS}"),
    "a number that is text": ({"rollout.maxUnavailable": "5"}, f"maxUnavailable {COUNTS}"),
    "no history": ({"rollout.historyLimit": 0}, "spec.rollout.historyLimit"),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(api: Any, valid: Any, case: str) -> None:
    api.kubectl(
        "create", "--dry-run=server", "-f", "-", stdin=valid("Deployment", "d", ACCEPTED[case])
    )


@pytest.mark.parametrize("case", REFUSED)
def test_refused(api: Any, valid: Any, case: str) -> None:
    changes, message = REFUSED[case]
    said = api.refused(
        "create", "--dry-run=server", "-f", "-", stdin=valid("Deployment", "d", changes)
    )
    assert message in said


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("to-edge", {}, {"cluster": None, "edge": EDGE}),
        ("to-cluster", edge(), {"edge": None, "cluster": {"replicas": 2}}),
    ],
)
def test_the_sort_of_target_cannot_change(
    api: Any, valid: Any, name: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    api.create(valid("Deployment", name, before))
    patch = json.dumps({"spec": {"target": after}})
    said = api.refused("-n", NS, "patch", "mdep", name, "--type=merge", "-p", patch)
    assert "spec.target: Invalid value: a target cannot change between cluster and edge" in said


def test_neither_can_it_by_leaving_the_target_out(api: Any, valid: Any) -> None:
    api.create(valid("Deployment", "left-out", edge()))
    patch = '[{"op": "remove", "path": "/spec/target"}]'
    said = api.refused("-n", NS, "patch", "mdep", "left-out", "--type=json", "-p", patch)
    assert "a target cannot change between cluster and edge" in said


def test_a_target_may_change_within_its_sort(api: Any, valid: Any) -> None:
    api.create(valid("Deployment", "within", edge()))
    patch = json.dumps({"spec": {"target": {"edge": {"offlineAfter": "1m"}}}})
    api.kubectl("-n", NS, "patch", "mdep", "within", "--type=merge", "-p", patch)


LINE_CHANGES = {
    "in a cluster": {},
    "on the edge": edge(),
}


@pytest.mark.parametrize("case", LINE_CHANGES)
def test_the_model_line_cannot_change(api: Any, valid: Any, case: str) -> None:
    name = f"line-{case.replace(' ', '-')}"
    api.create(valid("Deployment", name, LINE_CHANGES[case]))
    patch = json.dumps({"spec": {"modelLine": "another"}})
    said = api.refused("-n", NS, "patch", "mdep", name, "--type=merge", "-p", patch)
    assert "spec.modelLine cannot change" in said
    assert "make another Deployment for another model line" in said
    kept = api.get("mdep", NS, name)["spec"]["modelLine"]
    patch = json.dumps({"spec": {"modelLine": kept, "rollout": {"maxUnavailable": 2}}})
    api.kubectl("-n", NS, "patch", "mdep", name, "--type=merge", "-p", patch)


def test_the_nodes_and_pools_of_an_edge_target_may_change(api: Any, valid: Any) -> None:
    api.create(valid("Deployment", "regrouped", edge(pools={"label": "example.com/site"})))
    target = {"edge": {"nodeSelector": {"example.com/more": "x"}, "pools": {"label": "zone"}}}
    patch = json.dumps({"spec": {"target": target}})
    api.kubectl("-n", NS, "patch", "mdep", "regrouped", "--type=merge", "-p", patch)


@pytest.mark.parametrize("field", ["deployment", "modelLine"])
def test_a_server_stays_with_its_deployment(api: Any, valid: Any, field: str) -> None:
    name = f"server-{field.lower()}"
    api.create(valid("ModelServer", name, {}))
    patch = json.dumps({"spec": {field: "another"}})
    said = api.refused("-n", NS, "patch", "ms", name, "--type=merge", "-p", patch)
    assert "a ModelServer stays with its Deployment and model line" in said


def test_defaults_of_an_edge_target(api: Any, valid: Any) -> None:
    api.create(valid("Deployment", "edge-defaults", edge()))
    spec = api.get("mdep", NS, "edge-defaults")["spec"]
    assert spec["target"] == {"edge": {**EDGE, "offlineAfter": "5m", "cache": {"quota": "10Gi"}}}


def test_defaults_of_an_analysis(api: Any, valid: Any) -> None:
    api.create(valid("Deployment", "analysis-defaults", metric()))
    rollout = api.get("mdep", NS, "analysis-defaults")["spec"]["rollout"]
    assert rollout["analysis"]["metrics"] == [
        {
            **METRIC,
            "minSamples": 50,
            "interval": "30s",
            "count": 1,
            "failureLimit": 0,
            "inconclusiveLimit": 3,
        }
    ]
