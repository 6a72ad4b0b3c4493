"""A Job's pod that does not start, is killed, or is lost: what its object says about it."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.core.jobstate import MAX_LOST_RESULTS

from .world import World, condition, ready_dataset, training, version


def started(kind: str) -> tuple[World, str, dict[str, Any]]:
    """A world in which an object's Job was created; its name and that Job."""
    world = World(ready_dataset(), training("first"), version(2, None))
    name = {"TrainingJob": "first", "ModelVersion": "shelf-2"}[kind]
    world.settle(kind, name)
    (job,) = world.of("Job")
    return world, name, job


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"containerStatuses": [{"name": "main", "image": "shop/trainer:1", "state": state}]}


@pytest.mark.parametrize("kind", ["TrainingJob", "ModelVersion"])
@pytest.mark.parametrize(
    ("status", "reason", "says"),
    [
        pytest.param(
            waiting("ImagePullBackOff", "not found"),
            "ImagePullFailed",
            "cannot pull image shop/trainer:1: not found",
            id="an image that does not exist",
        ),
        pytest.param(
            waiting("CreateContainerConfigError", 'secret "store" not found'),
            "PodConfigError",
            'cannot start: secret "store" not found',
            id="a Secret that does not exist",
        ),
        pytest.param(
            {
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "message": "Insufficient cpu"}
                ]
            },
            "Unschedulable",
            "fits no node: Insufficient cpu",
            id="no node is large enough",
        ),
    ],
)
def test_a_pod_that_does_not_start_is_explained(
    kind: str, status: dict[str, Any], reason: str, says: str
) -> None:
    world, name, job = started(kind)
    world.pod_of(job, "Pending", **status)
    seen = world.settle(kind, name)
    assert condition(seen, "Ready")["reason"] == reason
    assert says in seen["status"]["message"]
    assert seen["status"]["phase"] != "Failed", "the pod may still start"


def test_a_pod_that_starts_late_clears_the_trouble() -> None:
    world, name, job = started("TrainingJob")
    pod = world.pod_of(job, "Pending", **waiting("ErrImagePull"))
    world.settle("TrainingJob", name)
    pod["status"] = {"phase": "Running"}
    assert world.settle("TrainingJob", name)["status"]["phase"] == "Running"


def test_a_lost_pod_is_followed_by_one_that_resumes() -> None:
    world, name, job = started("TrainingJob")
    job["status"] = {"failed": 1}
    message = world.settle("TrainingJob", name)["status"]["message"]
    assert message.startswith("waiting for pod 2 of at most ")
    assert "its pod was lost" in message


def ended_pod(world: World, job: dict[str, Any], **terminated: Any) -> None:
    state = {"terminated": {"exitCode": 137, **terminated}}
    world.pod_of(job, "Failed", containerStatuses=[{"name": "main", "state": state}])


def test_a_pod_killed_for_its_memory_names_what_to_change() -> None:
    world, name, job = started("TrainingJob")
    ended_pod(world, job, reason="OOMKilled")
    job["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}
    seen = world.settle("TrainingJob", name)
    assert (seen["status"]["phase"], condition(seen, "Ready")["reason"]) == (
        "Failed",
        "OutOfMemory",
    )
    assert "raise resources.memory" in seen["status"]["message"]


@pytest.mark.parametrize(
    ("ended", "reason", "says"),
    [
        ({"reason": "DeadlineExceeded"}, "DeadlineExceeded", "longer than activeDeadlineSeconds"),
        ({"reason": "BackoffLimitExceeded", "message": "6 of 6"}, "BackoffLimitExceeded", "6 of 6"),
        ({}, "JobFailed", "no reason given"),
    ],
)
def test_a_job_that_fails_without_a_word_of_its_pod(
    ended: dict[str, str], reason: str, says: str
) -> None:
    world, name, job = started("TrainingJob")
    ended_pod(world, job)
    job["status"] = {"conditions": [{"type": "Failed", "status": "True", **ended}]}
    seen = world.settle("TrainingJob", name)
    assert condition(seen, "Ready")["reason"] == reason
    assert says in seen["status"]["message"]


@pytest.mark.parametrize("kind", ["TrainingJob", "ModelVersion"])
def test_a_result_that_is_lost_again_and_again_is_given_up(kind: str) -> None:
    world, name, _ = started(kind)
    for attempt in range(MAX_LOST_RESULTS + 1):
        assert world.objects[kind, name]["status"].get("phase") != "Failed", attempt
        for job in world.of("Job"):
            world.finish(job, None)
        world.settle(kind, name)
    seen = world.objects[kind, name]
    assert (seen["status"]["phase"], condition(seen, "Ready")["reason"]) == ("Failed", "ResultLost")
    assert f"completed {MAX_LOST_RESULTS + 1} times" in seen["status"]["message"]


@pytest.mark.parametrize("kind", ["Dataset", "TrainingJob", "ModelVersion"])
def test_an_object_that_is_being_deleted_is_left_alone(kind: str) -> None:
    world = World(ready_dataset(), training("first"), version(2, None))
    name = {"Dataset": "shelf", "TrainingJob": "first", "ModelVersion": "shelf-2"}[kind]
    world.objects[kind, name]["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    world.settle(kind, name)
    assert world.writes == []
