"""A Deployment behind a real Gateway, and those who ask it. The operator, its agents and the
endpoint controller are played; what they write is made by the operator's own code."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import grpc
import httpx

from modelyard.core.deployment import gateway
from modelyard.core.deployment.traffic import Server, Split, labels, mark, split

from ..admin import Admin
from ..observing import observing
from ..waiting import until
from .servers import METHOD, Pod, endpoint_slice, matches, own_address

SPACE = "shop"
GATEWAYS = "/apis/gateway.networking.k8s.io/v1"
OURS = f"/apis/modelyard.dev/v1alpha1/namespaces/{SPACE}/deployments"
PATHS = {
    "Service": f"/api/v1/namespaces/{SPACE}/services",
    "HTTPRoute": f"{GATEWAYS}/namespaces/{SPACE}/httproutes",
    "GRPCRoute": f"{GATEWAYS}/namespaces/{SPACE}/grpcroutes",
}
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{SPACE}/endpointslices"
OLD, NEW = "shelf-1:0.25:0.45:300", "shelf-2:0.25:0.45:300"


@dataclass(frozen=True)
class Site:
    """An API server, and a Gateway that takes routes of all namespaces."""

    admin: Admin
    name: str
    """The Gateway's; also that of its implementation."""
    controller: str
    """Whose verdicts about a route are the Gateway's."""
    port: int
    """Where it listens."""
    takes_turns: bool
    """Whether it splits exactly, and not by lot."""

    def range(self, percent: int, asked: int) -> tuple[float, float]:
        """How many of so many requests may go where `percent` are to go."""
        mean, share = asked * percent / 100, percent / 100
        # By lot, 5 standard deviations: one good split in a million is called bad.
        off = 0 < share < 1 if self.takes_turns else 5 * (mean * (1 - share)) ** 0.5
        return mean - off, mean + off


class Stage:
    """A Deployment with its pods, at some moment of a rollout."""

    def __init__(self, site: Site, name: str, count: int, **candidate: Any) -> None:
        """`count` servers that hold version 1; `candidate` is the spec's field."""
        name = f"{name}-{site.name}"
        self.site, self.admin, self.name = site, site.admin, name
        self.host, self.grpc_host = f"{name}.example", f"grpc-{name}.example"
        wanted = {
            "parentRefs": [{"name": site.name, "sectionName": "web"}],
            "hostnames": [self.host],
            "grpcHostnames": [self.grpc_host],
            "candidate": candidate,
        }
        body = {
            "apiVersion": "modelyard.dev/v1alpha1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {"modelLine": "shelf", "target": {"cluster": {"gateway": wanted}}},
        }
        self.view = observing(self.admin.call("POST", OURS, body))
        self.pods = [Pod(f"{name}-{i}", "1") for i in range(count)]
        self.servers = [
            Server(pod.name, f"uid-{pod.name}", True, mark(OLD), OLD, OLD) for pod in self.pods
        ]
        self.address = own_address()
        self.slices: set[str] = set()
        self.rollout: dict[str, Any] = {"stable": OLD, "candidate": None}
        self.http = httpx.Client(trust_env=False, timeout=10)
        # A Gateway may open its port only once it has a route.
        options = [
            ("grpc.default_authority", self.grpc_host),
            ("grpc.max_reconnect_backoff_ms", 500),
        ]
        self.channel = grpc.insecure_channel(f"127.0.0.1:{site.port}", options=options)
        self.call = self.channel.unary_unary(METHOD)

    def stop(self) -> None:
        self.channel.close()
        for pod in self.pods:
            pod.stop()

    # The operator and the endpoint controller.

    def reconcile(self) -> Split:
        now = split(self.servers, **self.rollout)
        services = []
        for manifest in gateway.children(self.view, now, lambda kind: True):
            self.admin.apply(PATHS[manifest["kind"]], manifest)
            if manifest["kind"] == "Service":
                services.append(manifest)
        self._endpoints(services)
        changes = labels(self.servers, now)
        if changes:
            self.servers = [s._replace(label=changes.get(s.pod, s.label)) for s in self.servers]
            return self.reconcile()
        return now

    def _endpoints(self, services: list[dict[str, Any]]) -> None:
        wanted: dict[str, dict[str, Any]] = {}
        for service in services:
            selector = service["spec"]["selector"]
            rest = {k: v for k, v in selector.items() if k == "modelyard.dev/serves"}
            for pod, server in zip(self.pods, self.servers, strict=True):
                carried = {"modelyard.dev/serves": server.label or ""}
                if matches(rest, carried):
                    made = endpoint_slice(service["metadata"]["name"], pod, self.address)
                    wanted[made["metadata"]["name"]] = made
        for name in wanted.keys() - self.slices:
            self.admin.apply(SLICES, wanted[name])
        for name in self.slices - wanted.keys():
            self.admin.call("DELETE", f"{SLICES}/{name}")
        self.slices = set(wanted)

    # The agents.

    def move(self, number: int, key: str, seconds: float = 0.4) -> None:
        """A server is told to switch, takes a while, and has switched."""
        self.servers[number] = self.servers[number]._replace(assigned=key)
        self.reconcile()
        time.sleep(seconds)  # As a load would take; routes settle meanwhile.
        self.pods[number].version = key.partition(":")[0].rpartition("-")[2]
        self.servers[number] = self.servers[number]._replace(loaded=key)
        self.reconcile()

    # What the Gateway says of the routes.

    def is_taken(self) -> None:
        """Waits until the Gateway says that it takes a route; fails the test if it has anything
        against one.

        That it says so of one is enough: Contour keeps its verdicts by the route's name, so that
        those of an HTTPRoute and a GRPCRoute of the same name replace each other.
        """

        def taken() -> bool:
            said = [self._verdicts(PATHS[kind]) for kind in gateway.ROUTES]
            against = [one for each in said for one in each if one["status"] != "True"]
            assert not against, f"{self.site.name} about {self.name}: {against}"
            return any({"Accepted", "ResolvedRefs"} <= {c["type"] for c in each} for each in said)

        until(taken, what=f"{self.site.name} to take a route of {self.name}")

    def _verdicts(self, path: str) -> list[dict[str, Any]]:
        route = self.admin.get(f"{path}/{self.name}")
        return [
            condition
            for parent in route.get("status", {}).get("parents", ())
            if parent["controllerName"] == self.site.controller
            for condition in parent["conditions"]
        ]

    # The clients.

    def ask(self, content: bytes = b"{}", **headers: str) -> str:
        """The version that answers over HTTP."""
        answer = self.http.post(
            f"http://127.0.0.1:{self.site.port}/v2/models/shelf/infer",
            headers={"Host": self.host, **headers},
            content=content,
        )
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        return str(answer.json()["model_version"])

    def ask_grpc(self, content: bytes = b"", **metadata: str) -> str:
        """The version that answers over gRPC."""
        answer: bytes = self.call(content, metadata=tuple(metadata.items()), timeout=10)
        return answer.decode()

    def answers(self) -> bool:
        try:
            return bool(self.ask() and self.ask_grpc())
        except (AssertionError, httpx.HTTPError, grpc.RpcError):
            return False

    def counted(self, times: int) -> tuple[Counter[str], Counter[str]]:
        """How often each version answers, over HTTP and over gRPC."""
        return (
            Counter(self.ask() for _ in range(times)),
            Counter(self.ask_grpc() for _ in range(times)),
        )

    def settles(self, new: int, others: int = 0) -> None:
        """Until the Gateway splits as told: `new` percent of requests get version 2, more or
        less by so many of a hundred that other clients take turns with."""
        asked = 100 if self.site.takes_turns or new in (0, 100) else 400
        least, most = self.site.range(new, asked)
        off = others * asked / 100

        def as_told() -> bool:
            return all(least - off <= one["2"] <= most + off for one in self.counted(asked))

        until(as_told, 60, f"{new} % for the candidate", pause=0.2)


class Load:
    """Four clients that ask all the time, two over HTTP and two over gRPC."""

    def __init__(self, stage: Stage) -> None:
        self.count = Counter[str]()
        """Answers by version."""
        self.failures: list[str] = []
        self._asks = [stage.ask, stage.ask_grpc] * 2
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(len(self._asks))

    def __enter__(self) -> Self:
        self._running = [self._pool.submit(self._loop, ask) for ask in self._asks]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with self._pool:
            for each in self._running:
                each.result(30)

    def judge(self) -> None:
        """Fails the test if a request was lost, or if not both versions have answered many."""
        print(f"requests by version: {dict(self.count)}")
        assert self.failures == []
        assert self.count["1"] > 100
        assert self.count["2"] > 100

    def _loop(self, ask: Callable[[], str]) -> None:
        while not self._stop.is_set():
            try:
                self.count[ask()] += 1
            except (AssertionError, httpx.HTTPError, grpc.RpcError) as error:
                self.failures.append(str(error))
