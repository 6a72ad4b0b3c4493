"""Forwards a local port to a Service or pod of the cluster, through the API server.

Each connection gets its own port-forward to a pod that is ready at that moment. So a forward to a
Service survives the replacement of its pods, unlike `kubectl port-forward`, which selects one pod
at its start.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any

from modelyard.cli.errors import UNREACHABLE, CliError, api_errors
from modelyard.cli.kube import Cluster

_CHUNK = 256 * 1024


@contextlib.contextmanager
def forward(cluster: Cluster, namespace: str, target: str, port: int) -> Iterator[str]:
    """Listens on a free local port while the context lasts; yields its address, `127.0.0.1:PORT`.

    `target` is `service/NAME` or `pod/NAME`, `port` a port of the Service or the pod. Raises
    CliError if the target does not exist, has no such port, or has no ready pod.
    """
    kind, _, name = target.partition("/")
    if kind not in ("service", "pod") or not name:
        raise ValueError(f"target {target!r} is neither service/NAME nor pod/NAME")
    route = (
        _ServiceRoute(cluster, namespace, name, port)
        if kind == "service"
        else _PodRoute(name, port)
    )
    route.choose()  # Fail now rather than at the first connection.
    listener = socket.create_server(("127.0.0.1", 0))
    forwarder = _Forwarder(cluster, namespace, route, listener)
    thread = threading.Thread(target=forwarder.serve, name=f"forward {target}", daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        forwarder.close()
        thread.join(5)


class _PodRoute:
    def __init__(self, pod: str, port: int) -> None:
        self._target = (pod, port)

    def choose(self) -> tuple[str, int]:
        return self._target


class _ServiceRoute:
    """Selects the ready pods of a Service, round-robin."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, port: int) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._port = port
        self._round_robin = itertools.count()

    def choose(self) -> tuple[str, int]:
        """A ready pod and its port."""
        from kubernetes import client

        where = f"Service {self._name} in namespace {self._namespace}"
        with api_errors(f"reading {where}", self._cluster.server):
            service: Any = self._cluster.core().read_namespaced_service(self._name, self._namespace)
            slices = client.DiscoveryV1Api(self._cluster.api).list_namespaced_endpoint_slice(
                self._namespace, label_selector=f"kubernetes.io/service-name={self._name}"
            )
        found = [p for p in service.spec.ports or [] if p.port == self._port]
        if not found:
            has = ", ".join(str(p.port) for p in service.spec.ports or []) or "none"
            raise CliError(f"{where} has no port {self._port}; it has {has}")
        ready = sorted(_ready(slices.items, found[0].name or ""))
        if not ready:
            raise CliError(
                f"{where} has no ready pod; `kubectl -n {self._namespace} get pods` shows why",
                UNREACHABLE,
            )
        return ready[next(self._round_robin) % len(ready)]


def _ready(slices: list[Any], port_name: str) -> Iterator[tuple[str, int]]:
    for one in slices:
        ports = [p.port for p in one.ports or [] if (p.name or "") == port_name]
        for endpoint in one.endpoints or []:
            reference = endpoint.target_ref
            if ports and reference and reference.kind == "Pod" and endpoint.conditions.ready:
                yield reference.name, ports[0]


class _Forwarder:
    """Accepts connections and forwards each through its own port-forward."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        route: _PodRoute | _ServiceRoute,
        listener: socket.socket,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._route = route
        self._listener = listener
        self._closing = threading.Event()

    def serve(self) -> None:
        self._listener.settimeout(0.2)
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def close(self) -> None:
        self._closing.set()
        self._listener.close()

    def _handle(self, connection: socket.socket) -> None:
        # If the forward fails, the client's connection is closed, as by any proxy.
        with connection, contextlib.suppress(CliError, OSError, ValueError):
            pod, port = self._route.choose()
            remote = self._open(pod, port)
            with contextlib.closing(remote):
                self._pump(connection, remote)

    def _open(self, pod: str, port: int) -> Any:
        from kubernetes import client
        from kubernetes.stream import portforward

        # `stream` replaces the client's request function while it connects: do not share one.
        core = client.CoreV1Api(client.ApiClient(self._cluster.api.configuration))
        with api_errors(f"connecting to pod {pod}", self._cluster.server):
            opened = portforward(
                core.connect_get_namespaced_pod_portforward, pod, self._namespace, ports=str(port)
            )
        return opened.socket(port)

    def _pump(self, near: socket.socket, far: Any) -> None:
        other = {near: far, far: near}
        open_sides = [near, far]
        while open_sides and not self._closing.is_set():
            readable, _, _ = select.select(open_sides, [], [], 0.5)
            for side in readable:
                data = side.recv(_CHUNK)
                if data:
                    other[side].sendall(data)
                elif side is far:
                    return
                else:
                    # Half-closed by the client: keep forwarding the response.
                    open_sides.remove(near)
