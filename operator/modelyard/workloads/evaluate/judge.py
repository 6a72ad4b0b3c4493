"""The stage of an evaluation's pod that judges: figures of all models, and the version's profile.

It has no credentials of the store and cuts its network off, and loads no `.pt` file and no engine:
their boxes come from isolated.py. ONNX files are data; their boxes it computes itself. The profile
(profiling.py) is that of the first ONNX artifact; what a file says of itself that is a program is
no profile.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelyard.api.evaluation import ArtifactEvaluation
from modelyard.contract import paths
from modelyard.contract.result import EvaluateResult
from modelyard.contract.run import EvaluateRun
from modelyard.workloads import handover, isolation
from modelyard.workloads.errors import UserError
from modelyard.workloads.evaluate import artifacts, boxes, judged, judging, predicting, profiling
from modelyard.workloads.evaluate.boxes import Claim
from modelyard.workloads.evaluate.task import DATASET, Task
from modelyard.workloads.runner import Context
from modelyard.workloads.train import environment

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger("modelyard.evaluate")


def handle(run: EvaluateRun, context: Context) -> None:
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

    def evaluation(name: str, found: NDArray[Any], claim: Claim) -> ArtifactEvaluation:
        return _evaluation(name, found, claim, task, labels, run.dataset_digest)

    def handed_over(name: str) -> ArtifactEvaluation:
        taken = boxes.take(
            outputs, name, images=len(task.images), classes=len(task.classes),
            per_image=task.max_detections,
        )  # fmt: skip
        return evaluation(name, *taken)

    evaluations, profile = [], None
    for one in artifacts.fetched(run, inputs):
        if one.manifest.format == "tensorrt":
            evaluations.append(handed_over(one.name))
            continue
        _check_classes(one.name, one.manifest.classes, task.classes, run.dataset_digest)
        candidate = predicting.Candidate(one.name, one.path, one.manifest, artifacts.device("onnx"))
        found = predicting.predict(candidate, run.evaluation, task, inputs / DATASET, context)
        evaluations.append(evaluation(one.name, found.detections, found.claim))
        if profile is None:
            profile = _profile(one, found, run, task, context)
    if artifacts.judges_source(run):
        evaluations.append(handed_over(artifacts.SOURCE))
    judged.leave(context.work / paths.JUDGED, EvaluateResult(evaluations=evaluations), profile)


def _profile(
    artifact: artifacts.Fetched,
    found: predicting.Predictions,
    run: EvaluateRun,
    task: Task,
    context: Context,
) -> judged.Profile | None:
    if found.answers is None:
        return None
    split = run.evaluation.split
    root = context.work / paths.INPUTS / DATASET / "images" / split
    columns = profiling.measure(
        found.detections,
        found.answers,
        [root / name for name in task.images],
        confidence=profiling.threshold(run.evaluation),
        classes=max(len(task.classes), len(found.claim.classes)),
        workers=context.workers,
    )
    packed = columns.pack()
    summary = profiling.summarise(
        columns,
        packed=packed,
        artifact=artifact.manifest.file.digest,
        dataset=run.dataset_digest,
        evaluation=run.evaluation,
    )
    log.info("profile of %d images, %d bytes", summary.images, len(packed))
    return judged.Profile(summary, summary.dump(), packed)


def _evaluation(
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
