"""Runs one model on the holdout's images with Ultralytics, and keeps its boxes.

The model sees images only. Loading, letterboxing and suppression are those of Ultralytics' `val()`,
so that a figure computed from these boxes (judging.py) is the one that `val()` gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard.api.evaluation import Evaluation
from modelyard.contract.manifest import ArtifactManifest
from modelyard.workloads.data.materialize import DATA_FILE
from modelyard.workloads.errors import UserError
from modelyard.workloads.evaluate.boxes import DETECTION, Claim
from modelyard.workloads.evaluate.task import Task
from modelyard.workloads.runner import Context
from modelyard.workloads.train import used
from modelyard.workloads.train.failures import recognise, recognised

if TYPE_CHECKING:
    from numpy.typing import NDArray

SINGLE_CLASS = ("item",)
"""Classes of a model that was trained with single_cls."""
SOURCE_BATCH = 8
"""Images at a time for the weights; artifacts of a fixed shape take one."""


@dataclass(frozen=True)
class Candidate:
    """One file to run."""

    name: str
    path: Path
    manifest: ArtifactManifest | None
    """None for the weights themselves."""
    device: str


def single_class(classes: tuple[str, ...], dataset: list[str]) -> bool:
    """Whether a model finds things without telling the dataset's classes apart."""
    return classes == SINGLE_CLASS and len(dataset) > 1


def predict(
    candidate: Candidate, evaluation: Evaluation, task: Task, data: Path, context: Context
) -> tuple[NDArray[Any], Claim]:
    """Detections of one model on the split in `data`, an array of boxes.DETECTION.

    Raises what Ultralytics raises, known failures as UserError or RetryableError.
    """
    with recognised():
        model = _loaded(candidate)
        if candidate.manifest:
            classes = candidate.manifest.classes
        else:
            classes = tuple(str(model.names[i]) for i in range(len(model.names)))
        size = candidate.manifest.imgsz[0] if candidate.manifest else task.imgsz
        found: list[NDArray[Any]] = []
        recorder = _recorder(found, {name: i for i, name in enumerate(task.images)})
        metrics = model.val(
            validator=recorder,
            data=str(data / DATA_FILE),
            split=evaluation.split,
            conf=evaluation.confidence,
            iou=evaluation.iou,
            max_det=task.max_detections,
            imgsz=size or int(model.overrides.get("imgsz", 640)),
            batch=SOURCE_BATCH if candidate.manifest is None else 1,
            # As served: every image letterboxed to the same shape.
            rect=False,
            single_cls=single_class(classes, task.classes),
            device=candidate.device,
            workers=context.workers,
            plots=False,
            verbose=False,
            project=str(context.scratch / "runs"),
            name=candidate.name,
            exist_ok=True,
        )
        used.require_seen(len(found), evaluation.split, len(task.images))
    detections = np.concatenate(found) if found else np.zeros(0, DETECTION)
    milliseconds = round(float(metrics.speed["inference"]), 3)
    return detections, Claim(classes=list(classes), milliseconds=milliseconds)


def _loaded(candidate: Candidate) -> Any:
    """The model as Ultralytics' YOLO. Raises UserError for weights that it cannot load."""
    from ultralytics import YOLO

    try:
        return YOLO(str(candidate.path), task="detect")
    except Exception as error:
        if candidate.manifest is not None or recognise(error):
            raise
        # Whatever unpickling a stranger's file raises, the file is at fault.
        raise UserError(
            "WeightsUnreadable",
            "the weights are not a model that Ultralytics can load: "
            f"{' '.join(str(error).split())[:300]}",
        ) from error


def _recorder(found: list[NDArray[Any]], indexes: dict[str, int]) -> Any:
    """A class of Ultralytics' validator that keeps boxes in `found` instead of judging them."""
    from ultralytics.models.yolo.detect import DetectionValidator

    class Recorder(DetectionValidator):
        def update_metrics(self, preds: list[dict[str, Any]], batch: dict[str, Any]) -> None:
            for number, pred in enumerate(preds):
                self.seen += 1
                # images/SPLIT/NAME
                image = batch["im_file"][number]
                root = Path(self.data[self.args.split])
                rows = np.zeros(len(pred["conf"]), DETECTION)
                rows["image"] = indexes[Path(image).relative_to(root).as_posix()]
                rows["class"] = pred["cls"].cpu().numpy()
                rows["confidence"] = pred["conf"].cpu().numpy()
                rows["box"] = _shares(
                    pred["bboxes"].cpu().numpy(),
                    batch["ratio_pad"][number],
                    batch["ori_shape"][number],
                )
                found.append(rows)

        def get_stats(self) -> dict[str, Any]:
            return {}

        def print_results(self) -> None:
            pass

    return Recorder


def _shares(boxes: NDArray[Any], ratio_pad: Any, shape: tuple[int, int]) -> NDArray[Any]:
    """Boxes in the letterboxed image as shares of the original one (height, width). Each axis has
    its own gain, for sizes are rounded; IoU does not change under such scaling."""
    (gain_y, gain_x), (left, top) = ratio_pad
    height, width = shape
    scale = np.array([gain_x * width, gain_y * height] * 2, dtype=np.float64)
    shares: NDArray[Any] = (boxes.astype(np.float64) - [left, top, left, top]) / scale
    return shares
