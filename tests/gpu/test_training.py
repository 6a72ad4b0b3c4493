"""A training on a GPU, killed and resumed; its weights evaluated on GPU and CPU, and exported."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from typing import Any

import pytest

from modelyard.contract.manifest import ArtifactManifest, parse_manifest
from modelyard.contract.result import EvaluateResult, ExportResult, TrainResult
from modelyard.contract.run import StoreLocation
from modelyard.serving import agreement
from modelyard.serving.models import boxes as postprocess
from modelyard.serving.models import decode, letterbox
from modelyard.store import Store

from .conftest import Digits

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]

MODELS = ("yolo11n", "yolo26n")


def store_of(runner: Digits) -> Store:
    return Store.open(StoreLocation(**runner.store))


def reports(log: str) -> list[dict[str, Any]]:
    """What the pod would have written into the TrainingJob's status."""
    marked = [line.split("trainingjobs/shapes: ", 1) for line in log.splitlines()]
    return [json.loads(parts[1])["progress"] for parts in marked if len(parts) == 2]


@dataclass
class Finished:
    """A training that was killed with SIGKILL and resumed by a second pod."""

    name: str
    result: TrainResult
    first: str
    """Log of the killed pod."""
    second: str
    stopped: int
    """Epoch of the checkpoint."""
    images_per_second: float
    epochs: int


@pytest.fixture(scope="session", params=MODELS)
def trained(request: pytest.FixtureRequest, runner: Digits) -> Finished:
    name, epochs = request.param, 12
    run = runner.training(name, model=f"{name}.yaml", hyperparameters={"epochs": epochs})
    pointer = f"runs/{name}/checkpoint.json"
    process = runner.start("train", run)
    runner.until(lambda: bool(store_of(runner).get_pointer(pointer)), process)
    runner.until_log("epoch 2/", process)
    assert runner.end(process, signal.SIGKILL) == -signal.SIGKILL
    first, stopped = runner.log(), (store_of(runner).get_pointer(pointer) or {})["epoch"]

    result = runner.run("train", run).of(TrainResult)
    assert result is not None
    second = runner.log()
    return Finished(name, result, first, second, stopped, runner.images_per_second(), epochs)


def test_a_training_runs_on_the_gpu_with_mixed_precision(
    trained: Finished, gpu: str, figure: Any
) -> None:
    for log in (trained.first, trained.second):
        assert f"CUDA:0 ({gpu}" in log
        assert "GPU memory" in log
        # Nothing can be downloaded for Ultralytics' own check of mixed precision, which is no
        # reason to train without.
        assert "AMP: checks skipped" in log
        assert "AMP: checks failed" not in log
    figure(images_per_second_128px_batch16=trained.images_per_second)


def test_a_killed_training_resumes_and_learns(
    trained: Finished, runner: Digits, rehearsal: bool, figure: Any
) -> None:
    assert f"resuming after epoch {trained.stopped}" in trained.second
    assert f"epoch {trained.stopped}/{trained.epochs} " not in trained.second
    assert trained.result.epochs == trained.epochs
    assert store_of(runner).get_pointer(f"runs/{trained.name}/checkpoint.json") is None
    if not rehearsal:
        assert trained.result.metrics["mAP50"] > 0.2
    figure(metrics=trained.result.metrics, epochs=trained.epochs, killed_after=trained.stopped)


def test_progress_is_reported_with_the_time_that_is_left(trained: Finished) -> None:
    told = reports(trained.second)
    assert [told[0]["stage"], told[-1]["stage"]] == ["Preparing", "Publishing"]
    training = [one for one in told if one["stage"] == "Training"]
    epochs = [one["epoch"] for one in training]
    assert epochs == sorted(epochs)
    assert (epochs[0], epochs[-1]) == (trained.stopped, trained.epochs)
    assert {one["resumedFromEpoch"] for one in training} == {trained.stopped}
    after_an_epoch = [one for one in training if one["epoch"] > trained.stopped]
    assert all(one["remainingSeconds"] is not None for one in after_an_epoch)
    assert after_an_epoch[-1]["remainingSeconds"] == 0
    assert {"mAP50", "mAP50to95"} <= set(after_an_epoch[-1]["metrics"])


def export_run(weights: str, **export: Any) -> dict[str, Any]:
    settings = {"name": "onnx", "format": "onnx", **export}
    return {"kind": "export", "weights": {"digest": weights, "format": "pt"}, "export": settings}


def evaluate(runner: Digits, run: dict[str, Any], **environment: str) -> dict[str, Any]:
    found = runner.run("evaluate", run, **environment).of(EvaluateResult)
    assert found is not None
    return {one.artifact: one for one in found.evaluations}


@dataclass
class Exported:
    """An ONNX artifact of a training."""

    source: Finished
    artifact: Any
    manifest: ArtifactManifest


@pytest.fixture(scope="session")
def exported(trained: Finished, runner: Digits) -> Exported:
    result = runner.run("export", export_run(trained.result.weights_digest)).of(ExportResult)
    assert result is not None
    manifest = parse_manifest(store_of(runner).get_bytes(result.artifact.manifest_digest))
    return Exported(trained, result.artifact, manifest)


def test_the_artifact_and_the_weights_on_gpu_and_cpu_have_equal_figures(
    exported: Exported, runner: Digits, rehearsal: bool, figure: Any
) -> None:
    run = {
        "kind": "evaluate", "datasetDigest": runner.dataset, "evaluation": {"split": "val"},
        "weights": {"digest": exported.source.result.weights_digest},
        "artifacts": [json.loads(exported.artifact.model_dump_json(by_alias=True))],
    }  # fmt: skip
    found = evaluate(runner, run)
    log = runner.log()
    without = evaluate(runner, run | {"artifacts": []}, CUDA_VISIBLE_DEVICES="")
    if not rehearsal:
        assert log.count("CUDA:0") == 1, "the weights alone: ONNX Runtime has no CUDA here"
        assert "CUDA:0" not in runner.log()
    figures = {
        "onnx_cpu": found["onnx"], "pt_gpu": found["source"], "pt_cpu": without["source"]
    }  # fmt: skip
    for one in figures.values():
        assert one.metrics == pytest.approx(without["source"].metrics, abs=0.01)
    figure(
        **{name: one.metrics for name, one in figures.items()},
        milliseconds_per_image={n: one.milliseconds_per_image for n, one in figures.items()},
    )


def test_half_precision_on_the_gpu_gives_the_same_boxes_through_our_pipeline(
    exported: Exported, runner: Digits, gpu: str, figure: Any
) -> None:
    """What an engine with FP16 input and output goes through, but for TensorRT itself."""
    import numpy as np
    import torch
    from ultralytics import YOLO

    weights = runner.folder / f"{exported.source.name}.pt"
    store_of(runner).get_file(exported.source.result.weights_digest, weights)
    network = YOLO(str(weights)).model.eval()
    height, width = exported.manifest.imgsz

    def answer(image: np.ndarray, dtype: type, device: str) -> tuple[np.ndarray, ...]:
        tensor = letterbox.to_tensor(letterbox.letterbox(image, height, width), dtype)
        assert tensor.dtype == dtype
        moved = network.to(device, torch.float16 if dtype is np.float16 else torch.float32)
        with torch.inference_mode():
            raw = moved(torch.from_numpy(tensor).to(device))
        raw = (raw[0] if isinstance(raw, (list, tuple)) else raw).cpu().numpy()[0]
        assert raw.dtype == dtype
        raw = raw.astype(np.float32)
        if raw.shape[-1] == 6:
            boxes, scores, classes = postprocess.select_final(raw, 0.25, 300)
        else:
            boxes, scores, classes = postprocess.select_raw(raw, 0.25, 0.7, 300)
        return letterbox.to_image(boxes, (height, width), image.shape[:2]), scores, classes

    images = sorted((runner.folder / "source" / "images" / "val").iterdir())[:32]
    pictures = [decode.decode(path.read_bytes()) for path in images]
    exact = [answer(one, np.float32, "cpu") for one in pictures]
    half = [answer(one, np.float16, "cuda") for one in pictures]
    pairs = sum(
        agreement.matched(*one, other[0], other[2])
        for one, other in zip(exact, half, strict=True)
    )  # fmt: skip
    boxes = sum(len(one[1]) for one in exact), sum(len(one[1]) for one in half)
    assert boxes[0] > 0
    assert pairs >= 0.97 * max(boxes)
    figure(boxes_fp32_cpu=boxes[0], boxes_fp16_gpu=boxes[1], the_same=pairs, gpu=gpu)
