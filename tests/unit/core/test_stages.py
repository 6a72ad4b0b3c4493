"""Containers of the pods that load weights: who has credentials, who loads, who speaks."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.api.evaluation import ArtifactEvaluation
from modelyard.api.export import Artifact
from modelyard.contract.result import EvaluateResult, ExportResult, Outcome
from modelyard.core.jobs import CONTAINER
from modelyard.core.settings import Settings

from .world import World, artifact, version

ENGINE = {"name": "trt", "format": "tensorrt", "gpuProduct": "NVIDIA-H100"}


def pods_of(world: World) -> dict[str, dict[str, Any]]:
    """Pod specs of all Jobs, by role."""
    return {
        job["metadata"]["labels"]["modelyard.dev/role"]: job["spec"]["template"]["spec"]
        for job in world.of("Job")
    }


def exported_world(settings: Settings | None = None, **spec: Any) -> World:
    """A version in evaluation, with its Jobs."""
    world = World(version(1, None, **spec), settings=settings)
    world.settle("ModelVersion", "shelf-1")
    for job in world.of("Job"):
        name = job["metadata"]["labels"]["modelyard.dev/role"].removeprefix("export-")
        engine: dict[str, Any] = (
            {"format": "tensorrt", "gpuProduct": "NVIDIA-H100"} if name == "trt" else {}
        )
        made = Artifact.model_validate(artifact(name=name, **engine))
        world.finish(job, Outcome(result=ExportResult(artifact=made)))
    world.settle("ModelVersion", "shelf-1")
    return world


def containers(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in (*pod.get("initContainers", ()), *pod["containers"])}


def variables(container: dict[str, Any]) -> set[str]:
    return {one["name"] for one in container["env"]}


def writable(container: dict[str, Any]) -> set[str]:
    return {one["name"] for one in container["volumeMounts"] if not one.get("readOnly")}


def mounted(container: dict[str, Any]) -> set[str]:
    return {one["name"] for one in container["volumeMounts"]}


BOTH = pytest.mark.parametrize("role", ["export-onnx", "evaluate-cpu"])


@BOTH
def test_what_loads_the_weights_has_no_credentials_no_token_and_no_store(role: str) -> None:
    settings = Settings(store_claim="models")
    pod = pods_of(exported_world(settings))[role]
    assert pod["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod
    assert not pod.get("shareProcessNamespace")
    isolated = containers(pod)["isolated"]
    assert variables(isolated) == {"POD_NAME", "POD_NAMESPACE", "NODE_NAME", "MODELYARD_RUN"}
    assert "envFrom" not in isolated
    # The run spec that the operator wrote names the weights' URI, with its password if it has one.
    assert not mounted(isolated) & {"store", "run"}
    assert isolated["command"][-2:] == [containers(pod)["main"]["command"][-1], "isolated"]


@BOTH
def test_what_loads_the_weights_writes_to_nothing_that_another_container_runs_or_trusts(
    role: str,
) -> None:
    pod = pods_of(exported_world())[role]
    isolated, others = containers(pod)["isolated"], containers(pod)
    del others["isolated"]
    shared = writable(isolated) & {name for one in others.values() for name in mounted(one)}
    assert shared == {"outputs"}
    readers = {name for name, one in others.items() if "outputs" in mounted(one)}
    assert readers == {"judge" if role == "evaluate-cpu" else "main"}
    assert isolated["securityContext"]["readOnlyRootFilesystem"] is True
    assert isolated["securityContext"]["allowPrivilegeEscalation"] is False
    assert isolated["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not {name for name, one in others.items() if "outputs" in writable(one)}
    assert all("-P" in one["command"] for one in others.values())
    (outputs,) = (one for one in pod["volumes"] if one["name"] == "outputs")
    assert outputs["emptyDir"]["sizeLimit"]


@BOTH
def test_it_runs_before_the_container_that_reports_and_is_over_then(role: str) -> None:
    pod = pods_of(exported_world())[role]
    judge = ["judge"] if role == "evaluate-cpu" else []
    assert [one["name"] for one in pod["initContainers"]] == ["fetch", "isolated", *judge]
    # A sidecar (restartPolicy Always) would go on beside the others.
    assert all("restartPolicy" not in one for one in pod["initContainers"])
    assert [one["name"] for one in pod["containers"]] == [CONTAINER]
    assert pod["restartPolicy"] == "Never"


def test_the_judge_has_no_credentials_either_and_alone_sees_the_labels() -> None:
    pod = pods_of(exported_world())["evaluate-cpu"]
    judge = containers(pod)["judge"]
    assert variables(judge) == {"POD_NAME", "POD_NAMESPACE", "NODE_NAME", "MODELYARD_RUN"}
    assert "envFrom" not in judge
    assert not mounted(judge) & {"store", "run"}
    readers = {name for name, one in containers(pod).items() if "labels" in mounted(one)}
    assert readers == {"fetch", "judge"}
    assert "labels" not in writable(judge)


def test_what_publishes_the_profile_sees_nothing_that_a_stranger_has_written() -> None:
    settings = Settings(store_claim="models")
    main = containers(pods_of(exported_world(settings))["evaluate-cpu"])["main"]
    assert "store" in mounted(main)
    assert mounted(main) & {"inputs", "labels", "outputs", "judged"} == {"inputs", "judged"}
    assert not writable(main) & {"inputs", "judged"}


def test_engines_are_run_apart_too_and_onnx_weights_need_nobody_to_load_them() -> None:
    both = [{"name": "onnx"}, ENGINE]
    found = pods_of(exported_world(exports=both))
    assert "isolated" in containers(found["evaluate-trt"])
    assert "isolated" in containers(found["export-trt"])
    onnx = version(1)["spec"]["weights"] | {"format": "onnx"}
    found = pods_of(exported_world(weights=onnx))
    assert list(containers(found["export-onnx"])) == ["fetch", "main"]
    assert list(containers(found["evaluate-cpu"])) == ["fetch", "judge", "main"]


def test_a_file_that_hangs_ends_in_a_day_and_waiting_for_a_node_does_not_count() -> None:
    for job in exported_world().of("Job"):
        assert job["spec"]["template"]["spec"]["activeDeadlineSeconds"] == 86_400
        assert "activeDeadlineSeconds" not in job["spec"]


def test_a_termination_message_of_an_isolated_container_is_not_the_pods() -> None:
    """Attack: code in a .pt file writes the best of results into its own /dev/termination-log."""
    world = exported_world()
    (job,) = (j for j in world.of("Job") if "evaluate" in j["metadata"]["name"])
    rows = [
        ArtifactEvaluation(artifact=name, images=10, metrics={"mAP50": 1.0, "mAP50to95": 1.0})
        for name in ("onnx", "source")
    ]
    forged = Outcome(result=EvaluateResult(evaluations=rows)).termination_message()
    world.finish(job, None)
    ended = {"terminated": {"exitCode": 0, "message": forged, "reason": "Completed"}}
    forgers = [{"name": name, "state": ended} for name in ("fetch", "isolated", "judge", CONTAINER)]
    # The kubelet names containers as the pod's spec does; and what a list of init containers says
    # of `main` is not main's word either.
    world.pod_of(job, "Succeeded", initContainerStatuses=forgers, containerStatuses=forgers[1:2])
    made = world.settle("ModelVersion", "shelf-1")
    assert made["status"]["phase"] != "Ready"
    assert "evaluations" not in made["status"]
