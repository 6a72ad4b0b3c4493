"""One training with Ultralytics, from the first epoch or from a checkpoint."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.workloads.metrics import metrics_of
from modelyard.workloads.report import StatusReporter
from modelyard.workloads.train import used
from modelyard.workloads.train.checkpoints import Checkpoints
from modelyard.workloads.train.failures import recognised
from modelyard.workloads.train.progress import Progress

log = logging.getLogger("modelyard.train")

BATCH_REPORT_SECONDS = 10.0
"""Pause between reports within an epoch; the end of an epoch is always reported."""
VALIDATION = (
    "data", "device", "workers", "plots", "save_dir", "batch", "single_cls", "split", "conf",
    "iou", "max_det", "nms", "classes", "agnostic_nms",
)  # fmt: skip
"""Arguments of `train()` that its validation follows too."""
MAX_WORKERS = 8
"""Data loader processes on a GPU, Ultralytics' own default; on a CPU it uses none."""


@dataclass(frozen=True)
class Trained:
    """What a training leaves."""

    weights: Path
    """The best epoch's weights, without optimizer state."""
    metrics: dict[str, float]
    """Their figures on the validation split."""
    epochs: int
    """Epochs trained, by earlier pods too."""
    imgsz: int
    images: int
    """Images that were trained on."""
    validation_images: int
    """Images that `metrics` were measured on."""


@dataclass(frozen=True)
class Setting:
    """Settings of a training in addition to its hyperparameters."""

    data: Path
    """data.yaml"""
    directory: Path
    """Where Ultralytics writes."""
    gpus: int
    threads: int
    images: Mapping[str, int]
    """Number of images of each split in the dataset version."""


def arguments(hyperparameters: dict[str, Any], setting: Setting) -> dict[str, Any]:
    """Arguments of `train()`: defaults that suit a pod, the user's, and those that are ours."""
    return {
        # Plots stay in the pod, so drawing them only costs time.
        "plots": False,
        "workers": min(MAX_WORKERS, setting.threads),
        **hyperparameters,
        "data": str(setting.data),
        "device": "0" if setting.gpus else "cpu",
        "save_dir": str(setting.directory),
    }


def train(
    model: Any,
    hyperparameters: dict[str, Any],
    setting: Setting,
    *,
    resume: bool,
    progress: Progress,
    reporter: StatusReporter,
    checkpoints: Checkpoints,
) -> Trained:
    """Train Ultralytics' `model` (YOLO); with `resume`, go on from the checkpoint that it is.

    Progress and checkpoints go out after each epoch. Raises UserError or RetryableError for
    failures that are known, and whatever else Ultralytics raises.
    """
    follower = _Follower(progress, reporter, checkpoints, setting.images)
    for event in _Follower.EVENTS:
        model.add_callback(f"on_{event}", getattr(follower, event))
    with recognised():
        model.train(**arguments(hyperparameters, setting), resume=resume)
    trainer = model.trainer
    return Trained(
        weights=trainer.best if trainer.best.exists() else trainer.last,
        metrics=metrics_of(trainer.metrics),
        epochs=trainer.epoch + 1,
        imgsz=int(trainer.args.imgsz),
        images=len(trainer.train_loader.dataset.im_files),
        validation_images=len(trainer.test_loader.dataset.im_files),
    )


def finish(best: Path, hyperparameters: dict[str, Any], setting: Setting, epochs: int) -> Trained:
    """The result of a training whose last epoch an earlier pod finished: its best checkpoint,
    without optimizer state, and its figures."""
    from ultralytics import YOLO
    from ultralytics.data.utils import get_split_fraction
    from ultralytics.utils.torch_utils import strip_optimizer

    own = arguments(hyperparameters, setting)
    with recognised():
        imgsz = int(strip_optimizer(best)["train_args"]["imgsz"])
        settings = {name: own[name] for name in VALIDATION if name in own} | {"imgsz": imgsz}
        results = YOLO(str(best)).val(**settings).results_dict
    fraction, split = own.get("fraction", 1.0), str(own.get("split", "val"))
    return Trained(
        weights=best, metrics=metrics_of(results), epochs=epochs, imgsz=imgsz,
        images=used.part(setting.images["train"], get_split_fraction(fraction, "train")),
        validation_images=used.part(setting.images[split], get_split_fraction(fraction, split)),
    )  # fmt: skip


class _Follower:
    """Ultralytics' callbacks; each is called with its trainer."""

    EVENTS = (
        "pretrain_routine_end", "train_start", "train_epoch_start", "train_batch_end", "model_save",
    )  # fmt: skip

    def __init__(
        self,
        progress: Progress,
        reporter: StatusReporter,
        checkpoints: Checkpoints,
        images: Mapping[str, int],
    ) -> None:
        self._images = images
        self._progress = progress
        self._reporter = reporter
        self._checkpoints = checkpoints
        self._batches = 0
        self._epoch_start = self._reported_at = time.monotonic()

    def pretrain_routine_end(self, trainer: Any) -> None:
        """The images are found and their labels read; no epoch has begun."""
        used.require_all("train", trainer.train_loader.dataset, self._images)
        used.require_all(str(trainer.args.split), trainer.test_loader.dataset, self._images)

    def train_start(self, trainer: Any) -> None:
        self._progress.start(epochs=trainer.epochs, finished=trainer.start_epoch)
        self._report()

    def train_epoch_start(self, trainer: Any) -> None:
        self._batches = 0
        self._epoch_start = time.monotonic()

    def train_batch_end(self, trainer: Any) -> None:
        self._batches += 1
        self._progress.batch(self._batches, len(trainer.train_loader))
        if time.monotonic() - self._reported_at >= BATCH_REPORT_SECONDS:
            self._report()

    def model_save(self, trainer: Any) -> None:
        """The end of an epoch: validation is over and last.pt written."""
        finished = trainer.epoch + 1
        self._checkpoints.saved(finished, trainer.last, trainer.best, complete=bool(trainer.stop))
        # Without validation Ultralytics keeps zeros until the last epoch.
        known = trainer.args.val or trainer.stop
        metrics = metrics_of(trainer.metrics) if known else {}
        self._progress.epoch(finished, epochs=trainer.epochs, metrics=metrics)
        losses = trainer.label_loss_items(trainer.tloss)
        figures = ", ".join(f"{name} {value:g}" for name, value in {**losses, **metrics}.items())
        log.info(
            "epoch %d/%d in %.2f s%s: %s", finished, trainer.epochs,
            time.monotonic() - self._epoch_start, _gpu_memory(trainer.device), figures,
        )  # fmt: skip
        self._report()
        self._checkpoints.upload_if_due()

    def _report(self) -> None:
        self._reported_at = time.monotonic()
        self._reporter.report(self._progress.status())


def _gpu_memory(device: Any) -> str:
    """The most that torch has held of the GPU's memory so far: what decides how far the batch can
    be raised."""
    if device.type != "cuda":
        return ""
    import torch

    return f", GPU memory {torch.cuda.max_memory_reserved(device) / 2**30:.2f} GiB"
