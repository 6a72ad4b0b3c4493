"""Where a Deployment's servers run: anywhere in the cluster, or one on each edge node."""

from __future__ import annotations

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
    exactly_one,
    rules,
)


class ClusterTarget(ApiModel):
    """Servers anywhere in the cluster, behind one Service."""

    replicas: int = Field(default=1, ge=0, le=10_000)
    """Number of servers; 0 suspends serving."""


class Pools(ApiModel):
    """Groups of edge nodes, told apart by one node label."""

    label: LabelKey = Field(min_length=1)
    """Node label whose value names the pool, such as example.com/region."""
    values: list[LabelValue] = Field(default_factory=list, max_length=50)
    """Pools in the order in which a rollout takes them. Pools that are not named come last, in
    the order of their names."""


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
        default=None, min_length=2, max_length=512, pattern=r"^/[A-Za-z0-9._/-]*[A-Za-z0-9._-]$"
    )
    """Folder on the node that outlives pods. Needs a namespace that admits hostPath volumes
    (Pod Security `privileged`)."""
    claim_name: ObjectName | None = None
    """PersistentVolumeClaim (ReadWriteMany) that outlives pods; each node has a folder in it."""
    quota: Memory = "10Gi"
    """Bytes that artifacts may take. The least recently used ones go first, never those that are
    served, staged, or needed for a rollback."""


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
    neither counts nor blocks, and is brought up to date when it returns."""
    cache: NodeCache = Field(default_factory=NodeCache)
    """Where servers keep artifacts and their last assignment."""


class Target(ApiModel):
    """Where servers run: exactly one of cluster and edge."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            exactly_one("cluster", "edge"),
            cel(
                "has(self.edge) == has(oldSelf.edge)",
                "a target cannot change between cluster and edge: make another Deployment",
            ),
        )
    )

    cluster: ClusterTarget | None = None
    """Servers anywhere in the cluster, behind one Service."""
    edge: EdgeTarget | None = None
    """One server on each node that matches."""
