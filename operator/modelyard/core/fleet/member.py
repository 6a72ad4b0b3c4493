"""A server of a fleet, and the group of those in the same state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from modelyard.api.base import duration_seconds
from modelyard.core.fleet.projections import NodeFact, PodFact, ServerFact

Place = tuple[int, str, str]
"""Order within a group: servers that hold nothing useful first, then by hash, then by name."""


class Group(NamedTuple):
    """What servers of one group have in common."""

    pool: str
    product: str
    """GPU type of the node."""
    assigned: str
    """Release key; empty for a server without ModelServer."""
    state: str
    """holds, switching or failed."""
    ready: bool
    """Whether the pod answers."""
    online: bool
    down: bool
    """Whether its node can be reached and says that no pod answers there, while its agent has been
    silent (edge)."""
    template: str
    """Hash of the pod's template; empty for cluster servers and where there is no pod."""
    staged: tuple[str, str]
    shadow: tuple[str, str]

    @property
    def seen(self) -> bool:
        """Whether somebody says how its servers are: their agents, or the kubelets instead."""
        return self.online or self.down


@dataclass(frozen=True)
class FleetConfig:
    """What of a Deployment's spec the grouping depends on."""

    edge: bool = False
    node_selector: tuple[tuple[str, str], ...] = ()
    pool_label: str = ""
    offline_after: float = 0.0
    """Seconds."""


@dataclass(slots=True)
class Member:
    """One server: a pod (cluster) or a node (edge), with all that is known of it."""

    name: str
    """Of the pod (cluster) or the node (edge)."""
    pod: PodFact | None = None
    server: ServerFact | None = None
    node: NodeFact | None = None
    silent: bool = False
    """Whether its agent has not reported for longer than offlineAfter."""
    group: Group | None = None
    place: Place = (0, "", "")
    """Within the group."""
    site: str = ""

    @property
    def heard(self) -> float:
        """When its agent last reported, or had a pod to begin in: seconds since the epoch."""
        reported = self.server.reported if self.server is not None else 0.0
        return max(reported, self.pod.made if self.pod is not None else 0.0)

    @property
    def answers(self) -> bool:
        """Whether the server's pod is ready to answer requests."""
        return self.pod is not None and self.pod.ready


def config_of(spec: Mapping[str, Any]) -> FleetConfig:
    """The part of a Deployment's raw spec that grouping depends on."""
    edge = (spec.get("target") or {}).get("edge")
    if not edge:
        return FleetConfig()
    return FleetConfig(
        edge=True,
        node_selector=tuple(sorted((edge.get("nodeSelector") or {}).items())),
        pool_label=str((edge.get("pools") or {}).get("label") or ""),
        offline_after=duration_seconds(str(edge.get("offlineAfter") or "5m")),
    )
