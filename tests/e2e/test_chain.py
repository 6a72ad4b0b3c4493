"""From `kubectl apply` to answered requests: the demo's path, with assertions.

The tests run in order, on one cluster with those of test_rollouts.py; test_teardown.py takes it
down.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from PIL import Image

from .conftest import Demo, run_demo, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2700)]

FOUND_SHARE = 0.8
"""Share of labelled digits that the served model must find (IoU >= 0.5, same class)."""


def test_the_boxes_that_come_back_match_the_labels(demo: Demo) -> None:
    prediction = demo.summary["prediction"]
    assert prediction["version"] == "2"
    assert prediction["labels"] >= 20
    assert prediction["share"] >= FOUND_SHARE
    with Image.open(demo.folder / "prediction.png") as picture:
        assert picture.width >= 128


def test_the_swap_lost_no_request(demo: Demo) -> None:
    swap = demo.summary["swap"]
    assert swap["failed"] == 0, swap["errors"]
    assert swap["answeredByVersion"].keys() == {"1", "2"}
    assert swap["sent"] == sum(swap["answeredByVersion"].values())
    assert swap["milliseconds"]["max"] > 0


def test_versions_passed_gates_that_a_failed_training_would_not(demo: Demo) -> None:
    for name in ("digits-1", "digits-2"):
        status = _get(demo, "ModelVersion", name)["status"]
        gates = {g["gate"]: g for g in status["gates"]}
        assert gates["mAP50"]["passed"]
        assert gates["mAP50"]["required"] > 0.1
        assert gates["parity"]["passed"]


def test_lineage_leads_from_the_served_version_back_to_data_and_training(demo: Demo) -> None:
    second = _get(demo, "ModelVersion", "digits-2")["spec"]
    training = _get(demo, "TrainingJob", "digits-fine-tuned")
    assert second["lineage"]["trainingJob"]["uid"] == training["metadata"]["uid"]
    assert second["lineage"]["baseVersion"] == "digits-1"
    assert second["dataset"]["digest"] == _get(demo, "Dataset", "digits")["status"]["digest"]
    first = _get(demo, "ModelVersion", "digits-1")["spec"]
    assert second["lineage"]["initialWeightsDigest"] == first["weights"]["digest"]


def test_triton_serves_the_bytes_whose_digest_the_version_names(demo: Demo) -> None:
    digest = _get(demo, "ModelVersion", "digits-2")["status"]["artifacts"][0]["digest"]
    servers = demo.objects.list("ModelServer")
    assert len(servers) == 2
    for server in servers:
        assert server["status"]["loaded"]["digest"] == digest
        listed = demo.objects.kubectl(
            "exec", server["spec"]["podName"], "-c", "triton", "--",
            "sh", "-c", "find /models -name model.onnx -exec sha256sum {} +",
        )  # fmt: skip
        assert [line.split()[0] for line in listed.splitlines()] == [digest.removeprefix("sha256:")]


def test_serving_pods_were_never_replaced(demo: Demo) -> None:
    pods = demo.objects.kubectl(
        "get", "pods", "-l", "app.kubernetes.io/component=server",
        "-o", "jsonpath={.items[*].status.containerStatuses[*].restartCount}",
    )  # fmt: skip
    assert set(pods.split()) == {"0"}
    sets = demo.objects.kubectl("get", "replicasets", "-o", "name").split()
    assert len(sets) == 1


def test_an_image_that_cannot_be_pulled_is_told_within_a_minute(demo: Demo) -> None:
    # Refused at once, whatever a DNS server outside would make of a name.
    image = "127.0.0.1:1/nobody/has:this"
    _apply(demo, "unpullable", image=image, base_version="digits-1")

    def told() -> bool:
        status = (demo.objects.get("TrainingJob", "unpullable") or {}).get("status") or {}
        return image in str(status.get("message"))

    until(told, 60, "the TrainingJob names the image")
    demo.objects.kubectl("delete", "tj", "unpullable")


def test_a_killed_training_pod_resumes_from_its_last_checkpoint(demo: Demo) -> None:
    # More epochs than anybody waits for: one takes less than a second.
    settings = {"epochs": 200, "imgsz": 64, "batch": 16, "fraction": 0.1, "val": False}
    _apply(demo, "interrupted", base_version="digits-1", hyperparameters=settings)

    def progress() -> dict[str, Any]:
        found = demo.objects.get("TrainingJob", "interrupted") or {}
        return (found.get("status") or {}).get("progress") or {}

    # The first epoch's checkpoint may be on its way still when the epoch is told.
    begun = until(lambda: (p := progress()).get("epoch", 0) >= 2 and p, 180, "a second epoch")
    pod = begun["podName"]
    demo.objects.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
    resumed = until(
        lambda: (p := progress()).get("podName") != pod and p.get("epoch") and p, 180, "a new pod"
    )
    assert resumed["resumedFromEpoch"] >= 1
    demo.objects.kubectl("delete", "tj", "interrupted")


def test_what_is_in_use_cannot_be_deleted_and_the_user_is_named(demo: Demo) -> None:
    with pytest.raises(Exception, match="Deployment digits"):
        demo.objects.kubectl("delete", "mv", "digits-2")
    assert _get(demo, "ModelVersion", "digits-2")["metadata"].get("deletionTimestamp") is None


def test_a_second_demo_uses_what_is_there_and_swaps_back_and_forth(demo: Demo) -> None:
    before = {t["metadata"]["name"]: t["metadata"]["uid"] for t in demo.objects.list("TrainingJob")}
    run_demo(demo.folder)
    after = {t["metadata"]["name"]: t["metadata"]["uid"] for t in demo.objects.list("TrainingJob")}
    assert after == before
    swap = demo.summary["swap"]
    assert swap["failed"] == 0, swap["errors"]
    assert swap["answeredByVersion"].keys() == {"1", "2"}


def _get(demo: Demo, kind: str, name: str) -> dict[str, Any]:
    found = demo.objects.get(kind, name)
    assert found is not None, f"no {kind} {name}"
    return found


def _apply(demo: Demo, name: str, *, base_version: str, **spec: Any) -> None:
    body = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {
            "baseVersion": {"name": base_version},
            "dataset": {"name": "digits"},
            "resources": {"cpu": "1", "memory": "3Gi"},
            "output": {"modelLine": name},
            **spec,
        },
    }
    demo.objects.kubectl("apply", "-f", "-", stdin=json.dumps(body))
