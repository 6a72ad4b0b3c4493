"""The fleet's nodes: made, cut off and let back. KWOK plays their kubelets."""

from __future__ import annotations

from collections.abc import Iterable

from modelyard.core.fleet.projections import ZONE_LABEL
from modelyard.core.modelversion.resources import GPU_PRODUCT_LABEL
from modelyard.kube.kinds import by_name

from ..api import Manifest, each
from .api import FleetApi

NODES, PODS = by_name("Node"), by_name("Pod")
EDGE, REGION = "example.com/edge", "example.com/region"
REGIONS = 8
PER_SITE = 25
PRODUCT = "NVIDIA-Jetson-AGX-Orin"
DARK = "bench.example.com/dark"
"""Annotation that keeps KWOK from making a node Ready."""
_MOMENT = "2026-01-01T00:00:00Z"


def name(number: int) -> str:
    """A node's name."""
    return f"edge-{number:05d}"


def node(number: int) -> Manifest:
    """A Ready node: 25 to a site, sites in 8 regions, half of them with a GPU."""
    site = number // PER_SITE
    labels = {
        EDGE: "true",
        REGION: f"region-{site % REGIONS}",
        ZONE_LABEL: f"site-{site:04d}",
        "kubernetes.io/hostname": name(number),
    }
    if number % 2:
        labels[GPU_PRODUCT_LABEL] = PRODUCT
    room = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "100Gi", "pods": "110"}
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "lastHeartbeatTime": _MOMENT,
        "lastTransitionTime": _MOMENT,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name(number),
            "labels": labels,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "status": {"capacity": room, "allocatable": room, "conditions": [ready]},
    }


async def add(api: FleetApi, numbers: Iterable[int]) -> None:
    """Makes nodes."""

    async def one(number: int) -> None:
        await api.create(NODES, node(number), namespace="")

    await each(numbers, one)


async def darken(api: FleetApi, names: Iterable[str], pods: dict[str, list[str]]) -> None:
    """Nodes become NotReady, and their pods with them, as the node controller would see to.
    `pods`: names of the serving pods by node."""
    unknown = {"conditions": [{"type": "Ready", "status": "Unknown"}]}

    async def one(node_name: str) -> None:
        await api.merge(NODES, node_name, {"metadata": {"annotations": {DARK: "true"}}})
        await api.strategic(NODES, node_name, {"status": unknown})
        for pod in pods.get(node_name, ()):
            await api.strategic(PODS, pod, {"status": _pod_ready("False")})

    await each(names, one)


async def lighten(api: FleetApi, names: Iterable[str], pods: dict[str, list[str]]) -> None:
    """KWOK makes nodes Ready again; their pods have never ended."""

    async def one(node_name: str) -> None:
        await api.merge(NODES, node_name, {"metadata": {"annotations": {DARK: None}}})
        for pod in pods.get(node_name, ()):
            await api.strategic(PODS, pod, {"status": _pod_ready("True")})

    await each(names, one)


def _pod_ready(status: str) -> Manifest:
    return {"conditions": [{"type": "Ready", "status": status}]}
