"""A pod's results count only if it is really that Job's pod, and a server's only in its own fleet.

That nobody may write a false ownerReference is the API server's part: tests/security/ownership.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from modelyard.api.evaluation import ArtifactEvaluation
from modelyard.contract.result import EvaluateResult, ExportResult, Outcome
from modelyard.core import ownership

from .sim import Sim
from .world import World, condition, made_by, ready_dataset, version

GATE = {"mAP50": 0.5}
Change = Callable[[dict[str, Any]], object]


def evaluated(mean: float) -> Outcome:
    rows = [
        ArtifactEvaluation(artifact=a, metrics={"mAP50": mean, "mAP50to95": mean})
        for a in ("source", "onnx")
    ]
    return Outcome(result=EvaluateResult(evaluations=rows))


def evaluating() -> tuple[World, dict[str, Any]]:
    """A version whose evaluation Job is complete: its own pod says mAP50 0.050."""
    world = World(ready_dataset(), version(2, None, gates=GATE))
    world.settle("ModelVersion", "shelf-2")
    (export,) = world.of("Job")
    row: dict[str, Any] = {"name": "onnx", "format": "onnx", "digest": f"sha256:{7:064x}"}
    row |= {"manifestDigest": f"sha256:{8:064x}", "sizeBytes": 10}
    world.finish(export, Outcome(result=ExportResult.model_validate({"artifact": row})))
    world.settle("ModelVersion", "shelf-2")
    (job,) = [one for one in world.of("Job") if "evaluate" in one["metadata"]["name"]]
    world.finish(job, evaluated(0.05))
    return world, job


FORGERIES: dict[str, Change] = {
    "of another namespace": lambda own: own.update(namespace="elsewhere"),
    "by its labels alone": lambda own: own.pop("ownerReferences"),
    "owned, but not controlled": lambda own: own["ownerReferences"][0].pop("controller"),
    "of a Job of the same name": lambda own: own["ownerReferences"][0].update(uid="uid-before"),
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_pod_gives_no_verdict(forgery: Change) -> None:
    world, job = evaluating()
    pod = world.pod_of(job, "Succeeded")
    pod["metadata"] |= {"name": "zz-forged", "creationTimestamp": "2026-11-22T13:00:00Z"}
    ended = {"exitCode": 0, "message": evaluated(0.99).termination_message()}
    pod["status"]["containerStatuses"] = [{"name": "main", "state": {"terminated": ended}}]
    forgery(pod["metadata"])
    seen = world.settle("ModelVersion", "shelf-2")
    assert (seen["status"]["phase"], seen["status"]["mAP50"]) == ("Rejected", 0.05)


def test_a_job_that_was_planted_under_our_jobs_name_is_not_ours() -> None:
    world, job = evaluating()
    world.objects["ModelVersion", "shelf-2"]["status"].pop("evaluations", None)
    planted = copy.deepcopy(job)
    planted["metadata"]["ownerReferences"][0]["uid"] = "uid-of-another-owner"
    world.add(planted)
    assert not world.observed("ModelVersion", "shelf-2").jobs["evaluate-cpu"].exists


SERVER_FORGERIES: dict[str, Change] = {
    "of another namespace": lambda own: own.update(namespace="elsewhere"),
    "by its labels alone": lambda own: own.pop("ownerReferences"),
    "of another Deployment's ReplicaSet": lambda own: own["ownerReferences"][0].update(
        name="evil-5d764fdc8f"
    ),
    "of a StatefulSet": lambda own: own["ownerReferences"][0].update(kind="StatefulSet"),
    "of an owner of another name": lambda own: own["annotations"].update(
        {"modelyard.dev/owner": "Deployment/evil"}
    ),
}


@pytest.mark.parametrize("forgery", SERVER_FORGERIES.values(), ids=SERVER_FORGERIES)
def test_a_labelled_pod_does_not_join_a_fleet(forgery: Change) -> None:
    sim = Sim(edge=False, replicas=2)
    (workload,) = sim.of("apps/Deployment")
    pod: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "spec": {"nodeName": "n"}}
    pod["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    pod["metadata"] = made_by(workload) | {"name": "forged", "uid": "uid-forged"}
    forgery(pod["metadata"])
    sim.add(pod)
    sim.operate()
    assert "forged" not in sim.observed("Deployment", "cameras").fleet.members
    assert "forged" not in sim.assigned()
    assert sim.status["phase"] == "Healthy"


def test_a_genuine_pod_joins() -> None:
    sim = Sim(edge=False, replicas=2)
    (workload,) = sim.of("apps/Deployment")
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": {"nodeName": "n"}, "status": {}}
    pod["metadata"] = made_by(workload) | {"name": "third", "uid": "uid-third"}
    assert ownership.fleet_of(pod) == ownership.fleet_key(sim.mdep)
    sim.add(pod)
    assert "third" in sim.observed("Deployment", "cameras").fleet.members
    assert condition(sim.mdep, "Ready")["status"] == "True"
