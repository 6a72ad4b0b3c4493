"""Servers that cannot run any version do not decide about one: a rollout is judged by those that
can, and the status says who cannot and why."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.core.podstate import pod_trouble

from .sim import BAD, Sim, error_rate
from .world import condition, version

STEPS: dict[str, Any] = {"steps": [{"weight": 50}], "analysis": error_rate()}
NO_NODE = "0/3 nodes are available: 3 Insufficient cpu."


def unscheduled(pod: dict[str, Any]) -> None:
    pod["spec"] = {}
    pod["status"] = {
        "phase": "Pending",
        "conditions": [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": NO_NODE,
            }
        ],
    }


def unpullable(pod: dict[str, Any]) -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    one = {"name": "agent", "image": "worker:1", "state": {"waiting": waiting}}
    pod["status"] = {"phase": "Pending", "conditions": [], "containerStatuses": [one]}


def stuck(pod: dict[str, Any]) -> None:
    """Its volume cannot be mounted, say: nothing in the status tells."""
    pod["status"] = {"phase": "Pending", "conditions": []}


TROUBLES = {
    unscheduled: f"1 server cannot start: pod pod-3 fits no node: {NO_NODE}",
    unpullable: "1 server cannot start: pod pod-3 cannot pull image worker:1: no such image",
    stuck: "1 server did not start in time: pod pod-3",
}


class Crowded(Sim):
    """A cluster that has no room for more than three servers."""

    trouble = staticmethod(unscheduled)

    def workloads(self) -> None:
        super().workloads()
        for name in ("pod-3", "pod-4"):
            pod = self.objects.get(("Pod", name))
            if pod is not None and name not in self.room:
                self.trouble(pod)

    room: frozenset[str] = frozenset()


def crowded(**rollout: Any) -> Crowded:
    return Crowded(edge=False, replicas=3, rollout=rollout)


def scale(sim: Sim, servers: int) -> None:
    sim.spec["target"] = {"cluster": {"replicas": servers}}


def passes(sim: Sim, seconds: float) -> dict[str, Any]:
    """Time goes by, with everybody at work."""
    for _ in range(int(seconds / 30)):
        sim.wait(30)
        sim.round()
    return sim.status


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda one: one.__name__)
def test_a_good_version_is_not_rejected_for_a_pod_that_never_runs(trouble: Any) -> None:
    sim = crowded(**STEPS)
    sim.trouble = trouble
    sim.add(version(2))
    sim.round()
    scale(sim, 4)
    status = passes(sim, 2000)
    assert status["stable"]["version"] == 2
    assert "rejected" not in status
    assert [one["outcome"] for one in status["history"]] == ["Succeeded"]
    assert {n: v for n, v in sim.assigned().items() if n != "pod-3"} == {
        f"pod-{number}": 2 for number in range(3)
    }
    assert TROUBLES[trouble].partition(": ")[2] in status["message"]
    assert condition(sim.mdep, "Ready")["status"] == "False", "one server is missing"


def test_the_message_says_meanwhile_what_does_not_fit() -> None:
    sim = crowded(steps=[{"weight": 50, "pause": {}}])
    sim.add(version(2))
    sim.round()
    scale(sim, 4)
    status = sim.run()
    assert status["phase"] == "Paused"
    assert "for a promote" in status["message"]
    assert TROUBLES[unscheduled] in status["message"]
    assert len(sim.on(2)) == 2, "half of those that can run"


def test_a_bad_version_is_rolled_back_all_the_same() -> None:
    sim = crowded(**STEPS)
    sim.figures[2] = BAD
    sim.add(version(2))
    scale(sim, 4)
    status = passes(sim, 300)
    assert status["rejected"]["version"] == 2
    assert status["rejected"]["reason"] == "AnalysisFailed"


def test_a_version_that_cannot_be_loaded_is_not_saved_by_a_pod_that_waits() -> None:
    sim = crowded(failureBudget=1)
    scale(sim, 4)
    sim.round()
    sim.unloadable.add(2)
    sim.add(version(2))
    status = passes(sim, 300)
    assert status["rejected"]["version"] == 2
    assert set(sim.assigned().values()) == {1}


def test_a_server_that_finds_room_gets_what_is_served() -> None:
    sim = crowded(**STEPS)
    scale(sim, 4)
    sim.add(version(2))
    passes(sim, 300)
    assert sim.status["stable"]["version"] == 2
    sim.room = frozenset({"pod-3"})
    del sim.objects["Pod", "pod-3"]
    status = sim.run()
    assert status["phase"] == "Healthy"
    assert sim.assigned() == {f"pod-{number}": 2 for number in range(4)}


def test_one_that_finds_room_in_a_paused_rollout_gets_stable() -> None:
    sim = crowded(steps=[{"nodes": 1, "pause": {}}])
    scale(sim, 4)
    sim.add(version(2))
    sim.run()
    sim.room = frozenset({"pod-3"})
    del sim.objects["Pod", "pod-3"]
    sim.run()
    assert len(sim.on(2)) == 1
    assert sim.assigned()["pod-3"] == 1


def test_where_nothing_fits_the_rollout_waits() -> None:
    sim = crowded()
    scale(sim, 0)
    sim.run()
    sim.spec["target"] = {"cluster": {"replicas": 2}}
    sim.add(version(2))

    def none_fits() -> None:
        Sim.workloads(sim)
        for pod in sim.of("Pod"):
            unscheduled(pod)

    sim.workloads = none_fits  # type: ignore[method-assign]
    status = passes(sim, 1500)
    assert "rejected" not in status
    assert "fits no node" in status["message"]


def test_pods_that_a_quota_refuses_are_told_in_its_words() -> None:
    sim = crowded(steps=[{"weight": 50, "pause": {}}])
    words, name = "forbidden: exceeded quota: compute", "cameras-7d9f-x2x9z"
    sim.add(version(2))
    sim.run()
    scale(sim, 4)
    sim.operate()
    for workload in sim.of("apps/Deployment"):
        told = f'pods "{name}" is {words}'
        failing = {"type": "ReplicaFailure", "status": "True", "message": told}
        workload["status"]["conditions"] = [failing]
    status = sim.operate()
    assert status["phase"] == "Paused"
    assert f"pods are refused: {words}" in status["message"]
    assert name not in status["message"], "each attempt has another: the status would never rest"
    sim.ask(promote="1")
    for _ in range(6):
        sim.operate()
        sim.agents()
    status = sim.operate()
    assert (status["stable"]["version"], status["phase"]) == (2, "Progressing")
    assert f"3 of 4 servers answer with shelf-2; pods are refused: {words}" in status["message"]


def test_a_node_that_joins_without_room_ends_no_rollout() -> None:
    sim = Sim("a-1", "a-2", "a-3", rollout={"progressDeadlineSeconds": 60})
    workloads = sim.workloads

    def full() -> None:
        workloads()
        for pod in sim.of("Pod"):
            if pod["spec"].get("nodeName") == "a-4":
                unpullable(pod)

    sim.workloads = full  # type: ignore[method-assign]
    sim.add(version(2))
    sim.round()
    sim.node("a-4")
    status = passes(sim, 300)
    assert status["stable"]["version"] == 2
    assert "rejected" not in status
    assert "cannot pull image" in status["message"]


def test_a_pod_that_is_gated_is_not_said_to_fit_no_node() -> None:
    pod: dict[str, Any] = {"metadata": {"name": "one"}}
    gated = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
    pod["status"] = {"conditions": [{**gated, "message": "Scheduling is blocked"}]}
    words = "pod one is not given a node (SchedulingGated): Scheduling is blocked"
    assert pod_trouble(pod) == ("Unschedulable", words)
