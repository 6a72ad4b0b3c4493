"""What a Deployment's metrics say, as an alert or a dashboard reads them."""

from __future__ import annotations

from typing import Any

from .world import controller, deployment

ROLLOUT: dict[str, Any] = {
    "revision": 1,
    "trigger": "version 2 is Ready",
    "startedAt": "2026-11-22T12:00:00Z",
    "stage": "Step",
    "step": 2,
    "steps": 3,
    "stageStartedAt": "2026-11-22T12:00:00Z",
    "lastProgressAt": "2026-11-22T12:00:00Z",
}

ARTIFACT = {
    "artifact": "onnx",
    "format": "onnx",
    "digest": "sha256:a",
    "manifestDigest": "sha256:b",
}


def values(name: str, **status: Any) -> dict[tuple[str, ...], float]:
    """The series of a metric of a Deployment with this status, by their labels."""
    (gauge,) = [one for one in controller("Deployment").gauges if one.name == name]
    return {tuple(labels): number for labels, number in gauge.values(deployment(status=status))}


def test_servers_are_counted_by_state_and_absent_counts_are_zero() -> None:
    found = values("modelyard_deployment_servers", readyReplicas=3, offlineReplicas=1)
    assert found["ready",] == 3
    assert found["offline",] == 1
    assert found["failed",] == 0


def test_versions_are_named_by_role() -> None:
    found = values(
        "modelyard_deployment_version",
        stable={"modelVersion": "shelf-2", "version": 2, **ARTIFACT},
        candidate={"modelVersion": "shelf-3", "version": 3, **ARTIFACT},
    )
    assert found == {("stable", "shelf-2"): 2, ("candidate", "shelf-3"): 3}


def test_a_rollouts_step_says_why_it_is_paused() -> None:
    name = "modelyard_rollout_step"
    assert values(name) == {}
    assert values(name, rollout=ROLLOUT) == {("Step", ""): 2}
    paused = ROLLOUT | {"paused": {"reason": "Step", "since": "2026-11-22T12:01:00Z"}}
    assert values(name, rollout=paused) == {("Step", "Step"): 2}
    vanish = [{"type": "Progressing", "status": "False", "reason": "ServersVanish"}]
    assert values(name, rollout=paused, conditions=vanish) == {("Step", "ServersVanish"): 2}
