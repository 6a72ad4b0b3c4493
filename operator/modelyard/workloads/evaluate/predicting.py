"""Runs one model on the holdout's images with Ultralytics, and keeps its boxes and, of an artifact,
its best raw scores and embeddings.

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
from modelyard.signals.detections import top_score
from modelyard.workloads.data.materialize import DATA_FILE
from modelyard.workloads.errors import UserError
from modelyard.workloads.evaluate.boxes import DETECTION, Claim
from modelyard.workloads.evaluate.profiling import Answers
from modelyard.workloads.evaluate.task import Task
from modelyard.workloads.runner import Context
from modelyard.workloads.train import used
from modelyard.workloads.train.failures import recognise, recognised

if TYPE_CHECKING:
    from numpy.typing import NDArray

SINGLE_CLASS = ("item",)
"""Classes of a model that was trained with single_cls."""
BATCH = 8
"""Images at a time, for the weights and for artifacts that take as many; others take what they
take. So they are judged as they are served."""


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


@dataclass(frozen=True)
class Predictions:
    """What one model answered to the split."""

    detections: NDArray[Any]
    """Array of boxes.DETECTION."""
    claim: Claim
    answers: Answers | None
    """What comes before the boxes; None of the weights themselves."""


def predict(
    candidate: Candidate, evaluation: Evaluation, task: Task, data: Path, context: Context
) -> Predictions:
    """Answers of one model to the split in `data`.

    Raises what Ultralytics raises, known failures as UserError or RetryableError.
    """
    with recognised():
        model = _loaded(candidate)
        if candidate.manifest:
            classes = candidate.manifest.classes
        else:
            classes = tuple(str(model.names[i]) for i in range(len(model.names)))
        size = candidate.manifest.imgsz[0] if candidate.manifest else task.imgsz
        record = Record(candidate.manifest, {name: i for i, name in enumerate(task.images)})
        recorder = _recorder(record)
        metrics = model.val(
            validator=recorder,
            data=str(data / DATA_FILE),
            split=evaluation.split,
            conf=evaluation.confidence,
            iou=evaluation.iou,
            max_det=task.max_detections,
            imgsz=size or int(model.overrides.get("imgsz", 640)),
            batch=candidate.manifest.batch_of(BATCH) if candidate.manifest else BATCH,
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
        found = record.boxes
        used.require_seen(len(found), evaluation.split, len(task.images))
    detections = np.concatenate(found) if found else np.zeros(0, DETECTION)
    milliseconds = round(float(metrics.speed["inference"]), 3)
    claim = Claim(classes=list(classes), milliseconds=milliseconds)
    return Predictions(detections, claim, record.answers())


class Record:
    """Keeps what a model answers, image by image."""

    def __init__(self, manifest: ArtifactManifest | None, indexes: dict[str, int]) -> None:
        """`indexes` are those of the images, by path below the split's folder. Without a manifest
        only boxes are kept."""
        self.indexes = indexes
        self.boxes: list[NDArray[Any]] = []
        self._manifest = manifest
        self._batch: list[tuple[float, NDArray[Any] | None]] = []
        self._kept: dict[int, tuple[float, NDArray[Any] | None]] = {}

    def raw(self, answer: Any) -> Any:
        """Takes a network's answer to a batch, one tensor or several; returns the detections.

        Of TensorRT, Ultralytics sorts outputs by name, so they are told apart by their form.
        """
        manifest = self._manifest
        if manifest is None:
            return answer
        tensors = list(answer) if isinstance(answer, (list, tuple)) else [answer]
        detections = next(one for one in tensors if one.ndim == 3)
        embeddings: Any = [None] * len(detections)
        if manifest.embedding:
            size = manifest.embedding.size
            found = (one for one in tensors if one.ndim == 2 and one.shape[1] == size)
            embeddings = next(found).float().cpu().numpy()
        scores = detections.float().cpu().numpy()
        self._batch = [
            (top_score(own, suppressed=manifest.suppressed), embedding)
            for own, embedding in zip(scores, embeddings, strict=True)
        ]
        return detections

    def add(self, name: str, number: int, rows: NDArray[Any]) -> None:
        """The boxes of an image, the batch's `number`th, by its path below the split's folder."""
        rows["image"] = self.indexes[name]
        self.boxes.append(rows)
        if self._batch:
            self._kept[self.indexes[name]] = self._batch[number]

    def answers(self) -> Answers | None:
        """What came before the boxes, in the order of the images' indexes."""
        if not self._kept:
            return None
        rows = [self._kept[index] for index in sorted(self._kept)]
        embeddings = [one for _, one in rows if one is not None]
        return Answers(
            top_scores=np.array([score for score, _ in rows]),
            embeddings=np.stack(embeddings).astype(np.float32) if embeddings else None,
        )


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


def _recorder(record: Record) -> Any:
    """A class of Ultralytics' validator that keeps answers in `record` instead of judging them."""
    from ultralytics.models.yolo.detect import DetectionValidator

    class Recorder(DetectionValidator):
        def postprocess(self, preds: Any) -> Any:
            return super().postprocess(record.raw(preds))

        def update_metrics(self, preds: list[dict[str, Any]], batch: dict[str, Any]) -> None:
            for number, pred in enumerate(preds):
                self.seen += 1
                # images/SPLIT/NAME
                image = batch["im_file"][number]
                root = Path(self.data[self.args.split])
                rows = np.zeros(len(pred["conf"]), DETECTION)
                rows["class"] = pred["cls"].cpu().numpy()
                rows["confidence"] = pred["conf"].cpu().numpy()
                rows["box"] = _shares(
                    pred["bboxes"].cpu().numpy(),
                    batch["ratio_pad"][number],
                    batch["ori_shape"][number],
                )
                record.add(Path(image).relative_to(root).as_posix(), number, rows)

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
