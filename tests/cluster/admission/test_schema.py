"""What the CRDs themselves accept, refuse and fill in, as the real API server sees it."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.cluster
DIGEST = "sha256:" + "0123456789abcdef" * 4
NS = "work"

ACCEPTED: dict[str, tuple[str, dict[str, Any]]] = {
    "a dataset behind a URL": (
        "Dataset",
        {"source": {"http": {"url": "https://example.org/d.zip", "digest": DIGEST}}},
    ),
    "a dataset on a claim": ("Dataset", {"source": {"pvc": {"claimName": "data"}}}),
    "a fine-tuning": ("TrainingJob", {"model": None, "baseVersion": {"name": "shelf-1"}}),
    "pinned pretrained weights": (
        "TrainingJob",
        {"model": "yolo11n.pt", "modelDigest": DIGEST},
    ),
    "any hyperparameter name": (
        "TrainingJob",
        {"hyperparameters": {"epoch": 3, "a": [1, "b", True, 0.5], "c": None}},
    ),
    "resources as numbers in quotes": (
        "TrainingJob",
        {"resources": {"cpu": "500m", "memory": "4Gi", "gpus": 1}},
    ),
    "resources as bare numbers": (
        "TrainingJob",
        {"resources": {"cpu": 8, "memory": 8589934592}},
    ),
    "bare numbers of a server": (
        "Deployment",
        {"server.resources": {"cpu": 2}, "target.cluster.cache": {"quota": 4294967296}},
    ),
    "weights of one's own with a name like another task's": (
        "TrainingJob",
        {"model": "shelf-segments.pt"},
    ),
    "a version that is not evaluated": (
        "ModelVersion",
        {"dataset": None, "evaluation": {"skip": "pretrained on COCO"}},
    ),
    "a tensorrt export": (
        "ModelVersion",
        {
            "exports": [
                {"name": "onnx"},
                {"name": "orin", "format": "tensorrt", "precision": "int8", "gpuProduct": "Orin"},
            ]
        },
    ),
    "onnx weights": ("ModelVersion", {"weights.format": "onnx"}),
    "a pinned version": ("Deployment", {"version": {"policy": "Pinned", "number": 2}}),
    "maxUnavailable as a number": ("Deployment", {"rollout.maxUnavailable": 3}),
    "maxUnavailable as a percentage": ("Deployment", {"rollout.maxUnavailable": "25%"}),
    "no replicas": ("Deployment", {"target.cluster.replicas": 0}),
}

# What is wrong: kind, changes, what the user must read.
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "35,000 hyperparameters": (
        "TrainingJob",
        {"hyperparameters": {f"epoch{i}": 1 for i in range(35_000)}},
        "must have at most 128 items",
    ),
    "a mapping as a hyperparameter": (
        "TrainingJob",
        {"hyperparameters": {"lr0": {"a": 1}}},
        "spec.hyperparameters.lr0",
    ),
    "a hyperparameter that nests deep": (
        "TrainingJob",
        {"hyperparameters": {"classes": json.loads("[" * 500 + "]" * 500)}},
        "spec.hyperparameters.classes",
    ),
    "a hyperparameter of a megabyte": (
        "TrainingJob",
        {"hyperparameters": {"optimizer": "S" * 1_000_000}},
        "spec.hyperparameters.optimizer",
    ),
    "no source": ("Dataset", {"source": {}}, "set exactly one of s3, http, pvc"),
    "two sources": (
        "Dataset",
        {"source.pvc": {"claimName": "data"}},
        "set exactly one of s3, http, pvc",
    ),
    "an endpoint without a bucket": (
        "Dataset",
        {"source": {"s3": {"key": "uploads/a.zip", "endpoint": "http://attacker.example"}}},
        "endpoint, region and credentials belong to a bucket",
    ),
    "a file URL": ("Dataset", {"source": {"http": {"url": "file:///etc/passwd"}}}, "source.http"),
    "another layout": ("Dataset", {"format": "VOC"}, 'supported values: "YOLO"'),
    "neither model nor base": ("TrainingJob", {"model": None}, "set exactly one of model, base"),
    "model and base": (
        "TrainingJob",
        {"baseVersion": {"name": "shelf-1"}},
        "set exactly one of model, baseVersion",
    ),
    "a model with a path": ("TrainingJob", {"model": "../../x.pt"}, "spec.model"),
    "a digest for an architecture": (
        "TrainingJob",
        {"modelDigest": DIGEST},
        "modelDigest pins pretrained weights",
    ),
    "a digest that is none": (
        "TrainingJob",
        {"model": "yolo11n.pt", "modelDigest": "sha256:abc"},
        "spec.modelDigest",
    ),
    "no model line": ("TrainingJob", {"output": {}}, "modelLine: Required value"),
    "memory that is no quantity": (
        "TrainingJob",
        {"resources": {"memory": "4 gigabytes"}},
        "spec.resources.memory",
    ),
    "CPUs that are none": ("TrainingJob", {"resources": {"cpu": 0}}, "spec.resources.cpu"),
    "RT-DETR weights": (
        "TrainingJob",
        {"model": "rtdetr-l.pt"},
        "rtdetr-l.pt is not a detection model with a YOLO head",
    ),
    "an RT-DETR architecture": (
        "TrainingJob",
        {"model": "yolov8-rtdetr.yaml"},
        "yolov8-rtdetr.yaml is not a detection model with a YOLO head",
    ),
    "a model for another task": (
        "TrainingJob",
        {"model": "yolo11n-obb.yaml"},
        "yolo11n-obb.yaml is not a detection model with a YOLO head",
    ),
    "a version without a dataset": ("ModelVersion", {"dataset": None}, "dataset is missing"),
    "int8 without a dataset": (
        "ModelVersion",
        {
            "dataset": None,
            "evaluation": {"skip": "a trial"},
            "exports": [{"format": "tensorrt", "precision": "int8", "gpuProduct": "Orin"}],
        },
        "dataset is missing",
    ),
    "gates without an evaluation": (
        "ModelVersion",
        {"evaluation": {"skip": "a trial"}, "gates": {"mAP50": 0.5}},
        "gates need an evaluation",
    ),
    "gates of a training without an evaluation": (
        "TrainingJob",
        {"output.evaluation": {"skip": "a trial"}, "output.gates": {"recall": 0.5}},
        "gates need an evaluation",
    ),
    "a blank reason": ("ModelVersion", {"evaluation": {"skip": "  "}}, "spec.evaluation.skip"),
    "too many GPUs": ("TrainingJob", {"resources": {"gpus": 2}}, "less than or equal to 1"),
    "a tensorrt export without GPU": (
        "ModelVersion",
        {"exports": [{"format": "tensorrt"}]},
        "a tensorrt export needs gpuProduct",
    ),
    "an int8 onnx export": (
        "ModelVersion",
        {"exports": [{"precision": "int8"}]},
        "precision fp16 and int8 are for format tensorrt",
    ),
    "two exports of one name": (
        "ModelVersion",
        {"exports": [{"name": "onnx"}, {"name": "onnx"}]},
        "Duplicate value",
    ),
    "no exports": ("ModelVersion", {"exports": []}, "should have at least 1 items"),
    "a gate above 1": ("ModelVersion", {"gates": {"mAP50": 1.5}}, "less than or equal to 1"),
    "onnx weights for tensorrt": (
        "ModelVersion",
        {
            "weights.format": "onnx",
            "exports": [{"format": "tensorrt", "gpuProduct": "Orin"}],
        },
        "weights of format onnx can only be served as onnx",
    ),
    "version 0": ("ModelVersion", {"version": 0}, "greater than or equal to 1"),
    "pinned to nothing": (
        "Deployment",
        {"version": {"policy": "Pinned"}},
        "policy Pinned needs number",
    ),
    "latest with a number": (
        "Deployment",
        {"version": {"number": 2}},
        "policy Latest takes none",
    ),
    "maxUnavailable 0": (
        "Deployment",
        {"rollout.maxUnavailable": 0},
        "a number from 1 or a percentage",
    ),
    "maxUnavailable 0%": (
        "Deployment",
        {"rollout.maxUnavailable": "0%"},
        "a number from 1 or a percentage",
    ),
    "a model line in capitals": ("Deployment", {"modelLine": "Shelf"}, "spec.modelLine"),
    "negative replicas": (
        "Deployment",
        {"target.cluster.replicas": -1},
        "greater than or equal to 0",
    ),
    "an unknown artifact format": (
        "ModelServer",
        {"assigned.format": "pt"},
        'supported values: "onnx", "tensorrt"',
    ),
}


def _name(kind: str) -> str:
    return "shelf-3" if kind == "ModelVersion" else "digits"


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(api: Any, valid: Any, case: str) -> None:
    kind, changes = ACCEPTED[case]
    manifest = valid(kind, _name(kind), changes)
    api.kubectl("create", "--dry-run=server", "-f", "-", stdin=manifest)


@pytest.mark.parametrize("case", REFUSED)
def test_refused(api: Any, valid: Any, case: str) -> None:
    kind, changes, message = REFUSED[case]
    manifest = valid(kind, _name(kind), changes)
    assert message in api.refused("create", "--dry-run=server", "-f", "-", stdin=manifest)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Dataset", "spec.sources"),
        ("TrainingJob", "spec.resource"),
        ("ModelVersion", "spec.gates.map50"),
        ("Deployment", "spec.rollout.maxunavailable"),
        ("ModelServer", "spec.assigned.sha"),
    ],
)
def test_unknown_field_is_named(api: Any, valid: Any, kind: str, path: str) -> None:
    manifest = valid(kind, _name(kind), {path.removeprefix("spec."): "x"})
    assert f'unknown field "{path}"' in api.refused("create", "-f", "-", stdin=manifest)


def test_model_version_name_is_line_and_number(api: Any, valid: Any) -> None:
    said = api.refused("create", "-f", "-", stdin=valid("ModelVersion", "shelf-4"))
    assert "a ModelVersion's name is its modelLine, a dash and its version" in said


def test_model_version_is_immutable(api: Any, valid: Any) -> None:
    api.create(valid("ModelVersion", "frozen-1", {"modelLine": "frozen", "version": 1}))
    patch = json.dumps({"spec": {"gates": {"mAP50": 0.1}}})
    said = api.refused("-n", NS, "patch", "mv", "frozen-1", "--type=merge", "-p", patch)
    assert "a ModelVersion is immutable: create a new version instead" in said
    api.kubectl("-n", NS, "label", "mv", "frozen-1", "team=vision")


@pytest.mark.parametrize(
    "change",
    [
        {"model": "yolo11s.yaml"},
        {"dataset": {"name": "other"}},
        {"backoffLimit": 1},
        {"activeDeadlineSeconds": 60},
        {"output": {"modelLine": "other"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_training_is_frozen_once_started(api: Any, valid: Any, change: dict[str, Any]) -> None:
    field = next(iter(change))
    name = f"frozen-{field.lower()}"
    target = ("-n", NS, "patch", "tj", name, "--type=merge", "-p", json.dumps({"spec": change}))
    api.create(valid("TrainingJob", name))
    api.kubectl(*target, "--dry-run=server")
    api.set_status("tj", NS, name, {"runHash": "abc"})
    assert f"spec.{field} cannot change once the training has started" in api.refused(*target)


@pytest.mark.parametrize(
    "change",
    [
        {"resources": {"cpu": 4}},
        {"scheduling": {"nodeSelector": {"a": "b"}}},
        {"image": "modelyard/trainer-gpu:dev"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_a_pod_needs_may_be_corrected_until_it_has_started(
    api: Any, valid: Any, change: dict[str, Any]
) -> None:
    field = next(iter(change))
    name = f"correctable-{field}"
    target = ("-n", NS, "patch", "tj", name, "--type=merge", "-p", json.dumps({"spec": change}))
    api.create(valid("TrainingJob", name))
    api.set_status("tj", NS, name, {"runHash": "abc", "jobName": "job"})
    api.kubectl(*target, "--dry-run=server")
    api.set_status("tj", NS, name, {"podName": "job-x"})
    assert f"spec.{field} cannot change once the training pod has started" in api.refused(*target)


def test_training_may_be_suspended_after_it_started(api: Any, valid: Any) -> None:
    api.create(valid("TrainingJob", "suspendable"))
    api.set_status("tj", NS, "suspendable", {"runHash": "abc"})
    api.kubectl("-n", NS, "patch", "tj/suspendable", "--type=merge", '-p={"spec":{"suspend":true}}')


def test_a_dataset_source_may_not_become_two(api: Any, valid: Any) -> None:
    api.create(valid("Dataset", "single"))
    patch = json.dumps({"spec": {"source": {"pvc": {"claimName": "x"}}}})
    said = api.refused("-n", NS, "patch", "dset/single", "--type=merge", "-p", patch)
    assert "set exactly one of s3, http, pvc" in said


def test_defaults_of_a_deployment(api: Any, valid: Any) -> None:
    api.create(valid("Deployment", "defaults"))
    assert api.get("mdep", NS, "defaults")["spec"] == {
        "modelLine": "shelf",
        "version": {"policy": "Latest"},
        "allowUnvalidated": False,
        "target": {
            "cluster": {
                "replicas": 1,
                "disruption": {"maxUnavailable": 1},
                "cache": {"quota": "4Gi"},
            }
        },
        "server": {"resources": {}},
        "pipeline": {"confidence": 0.25, "iou": 0.7, "maxDetections": 300},
        "rollout": {
            "maxUnavailable": 1,
            "failureBudget": 0,
            "progressDeadlineSeconds": 600,
            "steps": [],
            "prestage": False,
            "prestageConcurrency": "10%",
            "paused": False,
            "historyLimit": 10,
        },
    }


def test_defaults_of_a_training(api: Any, valid: Any) -> None:
    api.create(valid("TrainingJob", "defaults"))
    spec = api.get("tj", NS, "defaults")["spec"]
    assert spec["hyperparameters"] == {"epochs": 3, "lr0": 0.01, "optimizer": "SGD"}
    assert spec["backoffLimit"] == 3
    assert spec["suspend"] is False
    output = spec["output"]
    assert [one["format"] for one in output["exports"]] == ["onnx"]
    assert output["evaluation"] == {"split": "val", "confidence": 0.001, "iou": 0.7}
    assert output["gates"] == {"parity": 0.02}


def test_status_is_not_taken_from_a_create(api: Any, valid: Any) -> None:
    manifest = valid("Dataset", "no-status") | {"status": {"phase": "Valid"}}
    api.create(manifest)
    assert "status" not in api.get("dset", NS, "no-status")


@pytest.mark.parametrize("name", ["2-cameras", "0", "7.cameras"])
def test_a_deployment_is_named_as_its_services_can_be(api: Any, valid: Any, name: str) -> None:
    """Kubernetes before 1.36 refuses a Service whose name begins with a digit, and the operator
    would be refused again and again, long after the user has gone."""
    said = api.refused("create", "-f", "-", stdin=valid("Deployment", name))
    assert "a Deployment's name must begin with a letter" in said
