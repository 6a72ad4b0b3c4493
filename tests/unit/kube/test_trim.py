"""What is kept of objects: all that decisions read, and little else."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import orjson

from modelyard.core.fleet.projections import read_node, read_pod, status_written
from modelyard.core.jobstate import job_state
from modelyard.core.podstate import pod_trouble
from modelyard.kube.cache import Cache
from modelyard.kube.kinds import by_name
from modelyard.kube.trim import trimmed

from ..core.world import meant_for


def node() -> dict[str, Any]:
    """A node as a kubelet reports it."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "edge-1",
            "uid": "n1",
            "resourceVersion": "7",
            "creationTimestamp": "2026-11-01T00:00:00Z",
            "labels": {"pool": "shops", "nvidia.com/gpu.product": "L4"},
            "annotations": {"csi.volume.kubernetes.io/nodeid": "x" * 200},
            "managedFields": [{"manager": "kubelet"}],
        },
        "spec": {
            "podCIDR": "10.1.0.0/24",
            "unschedulable": True,
            "taints": [{"key": "gpu", "effect": "NoSchedule"}],
        },
        "status": {
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "conditions": [
                {"type": "MemoryPressure", "status": "False"},
                {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-11-25T00:00:00Z"},
            ],
            "images": [{"names": [f"image-{n}" * 5], "sizeBytes": n} for n in range(50)],
        },
    }


def pod(**status: Any) -> dict[str, Any]:
    """A pod of a Job, as the API server lists it."""
    labels = {"app.kubernetes.io/component": "server", "app.kubernetes.io/managed-by": "modelyard"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "p",
            "namespace": "ns",
            "uid": "p1",
            "resourceVersion": "3",
            "creationTimestamp": "2026-11-01T00:00:00Z",
            "labels": labels,
            "annotations": {"modelyard.dev/run": "{}" * 1000, "modelyard.dev/owner": "Dataset/d"},
            "ownerReferences": [
                {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "name": "j",
                    "uid": "j1",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {"nodeName": "edge-1", "containers": [{"name": "main", "image": "i" * 500}]},
        "status": {"phase": "Running", "hostIP": "10.0.0.1", **status},
    }


def unscheduled(node: str) -> dict[str, Any]:
    """A pod of a DaemonSet that its node has no room for."""
    made = pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "cpu"}])
    del made["spec"]["nodeName"]
    made["spec"] |= meant_for(node)
    return made


def size(obj: Any) -> int:
    return len(orjson.dumps(obj))


def test_a_node_keeps_whether_pods_may_run_there_and_where_it_is() -> None:
    kept = trimmed("Node", node())
    assert read_node(kept) == read_node(node())
    assert kept["spec"] == {
        "unschedulable": True,
        "taints": [{"key": "gpu", "effect": "NoSchedule"}],
    }
    assert [c["type"] for c in kept["status"]["conditions"]] == ["Ready"]
    assert size(kept) < size(node()) / 5


def test_a_node_that_says_nothing() -> None:
    bare = {"metadata": {"name": "n", "uid": "u", "resourceVersion": "1"}}
    assert not read_node(trimmed("Node", bare)).ready


def test_a_node_is_cached_without_a_namespace() -> None:
    cache = Cache(["Node"])
    cache.put("Node", node())
    found = cache.get("Node", "", "edge-1")
    assert found is not None
    assert found["metadata"]["labels"]["pool"] == "shops"
    assert by_name("Node").path("", "edge-1") == "/api/v1/nodes/edge-1"


def test_decisions_read_the_same_of_a_pod() -> None:
    ended = {"terminated": {"exitCode": 0, "message": '{"reason": "Succeeded"}'}}
    cases = [
        pod(conditions=[{"type": "Ready", "status": "True"}]),
        pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]),
        pod(
            containerStatuses=[
                {
                    "name": "main",
                    "image": "worker:1",
                    "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}},
                }
            ]
        ),
        pod(
            phase="Pending",
            initContainerStatuses=[
                {"state": {"waiting": {"reason": "CreateContainerConfigError"}}, "name": "init"}
            ],
        ),
        pod(phase="Succeeded", containerStatuses=[{"name": "main", "state": ended}]),
        unscheduled("edge-7"),
    ]
    job = {"metadata": {"uid": "j1", "name": "j", "namespace": "ns"}, "spec": {}, "status": {}}
    for case in cases:
        kept = trimmed("Pod", deepcopy(case))
        assert read_pod(kept) == read_pod(case)
        assert pod_trouble(kept) == pod_trouble(case)
        one, other = job_state(job, [kept]), job_state(job, [case])
        assert (one.outcome, one.trouble, one.running) == (
            other.outcome,
            other.trouble,
            other.running,
        )
        assert size(kept) < size(case) / 3
        assert kept["metadata"]["annotations"] == {"modelyard.dev/owner": "Dataset/d"}


def test_a_pod_that_its_node_has_no_room_for_belongs_there_all_the_same() -> None:
    found = read_pod(trimmed("Pod", unscheduled("edge-7")))
    assert found is not None
    assert (found.node, found.ready) == ("edge-7", False)
    assert found.trouble is not None
    assert found.trouble[0] == "Unschedulable"


def test_an_applied_kind_is_kept_as_it_is() -> None:
    service = {
        "metadata": {
            "name": "s",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "a": "b"},
            "managedFields": [{"manager": "modelyard"}],
        },
        "spec": {"ports": [{"port": 80}], "clusterIP": "10.0.0.1"},
    }
    kept = trimmed("Service", deepcopy(service))
    assert kept["spec"] == service["spec"]
    assert kept["metadata"] == {"name": "s", "annotations": {"a": "b"}}


def test_of_a_server_it_is_kept_when_its_status_was_written() -> None:
    def server() -> dict[str, Any]:
        entries = [
            {"manager": "modelyard", "time": "2026-11-22T12:09:00Z", "fieldsV1": {"f:spec": {}}},
            {"manager": "agent", "subresource": "status", "time": "2026-11-22T12:01:00Z"},
            {"manager": "older", "subresource": "status", "time": "2026-11-22T12:00:00Z"},
        ]
        metadata = {"name": "s", "uid": "u", "managedFields": entries}
        return {"metadata": metadata, "spec": {}}

    kept = trimmed("ModelServer", server())
    assert status_written(kept["metadata"]) == status_written(server()["metadata"])
    assert kept["metadata"]["managedFields"] == [
        {"subresource": "status", "time": "2026-11-22T12:01:00Z"}
    ]
    bare = {"metadata": {"name": "s", "managedFields": [{"manager": "modelyard"}]}}
    assert trimmed("ModelServer", bare)["metadata"] == {"name": "s"}


def test_the_last_end_of_a_container_is_kept_without_its_words() -> None:
    ended = {"exitCode": 137, "reason": "OOMKilled", "message": "x" * 4000, "containerID": "y"}
    status = {"name": "triton", "restartCount": 3, "state": {}, "lastState": {"terminated": ended}}
    kept = trimmed("Pod", pod(containerStatuses=[status]))
    assert kept["status"]["containerStatuses"][0]["lastState"] == {
        "terminated": {"exitCode": 137, "reason": "OOMKilled"}
    }


def test_of_an_event_it_is_kept_what_it_is_about_and_its_words() -> None:
    about = {"kind": "Job", "name": "j", "uid": "j1", "namespace": "ns", "resourceVersion": "1"}
    event = {
        "metadata": {"name": "j.1", "namespace": "ns", "uid": "e", "resourceVersion": "1"},
        "involvedObject": about,
        "message": "exceeded quota",
        "lastTimestamp": "2026-11-22T12:00:00Z",
        "count": 7,
        "source": {"component": "job-controller"},
    }
    kept = trimmed("core/Event", event)
    assert kept["involvedObject"] == {"kind": "Job", "name": "j", "uid": "j1"}
    assert set(kept) == {"metadata", "involvedObject", "message", "lastTimestamp"}
