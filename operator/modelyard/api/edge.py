"""An edge target: one server on each node that matches."""

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
    """Groups of edge nodes, told apart by one node label."""

    label: LabelKey = Field(min_length=1)
    """Node label whose value names the pool, such as example.com/region."""
    values: list[LabelValue] = Field(default_factory=list, max_length=50)
    """Pools in the order in which they are shown; others come last, in the order of their names.
    Which pool a rollout takes first, its steps say."""


class NodeCache(ApiModel):
    """Where an edge server keeps artifacts and its last assignment.

    By default in its pod, which outlives restarts of its containers and of the node, but not the
    pod itself. At most one of hostPath and claimName.
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
    """Folder on the node that outlives pods. Needs a namespace that admits hostPath volumes
    (Pod Security `privileged`)."""
    claim_name: ObjectName | None = None
    """PersistentVolumeClaim (ReadWriteMany) that outlives pods; each node has a folder in it."""
    quota: Memory = "10Gi"
    """Bytes that artifacts may take. The least recently used ones go first, never those that are
    served, staged, or needed for a rollback."""


HostPort = Annotated[int, Field(ge=1, le=65_535)]
"""A port of a node."""


class HostPorts(ApiModel):
    """Ports of the node at which its own server answers, for clients outside the cluster's network,
    such as cameras beside it.

    Needs a namespace that admits host ports (Pod Security `privileged`). On a node each port is
    given once: two Deployments there need different ones. Whoever reaches the node at the port can
    ask the server: it neither knows users nor TLS.
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
    """For HTTP."""
    grpc: HostPort | None = None
    """For gRPC."""


class EdgeTarget(ApiModel):
    """One server on each node that matches."""

    node_selector: dict[str, LabelValue] = Field(
        min_length=1, max_length=32, json_schema_extra=rules(LABEL_KEYS)
    )
    """Labels that a node must have to get a server."""
    pools: Pools | None = None
    """Groups of nodes that rollouts know by name."""
    offline_after: Duration = "5m"
    """A node that is not Ready, or whose agent has not reported for so long, is offline: it
    neither counts nor blocks, and is brought up to date when it returns. What counts is when
    reports arrive at the operator, not what the device's clock says."""
    cache: NodeCache = Field(default_factory=NodeCache)
    """Where servers keep artifacts and their last assignment."""
    host_ports: HostPorts | None = None
    """Ports of each node for clients outside the cluster's network; by default none."""
