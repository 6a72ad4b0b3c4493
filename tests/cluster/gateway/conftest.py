"""A real API server with the Gateway API, and Traefik as its Gateway."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from modelyard.cluster import ControlPlane, ensure
from modelyard.cluster.binaries import MODULES, cached

from ..admin import Admin, access
from ..process import free_port
from ..waiting import until

ROOT = Path(__file__).parents[3]
SPACE = "shop"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GATEWAYS = "/apis/gateway.networking.k8s.io/v1"


@dataclass(frozen=True)
class Site:
    """The API server, and where the Gateway listens."""

    admin: Admin
    port: int


def gateway_crds() -> list[dict]:
    """The CRDs of the Gateway API's standard channel, as Traefik's own module pins it."""
    where = MODULES["traefik"].folder
    module = "sigs.k8s.io/gateway-api"
    subprocess.run(["go", "mod", "download", module], cwd=where, check=True, timeout=300)
    folder = subprocess.run(
        ["go", "list", "-m", "-f", "{{.Dir}}", module],
        cwd=where,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    files = sorted(Path(folder, "config/crd/standard").glob("gateway.networking.k8s.io_*.yaml"))
    return [yaml.safe_load(path.read_text()) for path in files]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if not os.access(cached("traefik"), os.X_OK) and "MODELYARD_SLOW_TESTS" not in os.environ:
        pytest.skip("Traefik has to be built first, which takes minutes: MODELYARD_SLOW_TESTS=1")
    folder = tmp_path_factory.mktemp("gateway")
    traefik = ensure("traefik")
    port = free_port()
    with ControlPlane(folder / "plane") as plane:
        admin = Admin(access(plane.kubeconfig, folder))
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
        _gateway(admin, port)
        with (folder / "traefik.log").open("w") as log:
            process = subprocess.Popen(
                [
                    str(traefik),
                    f"--entrypoints.web.address=127.0.0.1:{port}",
                    "--providers.kubernetesgateway=true",
                    "--providers.kubernetesgateway.throttleduration=50ms",
                    "--providers.providersthrottleduration=50ms",
                    "--global.checknewversion=false",
                    "--global.sendanonymoususage=false",
                    "--log.level=INFO",
                ],
                env={**os.environ, "KUBECONFIG": str(plane.kubeconfig)},
                stdout=log,
                stderr=log,
            )
        try:
            until(lambda: _listens(port), what="Traefik to listen")
            yield Site(admin, port)
        finally:
            process.terminate()
            process.wait(30)
            print((folder / "traefik.log").read_text()[-3000:])


def _gateway(admin: Admin, port: int) -> None:
    kind = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": "traefik"},
        "spec": {"controllerName": "traefik.io/gateway-controller"},
    }
    admin.call("POST", f"{GATEWAYS}/gatewayclasses", kind)
    listener = {
        "name": "web",
        "protocol": "HTTP",
        "port": port,
        "allowedRoutes": {"namespaces": {"from": "All"}},
    }
    gateway = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "public"},
        "spec": {"gatewayClassName": "traefik", "listeners": [listener]},
    }
    admin.call("POST", f"{GATEWAYS}/namespaces/{SPACE}/gateways", gateway)


def _listens(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/", trust_env=False, timeout=2)
    except httpx.HTTPError:
        return False
    return True
