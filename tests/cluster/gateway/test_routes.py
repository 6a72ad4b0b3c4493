"""A real Gateway does with our routes what a rollout means by them."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
import pytest

from modelyard.core.deployment import gateway
from modelyard.core.deployment.traffic import Server, Split, labels, mark, split

from ..admin import Admin
from ..observing import observing
from ..waiting import until
from .conftest import GATEWAYS, SPACE, Site
from .servers import METHOD, Pod, endpoint_slice, matches, own_address

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

OLD, NEW = "shelf-1:0.25:0.45:300", "shelf-2:0.25:0.45:300"
HEADER = {"name": "x-model", "value": "candidate"}
OURS = f"/apis/modelyard.dev/v1alpha1/namespaces/{SPACE}/deployments"
PATHS = {
    "Service": f"/api/v1/namespaces/{SPACE}/services",
    "HTTPRoute": f"{GATEWAYS}/namespaces/{SPACE}/httproutes",
    "GRPCRoute": f"{GATEWAYS}/namespaces/{SPACE}/grpcroutes",
}
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{SPACE}/endpointslices"


def apply(admin: Admin, path: str, manifest: dict[str, Any]) -> httpx.Response:
    return admin.http.request(
        "PATCH",
        f"{path}/{manifest['metadata']['name']}?fieldManager=test&force=true",
        content=json.dumps(manifest),
        headers={"Content-Type": "application/apply-patch+yaml"},
    )


class Stage:
    """A Deployment behind the Gateway; plays the operator, agents and the endpoint controller."""

    def __init__(self, site: Site, name: str, count: int, **candidate: Any) -> None:
        self.admin, self.port, self.name = site.admin, site.port, name
        self.host, self.grpc_host = f"{name}.example", f"grpc-{name}.example"
        wanted = {
            "parentRefs": [{"name": "public", "sectionName": "web"}],
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
        self.channel = grpc.insecure_channel(
            f"127.0.0.1:{self.port}", options=[("grpc.default_authority", self.grpc_host)]
        )
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
            answer = apply(self.admin, PATHS[manifest["kind"]], manifest)
            assert answer.status_code < 300, answer.text
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
            assert apply(self.admin, SLICES, wanted[name]).status_code < 300
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

    # The clients.

    def ask(self, **headers: str) -> str:
        answer = self.http.post(
            f"http://127.0.0.1:{self.port}/v2/models/shelf/infer",
            headers={"Host": self.host, **headers},
            content=b"{}",
        )
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        return str(answer.json()["model_version"])

    def ask_grpc(self, **metadata: str) -> str:
        answer: bytes = self.call(b"", metadata=tuple(metadata.items()), timeout=10)
        return answer.decode()

    def answers(self) -> bool:
        try:
            return bool(self.ask() and self.ask_grpc())
        except (AssertionError, grpc.RpcError):
            return False

    def counted(self, times: int) -> tuple[Counter[str], Counter[str]]:
        return (
            Counter(self.ask() for _ in range(times)),
            Counter(self.ask_grpc() for _ in range(times)),
        )

    def settles(self, new: int, within: int = 1) -> None:
        """Until the Gateway splits as told: out of 100 requests so many get version 2."""

        def as_told() -> bool:
            http, rpc = self.counted(100)
            return all(abs(one["2"] - new) <= within for one in (http, rpc))

        until(as_told, 30, f"{new} % for the candidate", pause=0.2)


@pytest.fixture
def stage(site: Site, request: pytest.FixtureRequest) -> Iterator[Any]:
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


def test_weights_are_exact_though_servers_are_few(stage: Any) -> None:
    one = stage("weights", 4)
    assert one.counted(50) == (Counter({"1": 50}), Counter({"1": 50}))
    one.rollout = {"stable": OLD, "candidate": NEW, "cap": 10}
    one.move(0, NEW)
    one.settles(new=10)
    http, rpc = one.counted(200)
    assert 19 <= http["2"] <= 21, http
    assert 19 <= rpc["2"] <= 21, rpc


def test_a_header_leads_to_the_candidate_and_nothing_else_does(stage: Any) -> None:
    one = stage("headers", 3, header=HEADER, weighted=False)
    wish = {HEADER["name"]: HEADER["value"]}
    assert (one.ask(**wish), one.ask_grpc(**wish)) == ("1", "1"), "no candidate: stable answers"
    one.rollout = {"stable": OLD, "candidate": NEW, "cap": 30}
    one.move(0, NEW)
    until(lambda: (one.ask(**wish), one.ask_grpc(**wish)) == ("2", "2"), 30)
    assert {one.ask(**wish) for _ in range(30)} == {"2"}
    assert {one.ask_grpc(**wish) for _ in range(30)} == {"2"}
    assert one.counted(50) == (Counter({"1": 50}), Counter({"1": 50}))
    assert {one.ask(**{HEADER["name"]: "stable"}) for _ in range(10)} == {"1"}


def test_no_request_is_lost_from_the_first_step_to_the_last_and_back(stage: Any) -> None:
    one = stage("whole", 4, header=HEADER)
    stop = threading.Event()
    failures: list[str] = []
    count = Counter[str]()

    def load(ask: Any) -> None:
        while not stop.is_set():
            try:
                count[ask()] += 1
            except (AssertionError, httpx.HTTPError, grpc.RpcError) as error:
                failures.append(str(error))

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(load, ask) for ask in (one.ask, one.ask_grpc) for _ in range(2)]
        try:
            one.rollout = {"stable": OLD, "candidate": NEW, "cap": 25}
            one.move(0, NEW)
            one.settles(new=25, within=15)  # Others take turns too.
            one.rollout |= {"cap": 50}
            one.move(1, NEW)
            one.settles(new=50, within=15)
            one.rollout = {"stable": OLD, "candidate": None}  # Rolled back.
            one.reconcile()
            one.settles(new=0, within=0)
            one.move(0, OLD)
            one.move(1, OLD)
            one.rollout = {"stable": OLD, "candidate": NEW, "last": True}
            for number in range(4):
                one.move(number, NEW)
            one.rollout = {"stable": NEW, "candidate": None}
            one.reconcile()
            one.settles(new=100, within=0)
        finally:
            stop.set()
        for each in running:
            each.result(30)
    print(f"requests by version: {dict(count)}")
    assert failures == []
    assert count["1"] > 100
    assert count["2"] > 100


def test_routes_with_all_there_is_are_taken_by_the_api_server(site: Site) -> None:
    """Traefik does not copy requests: that the API takes the filter is what can be seen here."""
    wanted = {
        "parentRefs": [
            {"name": "public", "namespace": "gateways", "sectionName": "web"},
            {"name": "public", "namespace": "gateways", "sectionName": "tls"},
        ],
        "hostnames": ["*.shelf.example", "a" * 60 + ".example"],
        "grpcHostnames": ["grpc.shelf.example"],
        "candidate": {"header": HEADER, "mirror": 5},
    }
    body = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": "full"},
        "spec": {"modelLine": "shelf", "target": {"cluster": {"gateway": wanted}}},
    }
    view = observing(site.admin.call("POST", OURS, body))
    now = Split(stable=mark(OLD), candidate=mark(NEW), weight=100)
    for manifest in gateway.children(view, now, lambda kind: True):
        answer = apply(site.admin, PATHS[manifest["kind"]], manifest)
        assert answer.status_code < 300, answer.text


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"parentRefs": []}, "parentRefs"),
        ({"parentRefs": [{"name": "a"}, {"name": "a"}]}, "parentRefs"),
        ({"parentRefs": [{"name": "a"}, {"name": "a", "sectionName": "b"}]}, "parentRefs"),
        ({"hostnames": ["a.example"], "grpcHostnames": ["a.example"]}, "grpcHostnames"),
        ({"hostnames": ["UPPER"]}, "hostnames"),
        ({"candidate": {"mirror": 0}}, "mirror"),
        ({"candidate": {"header": {"name": "a b", "value": "c"}}}, "name"),
    ],
)
def test_what_the_gateway_api_would_refuse_is_refused_at_once(
    site: Site, change: dict[str, Any], word: str
) -> None:
    wanted = {"parentRefs": [{"name": "public"}], **change}
    body = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": "refused"},
        "spec": {"modelLine": "shelf", "target": {"cluster": {"gateway": wanted}}},
    }
    answer = site.admin.http.post(OURS, json=body)
    assert answer.status_code == 422, answer.text
    assert word in answer.text
