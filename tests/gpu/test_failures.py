"""What a user reads when a GPU is too small, is another one, or lacks what an engine needs."""

from __future__ import annotations

import json
import signal
from importlib.util import find_spec
from typing import Any

import pytest

from modelyard.api.export import Artifact
from modelyard.contract import exitcodes
from modelyard.contract.manifest import ArtifactFile, ArtifactManifest, EngineTarget, TensorSpec
from modelyard.contract.result import TrainResult
from modelyard.contract.run import StoreLocation
from modelyard.store import Store
from modelyard.workloads.export.tensorrtfile import product_label

from .conftest import Digits

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300)]

without_tensorrt = pytest.mark.skipif(
    find_spec("tensorrt") is not None, reason="is about an image without TensorRT"
)


def store_of(runner: Digits) -> Store:
    return Store.open(StoreLocation(**runner.store))


def test_a_batch_that_does_not_fit_the_gpu_fails_at_once_and_says_what_to_lower(
    runner: Digits, gpu: str, figure: Any
) -> None:
    # Ultralytics halves the batch three times before it gives up: 16 such images are still more
    # than an H200 holds. Without augmentation they are soon loaded.
    plain = dict.fromkeys(("mosaic", "scale", "translate", "hsv_h", "hsv_s", "hsv_v"), 0.0)
    huge = {"batch": 128, "imgsz": 1920, "amp": False, "epochs": 1, **plain}
    run = runner.training("huge", model="yolo11x.yaml", hyperparameters=huge)
    outcome = runner.run("train", run, exitcodes.USER_ERROR)
    assert outcome.reason == "OutOfGpuMemory"
    assert "lower hyperparameters.batch or imgsz" in outcome.message
    assert "out of memory with batch=128. Reducing to batch=64" in runner.log()
    figure(message=outcome.message, gpu=gpu)


def test_a_batch_that_is_left_to_ultralytics_fits_the_gpu(
    runner: Digits, gpu: str, figure: Any
) -> None:
    run = runner.training("auto", hyperparameters={"batch": -1, "epochs": 1})
    assert runner.run("train", run).of(TrainResult) is not None
    figure(gpu_memory_gib=runner.epochs()[-1].gpu_memory, gpu=gpu)


def test_sigterm_among_data_loader_workers_stores_the_last_epoch(runner: Digits) -> None:
    process = runner.start("train", runner.training("stopped", hyperparameters={"epochs": 50}))
    runner.until_log("epoch 3/50", process)
    assert runner.end(process, signal.SIGTERM) == exitcodes.RETRYABLE
    assert runner.outcome().reason == "Terminated"
    assert store_of(runner).get_pointer("runs/stopped/checkpoint.json")["epoch"] >= 3
    if runner.gpus:
        assert "Using 0 dataloader workers" not in runner.log()


def test_without_gpus_a_training_keeps_to_the_cpu_beside_a_gpu(runner: Digits) -> None:
    run = runner.training("cpu", gpus=0, hyperparameters={"epochs": 1, "fraction": 0.2})
    runner.run("train", run)
    assert "CUDA:0" not in runner.log()
    assert [one.gpu_memory for one in runner.epochs()] == [None]


def test_a_gpu_that_is_not_there_is_retried_and_the_user_reads_what_to_check(
    runner: Digits,
) -> None:
    run = runner.training("none", gpus=1)
    outcome = runner.run("train", run, exitcodes.RETRYABLE, CUDA_VISIBLE_DEVICES="")
    assert outcome.reason == "GpuUnavailable"
    assert "scheduling.runtimeClassName" in outcome.message


@pytest.fixture(scope="session")
def weights(runner: Digits) -> str:
    run = runner.training("weights", hyperparameters={"epochs": 1, "fraction": 0.2})
    result = runner.run("train", run).of(TrainResult)
    assert result is not None
    return result.weights_digest


def engine_run(weights: str, product: str) -> dict[str, Any]:
    export = {"name": "engine", "format": "tensorrt", "precision": "fp16", "gpuProduct": product}
    return {"kind": "export", "weights": {"digest": weights}, "export": export}


@without_tensorrt
def test_an_engine_is_not_built_without_tensorrt(
    runner: Digits, weights: str, gpu: str, figure: Any
) -> None:
    run = engine_run(weights, product_label(gpu))
    outcome = runner.run("export", run, exitcodes.USER_ERROR)
    assert outcome.reason == "TensorRtMissing"
    assert "images.tensorrt" in outcome.message
    figure(gpu_product=product_label(gpu))


def test_an_engine_for_another_gpu_is_refused(runner: Digits, weights: str, gpu: str) -> None:
    outcome = runner.run("export", engine_run(weights, "Orin"), exitcodes.USER_ERROR)
    assert outcome.reason == "GpuMismatch"
    assert product_label(gpu) in outcome.message


@without_tensorrt
def test_an_engine_is_not_evaluated_without_tensorrt(runner: Digits, weights: str) -> None:
    store = store_of(runner)
    plan = runner.folder / "model.plan"
    plan.write_bytes(b"a plan")
    digest = store.put_file(plan)
    index = json.loads(store.get_bytes(runner.dataset))
    manifest = ArtifactManifest(
        format="tensorrt",
        file=ArtifactFile(name="model.plan", digest=digest, size_bytes=6),
        classes=tuple(index["classes"]),
        imgsz=(128, 128),
        input=TensorSpec(name="images", dtype="FP16", shape=(1, 3, 128, 128)),
        outputs=(TensorSpec(name="output0", dtype="FP16", shape=(1, 14, 336)),),
        engine=EngineTarget(
            gpu_product="Orin", compute_capability="8.7", tensorrt_version="10.9.0.34"
        ),
    )
    artifact = Artifact(
        name="engine", format="tensorrt", digest=digest, size_bytes=6,
        manifest_digest=store.put_bytes(manifest.dump()),
    )  # fmt: skip
    run = {
        "kind": "evaluate", "datasetDigest": runner.dataset, "evaluation": {"split": "val"},
        "weights": {"digest": weights},
        "artifacts": [json.loads(artifact.model_dump_json(by_alias=True, exclude_none=True))],
    }  # fmt: skip
    outcome = runner.run("evaluate", run, exitcodes.USER_ERROR)
    assert outcome.reason == "TensorRtMissing"
    assert "artifact engine" in outcome.message
