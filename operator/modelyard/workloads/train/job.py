"""A TrainingJob's pod: prepare, train, publish; at each point a new pod can take over."""

from __future__ import annotations

import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from modelyard.api import hyperparameters
from modelyard.contract.paths import result_key
from modelyard.contract.result import Outcome, TrainResult
from modelyard.contract.run import TrainRun
from modelyard.store import BlobMissing, DigestMismatch, Store
from modelyard.workloads.data import materialize, read_index
from modelyard.workloads.errors import Terminated, UserError
from modelyard.workloads.report import InCluster, StatusReporter, Target
from modelyard.workloads.runner import Context
from modelyard.workloads.train import environment, initial, session
from modelyard.workloads.train.checkpoints import Checkpoint, Checkpoints
from modelyard.workloads.train.progress import Progress

log = logging.getLogger("modelyard.train")


def handle(run: TrainRun, context: Context) -> Outcome:
    """Train; resumes from the run's checkpoint, and repeats its result if it is already there."""
    store = Store.open(run.store)
    published = _published(store, run.run_key)
    if published is not None:
        log.info("the run %s has finished before: repeating its result", run.run_key)
        return Outcome(result=published)
    _check(run)
    target = Target("trainingjobs", run.object.namespace, run.object.name, run.object.uid)
    writer = InCluster.from_environment("modelyard-trainer")
    with StatusReporter(target, writer) as reporter:
        result = _train(run, context, store, reporter)
    return Outcome(result=result)


def _check(run: TrainRun) -> None:
    problems = hyperparameters.check(run.hyperparameters)
    if problems:
        raise UserError("InvalidHyperparameters", " ".join(problems))
    if run.gpus > 1:
        raise UserError(
            "MultiGpuUnsupported",
            f"spec.resources.gpus is {run.gpus}: training on several GPUs is not supported, set 1",
        )


def _published(store: Store, run_key: str) -> TrainResult | None:
    pointer = store.get_pointer(result_key(run_key))
    if pointer is None:
        return None
    result = TrainResult.model_validate(pointer)
    return result if store.intact(result.weights_digest) else None


def _train(run: TrainRun, context: Context, store: Store, reporter: StatusReporter) -> TrainResult:
    progress = Progress(os.environ.get("POD_NAME"), time.monotonic)
    reporter.report(progress.status())
    setting = _prepare(run, context, store)
    checkpoints = Checkpoints(store, run.run_key)
    stopped = _stopped(checkpoints, store, setting.directory)
    try:
        if stopped and stopped.complete:
            best = setting.directory / "weights" / "best.pt"
            trained = session.finish(best, run.hyperparameters, setting, stopped.epoch)
            start_digest = stopped.initial_weights
        else:
            if stopped:
                last = setting.directory / "weights" / "last.pt"
                start = initial.Start(str(last), stopped.initial_weights)
            else:
                start = initial.find(run, store, context.scratch / "initial")
                checkpoints.started_from(start.digest)
            start_digest = start.digest
            trained = session.train(
                initial.load(start), run.hyperparameters, setting, resume=stopped is not None,
                progress=progress, reporter=reporter, checkpoints=checkpoints,
            )  # fmt: skip
    except Terminated:
        checkpoints.flush()
        raise
    progress.publish(trained.metrics)
    reporter.report(progress.status())
    result = TrainResult(
        weights_digest=store.put_file(trained.weights),
        initial_weights_digest=start_digest,
        metrics=trained.metrics,
        epochs=trained.epochs,
        imgsz=trained.imgsz,
        images=trained.images,
        validation_images=trained.validation_images,
    )
    store.put_pointer(
        result_key(run.run_key), result.model_dump(mode="json", by_alias=True, exclude_none=True)
    )
    checkpoints.discard(keep=result.weights_digest)
    return result


def _prepare(run: TrainRun, context: Context, store: Store) -> session.Setting:
    """Fetch the dataset while torch and Ultralytics are imported, which takes seconds."""
    splits = dict.fromkeys(["train", "val", str(run.hyperparameters.get("split", "val"))])
    index = read_index(store, run.dataset_digest)
    with ThreadPoolExecutor(1, "dataset") as pool:
        data = pool.submit(
            materialize, store, run.dataset_digest, context.scratch / "dataset", splits
        )
        environment.load(context.scratch, context.workers)
        return session.Setting(
            data=data.result(),
            directory=context.scratch / "runs" / "train",
            gpus=run.gpus,
            threads=context.workers,
            images={split.name: split.images for split in index.splits},
        )


def _stopped(checkpoints: Checkpoints, store: Store, directory: Path) -> Checkpoint | None:
    """Where an earlier pod stopped, with its files in place; None to begin from the start."""
    found = checkpoints.load()
    if found is None:
        return None
    try:
        for name, digest in (("last.pt", found.last), ("best.pt", found.best)):
            store.get_file(digest, directory / "weights" / name)
    except (BlobMissing, DigestMismatch) as error:
        log.warning("the checkpoint of epoch %d is lost, starting over: %s", found.epoch, error)
        return None
    log.info("resuming after epoch %d", found.epoch)
    return found
