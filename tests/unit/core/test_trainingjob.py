"""A TrainingJob starts when its inputs are there, pins them, and ends in one ModelVersion."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from modelyard.contract import paths
from modelyard.contract.result import Outcome, TrainResult
from modelyard.core.plan import Create
from modelyard.core.settings import Settings

from .world import (
    DIGEST_B,
    DIGEST_C,
    World,
    condition,
    dataset,
    ready_dataset,
    split,
    training,
    version,
)


def trained() -> Outcome:
    return Outcome(
        result=TrainResult(weights_digest=DIGEST_C, metrics={"mAP50": 0.8}, epochs=3, imgsz=128)
    )


def run_of(job: dict[str, Any]) -> dict[str, Any]:
    run = job["spec"]["template"]["metadata"]["annotations"][paths.RUN_ANNOTATION]
    return dict(json.loads(run))


@pytest.mark.parametrize(
    ("objects", "changes", "reason", "says"),
    [
        pytest.param([], {}, "DatasetNotFound", "Dataset shelf", id="no dataset"),
        pytest.param([dataset()], {}, "DatasetNotReady", "waiting", id="dataset not ready"),
        pytest.param(
            [dataset(phase="Invalid", message="train/a.jpg: corrupt")],
            {},
            "DatasetInvalid",
            "train/a.jpg: corrupt",
            id="dataset invalid",
        ),
        pytest.param(
            [ready_dataset()],
            {"hyperparameters": {"epoch": 3}},
            "InvalidHyperparameters",
            'did you mean "epochs"?',
            id="misspelt hyperparameter",
        ),
        pytest.param(
            [ready_dataset()],
            {"image": "registry.evil.example/trainer"},
            "ImageNotAllowed",
            "spec.image registry.evil.example/trainer is not among the images that this cluster "
            "allows (modelyard/trainer:dev, modelyard/trainer-gpu:dev)",
            id="image of the user's own",
        ),
        pytest.param(
            [ready_dataset()],
            {"baseVersion": {"name": "shelf-1"}},
            "BaseVersionNotFound",
            "ModelVersion shelf-1",
            id="no base version",
        ),
        pytest.param(
            [ready_dataset(), version(1, "Rejected")],
            {"baseVersion": {"name": "shelf-1"}},
            "BaseVersionRejected",
            "it is Rejected",
            id="rejected base version",
        ),
        pytest.param(
            [ready_dataset(), version(1, "Evaluating")],
            {"baseVersion": {"name": "shelf-1"}},
            "BaseVersionNotReady",
            "waiting for ModelVersion shelf-1",
            id="base version not ready",
        ),
        pytest.param(
            [ready_dataset(), version(1, weights={"digest": DIGEST_B, "format": "onnx"})],
            {"baseVersion": {"name": "shelf-1"}},
            "BaseVersionRejected",
            "its weights are ONNX",
            id="base version without a checkpoint",
        ),
        pytest.param([ready_dataset()], {"suspend": True}, "Suspended", "suspend", id="suspended"),
    ],
)
def test_waits_and_says_for_what(
    objects: list[Any], changes: dict[str, Any], reason: str, says: str
) -> None:
    world = World(training(**changes), *objects)
    first = world.settle("TrainingJob", "first")
    assert condition(first, "Ready")["reason"] == reason
    assert says in first["status"]["message"]
    assert world.of("Job") == []


def test_bad_hyperparameters_recover_when_they_are_mended() -> None:
    world = World(training(hyperparameters={"epoch": 3}), ready_dataset())
    first = world.settle("TrainingJob", "first")
    assert condition(first, "Stalled")["status"] == "True"
    first["spec"]["hyperparameters"] = {"epochs": 3}
    first = world.settle("TrainingJob", "first")
    assert not condition(first, "Stalled")
    assert len(world.of("Job")) == 1


def test_two_writes_until_its_job_exists_and_five_in_its_life() -> None:
    world = World(training(), ready_dataset())
    world.settle("TrainingJob", "first")
    assert world.writes == ["create Job", "status TrainingJob"]
    (job,) = world.of("Job")
    world.pod_of(job)
    assert world.settle("TrainingJob", "first")["status"]["phase"] == "Running"
    world.finish(job, trained())
    first = world.settle("TrainingJob", "first")
    assert first["status"]["phase"] == "Succeeded"
    assert first["status"]["modelVersion"] == "shelf-1"
    assert len(world.writes) == 5


def test_a_pod_that_ends_before_its_job_does_is_not_waited_for_again() -> None:
    world = World(ready_dataset(), training())
    world.settle("TrainingJob", "first")
    job = world.of("Job")[0]
    pod = world.pod_of(job)
    before = dict(world.settle("TrainingJob", "first")["status"])
    pod["status"]["phase"] = "Succeeded"
    assert world.settle("TrainingJob", "first")["status"] == before
    assert before["phase"] == "Running"


@pytest.mark.parametrize("end", ["Complete", "Failed"])
def test_a_job_that_is_seen_to_end_before_its_pod_waits_for_the_pods_words(end: str) -> None:
    world = World(ready_dataset(), training())
    world.settle("TrainingJob", "first")
    job = world.of("Job")[0]
    pod = world.pod_of(job)
    before = dict(world.settle("TrainingJob", "first")["status"])
    job["status"] = {"conditions": [{"type": end, "status": "True"}]}
    assert world.settle("TrainingJob", "first")["status"] == before
    del world.objects["Pod", pod["metadata"]["name"]]
    if end == "Complete":
        world.finish(job, trained())
        assert world.settle("TrainingJob", "first")["status"]["phase"] == "Succeeded"
    else:
        world.fail(job, Outcome(reason="OutOfMemory", message="too large"))
        assert world.settle("TrainingJob", "first")["status"]["message"] == "too large"
    assert len(world.of("Job")) == 1


def test_the_dataset_stays_pinned_whatever_happens_to_it() -> None:
    world = World(training(), ready_dataset(digest=DIGEST_B))
    world.settle("TrainingJob", "first")
    (job,) = world.of("Job")
    assert run_of(job)["datasetDigest"] == DIGEST_B
    del world.objects["Dataset", "shelf"]
    world.finish(job, trained())
    world.settle("TrainingJob", "first")
    (made,) = world.of("ModelVersion")
    assert made["spec"]["dataset"] == {"name": "shelf", "digest": DIGEST_B}
    assert made["spec"]["exports"][0]["imgsz"] == 128


def test_versions_of_a_line_are_numbered_on_and_numbers_never_come_back() -> None:
    gone = training("old", {"phase": "Succeeded", "modelVersion": "shelf-4"})
    world = World(training(), ready_dataset(), version(2), gone)
    world.settle("TrainingJob", "first")
    world.finish(world.of("Job")[0], trained())
    assert world.settle("TrainingJob", "first")["status"]["modelVersion"] == "shelf-5"


def test_killed_between_creating_the_version_and_saying_so_makes_no_second_one() -> None:
    world = World(training(), ready_dataset())
    world.settle("TrainingJob", "first")
    world.finish(world.of("Job")[0], trained())
    plan = world.plan("TrainingJob", "first")
    assert isinstance(plan, Create)
    world.add({**plan.children[0], "status": {}})
    world.settle("TrainingJob", "first")
    assert [v["metadata"]["name"] for v in world.of("ModelVersion")] == ["shelf-1"]


def test_fine_tuning_pins_the_base_versions_weights() -> None:
    world = World(training(baseVersion={"name": "shelf-1"}), ready_dataset(), version(1))
    world.settle("TrainingJob", "first")
    assert run_of(world.of("Job")[0])["baseWeights"]["digest"] == DIGEST_B


def test_suspending_suspends_the_job_and_resuming_resumes_it() -> None:
    world = World(training(), ready_dataset())
    world.settle("TrainingJob", "first")
    world.objects["TrainingJob", "first"]["spec"]["suspend"] = True
    assert world.settle("TrainingJob", "first")["status"]["phase"] == "Suspended"
    assert world.of("Job")[0]["spec"]["suspend"] is True
    world.objects["TrainingJob", "first"]["spec"]["suspend"] = False
    world.settle("TrainingJob", "first")
    assert world.of("Job")[0]["spec"]["suspend"] is False


def test_an_edit_after_the_start_is_not_silent() -> None:
    world = World(training(), ready_dataset())
    world.settle("TrainingJob", "first")
    world.pod_of(world.of("Job")[0])
    world.objects["TrainingJob", "first"]["spec"]["hyperparameters"] = {"epochs": 9}
    first = world.settle("TrainingJob", "first")
    assert "keeps what it was started with" in first["status"]["message"]
    assert run_of(world.of("Job")[0])["hyperparameters"]["epochs"] == 3


def test_a_failure_is_told_in_the_pods_words_and_a_retry_resumes() -> None:
    world = World(training(), ready_dataset())
    world.settle("TrainingJob", "first")
    (job,) = world.of("Job")
    world.fail(job, Outcome(reason="OutOfMemory", message="the GPU has too little memory"))
    first = world.settle("TrainingJob", "first")
    assert (first["status"]["phase"], first["status"]["message"]) == (
        "Failed",
        "the GPU has too little memory",
    )
    first["metadata"]["annotations"] = {"modelyard.dev/retry": "after lunch"}
    assert world.settle("TrainingJob", "first")["status"]["phase"] == "Pending"
    again = world.of("Job")[-1] if world.of("Job")[0] is job else world.of("Job")[0]
    assert run_of(again)["runKey"] == run_of(job)["runKey"]


def test_what_the_trainer_reports_is_left_alone() -> None:
    world = World(training(), ready_dataset())
    world.settle("TrainingJob", "first")
    world.objects["TrainingJob", "first"]["status"]["progress"] = {"epoch": 2}
    world.pod_of(world.of("Job")[0])
    plan = world.plan("TrainingJob", "first")
    assert plan.status is not None
    assert "progress" not in plan.status
    assert plan.status["podName"] == world.of("Pod")[0]["metadata"]["name"]


def test_gpus_come_with_the_gpu_image_and_resource() -> None:
    world = World(training(resources={"gpus": 1}), ready_dataset())
    world.settle("TrainingJob", "first")
    (container,) = world.of("Job")[0]["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["image"] == world.settings.images.tensorrt


def test_an_edit_after_the_end_changes_nothing_and_is_told() -> None:
    world = World(training(), ready_dataset())
    world.settle("TrainingJob", "first")
    world.finish(world.of("Job")[0], trained())
    first = world.settle("TrainingJob", "first")
    first["spec"]["hyperparameters"] = {"epochs": 9}
    first["metadata"]["generation"] = 2
    (event,) = world.reconcile("TrainingJob", "first").events
    assert event.reason == "EditIgnored"
    assert (first["status"]["observedGeneration"], first["status"]["phase"]) == (2, "Succeeded")
    before = len(world.writes)
    assert world.reconcile("TrainingJob", "first").events == ()
    assert len(world.writes) == before


def test_pods_bring_registry_credentials() -> None:
    settings = Settings(image_pull_secrets=("registry",))
    world = World(training(), ready_dataset(), settings=settings)
    world.settle("TrainingJob", "first")
    pod = world.of("Job")[0]["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]


TWO_SPLITS = dataset(
    phase="Ready", digest=DIGEST_B, observedGeneration=1, splits=[split("train"), split("val")]
)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"output": {"modelLine": "shelf", "evaluation": {"split": "test"}}},
            "spec.output.evaluation.split is test, but Dataset shelf has train, val only",
        ),
        (
            {"hyperparameters": {"split": "test"}},
            "spec.hyperparameters.split is test, but Dataset shelf has train, val only",
        ),
    ],
)
def test_a_split_that_the_dataset_lacks_is_told_before_the_training(
    changes: dict[str, Any], says: str
) -> None:
    world = World(training(**changes), TWO_SPLITS)
    first = world.settle("TrainingJob", "first")
    assert condition(first, "Stalled")["reason"] == "SplitMissing"
    assert says in first["status"]["message"]
    assert world.of("Job") == []


def test_a_version_that_is_not_evaluated_needs_no_split() -> None:
    output = {"modelLine": "shelf", "evaluation": {"split": "test", "skip": "a trial"}}
    world = World(training(output=output), TWO_SPLITS)
    world.settle("TrainingJob", "first")
    assert len(world.of("Job")) == 1


def pod_spec(world: World) -> dict[str, Any]:
    (job,) = world.of("Job")
    return dict(job["spec"]["template"]["spec"])


@pytest.mark.parametrize("memory", ["8Gi", "32Gi", None])
def test_shared_memory_is_as_large_as_the_memory(memory: str | None) -> None:
    world = World(training(resources={"memory": memory} if memory else {}), ready_dataset())
    world.settle("TrainingJob", "first")
    (shm,) = [v["emptyDir"] for v in pod_spec(world)["volumes"] if v["name"] == "shm"]
    assert shm == {"medium": "Memory", "sizeLimit": memory or "8Gi"}


def test_without_resources_it_leaves_a_core_of_two_to_the_rest() -> None:
    """The demo's own node has two, of which what runs there already asks for some."""
    world = World(training(), ready_dataset())
    world.settle("TrainingJob", "first")
    assert pod_spec(world)["containers"][0]["resources"]["requests"]["cpu"] == "1"


def edit(world: World, **spec: Any) -> dict[str, Any]:
    first = world.objects["TrainingJob", "first"]
    first["spec"] = first["spec"] | spec
    first["metadata"]["generation"] += 1
    return world.settle("TrainingJob", "first")


CORRECTIONS: dict[str, tuple[dict[str, Any], Callable[[dict[str, Any]], Any], Any]] = {
    "resources": (
        {"resources": {"cpu": "500m"}},
        lambda pod: pod["containers"][0]["resources"]["requests"]["cpu"],
        "500m",
    ),
    "scheduling": (
        {"scheduling": {"nodeSelector": {"zone": "a"}}},
        lambda pod: pod["nodeSelector"],
        {"zone": "a"},
    ),
    "image": ({"image": "mine:2"}, lambda pod: pod["containers"][0]["image"], "mine:2"),
}


@pytest.mark.parametrize("field", CORRECTIONS)
@pytest.mark.parametrize("pod", ["none", "Pending"])
def test_what_keeps_the_pod_from_starting_can_be_corrected(field: str, pod: str) -> None:
    change, look, wanted = CORRECTIONS[field]
    settings = Settings(allowed_images=("mine:*",))
    world = World(training(resources={"cpu": "64"}), ready_dataset(), settings=settings)
    world.settle("TrainingJob", "first")
    if pod == "Pending":
        world.pod_of(world.of("Job")[0], phase="Pending")
    first = edit(world, **change)
    assert look(pod_spec(world)) == wanted
    assert "edited" not in first["status"]["message"]
    (job,) = world.of("Job")
    assert first["status"]["runHash"] == job["metadata"]["annotations"]["modelyard.dev/spec-hash"]
    before = len(world.writes)
    world.settle("TrainingJob", "first")
    assert len(world.writes) == before


def test_a_correction_is_complete_whatever_is_lost_on_the_way() -> None:
    """Killed after the Job's deletion, or after the new one was made."""
    world = World(training(resources={"cpu": "64"}), ready_dataset())
    world.settle("TrainingJob", "first")
    first = world.objects["TrainingJob", "first"]
    first["spec"]["resources"] = {"cpu": "1"}
    plan = world.plan("TrainingJob", "first")
    (job,) = plan.delete
    assert job.uid == world.of("Job")[0]["metadata"]["uid"]
    del world.objects["Job", job.name]
    plan = world.plan("TrainingJob", "first")
    assert isinstance(plan, Create)
    world.add({**plan.children[0], "status": {}})
    world.settle("TrainingJob", "first")
    assert len(world.of("Job")) == 1
    assert pod_spec(world)["containers"][0]["resources"]["requests"]["cpu"] == "1"


@pytest.mark.parametrize("what", ["a running pod", "a pod that failed", "an earlier pod"])
def test_a_training_that_has_started_is_never_made_again(what: str) -> None:
    world = World(training(), ready_dataset())
    world.settle("TrainingJob", "first")
    (job,) = world.of("Job")
    if what == "a running pod":
        world.pod_of(job)
    elif what == "a pod that failed":
        world.pod_of(job, phase="Failed")
    else:
        job["status"] = {"failed": 1}
    uid = job["metadata"]["uid"]
    first = edit(world, resources={"cpu": "4"})
    assert [j["metadata"]["uid"] for j in world.of("Job")] == [uid]
    assert "keeps what it was started with" in first["status"]["message"]


def test_the_status_counts_what_was_trained_on() -> None:
    world = World(training(), ready_dataset())
    world.settle("TrainingJob", "first")
    result = TrainResult(
        weights_digest=DIGEST_C, metrics={}, epochs=3, imgsz=128, images=48, validation_images=16
    )
    world.finish(world.of("Job")[0], Outcome(result=result))
    status = world.settle("TrainingJob", "first")["status"]
    assert (status["images"], status["validationImages"]) == (48, 16)
