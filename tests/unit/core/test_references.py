"""Who refers to whom, as it follows from the kinds' registrations."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.api import kind_info
from modelyard.core.plan import Key
from modelyard.core.refusals import EVENT

from .world import World, controller, dataset, deployment, obj, training, version


def keys(kind: str, trigger: str, one: dict[str, Any], *others: dict[str, Any]) -> list[str]:
    """Names of the objects of a kind that a change of another one reconciles."""
    found = controller(kind).triggers[trigger](one, World(one, *others))
    assert all(isinstance(key, Key) and key.kind == kind for key in found)
    return [key.name for key in controller(kind).triggers[trigger](one, World(one, *others))]


def test_what_each_controller_is_triggered_by() -> None:
    assert {kind: set(controller(kind).triggers) for kind in ("Dataset", "TrainingJob")} == {
        "Dataset": {"TrainingJob", EVENT},
        "TrainingJob": {"Dataset", "ModelVersion", EVENT},
    }
    assert set(controller("ModelVersion").triggers) == {"TrainingJob", "Deployment", EVENT}
    assert set(controller("Deployment").triggers) == {"ModelVersion", EVENT}


@pytest.mark.parametrize(
    ("status", "waits"),
    [({}, True), ({"phase": "Pending"}, True), ({"runHash": "1", "phase": "Running"}, False)],
)
def test_trainings_wait_for_inputs_until_they_are_pinned(
    status: dict[str, Any], waits: bool
) -> None:
    job = training("till", status, baseVersion={"name": "shelf-1"})
    wanted = ["till"] if waits else []
    assert keys("TrainingJob", "Dataset", dataset("shelf"), job) == wanted
    assert keys("TrainingJob", "ModelVersion", version(1), job) == wanted
    assert keys("TrainingJob", "Dataset", dataset("other"), job) == []


def test_a_version_reconciles_the_training_that_made_it() -> None:
    made = version(4, lineage={"trainingJob": {"name": "till", "uid": "u"}})
    assert keys("TrainingJob", "ModelVersion", made) == ["till"]


def test_a_version_reconciles_the_deployments_of_its_line() -> None:
    others = deployment("a"), deployment("b", modelLine="other"), deployment("c")
    assert keys("Deployment", "ModelVersion", version(1), *others) == ["a", "c"]


def test_a_deployment_reconciles_what_it_serves_and_what_still_shows_it() -> None:
    serving = {"stable": {"modelVersion": "shelf-2"}, "candidate": {"modelVersion": "shelf-3"}}
    pinned = deployment("cameras", serving, version={"policy": "Pinned", "number": 7})
    former = obj("ModelVersion", "shelf-1", {}, usedBy=["Deployment cameras"])
    found = keys("ModelVersion", "Deployment", pinned, former)
    assert found == ["shelf-2", "shelf-3", "shelf-7", "shelf-1"]


def needed(user: dict[str, Any], kind: str) -> list[str]:
    """The objects of a kind that a user keeps from being deleted."""
    index = controller(kind).indexes[user["kind"], f"needs-{kind}"]
    return list(index(user))


@pytest.mark.parametrize("phase", list(kind_info("TrainingJob").phases))
def test_an_ended_training_needs_its_inputs_no_longer(phase: str) -> None:
    job = training("till", {"phase": phase}, baseVersion={"name": "shelf-1"})
    ended = phase in ("Succeeded", "Failed")
    assert needed(job, "Dataset") == ([] if ended else ["shelf"])
    assert needed(job, "ModelVersion") == ([] if ended else ["shelf-1"])


def test_what_is_being_deleted_needs_nothing() -> None:
    going = deployment("cameras", {"stable": {"modelVersion": "shelf-1"}})
    assert needed(going, "ModelVersion") == ["shelf-1"]
    going["metadata"]["deletionTimestamp"] = "2026-11-28T00:00:00Z"
    assert needed(going, "ModelVersion") == []


def test_a_wrong_object_names_nothing() -> None:
    for spec in ({}, {"dataset": None}, {"dataset": "shelf"}, {"dataset": {"name": ""}}):
        assert needed(obj("TrainingJob", "odd", spec), "Dataset") == []
