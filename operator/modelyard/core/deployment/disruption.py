"""Keeps enough servers answering while pods are evicted and nodes drained or lost.

The PodDisruptionBudget (PDB), topology spread constraints, and the drain time of a server pod.
"""

from __future__ import annotations

from typing import Any

from modelyard.api.target import TopologySpread
from modelyard.core.deployment import names, serving
from modelyard.core.deployment.observed import Observed
from modelyard.core.plan import KubeObject, Ref

KIND = "PodDisruptionBudget"

_SPREAD = (
    TopologySpread(topology_key="kubernetes.io/hostname"),
    TopologySpread(topology_key="topology.kubernetes.io/zone"),
)

_INT32 = 2**31 - 1

EXIT_SECONDS = 20
"""Most time that Triton gets to answer what it has accepted (--exit-timeout-secs)."""
MARGIN_SECONDS = 15
"""Time left after that before the kubelet kills: Triton unloads its models first."""


def children(observed: Observed) -> tuple[dict[str, Any], ...]:
    """The budget, if there can be more than one server."""
    if not _wanted(observed):
        return ()
    cluster = observed.spec.target.cluster
    assert cluster is not None
    most = cluster.disruption.max_unavailable
    return (
        {
            "apiVersion": "policy/v1",
            "kind": KIND,
            "metadata": serving.metadata(observed.obj, _name(observed.obj)),
            "spec": {
                "selector": {"matchLabels": serving.selector(observed.obj)},
                "maxUnavailable": min(most, _INT32) if isinstance(most, int) else most,
                # A server that does not answer anyway holds up no drain.
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
            },
        },
    )


def leftovers(observed: Observed, live: serving.Children) -> tuple[Ref, ...]:
    """The budget of an earlier spec."""
    if _wanted(observed):
        return ()
    return serving.leftover(observed.obj, live, KIND, _name(observed.obj))


def topology_spread(observed: Observed) -> dict[str, Any]:
    """The pod spec's fields that spread servers; none on the edge, where nodes decide."""
    cluster = observed.spec.target.cluster
    if cluster is None:
        return {}
    rules = _SPREAD if cluster.topology_spread is None else cluster.topology_spread
    if not rules:
        return {}
    return {
        "topologySpreadConstraints": [
            {
                "topologyKey": rule.topology_key,
                "maxSkew": rule.max_skew,
                "whenUnsatisfiable": rule.when_unsatisfiable,
                "labelSelector": {"matchLabels": serving.selector(observed.obj)},
                # Pods of an earlier template are about to go: they do not count.
                "matchLabelKeys": ["pod-template-hash"],
            }
            for rule in rules
        ]
    }


def drain_seconds(observed: Observed) -> int:
    """Seconds between the deletion of a pod and the SIGTERM to Triton (preStop): until then routes
    still lead here. Gateways learn of it later than kube-proxy."""
    cluster = observed.spec.target.cluster
    return 15 if cluster is not None and getattr(cluster, "gateway", None) else 5


def grace_seconds(observed: Observed) -> int:
    """terminationGracePeriodSeconds: routes are gone, then what was accepted is answered."""
    return drain_seconds(observed) + EXIT_SECONDS + MARGIN_SECONDS


def _wanted(observed: Observed) -> bool:
    cluster = observed.spec.target.cluster
    if cluster is None:
        return False
    scaled = cluster.autoscaling
    return max(cluster.replicas, scaled.max_replicas if scaled else 0) >= 2


def _name(obj: KubeObject) -> str:
    return names.workload_name(obj)
