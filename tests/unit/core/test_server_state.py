"""The whole state of servers' pods, in the same words as that of Jobs' (test_child_state.py):
quota, eviction, preemption, memory, a node without power. Endless loops are told as Stalled."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from .sim import Sim
from .test_child_state import DISK, NODE, PREEMPTED, QUOTA
from .world import NOW, condition, made_by

CLUSTER = {"cluster": {"replicas": 2}}


def servers() -> tuple[Sim, dict[str, Any]]:
    sim = Sim(edge=False, replicas=2)
    assert sim.status["phase"] == "Healthy"
    (workload,) = sim.of("apps/Deployment")
    return sim, workload


def test_new_settings_are_not_healthy_before_all_servers_have_them() -> None:
    """Case 6: Healthy, Ready for a generation that no server had, at once and for ever."""
    sim, workload = servers()
    sim.rolled_out = lambda workload: None  # type: ignore[method-assign]
    sim.spec["server"] = {"maxBatchSize": 4}
    status = sim.operate()
    assert (status["phase"], status["observedGeneration"]) == ("Progressing", 2)
    assert "about to get new settings" in status["message"]
    (workload,) = sim.of("apps/Deployment")
    refused = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}
    refused["message"] = f'pods "cameras-5f-x" is forbidden: {QUOTA}'
    counts = {"replicas": 2, "updatedReplicas": 0}
    workload["status"] = {"observedGeneration": workload["metadata"]["generation"], **counts}
    workload["status"]["conditions"] = [refused]
    status = sim.operate()
    assert (status["phase"], condition(sim.mdep, "Ready")["reason"]) == (
        "Progressing",
        "QuotaExceeded",
    )
    assert "0 of 2 servers have the present settings of spec.server" in status["message"]
    assert QUOTA in status["message"]
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    workload["status"]["conditions"].append(late)
    assert sim.operate()["phase"] == "Degraded"
    assert condition(sim.mdep, "Stalled")["status"] == "True"
    workload["status"] |= {"updatedReplicas": 2, "conditions": []}
    assert sim.operate()["phase"] == "Healthy"


def crash(pod: dict[str, Any], name: str, **last: Any) -> None:
    pod["status"]["conditions"][0]["status"] = "False"
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}}
    one = {"name": name, "ready": False, "restartCount": 7, "state": waiting}
    one["lastState"] = {"terminated": {"exitCode": 137, **last}}
    pod["status"]["containerStatuses"] = [one]


def test_a_server_that_is_killed_for_its_memory_again_and_again_is_degraded() -> None:
    """Case 12: Progressing, "0 of 2 servers answer", for ever."""
    sim, _ = servers()
    for pod in sim.of("Pod"):
        crash(pod, "triton", reason="OOMKilled")
    status = sim.operate()
    assert (status["phase"], condition(sim.mdep, "Ready")["reason"]) == ("Degraded", "OutOfMemory")
    assert "raise spec.server.resources.memory" in status["message"]


def test_a_server_that_never_came_up_for_its_memory_is_degraded_too() -> None:
    sim = Sim(edge=False, replicas=2)
    sim.spec["target"] = {"cluster": {"replicas": 3}}
    sim.operate()
    sim.workloads()
    crash(sim.objects["Pod", "pod-2"], "triton", reason="OOMKilled")
    status = sim.operate()
    assert (status["phase"], condition(sim.mdep, "Ready")["reason"]) == ("Degraded", "OutOfMemory")


def test_a_container_that_is_tried_again_is_still_told() -> None:
    sim, _ = servers()
    for pod in sim.of("Pod"):
        crash(pod, "triton", reason="Error")
        pod["status"]["containerStatuses"][0]["state"] = {"running": {}}
    status = sim.operate()
    assert (status["phase"], condition(sim.mdep, "Ready")["reason"]) == (
        "Degraded",
        "CrashLooping",
    )
    assert "kubectl logs pod-0 -c triton --previous" in status["message"]


def ended_server(sim: Sim, number: int, **status: Any) -> None:
    (workload,) = sim.of("apps/Deployment")
    made = NOW + timedelta(minutes=number)
    own = made_by(workload) | {"name": f"ended-{number}", "uid": f"uid-ended-{number}"}
    own["creationTimestamp"] = made.strftime("%Y-%m-%dT%H:%M:%SZ")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": own, "spec": {"nodeName": NODE}}
    sim.add({**pod, "status": {"phase": "Failed", **status}})


def test_servers_that_are_evicted_one_after_the_other_are_degraded() -> None:
    """Case 11: no reason after 12 evictions."""
    sim, _ = servers()
    del sim.objects["Pod", "pod-1"]
    for number in range(1, 13):
        ended_server(sim, number, reason="Evicted", message=DISK)
    status = sim.operate()
    assert (status["phase"], condition(sim.mdep, "Ready")["reason"]) == ("Degraded", "Evicted")
    assert f"pod ended-12 was evicted from node {NODE}: {DISK}" in status["message"]
    assert "3 or more pods in a row" in status["message"]
    sim.now += timedelta(hours=1)
    for _ in range(4):
        sim.round()
    assert sim.status["phase"] == "Healthy", "a pod that answers came after them"


def test_servers_that_are_preempted_and_find_no_node_are_degraded() -> None:
    """The scheduler deletes them, so nothing of them is left but those that wait in their place."""
    sim, _ = servers()
    words = "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available"
    waits = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    for number in range(2):
        ended = sim.objects["Pod", f"pod-{number}"]
        ended["status"]["conditions"].append(PREEMPTED)
        ended["metadata"]["deletionTimestamp"] = "2026-11-22T12:30:00Z"
        sim.operate()
        del sim.objects["Pod", f"pod-{number}"]
    sim.workloads()
    for pod in sim.of("Pod"):
        pod["status"] = {"phase": "Pending", "conditions": [{**waits, "message": words}]}
    status = sim.operate()
    assert words in status["message"]
    assert status["phase"] != "Healthy"
    sim.now += timedelta(hours=1)
    status = sim.operate()
    assert status["phase"] == "Degraded"
    assert condition(sim.mdep, "Stalled")["status"] == "True"
    assert words in status["message"]


def test_servers_that_their_nodes_shut_down_one_after_the_other_are_degraded() -> None:
    sim, _ = servers()
    del sim.objects["Pod", "pod-1"]
    words = "Pod was terminated in response to imminent node shutdown."
    ends = {**PREEMPTED, "reason": "TerminationByKubelet", "message": words}
    for number in range(1, 6):
        ended_server(sim, number, reason="Terminated", message=words, conditions=[ends])
    status = sim.operate()
    assert (status["phase"], condition(sim.mdep, "Ready")["reason"]) == ("Degraded", "PodDisrupted")
    assert words in status["message"]
    assert condition(sim.mdep, "Stalled")["status"] == "True"


def test_a_server_on_a_node_without_power_is_named() -> None:
    sim, _ = servers()
    ready = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}
    ready["lastTransitionTime"] = "2026-11-22T11:58:00Z"
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "somewhere"}}
    sim.add({**node, "status": {"conditions": [ready]}})
    sim.objects["Pod", "pod-0"]["status"]["conditions"][0]["status"] = "False"
    status = sim.operate()
    assert condition(sim.mdep, "Ready")["reason"] == "NodeNotReady"
    assert "node somewhere of pod pod-0 is not ready since" in status["message"]


def test_a_daemon_sets_pods_that_are_refused_are_told() -> None:
    sim = Sim("a-1", "a-2")
    (workload,) = sim.of("apps/DaemonSet")
    sim.node("a-3")
    sim.count()
    workload["status"]["currentNumberScheduled"] = 2
    own = workload["metadata"]
    about = {"kind": "DaemonSet", "name": own["name"], "uid": own["uid"]}
    event = {"apiVersion": "v1", "kind": "core/Event", "involvedObject": about}
    event |= {"message": f'Error creating: pods "c-x" is forbidden: {QUOTA}'}
    sim.add({**event, "lastTimestamp": "x", "metadata": {"name": "e", "namespace": "shop"}})
    status = sim.operate()
    assert condition(sim.mdep, "Ready")["reason"] == "QuotaExceeded"
    assert QUOTA in status["message"]
