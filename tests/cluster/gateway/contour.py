"""Contour and Envoy as a Gateway: Contour watches the API server and tells Envoy, which leads
requests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml

from modelyard_local.cluster.binaries import Module, ensure_module
from modelyard_local.cluster.paths import cache_home

from ..process import free_port
from . import envoy
from .gomodules import unpacked

NAME = "contour"
CONTROLLER = "projectcontour.io/gateway-controller"
TAKES_TURNS = False
SOURCE = "github.com/projectcontour/contour"
MODULE = Module(
    NAME, source=SOURCE, binaries={NAME: f"{SOURCE}/cmd/contour"}, home=Path(__file__).parent
)


def built() -> bool:
    """Whether the cache has both programs."""
    contour = cache_home() / "bin" / NAME / MODULE.key() / NAME
    return os.access(contour, os.X_OK) and envoy.built()


def listener_port(port: int) -> int:
    """The listener's port in the Gateway, for an Envoy that listens on `port`: Contour has it
    listen 8,000 higher, so that Envoy needs no rights for ports such as 80."""
    return port - 8000


def crds() -> list[dict]:
    """Contour's own CRDs, without which it does not start."""
    text = (unpacked(MODULE.folder, SOURCE) / "examples/contour/01-crds.yaml").read_text()
    return [one for one in yaml.safe_load_all(text) if one]


@contextmanager
def running(kubeconfig: Path, folder: Path, namespace: str, port: int) -> Iterator[None]:
    """Leads what comes to `port` of the loopback interface as the Gateway `contour` says."""
    contour = ensure_module(MODULE)[NAME]
    xds, config, bootstrap = free_port(), folder / "contour.yaml", folder / "envoy.json"
    gateway = {"gatewayRef": {"namespace": namespace, "name": NAME}}
    config.write_text(yaml.safe_dump({"gateway": gateway, "accesslog-level": "disabled"}))
    server = ["--xds-address=127.0.0.1", f"--xds-port={xds}"]
    admin = f"--admin-address={folder / 'envoy-admin.sock'}"
    subprocess.run([contour, "bootstrap", bootstrap, *server, admin], check=True, timeout=60)
    serve = [
        *(contour, "serve", f"--config-path={config}", f"--kubeconfig={kubeconfig}"),
        *server,
        "--insecure",
        "--disable-leader-election",
        *(f"--disable-feature={one}" for one in ("tlsroutes", "tcproutes", "backendtlspolicies")),
        "--envoy-service-http-address=127.0.0.1",
    ]
    for one in ("health", "http", "debug-http", "stats"):
        serve += [f"--{one}-address=127.0.0.1", f"--{one}-port={free_port()}"]
    proxy = [
        *(envoy.ensure(), "--config-path", bootstrap, "--disable-hot-restart"),
        *("--service-cluster", NAME, "--service-node", NAME, "--log-level", "warning"),
    ]
    with ExitStack() as stack:
        for name, command in (("contour", serve), ("envoy", proxy)):
            log = stack.enter_context((folder / f"{name}.log").open("w"))
            process = subprocess.Popen([*map(str, command)], stdout=log, stderr=log)
            stack.callback(_end, process, folder / f"{name}.log")
        yield


def _end(process: subprocess.Popen, log: Path) -> None:
    process.terminate()
    process.wait(30)
    print(log.read_text()[-3000:])
