"""The life of each kind, with the real operator process, API server and Job controller."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.contract import exitcodes
from modelyard.contract.result import Outcome

from ...kinds import RECONCILED
from ..fake_status import (
    DIGEST_A,
    DIGEST_B,
    Served,
    artifact,
    broken_data_outcome,
    data_outcome,
    evaluate_outcome,
    export_outcome,
    loaded,
    reported,
    train_outcome,
)
from ..waiting import until
from .conftest import Site

pytestmark = pytest.mark.cluster
HTTP = {"source": {"http": {"url": "https://data.example/shelf.zip"}}}


def ready_dataset(site: Site, name: str) -> None:
    site.create("Dataset", name, HTTP)
    site.play(site.pod(f"Dataset/{name}"), "Succeeded", outcome=data_outcome())
    site.reaches("Dataset", name, "Ready")


def judged_version(site: Site, line: str, number: int, mean: float = 0.8) -> dict[str, Any]:
    """A ModelVersion through export and evaluation with this mAP."""
    name = f"{line}-{number}"
    if not site.get("ModelVersion", name):
        spec = {
            "modelLine": line,
            "version": number,
            "weights": {"digest": DIGEST_B},
            "dataset": {"name": "any", "digest": DIGEST_A},
            "gates": {"mAP50": 0.5},
        }
        site.create("ModelVersion", name, spec)
    owner = f"ModelVersion/{name}"
    site.play(site.pod(owner, "export-onnx"), "Succeeded", outcome=export_outcome(number))
    site.play(site.pod(owner, "evaluate-cpu"), "Succeeded", outcome=evaluate_outcome(mean))
    return site.reaches("ModelVersion", name, "Ready" if mean >= 0.5 else "Rejected")


def test_a_dataset_is_resolved_and_a_broken_one_names_its_files(site: Site) -> None:
    ready_dataset(site, "shelf")
    shelf = site.get("Dataset", "shelf")
    assert shelf["status"]["digest"] == DIGEST_A
    assert "shelf" in site.kubectl("get", "dset", "-n", "shop")
    site.create("Dataset", "broken", HTTP)
    site.play(site.pod("Dataset/broken"), "Succeeded", outcome=broken_data_outcome())
    broken = site.reaches("Dataset", "broken", "Invalid")
    assert "train/a.jpg: corrupt image" in broken["status"]["message"]


def test_a_training_waits_starts_fails_resumes_and_becomes_a_version(site: Site) -> None:
    spec = {
        "model": "yolo11n.yaml",
        "dataset": {"name": "later"},
        "hyperparameters": {"epochs": 2},
        "output": {"modelLine": "till"},
    }
    site.create("TrainingJob", "till", spec)
    until(lambda: "later" in str(site.get("TrainingJob", "till").get("status")))
    ready_dataset(site, "later")
    first = site.pod("TrainingJob/till")
    site.play(first, "Running")
    running = site.reaches("TrainingJob", "till", "Running")
    assert running["status"]["podName"] == first.metadata.name
    assert running["status"]["datasetDigest"] == DIGEST_A
    lost = Outcome(reason="NodeLost", message="the node went away")
    site.play(first, "Failed", outcome=lost, exit_code=exitcodes.RETRYABLE)
    second = site.pod("TrainingJob/till", count=2)
    site.play(second, "Succeeded", outcome=train_outcome())
    ended = site.reaches("TrainingJob", "till", "Succeeded")
    assert ended["status"]["modelVersion"] == "till-1"
    version = until(lambda: site.get("ModelVersion", "till-1"))
    assert version["spec"]["lineage"]["trainingJob"]["uid"] == ended["metadata"]["uid"]
    assert site.get("Dataset", "later")["status"].get("usedBy") in (None, ["TrainingJob till"])


def test_what_no_node_can_hold_is_corrected_before_the_pod_has_started(site: Site) -> None:
    ready_dataset(site, "large")
    spec = {
        "model": "yolo11n.yaml",
        "dataset": {"name": "large"},
        "resources": {"cpu": 64},
        "output": {"modelLine": "large"},
    }
    site.create("TrainingJob", "large", spec)
    first = site.pod("TrainingJob/large")
    assert first.spec.containers[0].resources.requests["cpu"] == "64"
    started = until(lambda: (site.get("TrainingJob", "large").get("status") or {}).get("startTime"))
    site.patch("TrainingJob", "large", spec={"resources": {"cpu": 1}})

    def replaced() -> Any:
        pods = site.pods("TrainingJob/large")
        return len(pods) == 1 and pods[0].metadata.uid != first.metadata.uid and pods[0]

    second = until(replaced)
    assert second.spec.containers[0].resources.requests["cpu"] == "1"
    assert second.metadata.owner_references[0].name == first.metadata.owner_references[0].name
    site.play(second, "Running")
    running = site.reaches("TrainingJob", "large", "Running")
    assert running["status"]["startTime"] == started
    site.play(second, "Succeeded", outcome=train_outcome())
    assert site.reaches("TrainingJob", "large", "Succeeded")["status"]["modelVersion"] == "large-1"


def test_a_version_that_was_not_evaluated_is_served_only_where_that_is_allowed(site: Site) -> None:
    spec = {
        "modelLine": "coco",
        "version": 1,
        "weights": {"digest": DIGEST_B},
        "evaluation": {"skip": "pretrained on COCO"},
    }
    site.create("ModelVersion", "coco-1", spec)
    pod = site.pod("ModelVersion/coco-1", "export-onnx")
    site.play(pod, "Succeeded", outcome=export_outcome(1))
    made = site.reaches("ModelVersion", "coco-1", "Ready")
    conditions = {one["type"]: one for one in made["status"]["conditions"]}
    validated = conditions["Validated"]
    assert (validated["status"], validated["reason"]) == ("False", "Skipped")
    assert len(site.pods("ModelVersion/coco-1")) == 1

    site.create("Deployment", "careful", {"modelLine": "coco"})
    site.create("Deployment", "curious", {"modelLine": "coco", "allowUnvalidated": True})
    until(lambda: (site.get("Deployment", "curious").get("status") or {}).get("stable"))
    careful = site.reaches("Deployment", "careful", "Pending")
    assert "set spec.allowUnvalidated" in careful["status"]["message"]
    assert "stable" not in careful["status"]


def test_a_users_mistake_fails_the_training_at_once(site: Site) -> None:
    ready_dataset(site, "mistaken")
    spec = {
        "model": "yolo11n.pt",
        "dataset": {"name": "mistaken"},
        "output": {"modelLine": "mistaken"},
    }
    site.create("TrainingJob", "mistaken", spec)
    message = "yolo11n.pt cannot be fetched; put it into the store: modelyard weights add FILE"
    told = Outcome(reason="WeightsUnavailable", message=message)
    pod = site.pod("TrainingJob/mistaken")
    site.play(pod, "Failed", outcome=told, exit_code=exitcodes.USER_ERROR)
    failed = site.reaches("TrainingJob", "mistaken", "Failed")
    assert failed["status"]["message"] == message
    assert len(site.pods("TrainingJob/mistaken")) == 1


def test_an_image_that_cannot_be_pulled_is_told_by_the_training(site: Site) -> None:
    ready_dataset(site, "pull")
    spec = {
        "model": "yolo11n.yaml",
        "dataset": {"name": "pull"},
        "image": "registry.invalid/nobody/has:this",
        "output": {"modelLine": "pull"},
    }
    site.create("TrainingJob", "pull", spec)
    waiting = {"reason": "ImagePullBackOff", "message": "no such host"}
    site.play(site.pod("TrainingJob/pull"), "Pending", waiting=waiting)
    until(lambda: "no such host" in str(site.get("TrainingJob", "pull").get("status")))


def test_a_misspelt_hyperparameter_is_told_and_recovers(site: Site) -> None:
    spec = {
        "model": "yolo11n.yaml",
        "dataset": {"name": "nowhere"},
        "hyperparameters": {"epoch": 2},
        "output": {"modelLine": "spelt"},
    }
    site.create("TrainingJob", "spelt", spec)
    until(lambda: 'did you mean "epochs"?' in str(site.get("TrainingJob", "spelt").get("status")))
    fixed = {"hyperparameters": {"epoch": None, "epochs": 2}}
    site.patch("TrainingJob", "spelt", spec=fixed)
    until(lambda: "nowhere" in str(site.get("TrainingJob", "spelt")["status"]["message"]))


def test_a_version_passes_its_gates_or_is_rejected_with_figures(site: Site) -> None:
    assert (
        judged_version(site, "gated", 1)["status"]["artifacts"][0]["digest"] == artifact(1).digest
    )
    rejected = judged_version(site, "gated", 2, mean=0.3)
    assert "mAP50 0.300, needs 0.500" in rejected["status"]["message"]


def test_a_deployment_serves_and_swaps_and_survives_a_killed_operator(site: Site) -> None:
    judged_version(site, "lane", 1)
    site.create("Deployment", "lane", {"modelLine": "lane"})
    pod = until(lambda: (found := site.pods("Deployment/lane")) and found[0])
    server = until(lambda: site.get("ModelServer", pod.metadata.name))
    assert server["spec"]["assigned"]["digest"] == artifact(1).digest
    site.play(pod, "Running", ready=True)
    load(site, pod.metadata.name)
    site.reaches("Deployment", "lane", "Healthy")
    site.kill_operator()
    site.start_operator()
    judged_version(site, "lane", 2)
    until(lambda: site.get("ModelServer", pod.metadata.name)["spec"]["assigned"]["version"] == 2)
    assert site.get("Deployment", "lane")["status"]["stable"]["version"] == 1
    load(site, pod.metadata.name)
    until(lambda: site.get("Deployment", "lane")["status"]["stable"]["version"] == 2)
    assert len(site.pods("Deployment/lane")) == 1
    until(lambda: site.get("ModelVersion", "lane-2")["status"].get("usedBy") == ["Deployment lane"])
    # A rollback goes back to it, so it is still in use.
    assert site.get("Deployment", "lane")["status"]["rollbackTarget"] == "lane-1"
    assert site.get("ModelVersion", "lane-1")["status"].get("usedBy") == ["Deployment lane"]


def load(site: Site, name: str) -> None:
    """What the agent reports once its server holds what it is assigned."""
    site.patch_status("ModelServer", name, loaded(site.get("ModelServer", name)))


def test_a_version_that_cannot_be_loaded_is_rolled_back_until_somebody_retries(site: Site) -> None:
    judged_version(site, "back", 1)
    site.create("Deployment", "back", {"modelLine": "back"})
    pod = until(lambda: (found := site.pods("Deployment/back")) and found[0])
    name = pod.metadata.name
    until(lambda: site.get("ModelServer", name))
    site.play(pod, "Running", ready=True)
    load(site, name)
    site.reaches("Deployment", "back", "Healthy")
    judged_version(site, "back", 2)
    until(lambda: version_of(site, name) == 2)
    broken = reported(site.get("ModelServer", name), Served(loads=False))
    site.patch_status("ModelServer", name, broken)
    until(lambda: version_of(site, name) == 1)
    load(site, name)
    status = site.reaches("Deployment", "back", "Degraded")["status"]
    assert (status["stable"]["version"], status["rejected"]["version"]) == (1, 2)
    assert "the network is broken" in status["message"]
    assert [one["outcome"] for one in status["history"]] == ["RolledBack"]
    site.patch("Deployment", "back", metadata={"annotations": {"modelyard.dev/retry": "again"}})
    until(lambda: version_of(site, name) == 2)
    load(site, name)
    status = site.reaches("Deployment", "back", "Healthy")["status"]
    assert status["stable"]["version"] == 2
    assert status["actions"] == {"retry": "again"}
    assert [one["outcome"] for one in status["history"]] == ["Succeeded", "RolledBack"]


def version_of(site: Site, server: str) -> int:
    """Number of the version that a server is told to hold."""
    return int(site.get("ModelServer", server)["spec"]["assigned"]["version"])


def test_a_finished_world_is_left_alone_by_a_restarted_operator(site: Site) -> None:
    judged_version(site, "quiet", 1)
    before = {
        o["metadata"]["uid"]: o["metadata"]["resourceVersion"]
        for kind in RECONCILED
        for o in site.list(kind)
        if (o.get("status") or {}).get("phase")
        in ("Ready", "Rejected", "Succeeded", "Healthy", "Invalid")
    }
    site.kill_operator()
    site.start_operator()
    site.create("Dataset", "signal", HTTP)
    site.pod("Dataset/signal")
    after = {
        o["metadata"]["uid"]: o["metadata"]["resourceVersion"]
        for kind in RECONCILED
        for o in site.list(kind)
    }
    assert {uid: after[uid] for uid in before} == before
