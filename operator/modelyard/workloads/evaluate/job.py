"""First and last stage of an evaluation's pod: the holdout in, figures out.

The last stage judges. It has no credentials of the store, and loads no `.pt` file and no engine:
their boxes come from isolated.py. ONNX files are data; their boxes it computes itself.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.api.evaluation import ArtifactEvaluation
from modelyard.contract import paths
from modelyard.contract.result import EvaluateResult, Outcome
from modelyard.contract.run import EvaluateRun
from modelyard.store import Store
from modelyard.workloads import handover, isolation, stages
from modelyard.workloads.data import materialize, read_index
from modelyard.workloads.errors import UserError
from modelyard.workloads.evaluate import artifacts, boxes, judging, predicting
from modelyard.workloads.evaluate.boxes import Claim
from modelyard.workloads.evaluate.task import DATASET, MIN_DETECTIONS, Task
from modelyard.workloads.runner import Context
from modelyard.workloads.train import environment

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger("modelyard.evaluate")


def fetch(run: EvaluateRun, context: Context) -> None:
    """Fetch the pinned split, the artifacts and the weights; the labels go to their own volume.

    Raises UserError (DatasetMissing, SplitMissing, …), RetryableError, StoreError.
    """
    store = Store.open(run.store)
    index = read_index(store, run.dataset_digest)
    inputs, labels = context.work / paths.INPUTS, context.work / paths.LABELS
    split = run.evaluation.split
    materialize(store, run.dataset_digest, inputs / DATASET, [split])
    shutil.move(inputs / DATASET / "labels" / split, labels / split)
    found = artifacts.fetch(run, store, inputs)
    if artifacts.judges_source(run):
        stages.fetch_weights(run, context, store)
    root = inputs / DATASET / "images" / split
    images = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    task = Task(classes=index.classes, images=sorted(images))
    most = max(len(one) for one in judging.read_labels(labels / split, task.images))
    sizes = (one.manifest.imgsz[0] for one in found)
    changes = {"max_detections": max(MIN_DETECTIONS, most), "imgsz": next(sizes, None)}
    task.model_copy(update=changes).leave(inputs)
    stages.leave_run(run, context)


def handle(run: EvaluateRun, context: Context) -> Outcome:
    """Judge everything on the pinned split.

    Raises UserError (ClassMismatch, InvalidDetections, …), RetryableError, and StageFailed for
    what an earlier stage has left.
    """
    handover.raise_failure(context.work)
    # It needs none, and whatever a strange ONNX file does to ONNX Runtime stays here.
    isolation.cut_network()
    inputs, outputs = context.work / paths.INPUTS, context.work / paths.OUTPUTS
    task = Task.read(inputs)
    labels = judging.read_labels(context.work / paths.LABELS / run.evaluation.split, task.images)
    environment.load(context.scratch, context.workers)
    environment.bound_onnxruntime(context.workers)

    def judged(name: str, found: NDArray[Any], claim: Claim) -> ArtifactEvaluation:
        return _judged(name, found, claim, task, labels, run.dataset_digest)

    def handed_over(name: str) -> ArtifactEvaluation:
        taken = boxes.take(
            outputs, name, images=len(task.images), classes=len(task.classes),
            per_image=task.max_detections,
        )  # fmt: skip
        return judged(name, *taken)

    evaluations = []
    for one in artifacts.fetched(run, inputs):
        if one.manifest.format == "tensorrt":
            evaluations.append(handed_over(one.name))
            continue
        _check_classes(one.name, one.manifest.classes, task.classes, run.dataset_digest)
        device = artifacts.device("onnx")
        candidate = predicting.Candidate(one.name, one.path, one.manifest, device)
        evaluations.append(judged(one.name, *_predicted(candidate, run, task, inputs, context)))
    if artifacts.judges_source(run):
        evaluations.append(handed_over(artifacts.SOURCE))
    return Outcome(result=EvaluateResult(evaluations=evaluations))


def _predicted(
    candidate: predicting.Candidate, run: EvaluateRun, task: Task, inputs: Path, context: Context
) -> tuple[NDArray[Any], Claim]:
    return predicting.predict(candidate, run.evaluation, task, inputs / DATASET, context)


def _judged(
    name: str,
    found: NDArray[Any],
    claim: Claim,
    task: Task,
    labels: list[NDArray[Any]],
    digest: str,
) -> ArtifactEvaluation:
    classes = tuple(claim.classes)
    _check_classes(name, classes, task.classes, digest)
    single = predicting.single_class(classes, task.classes)
    figures = judging.figures(found, labels, task, single=single)
    log.info("%s: %s", name, figures)
    return ArtifactEvaluation(
        artifact=name,
        images=len(task.images),
        metrics=figures,
        milliseconds_per_image=claim.milliseconds,
    )


def _check_classes(name: str, classes: Sequence[str], dataset: list[str], digest: str) -> None:
    """Raises UserError unless the model's classes are the dataset's, id by id."""
    if list(classes) == dataset or predicting.single_class(tuple(classes), dataset):
        return
    if len(classes) != len(dataset):
        difference = f"{len(classes)} classes instead of {len(dataset)}"
    else:
        at = next(i for i, (a, b) in enumerate(zip(classes, dataset, strict=True)) if a != b)
        claimed = handover.printable(classes[at][:100])
        difference = f'class {at} is "{claimed}" instead of "{dataset[at]}"'
    raise UserError(
        "ClassMismatch",
        f"{name} does not fit the holdout dataset {digest}: {difference}; evaluate on a dataset "
        "with the classes that the model was trained on",
    )
