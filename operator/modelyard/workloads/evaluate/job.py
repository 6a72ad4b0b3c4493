"""An evaluation's pod: each artifact, and the weights it came from, on the same images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.api.modelversion import Artifact, ArtifactEvaluation
from modelyard.contract.datasetindex import DatasetIndex
from modelyard.contract.manifest import ArtifactManifest, parse_manifest
from modelyard.contract.result import EvaluateResult, Outcome
from modelyard.contract.run import EvaluateRun
from modelyard.store import Store
from modelyard.workloads import weights
from modelyard.workloads.data import materialize, read_index
from modelyard.workloads.errors import UserError
from modelyard.workloads.export import tensorrtfile
from modelyard.workloads.metrics import metrics_of
from modelyard.workloads.runner import Context
from modelyard.workloads.train import environment, used
from modelyard.workloads.train.failures import recognised

log = logging.getLogger("modelyard.evaluate")

SOURCE = "source"
"""Name of the weights themselves among the evaluations."""
SINGLE_CLASS = ("item",)
"""Classes of a model that was trained with single_cls."""
SOURCE_BATCH = 8
"""Images at a time for the weights; artifacts of a fixed shape take one."""
CUDA_PROVIDER = "CUDAExecutionProvider"
"""ONNX Runtime's name for computing on an NVIDIA GPU; its usual package has none."""


@dataclass(frozen=True)
class Candidate:
    """One file to evaluate."""

    name: str
    path: Path
    manifest: ArtifactManifest | None
    """None for the weights themselves."""


def handle(run: EvaluateRun, context: Context) -> Outcome:
    """Evaluate everything on the pinned split.

    Raises UserError (ClassMismatch, SplitMissing, …), RetryableError, StoreError.
    """
    store = Store.open(run.store)
    index = read_index(store, run.dataset_digest)
    with ThreadPoolExecutor(1, "dataset") as pool:
        folder = context.scratch / "dataset"
        data = pool.submit(materialize, store, run.dataset_digest, folder, [run.evaluation.split])
        candidates = _candidates(run, store, context.scratch)
        environment.load(context.scratch, context.workers)
        environment.bound_onnxruntime(context.workers)
        data_file = data.result()
    imgsz = next((c.manifest.imgsz[0] for c in candidates if c.manifest), None)
    evaluations = [_evaluate(one, run, index, data_file, context, imgsz) for one in candidates]
    return Outcome(result=EvaluateResult(evaluations=evaluations))


def _candidates(run: EvaluateRun, store: Store, scratch: Path) -> list[Candidate]:
    """The files, verified by digest. The weights come last, so that they are evaluated at the
    artifacts' size."""
    folder = scratch / "candidates"
    found = [_artifact(one, store, folder) for one in run.artifacts]
    if run.include_source and run.weights.format == "pt":
        found.append(Candidate(SOURCE, weights.fetch(store, run.store, run.weights, folder), None))
    return found


def _artifact(artifact: Artifact, store: Store, folder: Path) -> Candidate:
    try:
        manifest = parse_manifest(store.get_bytes(artifact.manifest_digest))
    except ValueError as error:
        raise UserError(
            "ManifestUnreadable",
            f"artifact {artifact.name}: {artifact.manifest_digest} is not an artifact's manifest",
        ) from error
    suffix = {"onnx": ".onnx", "tensorrt": ".engine"}[manifest.format]
    path = store.get_file(artifact.digest, folder / f"{artifact.name}{suffix}")
    if manifest.format == "tensorrt":
        path.write_bytes(tensorrtfile.join_header(manifest, path.read_bytes()))
    return Candidate(artifact.name, path, manifest)


def _evaluate(
    candidate: Candidate,
    run: EvaluateRun,
    index: DatasetIndex,
    data_file: Path,
    context: Context,
    imgsz: int | None,
) -> ArtifactEvaluation:
    from ultralytics import YOLO

    with recognised():
        model = YOLO(str(candidate.path), task="detect")
        if candidate.manifest:
            classes = candidate.manifest.classes
        else:
            classes = tuple(str(model.names[i]) for i in range(len(model.names)))
        single = classes == SINGLE_CLASS and len(index.classes) > 1
        if not single:
            _check_classes(candidate.name, classes, index.classes, run.dataset_digest)
        size = candidate.manifest.imgsz[0] if candidate.manifest else imgsz
        settings: dict[str, Any] = {
            "data": str(data_file),
            "split": run.evaluation.split,
            "conf": run.evaluation.confidence,
            "iou": run.evaluation.iou,
            "imgsz": size or int(model.overrides.get("imgsz", 640)),
            "batch": SOURCE_BATCH if candidate.manifest is None else 1,
            # As served: every image letterboxed to the same shape.
            "rect": False,
            "single_cls": single,
            "device": _device(candidate),
            "workers": context.workers,
            "plots": False,
            "verbose": False,
            "project": str(context.scratch / "runs"),
            "name": candidate.name,
            "exist_ok": True,
        }
        seen: list[int] = []
        model.add_callback("on_val_end", lambda validator: seen.append(validator.seen))
        results = model.val(**settings)
    figures = metrics_of(results.results_dict)
    split = index.split(run.evaluation.split)
    used.require_seen(next(iter(seen), None), run.evaluation.split, split.images if split else 0)
    log.info("%s: %s", candidate.name, figures)
    return ArtifactEvaluation(
        artifact=candidate.name,
        images=split.images if split else None,
        metrics=figures,
        milliseconds_per_image=round(float(results.speed["inference"]), 3),
    )


def _device(candidate: Candidate) -> str:
    """A GPU where there is one and the file can use it. Raises UserError without TensorRT."""
    import onnxruntime
    import torch

    file_format = candidate.manifest.format if candidate.manifest else "pt"
    if file_format == "tensorrt":
        tensorrtfile.require(f"artifact {candidate.name}")
        return "0"
    # Images on the GPU would have to come back for an ONNX Runtime that computes on the CPU.
    usable = file_format == "pt" or CUDA_PROVIDER in onnxruntime.get_available_providers()
    return "0" if usable and torch.cuda.is_available() else "cpu"


def _check_classes(name: str, classes: Sequence[str], dataset: Sequence[str], digest: str) -> None:
    """Raises UserError unless the model's classes are the dataset's, id by id."""
    if list(classes) == list(dataset):
        return
    if len(classes) != len(dataset):
        difference = f"{len(classes)} classes instead of {len(dataset)}"
    else:
        at = next(i for i, (a, b) in enumerate(zip(classes, dataset, strict=True)) if a != b)
        difference = f'class {at} is "{classes[at]}" instead of "{dataset[at]}"'
    raise UserError(
        "ClassMismatch",
        f"{name} does not fit the holdout dataset {digest}: {difference}; evaluate on a dataset "
        "with the classes that the model was trained on",
    )
