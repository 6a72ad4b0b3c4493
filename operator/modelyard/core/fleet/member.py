"""A server of a fleet, and the group of those in the same state.

A member is a pod in a cluster, and a node on the edge: there a server exists before its pod does
and after it is gone. What makes two servers equal for a decision is a Group; everything else about
them (figures, failures in words) is kept beside it. Grouping: grouping.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from modelyard.api.base import duration_seconds
from modelyard.core.fleet.projections import NodeFact, PodFact, ServerFact, Side
from modelyard.core.modelversion.resources import GPU_PRODUCT_LABEL

Place = tuple[int, str, str]
"""Order within a group: servers that hold nothing useful first, then by hash, then by name."""


class Assigned(StrEnum):
    """How far a server is with the version that is assigned to it."""

    HOLDS = "holds"
    SWITCHING = "switching"
    FAILED = "failed"


class Group(NamedTuple):
    """What servers of one group have in common."""

    pool: str
    product: str
    """GPU type of the node, or the one that a cluster target's pods are bound to."""
    assigned: str
    """Release key; empty for a server without ModelServer."""
    state: Assigned
    ready: bool
    """Whether the pod answers."""
    online: bool
    """Whether it can be reached, and may start."""
    down: bool
    """Whether it is not online although its node is, and no pod answers there: its agent has been
    silent, or its pod cannot start."""
    started: bool
    """Whether its agent has ever reported. One that never did says nothing about any version."""
    template: str
    """Hash of the pod's template; empty for cluster servers and where there is no pod."""
    staged: tuple[str, Side]
    shadow: tuple[str, Side]

    @property
    def absent(self) -> bool:
        """Whether its pods cannot start, or have not in time, and never had: it is nobody's fault
        but theirs."""
        return self.down and not self.started

    @property
    def answers(self) -> bool:
        """Whether its servers answer requests with what they are assigned."""
        return self.state is Assigned.HOLDS and self.ready

    @property
    def seen(self) -> bool:
        """Whether somebody says how its servers are: their agents, or the kubelets instead."""
        return self.online or self.down


@dataclass(frozen=True)
class FleetConfig:
    """What of a Deployment's spec the grouping depends on."""

    edge: bool = False
    product: str = ""
    """GPU type that a cluster target's pods are bound to."""
    node_selector: tuple[tuple[str, str], ...] = ()
    pool_label: str = ""
    offline_after: float = 0.0
    """Seconds without a report after which an edge server is offline."""
    start_within: float = 600.0
    """Seconds from when a pod is made after which nobody waits any longer for a server that has
    never reported: no version can run there."""


@dataclass(slots=True)
class Member:
    """One server: a pod (cluster) or a node (edge), with all that is known of it."""

    name: str
    """Of the pod (cluster) or the node (edge)."""
    pod: PodFact | None = None
    server: ServerFact | None = None
    node: NodeFact | None = None
    arrived: float = 0.0
    """When its agent's last report arrived, or when the ModelServer was made without one: see
    arrival. Seconds since the epoch."""
    silent: bool = False
    """Whether nothing has been heard of it for too long: see FleetConfig."""
    group: Group | None = None
    place: Place = (0, "", "")
    """Within the group."""
    site: str = ""

    @property
    def heard(self) -> float:
        """When its agent was last heard from, or had a pod to begin in: seconds since the epoch."""
        return max(self.arrived, self.pod.made if self.pod is not None else 0.0)

    @property
    def started(self) -> bool:
        """Whether its agent has ever reported."""
        return self.server is not None and bool(self.server.report)

    @property
    def blocked(self) -> bool:
        """Whether its pod cannot start, whatever the version: it fits no node, or its image cannot
        be pulled. Where the server has run before, something has changed, perhaps by a rollout."""
        return not self.started and self.pod is not None and self.pod.trouble is not None

    @property
    def answers(self) -> bool:
        """Whether the server's pod is ready to answer requests."""
        return self.pod is not None and self.pod.ready


def config_of(spec: Mapping[str, Any]) -> FleetConfig:
    """The part of a Deployment's raw spec that grouping depends on."""
    edge = (spec.get("target") or {}).get("edge")
    deadline = float((spec.get("rollout") or {}).get("progressDeadlineSeconds") or 600)
    if not edge:
        scheduling = (spec.get("server") or {}).get("scheduling") or {}
        product = (scheduling.get("nodeSelector") or {}).get(GPU_PRODUCT_LABEL)
        return FleetConfig(product=str(product or ""), start_within=deadline)
    offline_after = duration_seconds(str(edge.get("offlineAfter") or "5m"))
    return FleetConfig(
        edge=True,
        node_selector=tuple(sorted((edge.get("nodeSelector") or {}).items())),
        pool_label=str((edge.get("pools") or {}).get("label") or ""),
        offline_after=offline_after,
        start_within=min(offline_after, deadline),
    )
