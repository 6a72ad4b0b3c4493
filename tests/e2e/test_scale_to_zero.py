"""Servers sleep and wake on the real kubelet, behind an activator in a pod of our image.

The namespace admits only pods that meet Pod Security `restricted`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from modelyard_local.demo import reach
from modelyard_local.demo.agreement import validation_scenes
from modelyard_local.demo.load import RequestLoop, TritonConnection, figures

from .conftest import Demo, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SLEEPY = "sleepy"
WAIT_SECONDS = 180


@dataclass
class Sleepy:
    """A Deployment that sleeps after ten seconds, and how clients reach it."""

    demo: Demo
    connect: dict[str, Callable[[], TritonConnection]]
    """By protocol."""

    def get(self) -> dict[str, Any]:
        found = self.demo.objects.get("Deployment", SLEEPY)
        assert found is not None
        return found

    def replicas(self) -> int:
        return int(self.get()["spec"]["target"]["cluster"]["replicas"])

    def pods(self, component: str) -> list[dict[str, Any]]:
        """Those that are not about to go."""
        listed = self.demo.objects.kubectl(
            "get", "pods", "-o", "json",
            "-l", f"app.kubernetes.io/component={component},app.kubernetes.io/instance={SLEEPY}",
        )  # fmt: skip
        return [p for p in json.loads(listed)["items"] if "deletionTimestamp" not in p["metadata"]]

    def sleeps(self) -> None:
        """Wait until there is no server, and the status says why."""

        def asleep() -> bool:
            return self.get()["status"].get("phase") == "Suspended" and not self.pods("server")

        until(asleep, 120, "the servers sleep")

    def ask(self, protocol: str) -> int:
        """One request on a connection of its own; the version that answered."""
        client = self.connect[protocol]()
        try:
            return client.ask()
        finally:
            client.close()


@pytest.fixture(scope="module")
def sleepy(demo: Demo) -> Iterator[Sleepy]:
    body = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": SLEEPY},
        "spec": {
            "modelLine": "digits",
            "target": {
                "cluster": {
                    "autoscaling": {"maxReplicas": 2},
                    "scaleToZero": {"after": "10s", "wait": f"{WAIT_SECONDS}s"},
                }
            },
            "server": {"resources": {"cpu": "100m", "memory": "1Gi"}},
        },
    }
    demo.objects.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    front = f"{SLEEPY}-activator"
    until(lambda: activators(demo), 60, "the activator's pod is ready")
    image = validation_scenes(demo.folder / "digits.zip", 1)[0].data
    with reach.servers(demo.objects, front) as addresses:
        connect = {
            protocol: partial(TritonConnection, protocol, address, "digits", image, WAIT_SECONDS)
            for protocol, address in addresses.items()
        }
        yield Sleepy(demo, connect)
    demo.objects.kubectl("delete", "mdep", SLEEPY)
    until(lambda: not activators(demo), 60, "the activator is gone with it")


def activators(demo: Demo) -> int:
    """How many activators are available."""
    own = "app.kubernetes.io/component=activator"
    found = demo.objects.kubectl("get", "deployments.apps", "-l", own, "-o", "json")
    return sum(one["status"].get("availableReplicas", 0) for one in json.loads(found)["items"])


def test_servers_go_when_nobody_asks(sleepy: Sleepy) -> None:
    assert sleepy.ask("http") == 2, "the first request waits for the first server"
    sleepy.sleeps()
    found = sleepy.get()
    assert (
        found["status"]["url"]
        == f"http://{SLEEPY}-activator.{found['metadata']['namespace']}.svc:8000"
    )
    assert found["status"]["readyReplicas"] == 0
    assert "the next one wakes a server" in found["status"]["message"]
    (activator,) = sleepy.pods("activator")
    assert sum(s["restartCount"] for s in activator["status"]["containerStatuses"]) == 0


def test_the_first_requests_wake_a_server_and_outlive_their_activator(sleepy: Sleepy) -> None:
    (before,) = sleepy.pods("activator")
    with ThreadPoolExecutor(8) as pool:
        asks = [pool.submit(sleepy.ask, protocol) for protocol in sleepy.connect for _ in range(4)]
        until(lambda: sleepy.replicas() == 1, 30, "a server is asked for")
        # As a node's drain does.
        sleepy.demo.objects.kubectl("delete", "pod", before["metadata"]["name"], "--wait=false")
        assert {ask.result(WAIT_SECONDS) for ask in asks} == {2}
    assert len(sleepy.pods("server")) == 1
    (now,) = sleepy.pods("activator")
    assert now["metadata"]["uid"] != before["metadata"]["uid"]


def test_requests_across_the_falling_asleep_are_all_answered(sleepy: Sleepy) -> None:
    """The server that goes takes requests for a while, and must not get them."""
    clients = [connect() for connect in sleepy.connect.values()]
    assert {client.ask() for client in clients} == {2}
    (before,) = sleepy.pods("server")
    gone = before["metadata"]["uid"]
    # Asked before the controllers have heard of it, the server would simply stay.
    until(
        lambda: gone not in [pod["metadata"]["uid"] for pod in sleepy.pods("server")],
        60,
        "the server is told to go",
    )
    loop = RequestLoop(list(sleepy.connect.values()))
    loop.start()
    assert {client.ask() for client in clients} == {2}, "on connections from before"
    until(lambda: len(loop.answers) > 100, WAIT_SECONDS, "a server answers again")
    answers = figures(loop.stop())
    assert answers["failed"] == 0, answers["errors"]
    (now,) = sleepy.pods("server")
    assert now["metadata"]["uid"] != gone
    sleepy.sleeps()
