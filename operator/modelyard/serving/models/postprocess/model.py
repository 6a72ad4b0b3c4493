"""The pipeline's last step: the network's output becomes boxes in pixels of the image sent.

Runs inside Triton's Python backend, alone: it may import numpy, nothing of ours.

raw      FP32|FP16 [1, 4 + classes, candidates]  centre x, y, width, height, a score per class
                or [1, boxes, 6]                 x1, y1, x2, y2, confidence, class: final boxes
frame    INT32 [1, 2]   height and width of the image
boxes    FP32 [N, 4]    x1, y1, x2, y2 in pixels of the image
scores   FP32 [N]       confidence, highest first
classes  INT32 [N]      class ids
labels   BYTES [N]      class names

Selection follows Ultralytics' `predict`: the best class of each candidate, confidence above the
threshold, greedy suppression within each class, at most maxDetections.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any

import numpy as np

try:
    import triton_python_backend_utils as pb_utils
except ModuleNotFoundError:  # outside Triton, where only the functions below are of use
    pb_utils = None

MAX_CANDIDATES = 30_000
"""Most candidates that suppression looks at, the most confident ones."""
CLASS_OFFSET = 7680
"""Pixels that separate the classes' boxes, so that one pass suppresses within each class."""
BUCKETS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Upper bounds of the confidence histogram, besides +Inf."""
FLUSH_SECONDS = 0.5
"""How late a counter may be."""


def select_raw(
    raw: np.ndarray, confidence: float, iou: float, limit: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes [N, 4], scores [N] and class ids [N] of one image's predictions
    [4 + classes, candidates]; boxes stay in pixels of the network's input."""
    scores = raw[4:].max(axis=0)
    chosen = np.flatnonzero(scores > np.float32(confidence))
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")[:MAX_CANDIDATES]]
    scores = scores[chosen]
    classes = raw[4:, chosen].argmax(axis=0)
    centre, half = raw[:2, chosen].T, raw[2:4, chosen].T / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    offset = (classes * CLASS_OFFSET).astype(np.float32)[:, None]
    kept = suppress(boxes + offset, iou, limit)
    return boxes[kept], scores[kept], classes[kept]


def suppress(boxes: np.ndarray, iou: float, limit: int) -> np.ndarray:
    """Greedy non-maximum suppression of boxes [N, 4] sorted by falling score.

    Returns the indices of at most `limit` boxes, none of which overlaps a better one by an
    intersection over union above `iou`.
    """
    # Columns of their own: numpy is three times slower on rows of four.
    left, top, right, bottom = np.ascontiguousarray(boxes.T)
    areas = (right - left) * (bottom - top)
    rest = np.arange(len(boxes))
    kept: list[int] = []
    while rest.size and len(kept) < limit:
        best, rest = rest[0], rest[1:]
        kept.append(int(best))
        width = np.minimum(right[best], right[rest]) - np.maximum(left[best], left[rest])
        height = np.minimum(bottom[best], bottom[rest]) - np.maximum(top[best], top[rest])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        union = areas[best] + areas[rest] - shared
        # Not a division: empty boxes overlap nothing, and 0/0 would warn.
        rest = rest[shared <= np.float32(iou) * union]
    return np.array(kept, dtype=np.intp)


def select_final(
    rows: np.ndarray, confidence: float, limit: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, scores and class ids of rows [boxes, 6] that need no suppression."""
    kept = rows[rows[:, 4] > np.float32(confidence)][:limit]
    return kept[:, :4], kept[:, 4], kept[:, 5].astype(np.int64)


def to_image(boxes: np.ndarray, network: tuple[int, int], frame: tuple[int, int]) -> np.ndarray:
    """Boxes [N, 4] from pixels of the letterboxed input to pixels of the image, cut at its
    borders. Sizes are height and width; the inverse of the first step's `letterbox`."""
    gain = min(network[0] / frame[0], network[1] / frame[1])
    rows, columns = (max(round(size * gain), 1) for size in frame)
    top, left = round((network[0] - rows) / 2 - 0.1), round((network[1] - columns) / 2 - 0.1)
    shift = np.array([left, top, left, top], np.float32)
    scale = np.array([columns / frame[1], rows / frame[0]] * 2, np.float32)
    bounds = np.array([frame[1], frame[0]] * 2, np.float32)
    return np.clip((boxes - shift) / scale, 0, bounds).astype(np.float32)


def relative_areas(boxes: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """Each box's share of the image, 0 to 1."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return sides[:, 0] * sides[:, 1] / float(frame[0] * frame[1])


class Metrics:
    """Counters that Triton exports on /metrics, with the labels model and version.

    Each change of a counter is a round trip to the server's process, about 0.2 ms, so changes
    are added up here and handed over by a thread, every FLUSH_SECONDS. The bucket counters are
    cumulative with a label `le`, so that PromQL's histogram_quantile works on them.
    """

    def __init__(self, model: str, version: str, names: list[str]) -> None:
        self._labels = {"model": model, "version": version}
        self._names = names
        self._families = {
            name: pb_utils.MetricFamily(
                name=f"modelyard_{name}", description=text, kind=pb_utils.MetricFamily.COUNTER
            )
            for name, text in (
                ("images_total", "Images answered"),
                ("detections_total", "Boxes returned, by class"),
                ("confidence_bucket", "Boxes with a confidence of at most le"),
                ("confidence_sum", "Sum of the boxes' confidences"),
                ("confidence_count", "Boxes returned"),
                ("box_area_ratio_sum", "Sum of the boxes' shares of their image's area"),
            )
        }
        self._counters: dict = {}
        self._pending: Counter = Counter()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def observe(self, scores: np.ndarray, classes: np.ndarray, areas: np.ndarray) -> None:
        """Counts one answered image and its boxes."""
        changes: dict[tuple, float] = {("images_total",): 1}
        for class_id, count in zip(*np.unique(classes, return_counts=True), strict=True):
            changes[("detections_total", "class", label(self._names, class_id))] = count
        if len(scores):
            for bound in BUCKETS:
                changes[("confidence_bucket", "le", str(bound))] = int(np.sum(scores <= bound))
            changes[("confidence_bucket", "le", "+Inf")] = len(scores)
            changes[("confidence_sum",)] = scores.sum(dtype=np.float64)
            changes[("confidence_count",)] = len(scores)
            changes[("box_area_ratio_sum",)] = areas.sum(dtype=np.float64)
        with self._lock:
            self._pending.update(changes)

    def stop(self) -> None:
        """Hands over the rest and ends the thread."""
        self._stopped.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stopped.wait(FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, Counter()
        for key, value in pending.items():
            if value:
                self._counter(key).increment(float(value))

    def _counter(self, key: tuple) -> Any:
        if key not in self._counters:
            own = {key[1]: key[2]} if len(key) > 1 else {}
            family = self._families[key[0]]
            self._counters[key] = family.Metric(labels={**self._labels, **own})
        return self._counters[key]


def label(names: list[str], class_id: int) -> str:
    """A class's name, or its number where the network knows more classes than the names."""
    return names[class_id] if 0 <= class_id < len(names) else str(class_id)


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict) -> None:
        """Reads the model's parameters."""
        config = json.loads(args["model_config"])
        values = {key: one["string_value"] for key, one in config["parameters"].items()}
        self.network = (int(values["height"]), int(values["width"]))
        self.suppressed = json.loads(values["suppressed"])
        self.confidence, self.iou = float(values["confidence"]), float(values["iou"])
        self.limit = int(values["maxDetections"])
        self.labels = json.loads(values["classes"])
        self.metrics = Metrics(values["model"], values["version"], self.labels)

    def execute(self, requests: list) -> list:
        """Answers each request by itself, and counts what was found."""
        return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        """Called when the model is unloaded."""
        self.metrics.stop()

    def _answer(self, request: Any) -> Any:
        raw = pb_utils.get_input_tensor_by_name(request, "raw").as_numpy()[0]
        raw = raw.astype(np.float32, copy=False)
        rows, columns = pb_utils.get_input_tensor_by_name(request, "frame").as_numpy()[0]
        frame = (int(rows), int(columns))
        if self.suppressed:
            boxes, scores, classes = select_final(raw, self.confidence, self.limit)
        else:
            boxes, scores, classes = select_raw(raw, self.confidence, self.iou, self.limit)
        boxes = to_image(boxes, self.network, frame)
        self.metrics.observe(scores, classes, relative_areas(boxes, frame))
        names = np.array([label(self.labels, one) for one in classes], dtype=np.object_)
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("boxes", np.ascontiguousarray(boxes, np.float32)),
                pb_utils.Tensor("scores", np.ascontiguousarray(scores, np.float32)),
                pb_utils.Tensor("classes", np.ascontiguousarray(classes, np.int32)),
                pb_utils.Tensor("labels", names),
            ]
        )
