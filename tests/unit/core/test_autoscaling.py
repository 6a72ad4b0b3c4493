"""A Deployment that asks for it is scaled by a HorizontalPodAutoscaler."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from modelyard.core.deployment import autoscaling

from .spec import EDGE, cluster, existing, wanting


def scaled(**fields: object) -> dict[str, Any]:
    (made,) = autoscaling.children(cluster(autoscaling={"maxReplicas": 5, **fields}))
    return made


def test_none_is_made_unless_asked_for() -> None:
    assert autoscaling.children(cluster(replicas=3)) == ()
    assert autoscaling.children(wanting(target=EDGE)) == ()


def test_it_scales_our_object_so_that_replicas_have_one_writer() -> None:
    spec = scaled(minReplicas=2)["spec"]
    assert spec["scaleTargetRef"] == {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Deployment",
        "name": "cameras",
    }
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 5)


def test_cpu_of_triton_alone_counts_by_default() -> None:
    (metric,) = scaled()["spec"]["metrics"]
    assert metric["type"] == "ContainerResource"
    assert metric["containerResource"] == {
        "name": "cpu",
        "container": "triton",
        "target": {"type": "Utilization", "averageUtilization": 70},
    }


@pytest.mark.parametrize(
    ("metrics", "name", "value"),
    [
        ({"queueMilliseconds": 20}, "modelyard_queue_milliseconds", "20"),
        ({"requestsPerSecond": 30}, "modelyard_requests_per_second", "30000m"),
        ({"requestsPerSecond": 0.001}, "modelyard_requests_per_second", "1m"),
    ],
)
def test_figures_of_triton_are_means_over_servers(
    metrics: dict[str, Any], name: str, value: str
) -> None:
    (metric,) = scaled(metrics=metrics)["spec"]["metrics"]
    assert metric["pods"] == {
        "metric": {"name": name},
        "target": {"type": "AverageValue", "averageValue": value},
    }


def test_several_metrics_count_together() -> None:
    metrics = {"cpuPercent": 80, "queueMilliseconds": 20, "requestsPerSecond": 30}
    assert [m["type"] for m in scaled(metrics=metrics)["spec"]["metrics"]] == [
        "ContainerResource",
        "Pods",
        "Pods",
    ]


def test_servers_go_only_after_the_delay() -> None:
    behavior = scaled(scaleDownDelay="1m30s")["spec"]["behavior"]
    assert behavior == {"scaleDown": {"stabilizationWindowSeconds": 90}}


def test_it_goes_when_it_is_wanted_no_more() -> None:
    made = scaled()
    live = existing(made)
    assert autoscaling.leftovers(cluster(autoscaling={"maxReplicas": 5}), live) == ()
    (ref,) = autoscaling.leftovers(cluster(replicas=1), live)
    assert (ref.kind, ref.name, ref.uid) == (made["kind"], "cameras", made["metadata"]["uid"])
    assert autoscaling.leftovers(cluster(replicas=1), existing()) == ()


def test_somebody_elses_autoscaler_is_left_alone() -> None:
    made = scaled()
    made["metadata"]["ownerReferences"] = []
    assert autoscaling.leftovers(cluster(replicas=1), existing(made)) == ()


def test_unknown_figures_are_refused() -> None:
    with pytest.raises(ValidationError):
        cluster(autoscaling={"maxReplicas": 5, "metrics": {"memory": 1}})
