"""The figures of a model from its boxes and the labels, with Ultralytics' own matching and AP.

One code for every model, wherever its boxes were computed: what loaded a `.pt` file hands over
boxes and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard.workloads.evaluate.task import Task
from modelyard.workloads.metrics import metrics_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_labels(folder: Path, images: Iterable[str]) -> list[NDArray[Any]]:
    """Labels of each image: rows of class, x1, y1, x2, y2 in shares of width and height.

    `folder` holds NAME.txt for an image NAME.jpg, as contract.datasetindex describes. An image
    without that file shows nothing.
    """
    return [_labels(folder / PurePosixPath(name).with_suffix(".txt")) for name in images]


def figures(
    detections: NDArray[Any], labels: list[NDArray[Any]], task: Task, *, single: bool
) -> dict[str, float]:
    """mAP50, mAP50to95, precision and recall of boxes.DETECTION rows.

    With `single`, classes are not told apart.
    """
    import torch
    from ultralytics.engine.validator import BaseValidator
    from ultralytics.utils.metrics import DetMetrics, box_iou

    matcher = SimpleNamespace(iouv=torch.linspace(0.5, 0.95, 10))
    metrics = DetMetrics(dict(enumerate(["item"] if single else task.classes)))
    # By image, then by confidence: the first detection of an object is the right one.
    detections = detections[np.lexsort((-detections["confidence"], detections["image"]))]
    ends = np.searchsorted(detections["image"], np.arange(len(labels) + 1))
    for index, truth in enumerate(labels):
        rows = detections[ends[index] : ends[index + 1]]
        classes = np.zeros(len(rows)) if single else rows["class"].astype(np.float64)
        targets = np.zeros(len(truth)) if single else truth[:, 0]
        right = np.zeros((len(rows), len(matcher.iouv)), dtype=bool)
        if len(rows) and len(truth):
            overlaps = box_iou(torch.tensor(truth[:, 1:]), torch.tensor(rows["box"]).double())
            matched = BaseValidator.match_predictions(
                matcher, torch.tensor(classes), torch.tensor(targets), overlaps
            )
            right = matched.numpy()
        metrics.update_stats(
            {
                "tp": right,
                "conf": rows["confidence"],
                "pred_cls": classes,
                "target_cls": targets,
                "target_img": np.unique(targets),
                "im_name": task.images[index],
            }
        )
    metrics.process()
    return metrics_of(metrics.results_dict)


def _labels(path: Path) -> NDArray[Any]:
    rows = path.read_text(encoding="utf-8").split() if path.is_file() else []
    # Ultralytics counts equal lines once.
    values = np.unique(np.array(rows, dtype=np.float64).reshape(-1, 5), axis=0)
    half = values[:, 3:5] / 2
    return np.hstack([values[:, :1], values[:, 1:3] - half, values[:, 1:3] + half])
