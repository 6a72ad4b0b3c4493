"""First and last stage of an evaluation's pod: the holdout in, the verdict's figures out.

Neither loads a model. The last stage has the store's credentials, publishes the profile that
judge.py has left, and reports.
"""

from __future__ import annotations

import logging
import shutil

from modelyard.api.evaluation import VersionProfile
from modelyard.contract import paths
from modelyard.contract.result import Outcome
from modelyard.contract.run import EvaluateRun
from modelyard.store import Store
from modelyard.workloads import handover, stages
from modelyard.workloads.data import materialize, read_index
from modelyard.workloads.evaluate import artifacts, judged, judging
from modelyard.workloads.evaluate.task import DATASET, MIN_DETECTIONS, Task
from modelyard.workloads.runner import Context

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
    """Publish the profile, and report what the judge has found.

    Raises RetryableError, StoreError, UserError UntrustedOutput, and StageFailed for what an
    earlier stage has left.
    """
    handover.raise_failure(context.work)
    result, profile = judged.take(context.work / paths.JUDGED)
    if profile is not None:
        store = Store.open(run.store)
        result.profile = VersionProfile(
            digest=store.put_bytes(profile.figures),
            summary_digest=store.put_bytes(profile.text),
            images=profile.summary.images,
            embedding=profile.summary.embedding.size if profile.summary.embedding else None,
        )
        log.info("published the profile %s", result.profile.digest)
    return Outcome(result=result)
