"""An edge target: one server on each node that matches.

Beside the cluster target of target.py, since an edge server has what a pod in a cluster has not: a
node of its own, a cache that outlives the pod, clients on the node's network, and times without a
network.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from modelyard.api.base import (
    LABEL_KEYS,
    ApiModel,
    Duration,
    LabelKey,
    LabelValue,
    Memory,
    ObjectName,
    cel,
    rules,
)


class Pools(ApiModel):
    """Groups of edge nodes by the value of a node label."""

    label: LabelKey = Field(min_length=1)
    """Node label whose value names the pool, such as example.com/region."""
    values: list[LabelValue] = Field(default_factory=list, max_length=50)
    """Pools in the order in which they are displayed; others follow, sorted by name. The order in
    which a rollout updates pools is set by its steps."""


class NodeCache(ApiModel):
    """Storage for artifacts and the last assignment of an edge server.

    The default is the pod's own storage, which survives restarts of containers and of the node but
    not the deletion of the pod. At most one of hostPath and claimName can be set.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!(has(self.hostPath) && has(self.claimName))",
                "set at most one of hostPath and claimName",
            )
        )
    )

    host_path: str | None = Field(
        # No step up: Kubernetes refuses it, and the pods with it.
        default=None,
        min_length=2,
        max_length=512,
        pattern=r"^(/\.?[A-Za-z0-9_-][A-Za-z0-9._-]*)+$",
    )
    """Absolute path of a folder on the node. Needs a namespace that admits hostPath volumes (Pod
    Security `privileged`)."""
    claim_name: ObjectName | None = None
    """PersistentVolumeClaim (ReadWriteMany); each node has its own folder in it."""
    quota: Memory = "10Gi"
    """Maximum size of the cache. The least recently used artifacts are removed first, but never
    those that are served, staged or needed for a rollback."""


HostPort = Annotated[int, Field(ge=1, le=65_535)]
"""A port of a node."""


class HostPorts(ApiModel):
    """Host ports of each node's server, for clients outside the cluster's network such as cameras.

    Needs a namespace that admits host ports (Pod Security `privileged`). Deployments on the same
    node need different ports. The server has neither authentication nor TLS: every client that
    reaches the port can send requests.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("has(self.http) || has(self.grpc)", "set at least one of http, grpc"),
            cel(
                "!has(self.http) || !has(self.grpc) || self.http != self.grpc",
                "http and grpc are the same port",
            ),
        )
    )

    http: HostPort | None = None
    """Port for HTTP."""
    grpc: HostPort | None = None
    """Port for gRPC."""


class EdgeTarget(ApiModel):
    """One server on each edge node that matches."""

    node_selector: dict[str, LabelValue] = Field(
        min_length=1, max_length=32, json_schema_extra=rules(LABEL_KEYS)
    )
    """Labels that a node must have to get a server."""
    pools: Pools | None = None
    """Groups of nodes that the steps of rollouts can name."""
    offline_after: Duration = "5m"
    """Time after which a node that is not Ready, or whose agent has not reported, counts as
    offline. Offline nodes are not counted and do not block rollouts; they are updated when they
    return. The time at which reports arrive at the operator decides, not the device's clock."""
    cache: NodeCache = Field(default_factory=NodeCache)
    """Storage for artifacts and the last assignment of each server."""
    host_ports: HostPorts | None = None
    """Host ports for clients outside the cluster's network. Default: none."""
