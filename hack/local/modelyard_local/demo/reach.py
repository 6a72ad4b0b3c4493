"""Reaches the embedded store and the servers from this machine."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import obstore
from obstore.store import S3Store

from modelyard.cli.kube import connect
from modelyard.cli.portforward import forward
from modelyard_local.demo.environment import SYSTEM_NAMESPACE
from modelyard_local.demo.objects import Objects

PORTS = {"http": 8000, "grpc": 8001}
STORE = "modelyard-store"
"""Service of the chart's embedded store, for a release called modelyard."""
WRITER = f"{STORE}-writer"
"""Secret with a namespace's key of it."""
STORE_PORT = 7070
BUCKET = "modelyard-{namespace}"
SETTLE_SECONDS = 5.0
"""How long the cluster network may take to learn of a pod that is ready. It refuses until then."""


def upload(objects: Objects, file: Path, key: str) -> None:
    """Put a file under a key of the namespace's bucket in the embedded store, over S3 as any user
    would."""
    secret = objects.core().read_namespaced_secret(WRITER, objects.namespace).data
    with _reach(objects, SYSTEM_NAMESPACE, STORE, STORE_PORT) as address:
        store = S3Store(
            BUCKET.format(namespace=objects.namespace),
            endpoint=f"http://{address}",
            region="us-east-1",
            access_key_id=base64.b64decode(secret["AWS_ACCESS_KEY_ID"]).decode(),
            secret_access_key=base64.b64decode(secret["AWS_SECRET_ACCESS_KEY"]).decode(),
            client_options={"allow_http": True},
            virtual_hosted_style_request=False,
        )
        obstore.put(store, key, file)


@contextmanager
def servers(objects: Objects, service: str) -> Iterator[dict[str, str]]:
    """Addresses of a Modelyard Deployment's Service by protocol, http and grpc."""
    with ExitStack() as stack:
        yield {
            protocol: stack.enter_context(_reach(objects, objects.namespace, service, port))
            for protocol, port in PORTS.items()
        }


@contextmanager
def _reach(objects: Objects, namespace: str, service: str, port: int) -> Iterator[str]:
    """host:port of a Service: its cluster address where this machine routes to it (the local
    cluster), else a port-forward."""
    cluster_ip = objects.core().read_namespaced_service(service, namespace).spec.cluster_ip
    if _connects(cluster_ip, port):
        yield f"{cluster_ip}:{port}"
        return
    with forward(connect(objects.kubeconfig), namespace, f"service/{service}", port) as address:
        yield address


def _connects(host: str, port: int, settle: float = SETTLE_SECONDS) -> bool:
    deadline = time.monotonic() + settle
    while True:
        try:
            socket.create_connection((host, port), timeout=1).close()
            return True
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        except OSError:
            return False
