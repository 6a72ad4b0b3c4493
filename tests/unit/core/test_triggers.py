"""A change of one object makes those be reconciled that depend on it, and no others."""

from __future__ import annotations

from typing import Any

from .world import World, controller, dataset, deployment, obj, ready_dataset, training, version


def woken(kind: str, by: dict[str, Any], world: World) -> set[str]:
    """Names of the objects of `kind` that a change of `by` makes the operator reconcile."""
    found = controller(kind).triggers[by["kind"]](by, world)
    assert all((key.kind, key.namespace) == (kind, "shop") for key in found)
    return {key.name for key in controller(kind).triggers[by["kind"]](by, world)}


def test_a_dataset_wakes_the_training_jobs_that_wait_for_it() -> None:
    started = training("started", {"runHash": "1"})
    other = training("other", dataset={"name": "else"})
    world = World(training("waits"), started, other)
    assert woken("TrainingJob", dataset(), world) == {"waits"}


def test_a_version_wakes_the_job_that_made_it_and_those_that_train_on_it() -> None:
    tuned = training("tuned", baseVersion={"name": "shelf-1"})
    started = training("started", {"runHash": "1"}, baseVersion={"name": "shelf-1"})
    world = World(training("plain"), tuned, started)
    made = version(1, lineage={"trainingJob": {"name": "maker", "uid": "uid-maker"}})
    assert woken("TrainingJob", made, world) == {"maker", "tuned"}
    assert woken("TrainingJob", version(1), world) == {"tuned"}


def test_a_training_job_wakes_what_it_uses() -> None:
    world = World()
    assert woken("Dataset", training(), world) == {"shelf"}
    assert woken("ModelVersion", training(), world) == set()
    tuned = training(baseVersion={"name": "shelf-1"})
    assert woken("ModelVersion", tuned, world) == {"shelf-1"}


def test_a_deployment_wakes_the_versions_it_uses_and_those_it_used() -> None:
    left = obj("ModelVersion", "shelf-1", version(1)["spec"], usedBy=["Deployment cameras"])
    serving = {"stable": {"modelVersion": "shelf-2"}, "candidate": {"modelVersion": "shelf-3"}}
    pinned = deployment(status=serving, version={"policy": "Pinned", "number": 4})
    world = World(left, version(2), ready_dataset())
    used = {"shelf-1", "shelf-2", "shelf-3", "shelf-4"}
    assert woken("ModelVersion", pinned, world) == used
