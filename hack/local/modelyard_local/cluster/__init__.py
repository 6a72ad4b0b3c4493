"""A local Kubernetes that developers and users keep: built from pinned sources.

`ControlPlane` is an API server with etcd for tests, `LocalCluster` a whole one-node cluster,
`ensure` hands out the binaries that both run, `choose` picks the cluster that a demo uses.
"""

from __future__ import annotations

from modelyard_local.cluster.binaries import ensure, ensure_all
from modelyard_local.cluster.controlplane import ControlPlane
from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.local import LocalCluster

__all__ = ["ClusterError", "ControlPlane", "LocalCluster", "ensure", "ensure_all"]
