"""A real API server with Kubernetes' controllers and the chart, to lose things on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard_local.cluster import ControlPlane

from ...cluster.conftest import CRDS, Cluster
from ...cluster.waiting import until_discovered

ROOT = Path(__file__).parents[3]
SPACE = "shop"


@pytest.fixture(scope="package")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The chart's policies and accounts, and the real garbage collector; no operator runs."""
    with ControlPlane(tmp_path_factory.mktemp("security"), controller_manager=True) as plane:
        cluster = Cluster(plane.kubeconfig)
        cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
        until_discovered(cluster.kubectl)
        for namespace in ("modelyard-system", SPACE):
            cluster.kubectl("create", "namespace", namespace)
        cluster.helm(
            *("install", "modelyard", str(ROOT / "charts/modelyard"), "-n", "modelyard-system"),
            *("--set", "crds.enabled=false", "--set", f"workloads.namespaces={{{SPACE}}}"),
        )
        cluster.until_policies_know(SPACE)
        yield cluster
