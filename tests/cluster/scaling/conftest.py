"""One API server with Kubernetes' own controllers; no operator runs on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelyard_local.cluster import ControlPlane

from ..admin import Access, Admin, access
from ..waiting import until

CRDS = Path(__file__).parents[3] / "crds"
QUICK = "--horizontal-pod-autoscaler-sync-period=1s"


@dataclass(frozen=True)
class Plane:
    """An API server that knows our kinds. Each test module has namespaces of its own."""

    admin: Admin
    access: Access
    ca: bytes
    """The certificate of its authority, PEM."""


@pytest.fixture(scope="session")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """For all tests of this folder."""
    folder = tmp_path_factory.mktemp("scaling")
    flags = {"kube-controller-manager": [QUICK]}
    with ControlPlane(folder / "plane", controller_manager=True, more_flags=flags) as made:
        where = access(made.kubeconfig, folder)
        admin = Admin(where)
        admin.install(CRDS)
        until(lambda: admin.get("/apis/modelyard.dev/v1alpha1/deployments") is not None)
        yield Plane(admin, where, (folder / "ca").read_bytes())
