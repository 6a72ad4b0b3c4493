"""The chart's NetworkPolicies, enforced on the real kubelet: who reaches whom.

Real: servers, operator, store, and kube-network-policies. Played: pods that scan, in another
namespace (an attacker's) and in the workloads' own, some with the labels of our components. Not
seen here: what a pod sends to the node itself, where the local cluster's API server and DNS run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from modelyard_local.demo.environment import SYSTEM_NAMESPACE
from modelyard_local.demo.objects import Objects

from .conftest import Demo, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2700)]

ELSEWHERE = "elsewhere"
LISTENS = 9999
STORE_PORT = 7070
INFERENCE, METRICS = (8000, 8001), (8002, 8090)
OTHERS = (22, 5000, 8003, LISTENS)
SCAN = """
import concurrent.futures, json, socket, sys
def connect(target):
    host, port = target.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
        return "open"
    except TimeoutError:
        return "dropped"
    except ConnectionRefusedError:
        return "refused"
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    print(json.dumps(dict(zip(sys.argv[1:], pool.map(connect, sys.argv[1:])))))
"""


@dataclass(frozen=True)
class Scanner:
    """A pod from which connections are tried."""

    objects: Objects
    name: str
    container: str = "main"

    def sees(self, *targets: str) -> dict[str, str]:
        """open, refused (nobody listens) or dropped (by a policy), by `host:port`."""
        command = ("exec", self.name, "-c", self.container, "--", "python", "-c", SCAN, *targets)
        return dict(json.loads(self.objects.kubectl(*command)))

    @property
    def address(self) -> str:
        return address(self.objects, self.name)


@dataclass(frozen=True)
class Net:
    """Addresses of what is attacked, and where from."""

    server: Scanner
    store: str
    operator: str
    attacker: Scanner
    played: dict[str, Scanner]
    """Pods in the workloads' namespace, by the component that their label names; "" has none."""


def address(objects: Objects, pod: str) -> str:
    return objects.kubectl("get", "pod", pod, "-o", "jsonpath={.status.podIP}").strip()


def scanner(name: str, image: str, labels: dict[str, str]) -> dict[str, Any]:
    """A pod that meets Pod Security `restricted`, listens on a port and can be entered."""
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["python", "-m", "http.server", str(LISTENS), "--directory", "/tmp"],
        "securityContext": security,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "containers": [container],
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
        },
    }


def ours(component: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/managed-by": "modelyard",
        "app.kubernetes.io/component": component,
    }


@pytest.fixture(scope="module")
def net(demo: Demo) -> Iterator[Net]:
    found = json.loads(
        demo.objects.kubectl(
            "get", "pods", "-l", "app.kubernetes.io/component=server", "-o", "json"
        )
    )["items"][0]
    image = next(c["image"] for c in found["spec"]["containers"] if c["name"] == "agent")
    kubeconfig = demo.objects.kubeconfig
    system, elsewhere = Objects(kubeconfig, SYSTEM_NAMESPACE), Objects(kubeconfig, ELSEWHERE)
    elsewhere.make_namespace()
    # With the labels of a workload, which only the workloads' namespaces make one.
    attacker = scanner("attacker", image, ours("training"))
    elsewhere.kubectl("apply", "-f", "-", stdin=json.dumps(attacker))
    components = ("", "dataset", "training", "evaluate", "activator", "unheard-of")
    for one in components:
        pod = scanner(f"scan-{one or 'plain'}", image, ours(one) if one else {})
        demo.objects.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    played = {one: Scanner(demo.objects, f"scan-{one or 'plain'}") for one in components}
    waiting = ("wait", "--for=condition=Ready", "pod", "--timeout=120s")
    elsewhere.kubectl(*waiting, "attacker")
    demo.objects.kubectl(*waiting, *(one.name for one in played.values()))
    (store,) = system.kubectl(
        *("get", "pods", "-l", "app.kubernetes.io/component=store", "-o", "name")
    ).split()
    (operator,) = system.kubectl(
        *("get", "pods", "-l", "app.kubernetes.io/component=operator", "-o", "name")
    ).split()
    yield Net(
        server=Scanner(demo.objects, found["metadata"]["name"], "agent"),
        store=f"{address(system, store.removeprefix('pod/'))}:{STORE_PORT}",
        operator=address(system, operator.removeprefix("pod/")),
        attacker=Scanner(elsewhere, "attacker"),
        played=played,
    )
    demo.objects.kubectl("delete", "pod", *(one.name for one in played.values()), "--wait=false")
    elsewhere.kubectl("delete", "namespace", ELSEWHERE, "--wait=false")


def states(source: Scanner, targets: dict[str, str]) -> dict[str, str]:
    """What `source` sees of named targets."""
    seen = source.sees(*targets.values())
    return {name: seen[target] for name, target in targets.items()}


def test_servers_accept_inference_and_metrics_only(net: Net) -> None:
    host = net.server.address
    allowed = {f"{host}:{port}": "open" for port in (*INFERENCE, *METRICS)}
    closed = {f"{host}:{port}": "dropped" for port in OTHERS}
    assert net.attacker.sees(*allowed, *closed) == allowed | closed


def test_from_another_namespace_nobody_reaches_the_store_or_other_workloads(net: Net) -> None:
    targets = {
        "store": net.store,
        "operator": f"{net.operator}:8080",
        "operator's other ports": f"{net.operator}:{LISTENS}",
        "training": f"{net.played['training'].address}:{LISTENS}",
        "activator": f"{net.played['activator'].address}:{LISTENS}",
    }
    assert states(net.attacker, targets) == {
        "store": "dropped",
        "operator": "open",
        "operator's other ports": "dropped",
        "training": "dropped",
        "activator": "dropped",
    }


ALLOWED = {
    "": {"store": "dropped", "server": "open", "attacker": "open"},
    "dataset": {"store": "open", "server": "dropped", "attacker": "dropped"},
    "training": {"store": "open", "server": "dropped", "attacker": "dropped"},
    "evaluate": {"store": "open", "server": "dropped", "attacker": "dropped"},
    "activator": {"store": "dropped", "server": "open", "attacker": "dropped"},
    "unheard-of": {"store": "dropped", "server": "dropped", "attacker": "dropped"},
}
"""What pods of the workloads' namespace reach; those that are not ours are not ours to restrict.
The attacker's address is private: datasets may come from public ones."""


@pytest.mark.parametrize("component", ALLOWED, ids=lambda one: one or "not ours")
def test_each_component_reaches_what_it_needs(net: Net, component: str) -> None:
    targets = {
        "store": net.store,
        "server": f"{net.server.address}:{INFERENCE[0]}",
        "attacker": f"{net.attacker.address}:{LISTENS}",
    }
    assert states(net.played[component], targets) == ALLOWED[component]


def test_a_server_reaches_the_store_and_nobody_else(net: Net) -> None:
    targets = {
        "store": net.store,
        "attacker": f"{net.attacker.address}:{LISTENS}",
        "operator": f"{net.operator}:8080",
        "neighbour": f"{net.played[''].address}:{LISTENS}",
    }
    assert states(net.server, targets) == {
        "store": "open",
        "attacker": "dropped",
        "operator": "dropped",
        "neighbour": "dropped",
    }


def test_policies_that_are_switched_off_close_nothing(net: Net, demo: Demo) -> None:
    """Shows that it is the policies that close: without those of servers, their ports answer."""
    policy = ("networkpolicy", "modelyard-servers")
    kept = json.loads(demo.objects.kubectl("get", *policy, "-o", "json"))
    demo.objects.kubectl("delete", *policy)
    try:
        target = f"{net.server.address}:{LISTENS}"
        until(
            lambda: net.attacker.sees(target) == {target: "refused"}, 30, "the port is not closed"
        )
    finally:
        own = {name: kept["metadata"][name] for name in ("name", "labels", "annotations")}
        body = {**kept, "metadata": own}
        demo.objects.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    until(lambda: net.attacker.sees(target) == {target: "dropped"}, 30, "the port is closed again")
