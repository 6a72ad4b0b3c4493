"""The HorizontalPodAutoscaler (HPA) of a Deployment.

The metrics of pods other than CPU come from the adapter that docs/serving.md configures, under the
names here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelyard.api.base import duration_seconds
from modelyard.api.target import Autoscaling, ScalingMetrics
from modelyard.core.deployment import names, serving
from modelyard.core.deployment.observed import Observed
from modelyard.core.plan import KubeObject, Ref

KIND = "HorizontalPodAutoscaler"
QUEUE_METRIC = "modelyard_queue_milliseconds"
REQUESTS_METRIC = "modelyard_requests_per_second"
TRITON = "triton"
"""Container whose CPU counts: the agent beside it works in bursts."""


def children(observed: Observed) -> tuple[dict[str, Any], ...]:
    """The autoscaler, if there is to be one."""
    wanted = _wanted(observed)
    if wanted is None:
        return ()
    return (
        {
            "apiVersion": "autoscaling/v2",
            "kind": KIND,
            "metadata": serving.metadata(observed.obj, _name(observed.obj)),
            "spec": {
                "scaleTargetRef": serving.scale_target(observed.obj),
                "minReplicas": wanted.min_replicas,
                "maxReplicas": wanted.max_replicas,
                "metrics": list(_metrics(wanted.metrics)),
                "behavior": {
                    "scaleDown": {
                        "stabilizationWindowSeconds": round(
                            duration_seconds(wanted.scale_down_delay)
                        )
                    }
                },
            },
        },
    )


def leftovers(observed: Observed, live: serving.Children) -> tuple[Ref, ...]:
    """The autoscaler of an earlier spec."""
    if _wanted(observed) is not None:
        return ()
    return serving.leftover(observed.obj, live, KIND, _name(observed.obj))


def _wanted(observed: Observed) -> Autoscaling | None:
    cluster = observed.spec.target.cluster
    return None if cluster is None else cluster.autoscaling


def _name(obj: KubeObject) -> str:
    return names.workload_name(obj)


def _metrics(wanted: ScalingMetrics) -> Iterator[dict[str, Any]]:
    if wanted.cpu_percent is not None:
        target = {"type": "Utilization", "averageUtilization": wanted.cpu_percent}
        resource = {"name": "cpu", "container": TRITON, "target": target}
        yield {"type": "ContainerResource", "containerResource": resource}
    if wanted.queue_milliseconds is not None:
        yield _of_pods(QUEUE_METRIC, str(wanted.queue_milliseconds))
    if wanted.requests_per_second is not None:
        yield _of_pods(REQUESTS_METRIC, f"{max(1, round(wanted.requests_per_second * 1000))}m")


def _of_pods(metric: str, value: str) -> dict[str, Any]:
    target = {"type": "AverageValue", "averageValue": value}
    return {"type": "Pods", "pods": {"metric": {"name": metric}, "target": target}}
