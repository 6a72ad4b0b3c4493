"""A ModelVersion is exported, evaluated and judged; only a passed judgement makes it Ready."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelyard.api.evaluation import ArtifactEvaluation, VersionProfile
from modelyard.api.export import Artifact
from modelyard.contract.result import (
    EvaluateResult,
    ExportResult,
    Outcome,
    TrainResult,
    parse_outcome,
)

from .world import (
    DIGEST_B,
    World,
    artifact,
    condition,
    deployment,
    ready_dataset,
    training,
    version,
)


def exported(name: str = "onnx", **changes: Any) -> Outcome:
    made = Artifact.model_validate(artifact(name=name, **changes))
    return Outcome(result=ExportResult(artifact=made))


PROFILE = VersionProfile(
    digest="sha256:" + "c" * 64, summary_digest="sha256:" + "d" * 64, images=10, embedding=256
)


def evaluated(profile: VersionProfile | None = None, /, **figures: float) -> Outcome:
    rows = [
        ArtifactEvaluation(artifact=name, images=10, metrics={"mAP50": value, "mAP50to95": value})
        for name, value in figures.items()
    ]
    return Outcome(result=EvaluateResult(evaluations=rows, profile=profile))


def jobs(world: World, role: str) -> list[dict[str, Any]]:
    return [j for j in world.of("Job") if j["metadata"]["labels"]["modelyard.dev/role"] == role]


def through(
    world: World, profile: VersionProfile | None = None, /, **figures: float
) -> dict[str, Any]:
    """The version's whole life with these figures."""
    world.settle("ModelVersion", "shelf-1")
    world.finish(jobs(world, "export-onnx")[0], exported())
    world.settle("ModelVersion", "shelf-1")
    world.finish(jobs(world, "evaluate-cpu")[0], evaluated(profile, **figures))
    return world.settle("ModelVersion", "shelf-1")


def test_becomes_ready_when_all_gates_are_met() -> None:
    world = World(version(1, None, gates={"mAP50": 0.5, "parity": 0.02}))
    made = through(world, source=0.81, onnx=0.8)
    assert made["status"]["phase"] == "Ready"
    assert condition(made, "Ready")["status"] == "True"
    assert made["status"]["artifacts"][0]["digest"] == artifact()["digest"]
    assert all(g["passed"] for g in made["status"]["gates"])
    assert world.writes.count("create Job") == 2


def test_the_profile_is_recorded_with_the_verdict_and_never_changes() -> None:
    world = World(version(1, None))
    made = through(world, PROFILE, source=0.81, onnx=0.8)
    recorded = PROFILE.model_dump(by_alias=True)
    assert made["status"]["profile"] == recorded
    # Its Job may be gone, or say something else now.
    world.finish(jobs(world, "evaluate-cpu")[0], evaluated(source=0.1, onnx=0.1))
    again = world.settle("ModelVersion", "shelf-1")
    assert again["status"]["profile"] == recorded
    for job in world.of("Job"):
        del world.objects["Job", job["metadata"]["name"]]
    assert world.settle("ModelVersion", "shelf-1")["status"]["profile"] == recorded


def test_a_rejected_version_keeps_its_profile_too() -> None:
    world = World(version(1, None, gates={"mAP50": 0.5}))
    made = through(world, PROFILE, source=0.41, onnx=0.4)
    assert (made["status"]["phase"], "profile" in made["status"]) == ("Rejected", True)


def test_a_version_without_a_profile_says_nothing_of_one() -> None:
    made = through(World(version(1, None)), source=0.81, onnx=0.8)
    assert "profile" not in made["status"]


@pytest.mark.parametrize(
    ("figures", "says"),
    [
        pytest.param({"source": 0.41, "onnx": 0.4}, "needs 0.500", id="below a minimum"),
        pytest.param({"source": 0.9, "onnx": 0.8}, "below the source weights", id="parity"),
        pytest.param({"source": 0.9, "onnx": float("nan")}, "mAP50", id="no number"),
    ],
)
def test_is_rejected_with_figures(figures: dict[str, float], says: str) -> None:
    world = World(version(1, None, gates={"mAP50": 0.5, "parity": 0.02}))
    made = through(world, **figures)
    assert made["status"]["phase"] == "Rejected"
    assert condition(made, "Ready")["status"] == "False"
    assert says in made["status"]["message"]


def test_the_trainings_own_figures_are_no_verdict() -> None:
    """Attack: a user's trainer image reports mAP 1.0 for weights that find nothing."""
    world = World(ready_dataset(), training(output={"modelLine": "shelf", "gates": {"mAP50": 0.5}}))
    world.settle("TrainingJob", "first")
    perfect = {"mAP50": 1.0, "mAP50to95": 1.0, "precision": 1.0, "recall": 1.0}
    told = TrainResult(weights_digest=DIGEST_B, metrics=perfect, epochs=3, imgsz=128)
    world.finish(world.of("Job")[0], Outcome(result=told))
    world.settle("TrainingJob", "first")
    made = through(world, source=0.0, onnx=0.0)
    assert made["status"]["phase"] == "Rejected"
    assert "metrics" not in made["spec"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("weightsDigest", "sha256:none"), ("imgsz", 10**9), ("initialWeightsDigest", "../x")],
)
def test_a_trainer_that_tells_what_no_version_can_have_makes_none(field: str, value: Any) -> None:
    """Otherwise the API server would refuse the ModelVersion, again and again."""
    told = {"weightsDigest": DIGEST_B, "metrics": {}, "epochs": 1, "imgsz": 64} | {field: value}
    assert parse_outcome(json.dumps({"reason": "Succeeded", "train": told})) is None


def test_a_verdict_is_final() -> None:
    world = World(version(1, None, gates={"mAP50": 0.5}))
    made = through(world, source=0.4, onnx=0.4)
    before = dict(made["status"])
    world.objects = {k: v for k, v in world.objects.items() if k[0] == "ModelVersion"}
    assert world.settle("ModelVersion", "shelf-1")["status"] == before


def test_a_failed_export_is_told() -> None:
    world = World(version(1, None))
    world.settle("ModelVersion", "shelf-1")
    world.fail(
        jobs(world, "export-onnx")[0], Outcome(reason="ExportFailed", message="opset 5 is too old")
    )
    made = world.settle("ModelVersion", "shelf-1")
    assert made["status"]["phase"] == "Failed"
    assert "opset 5 is too old" in made["status"]["message"]
    assert jobs(world, "evaluate-cpu") == []


def test_a_lost_export_result_is_made_again_and_what_is_recorded_stays() -> None:
    two = [{"name": "onnx"}, {"name": "big", "imgsz": 640}]
    world = World(version(1, None, exports=two))
    world.settle("ModelVersion", "shelf-1")
    world.finish(jobs(world, "export-onnx")[0], exported())
    world.finish(jobs(world, "export-big")[0], None)
    world.settle("ModelVersion", "shelf-1")
    assert len(jobs(world, "export-big")) == 2
    assert len(jobs(world, "export-onnx")) == 1


def test_tensorrt_is_exported_and_evaluated_on_its_gpu_type() -> None:
    engine = {
        "name": "h100",
        "format": "tensorrt",
        "gpuProduct": "NVIDIA-H100",
        "precision": "fp16",
    }
    world = World(version(1, None, exports=[{"name": "onnx"}, engine]))
    world.settle("ModelVersion", "shelf-1")
    (job,) = jobs(world, "export-h100")
    pod = job["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-H100"}
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["containers"][0]["image"] == world.settings.images.tensorrt
    world.finish(job, exported("h100", format="tensorrt", gpuProduct="NVIDIA-H100"))
    world.finish(jobs(world, "export-onnx")[0], exported())
    world.settle("ModelVersion", "shelf-1")
    (on_gpu,) = jobs(world, "evaluate-h100")
    assert on_gpu["spec"]["template"]["spec"]["nodeSelector"]
    (on_cpu,) = jobs(world, "evaluate-cpu")
    assert "nodeSelector" not in on_cpu["spec"]["template"]["spec"]
    world.finish(on_cpu, evaluated(source=0.8, onnx=0.8))
    assert world.settle("ModelVersion", "shelf-1")["status"]["phase"] == "Validating"
    world.finish(on_gpu, evaluated(h100=0.5))
    made = world.settle("ModelVersion", "shelf-1")
    assert made["status"]["phase"] == "Rejected"
    assert "h100 lies 0.300" in made["status"]["message"]


def test_names_who_uses_it() -> None:
    world = World(version(1), deployment(status={"stable": {"modelVersion": "shelf-1"}}))
    assert world.settle("ModelVersion", "shelf-1")["status"]["usedBy"] == ["Deployment cameras"]
    del world.objects["Deployment", "cameras"]
    assert "usedBy" not in world.settle("ModelVersion", "shelf-1")["status"]


def test_a_version_that_says_so_is_exported_and_not_evaluated() -> None:
    unlabelled = version(1, None, evaluation={"skip": "pretrained on COCO"})
    del unlabelled["spec"]["dataset"]
    world = World(unlabelled)
    world.settle("ModelVersion", "shelf-1")
    world.finish(jobs(world, "export-onnx")[0], exported())
    made = world.settle("ModelVersion", "shelf-1")
    assert len(world.of("Job")) == 1
    assert made["status"]["phase"] == "Ready"
    assert condition(made, "Ready")["status"] == "True"
    validated = condition(made, "Validated")
    assert (validated["status"], validated["reason"]) == ("False", "Skipped")
    assert "pretrained on COCO" in validated["message"]
    assert "gates" not in made["status"]
    assert "mAP50" not in made["status"]
    before = len(world.writes)
    world.settle("ModelVersion", "shelf-1")
    assert len(world.writes) == before
