"""Real trainings, exports and evaluations with Ultralytics: minutes, so marked e2e.

python -m pytest tests/workloads/train      # where Ultralytics is: in the trainer image
"""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from modelyard.contract import exitcodes
from modelyard.contract.manifest import ArtifactManifest, Embedding, parse_manifest
from modelyard.contract.profile import Figure, parse_summary
from modelyard.contract.result import EvaluateResult, ExportResult, TrainResult
from modelyard.contract.run import StoreLocation
from modelyard.signals.detections import logit, top_score
from modelyard.signals.images import image_figures
from modelyard.store import Store, sha256_bytes
from modelyard.workloads.images import imread

pytestmark = pytest.mark.e2e


def store_of(runner: Any) -> Store:
    return Store.open(StoreLocation(**runner.store))


def checkpoint(runner: Any, key: str) -> dict[str, Any]:
    return store_of(runner).get_pointer(f"runs/{key}/checkpoint.json") or {}


@pytest.fixture(scope="session")
def trained(runner: Any) -> TrainResult:
    """Trained well enough that figures mean something; killed and resumed on the way."""
    run = runner.training("killed", hyperparameters={"epochs": 10})
    process = runner.start("train", run)
    runner.until(lambda: checkpoint(runner, "killed").get("epoch", 0) >= 1, process)
    runner.until_log("epoch 2/10", process)
    assert runner.end(process, signal.SIGKILL) == -signal.SIGKILL
    stopped = checkpoint(runner, "killed")["epoch"]

    result = runner.run("train", run).of(TrainResult)
    assert f"resuming after epoch {stopped}" in runner.log()
    assert f'"resumedFromEpoch": {stopped}' in runner.log()
    assert f"epoch {stopped}/10" not in runner.log()
    return result


def test_a_killed_training_resumes_and_leaves_weights_and_no_checkpoint(
    runner: Any, trained: TrainResult
) -> None:
    assert trained.epochs == 10
    assert trained.imgsz == 64
    assert (trained.images, trained.validation_images) == (48, 16)
    assert set(trained.metrics) == {"mAP50", "mAP50to95", "precision", "recall"}
    assert trained.metrics["mAP50"] > 0.3
    store = store_of(runner)
    assert store.size(trained.weights_digest) > 1_000_000
    assert checkpoint(runner, "killed") == {}


def test_a_pod_after_the_end_repeats_the_result_without_training(
    runner: Any, trained: TrainResult
) -> None:
    assert runner.run("train", runner.training("killed")).of(TrainResult) == trained
    assert "repeating its result" in runner.log()
    assert "Ultralytics" not in runner.log()


def test_sigterm_stores_the_last_epoch_and_is_retryable(runner: Any) -> None:
    process = runner.start("train", runner.training("stopped", hyperparameters={"epochs": 50}))
    runner.until_log("epoch 3/50", process)
    assert runner.end(process, signal.SIGTERM) == exitcodes.RETRYABLE
    assert runner.outcome().reason == "Terminated"
    assert checkpoint(runner, "stopped")["epoch"] >= 3


def test_a_pod_killed_between_the_last_epoch_and_the_result_publishes_it(runner: Any) -> None:
    process = runner.start("train", runner.training("late", hyperparameters={"epochs": 50}))
    runner.until_log("epoch 2/50", process)
    runner.end(process, signal.SIGTERM)
    last_epoch = checkpoint(runner, "late") | {"complete": True}
    store_of(runner).put_pointer("runs/late/checkpoint.json", last_epoch)

    run = runner.training("late", hyperparameters={"epochs": 50})
    result = runner.run("train", run).of(TrainResult)
    assert "Starting training" not in runner.log()
    assert result.epochs == last_epoch["epoch"]
    assert (result.images, result.validation_images) == (48, 16)
    assert set(result.metrics) == {"mAP50", "mAP50to95", "precision", "recall"}
    # Half precision and no optimizer: far smaller than a checkpoint.
    assert store_of(runner).size(result.weights_digest) < 8_000_000
    assert checkpoint(runner, "late") == {}


def test_fine_tuning_starts_from_the_versions_weights(runner: Any, trained: TrainResult) -> None:
    base = {"digest": trained.weights_digest}
    # So slow that one epoch hardly changes what was loaded.
    slow = {"epochs": 1, "lr0": 0.00001}
    run = runner.training("tuned", model=None, baseWeights=base, hyperparameters=slow)
    result = runner.run("train", run).of(TrainResult)
    assert result.initial_weights_digest == trained.weights_digest
    assert result.metrics["mAP50"] > 0.3
    assert "Transferred 499/499" in runner.log()


def test_mirrored_weights_are_taken_by_name_and_checked_by_digest(
    runner: Any, trained: TrainResult
) -> None:
    store = store_of(runner)
    store.put_pointer("weights/yolo11n.pt.json", {"digest": trained.weights_digest})
    run = runner.training("mirrored", model="yolo11n.pt", hyperparameters={"epochs": 1})
    assert runner.run("train", run).of(TrainResult).initial_weights_digest == trained.weights_digest

    wrong = runner.training("wrong", model="yolo11n.pt", modelDigest=sha256_bytes(b"another"))
    outcome = runner.run("train", wrong, exitcodes.USER_ERROR)
    assert outcome.reason == "DigestMismatch"
    assert "spec.modelDigest" in outcome.message


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"model": "yolo11q.yaml"}, "UnknownModel", "did you mean yolo11"),
        ({"model": "yolo11n-seg.yaml"}, "UnknownModel", "detection model"),
        ({"model": "my-model.pt"}, "UnknownModel", "modelyard weights add FILE"),
        ({"hyperparameters": {"epoch": 1}}, "InvalidHyperparameters", 'did you mean "epochs"?'),
        ({"datasetDigest": sha256_bytes(b"none")}, "DatasetMissing", "resolve the Dataset"),
        ({"hyperparameters": {"freeze": 100}}, "InvalidHyperparameters", "freeze=100"),
    ],
)
def test_a_training_that_cannot_work_fails_at_once_and_says_why(
    runner: Any, changes: dict[str, Any], reason: str, words: str
) -> None:
    run = runner.training("bad") | changes
    if "hyperparameters" in changes:
        run = runner.training("bad", **changes)
    outcome = runner.run("train", run, exitcodes.USER_ERROR)
    assert outcome.reason == reason
    assert words in outcome.message


def test_weights_that_cannot_be_had_are_retried_and_the_way_out_is_named(
    runner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    run = runner.training("offline", model="yolo26n.pt")
    outcome = runner.run("train", run, exitcodes.RETRYABLE)
    assert outcome.reason == "WeightsUnavailable"
    assert "modelyard weights add yolo26n.pt" in outcome.message


def test_inside_a_pod_ultralytics_downloads_nothing_and_keeps_to_its_cpus(
    runner: Any, tmp_path: Path
) -> None:
    program = f"""
from pathlib import Path
from modelyard.workloads.train import environment
environment.load(Path({str(tmp_path)!r}), 3)
import torch
from ultralytics.utils import ONLINE, SETTINGS, checks, downloads, torch_utils
assert not ONLINE and not SETTINGS["sync"]
torch_utils.select_device("cpu")
assert torch.get_num_threads() == 3
assert checks.check_font("Arial.ttf") is None
try:
    downloads.attempt_download_asset("yolo26n.pt")
except ConnectionError as error:
    print(error)
else:
    raise SystemExit("it was downloaded")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "yolo26n.pt is not downloaded" in done.stdout


def test_a_file_that_is_no_model_is_named(runner: Any) -> None:
    digest = store_of(runner).put_bytes(b"not a checkpoint")
    run = runner.training("junk", model=None, baseWeights={"digest": digest})
    outcome = runner.run("train", run, exitcodes.USER_ERROR)
    assert outcome.reason == "WeightsUnreadable"
    assert digest in outcome.message


def export_run(weights: str, source: str = "pt", **export: Any) -> dict[str, Any]:
    return {
        "kind": "export",
        "weights": {"digest": weights, "format": source},
        "export": {"name": "onnx", "format": "onnx", **export},
    }


def manifest_of(runner: Any, artifact: Any) -> ArtifactManifest:
    return parse_manifest(store_of(runner).get_bytes(artifact.manifest_digest))


@pytest.fixture(scope="session")
def exported(runner: Any, trained: TrainResult) -> Any:
    return runner.run("export", export_run(trained.weights_digest)).of(ExportResult).artifact


def test_an_onnx_export_is_published_with_its_manifest(runner: Any, exported: Any) -> None:
    manifest = manifest_of(runner, exported)
    assert store_of(runner).size(exported.digest) == exported.size_bytes == manifest.file.size_bytes
    assert manifest.file.digest == exported.digest
    assert manifest.classes == ("square", "disk")
    assert (manifest.imgsz, manifest.input.shape) == ((64, 64), (1, 3, 64, 64))
    assert manifest.outputs[0].shape == (1, 6, 84)
    assert manifest.outputs[1].shape == (1, 256)
    assert manifest.embedding == Embedding(output="embedding", size=256)
    assert not manifest.suppressed


@pytest.mark.parametrize("architecture", ["", "yolo26n.yaml"])
def test_the_embedding_changes_no_bit_of_the_detections(
    runner: Any, trained: TrainResult, tmp_path: Path, architecture: str
) -> None:
    """The trained YOLO11, and a YOLO26 as it is before its training."""
    program = f"""
import shutil
from pathlib import Path
import numpy as np, onnxruntime
from modelyard.api.export import Export
from modelyard.contract.run import StoreLocation
from modelyard.store import Store
from modelyard.workloads.export import exporting, onnxfile
from modelyard.workloads.images import imread
from modelyard.workloads.train import environment
folder = Path({str(tmp_path)!r})
weights = folder / "w.pt"
environment.load(folder / "scratch", 1)
if {architecture!r}:
    from ultralytics import YOLO
    YOLO({architecture!r}).save(str(weights))
else:
    Store.open(StoreLocation(**{runner.store!r})).get_file({trained.weights_digest!r}, weights)
plain = exporting.export(weights, Export(imgsz=64), format="onnx", device="cpu")
served = Path(shutil.copy(plain, folder / "served.onnx"))
manifest = onnxfile.finish(served, Export())
assert manifest.embedding.size == 256, manifest
sessions = [onnxruntime.InferenceSession(str(one)) for one in (plain, served)]
seen = []
for image in sorted(Path({str(runner.folder)!r}).joinpath("source/images/val").glob("*.png")):
    tensor = imread(image)[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
    before, after = (one.run(None, {{"images": tensor}}) for one in sessions)
    assert len(before) == 1 and np.array_equal(before[0], after[0])
    seen.append(after[1])
assert len(seen) == 16 and np.isfinite(seen).all() and np.concatenate(seen).std(axis=0).max() > 0
print("EQUAL", len(seen))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=False
    )
    assert "EQUAL 16" in done.stdout, done.stdout + done.stderr


def test_exporting_again_gives_the_same_artifact(
    runner: Any, trained: TrainResult, exported: Any
) -> None:
    again = runner.run("export", export_run(trained.weights_digest)).of(ExportResult).artifact
    assert again == exported


def test_a_dynamic_export_takes_any_batch_and_size(runner: Any, trained: TrainResult) -> None:
    run = export_run(trained.weights_digest, dynamic=True, imgsz=96, opset=17)
    manifest = manifest_of(runner, runner.run("export", run).of(ExportResult).artifact)
    assert manifest.dynamic
    assert manifest.input.shape == (-1, 3, -1, -1)
    assert manifest.imgsz == (96, 96)


@pytest.mark.parametrize(("batch", "most"), [("dynamic", None), (4, 4)])
def test_an_export_for_batches_keeps_its_size_and_is_judged_in_batches(
    runner: Any, trained: TrainResult, exported: Any, batch: Any, most: int | None
) -> None:
    run = export_run(trained.weights_digest, name="batches", batch=batch)
    artifact = runner.run("export", run).of(ExportResult).artifact
    manifest = manifest_of(runner, artifact)
    assert manifest.input.shape == (-1, 3, 64, 64)
    assert manifest.outputs[0].shape == (-1, 6, 84)
    assert (manifest.max_batch, manifest.dynamic) == (most, False)

    run = evaluate_run(runner, trained.weights_digest, [exported, artifact])
    one, several, _ = runner.run("evaluate", run).of(EvaluateResult).evaluations
    assert several.images == one.images == 16
    assert several.metrics == pytest.approx(one.metrics, abs=1e-3)


def test_onnx_weights_pass_as_they_are(runner: Any, exported: Any) -> None:
    taken = runner.run("export", export_run(exported.digest, "onnx")).of(ExportResult).artifact
    assert taken.digest == exported.digest
    assert manifest_of(runner, taken).classes == ("square", "disk")


@pytest.mark.parametrize(
    ("source", "export", "words"),
    [
        ("pt", {"imgsz": 100}, "use 96"),
        ("onnx", {"imgsz": 128}, "fixed input size 64 x 64"),
    ],
)
def test_an_export_that_cannot_be_made_says_why(
    runner: Any, trained: TrainResult, exported: Any, source: str, export: dict, words: str
) -> None:
    weights = trained.weights_digest if source == "pt" else exported.digest
    outcome = runner.run("export", export_run(weights, source, **export), exitcodes.USER_ERROR)
    assert outcome.reason == "ExportFailed"
    assert words in outcome.message


def evaluate_run(runner: Any, weights: str, artifacts: list[Any]) -> dict[str, Any]:
    return {
        "kind": "evaluate",
        "weights": {"digest": weights},
        "artifacts": [json.loads(one.model_dump_json(by_alias=True)) for one in artifacts],
        "datasetDigest": runner.dataset,
        "evaluation": {"split": "val"},
    }


def test_the_onnx_artifact_is_as_good_as_the_weights(
    runner: Any, trained: TrainResult, exported: Any
) -> None:
    run = evaluate_run(runner, trained.weights_digest, [exported])
    artifact, source = runner.run("evaluate", run).of(EvaluateResult).evaluations
    assert (artifact.artifact, source.artifact) == ("onnx", "source")
    assert artifact.images == source.images == 16
    assert artifact.milliseconds_per_image > 0
    for name, figure in source.metrics.items():
        assert artifact.metrics[name] == pytest.approx(figure, abs=0.01)


def test_the_evaluation_publishes_the_holdouts_profile(
    runner: Any, trained: TrainResult, exported: Any
) -> None:
    run = evaluate_run(runner, trained.weights_digest, [exported])
    profile = runner.run("evaluate", run).of(EvaluateResult).profile
    assert profile is not None
    assert (profile.images, profile.embedding) == (16, 256)
    store = store_of(runner)
    summary = parse_summary(store.get_bytes(profile.summary_digest))
    assert (summary.artifact, summary.dataset) == (exported.digest, runner.dataset)
    assert summary.profile == profile.digest
    with np.load(io.BytesIO(store.get_bytes(profile.digest)), allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files}
    # As a server measures these very images.
    files = sorted((runner.folder / "source" / "images" / "val").glob("*.png"))
    for number, file in enumerate(files):
        measured = image_figures(imread(file))
        assert found["brightness"][number] == pytest.approx(measured.brightness, abs=1e-5)
    session = onnxruntime.InferenceSession(store.get_bytes(exported.digest))
    for number, file in enumerate(files):
        tensor = imread(file)[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
        raw, embedding = session.run(["output0", "embedding"], {"images": tensor})
        assert found["topScore"][number] == pytest.approx(
            top_score(raw, suppressed=False), abs=0.01
        )
        assert found["embedding"][number] == pytest.approx(embedding[0], abs=0.01)
    assert summary.figures[Figure.TOP_SCORE].sd > 0
    assert summary.classes.boxes == found["detections"].sum()
    # A box is returned where the best raw score reaches the threshold, and only there.
    assert ((found["detections"] > 0) == (found["topScore"] >= logit(0.25))).all()
    again = runner.run("evaluate", run).of(EvaluateResult).profile
    assert again == profile


def test_figures_are_those_of_ultralytics_own_validation(
    runner: Any, trained: TrainResult, exported: Any, tmp_path: Path
) -> None:
    run = evaluate_run(runner, trained.weights_digest, [exported])
    artifact, source = runner.run("evaluate", run).of(EvaluateResult).evaluations
    program = f"""
import json
from pathlib import Path
from modelyard.contract.run import StoreLocation
from modelyard.store import Store
from modelyard.workloads.data import materialize
from modelyard.workloads.metrics import metrics_of
from modelyard.workloads.train import environment
folder = Path({str(tmp_path)!r})
store = Store.open(StoreLocation(**{runner.store!r}))
data = materialize(store, {runner.dataset!r}, folder / "dataset", ["val"])
pt = store.get_file({trained.weights_digest!r}, folder / "w.pt")
onnx = store.get_file({exported.digest!r}, folder / "w.onnx")
environment.load(folder / "scratch", 1)
from ultralytics import YOLO
for file, batch in ((onnx, 1), (pt, 8)):
    found = YOLO(str(file), task="detect").val(
        data=str(data), split="val", conf=0.001, iou=0.7, imgsz=64, batch=batch, rect=False,
        device="cpu", plots=False, verbose=False,
    )
    print("FIGURES", json.dumps(metrics_of(found.results_dict)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=False
    )
    lines = [one for one in done.stdout.splitlines() if one.startswith("FIGURES")]
    assert len(lines) == 2, done.stderr
    for line, ours in zip(lines, (artifact, source), strict=True):
        theirs = json.loads(line.removeprefix("FIGURES"))
        assert ours.metrics == pytest.approx(theirs, abs=2e-4)
        assert theirs["mAP50"] > 0.3


def test_a_holdout_with_other_classes_is_refused(
    runner: Any, trained: TrainResult, exported: Any, tmp_path: Path
) -> None:
    store = store_of(runner)
    index = json.loads(store.get_bytes(runner.dataset))
    index["classes"] = ["square", "ring"]
    other = store.put_bytes(json.dumps(index).encode())
    run = evaluate_run(runner, trained.weights_digest, [exported]) | {"datasetDigest": other}
    outcome = runner.run("evaluate", run, exitcodes.USER_ERROR)
    assert outcome.reason == "ClassMismatch"
    assert 'class 1 is "disk" instead of "ring"' in outcome.message


def test_a_damaged_artifact_is_not_evaluated(
    runner: Any, trained: TrainResult, exported: Any
) -> None:
    blob = runner.folder / "store" / "blobs" / "sha256" / exported.digest.removeprefix("sha256:")
    content = blob.read_bytes()
    try:
        blob.write_bytes(content[:-1] + b"x")
        run = evaluate_run(runner, trained.weights_digest, [exported])
        outcome = runner.run("evaluate", run, exitcodes.RETRYABLE)
    finally:
        blob.write_bytes(content)
    assert outcome.reason == "DigestMismatch"
