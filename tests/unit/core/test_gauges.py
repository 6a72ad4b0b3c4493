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


MONITORING: dict[str, Any] = {
    "drift": {"online": 9, "baseline": 8, "drifting": 5, "threshold": 4},
    "pools": [{"name": "north", "drifting": 5, "baseline": 5, "online": 5, "threshold": 3}],
    "findings": [{"kind": "CameraDark", "servers": 2}],
    "episode": {"number": 1, "signal": "TopScore", "since": "2026-11-22T12:00:00Z", "servers": 5},
}


def test_drift_is_counted_with_its_threshold_and_absent_without_monitoring() -> None:
    for name, number in (
        ("drifting_servers", 5),
        ("drift_threshold_servers", 4),
        ("baseline_servers", 8),
    ):
        assert values(f"modelyard_deployment_{name}", monitoring=MONITORING) == {(): number}
        assert values(f"modelyard_deployment_{name}") == {}


def test_pools_findings_and_the_episode_are_told() -> None:
    told = {"monitoring": MONITORING}
    name = "modelyard_deployment_drifting_pool_servers"
    assert values(name, **told) == {("north",): 5}
    assert values("modelyard_deployment_finding_servers", **told) == {("CameraDark",): 2}
    name = "modelyard_deployment_drift_start_timestamp_seconds"
    assert values(name, **told) == {("TopScore",): 1795348800}


def test_conditions_of_monitoring_are_told_with_their_reason() -> None:
    conditions = [
        {"type": "Ready", "status": "True", "reason": "RolledOut"},
        {"type": "Drifting", "status": "Unknown", "reason": "NoEvidence"},
    ]
    found = values("modelyard_deployment_monitoring", conditions=conditions)
    assert found == {("Drifting", "Unknown", "NoEvidence"): 1}
