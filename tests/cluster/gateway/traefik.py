"""Traefik as a Gateway: one process that watches the API server and leads requests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelyard_local.cluster import ensure
from modelyard_local.cluster.binaries import cached

NAME = "traefik"
CONTROLLER = "traefik.io/gateway-controller"
TAKES_TURNS = True
"""Whether the split is exact for each hundred requests, and not by lot."""


def built() -> bool:
    """Whether the cache has it."""
    return os.access(cached("traefik"), os.X_OK)


def listener_port(port: int) -> int:
    """The listener's port in the Gateway, for a process that listens on `port`."""
    return port


def crds() -> list[dict]:
    """None but the Gateway API's."""
    return []


@contextmanager
def running(kubeconfig: Path, folder: Path, namespace: str, port: int) -> Iterator[None]:
    """Leads what comes to `port` of the loopback interface as all Gateways of its class say, of
    which `namespace` holds the only one."""
    command = [
        str(ensure("traefik")),
        f"--entrypoints.web.address=127.0.0.1:{port}",
        "--providers.kubernetesgateway=true",
        "--providers.kubernetesgateway.throttleduration=50ms",
        "--providers.providersthrottleduration=50ms",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        "--log.level=INFO",
    ]
    with (folder / "traefik.log").open("w") as log:
        process = subprocess.Popen(
            command, env={**os.environ, "KUBECONFIG": str(kubeconfig)}, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)
        print((folder / "traefik.log").read_text()[-3000:])
