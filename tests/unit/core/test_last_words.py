"""A Job's end may be seen before its pod is: the pod's result is then not lost yet."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from modelyard.core.conditions import timestamp

from .world import NOW, World, dataset, ready_dataset, training, version


def ended(kind: str, name: str, how: str) -> World:
    """The Job of this object has ended; no pod of it has been seen."""
    shelf = dataset() if kind == "Dataset" else ready_dataset()
    world = World(shelf, training("till"), version(2, None))
    world.settle(kind, name)
    (job,) = world.of("Job")
    condition = {"type": how, "status": "True", "lastTransitionTime": timestamp(NOW)}
    job["status"] = {"conditions": [condition]}
    return world


def tried_again_or_failed(status: Any) -> bool:
    return bool(status) and bool(status.get("attempt") or status["phase"] == "Failed")


@pytest.mark.parametrize("how", ["Complete", "Failed"])
@pytest.mark.parametrize(
    ("kind", "name"), [("Dataset", "shelf"), ("TrainingJob", "till"), ("ModelVersion", "shelf-2")]
)
def test_what_its_pod_has_left_is_waited_for(kind: str, name: str, how: str) -> None:
    world = ended(kind, name, how)
    plan = world.plan(kind, name, NOW + timedelta(seconds=4))
    assert not tried_again_or_failed(plan.status)
    assert plan.requeue_after == 6
    plan = world.plan(kind, name, NOW + timedelta(seconds=11))
    assert tried_again_or_failed(plan.status)
