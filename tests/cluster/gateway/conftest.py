"""A real API server with the Gateway API, and real Gateways."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from modelyard_local.cluster import ControlPlane
from modelyard_local.cluster.binaries import MODULES

from ..admin import Admin, access
from ..process import free_port
from ..waiting import until
from . import contour, traefik
from .gomodules import unpacked
from .stage import GATEWAYS, SPACE, Site, Stage

ROOT = Path(__file__).parents[3]
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
IMPLEMENTATIONS = {one.NAME: one for one in (traefik, contour)}


@dataclass(frozen=True)
class Plane:
    """An API server that knows our kinds and the Gateway API's."""

    admin: Admin
    kubeconfig: Path


def gateway_crds() -> list[dict]:
    """The CRDs of the Gateway API's standard channel, as Traefik's own module pins it."""
    module = unpacked(MODULES["traefik"].folder, "sigs.k8s.io/gateway-api")
    files = sorted(module.glob("config/crd/standard/gateway.networking.k8s.io_*.yaml"))
    return [yaml.safe_load(path.read_text()) for path in files]


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("gateway")
    with ControlPlane(folder / "plane") as running:
        admin = Admin(access(running.kubeconfig, folder))
        admin.install(ROOT / "crds")
        for crd in gateway_crds():
            admin.call("POST", CRDS, crd)
        for path in (
            "/apis/modelyard.dev/v1alpha1/deployments",
            f"{GATEWAYS}/gateways",
            f"{GATEWAYS}/httproutes",
            f"{GATEWAYS}/grpcroutes",
        ):
            until(lambda path=path: admin.get(path) is not None, what=path)
        admin.namespace(SPACE)
        yield Plane(admin, running.kubeconfig)


@pytest.fixture(scope="session", params=IMPLEMENTATIONS)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    chosen = IMPLEMENTATIONS[request.param]
    if not chosen.built() and "MODELYARD_SLOW_TESTS" not in os.environ:
        pytest.skip(f"{chosen.NAME} has to be built first, in minutes: MODELYARD_SLOW_TESTS=1")
    plane: Plane = request.getfixturevalue("plane")
    port = free_port()
    # The same Gateway comes a second time where two files' tests take turns.
    for crd in chosen.crds():
        plane.admin.apply(CRDS, crd)
        until(lambda crd=crd: _served(plane.admin, crd), what=crd["metadata"]["name"])
    _gateway(plane.admin, chosen, chosen.listener_port(port))
    folder = tmp_path_factory.mktemp(chosen.NAME)
    with chosen.running(plane.kubeconfig, folder, SPACE, port):
        yield Site(plane.admin, chosen.NAME, chosen.CONTROLLER, port, chosen.TAKES_TURNS)


@pytest.fixture
def stage(site: Site) -> Iterator[Callable[..., Stage]]:
    made: list[Stage] = []

    def start(name: str, count: int, **candidate: Any) -> Stage:
        one = Stage(site, name, count, **candidate)
        made.append(one)
        one.reconcile()
        until(one.answers, 60, "the Gateway to know the routes")
        return one

    yield start
    for one in made:
        one.stop()


def _served(admin: Admin, crd: dict[str, Any]) -> bool:
    spec = crd["spec"]
    versions = [one["name"] for one in spec["versions"] if one["served"]]
    paths = [f"/apis/{spec['group']}/{one}/{spec['names']['plural']}" for one in versions]
    return all(admin.get(path) is not None for path in paths)


def _gateway(admin: Admin, chosen: ModuleType, port: int) -> None:
    kind = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": chosen.NAME},
        "spec": {"controllerName": chosen.CONTROLLER},
    }
    admin.apply(f"{GATEWAYS}/gatewayclasses", kind)
    listener = {
        "name": "web",
        "protocol": "HTTP",
        "port": port,
        "allowedRoutes": {"namespaces": {"from": "All"}},
    }
    gateway = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": chosen.NAME},
        "spec": {"gatewayClassName": chosen.NAME, "listeners": [listener]},
    }
    admin.apply(f"{GATEWAYS}/namespaces/{SPACE}/gateways", gateway)
