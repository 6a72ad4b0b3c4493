"""The pipeline's last step: the network's output becomes boxes in pixels of the image sent.

Runs inside Triton's Python backend: it may import numpy and `guard`, which lies beside it.

raw      FP32|FP16 [1, 4 + classes, candidates]  centre x, y, width, height, a score per class
                or [1, boxes, 6]                 x1, y1, x2, y2, confidence, class: final boxes
frame    INT64 [1, 7]   height and width of the image; when the request came in, in nanoseconds of
                        CLOCK_MONOTONIC; token of its copy in the spool, or 0; signed by the first
                        step (`guard.seal`), and only good for one answer
boxes    FP32 [N, 4]    x1, y1, x2, y2 in pixels of the image
scores   FP32 [N]       confidence, highest first
classes  INT32 [N]      class ids
labels   BYTES [N]      class names

Selection follows Ultralytics' `predict`: the best class of each candidate, confidence above the
threshold, greedy suppression within each class, at most maxDetections.
"""

from __future__ import annotations

import bisect
import json
import os
import threading
import time
from collections import Counter, defaultdict
from typing import Any

import numpy as np

try:
    import guard
    import triton_python_backend_utils as pb_utils
except ModuleNotFoundError:  # outside Triton, where only the functions below are of use
    from modelyard.serving.models import guard

    pb_utils = None

MAX_CANDIDATES = 30_000
"""Most candidates that suppression looks at, the most confident ones."""
CLASS_OFFSET = 7680
"""Pixels that separate the classes' boxes, so that one pass suppresses within each class."""
BLOCK = 128
"""Candidates that are compared with each other at once."""
BUCKETS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Upper bounds of the confidence histogram, besides +Inf."""
LATENCY_BOUNDS_MS = (
    1, 2, 3, 5, 7, 10, 14, 20, 28, 40, 56, 80, 110, 160, 220, 320, 450, 640, 900, 1300, 1800, 2600,
    5000,
)  # fmt: skip
"""Upper bounds of the latency histogram in milliseconds, besides +Inf: those of `Figures.latency`
in api/modelserver.py."""
SPOOL = os.environ.get("MODELYARD_SPOOL", "/spool")
"""Folder that is shared with the agent."""
FLUSH_SECONDS = 2.0
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
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    rest = np.arange(len(boxes))
    kept: list[int] = []
    while rest.size and len(kept) < limit:
        # Block by block: numpy's time is its calls', far from a box's worth of work each.
        block, rest = rest[:BLOCK], rest[BLOCK:]
        overlaps = _overlaps(boxes[block], boxes[block], areas[block], areas[block], iou)
        alive = np.ones(len(block), bool)
        best = []
        for index in range(len(block)):
            if alive[index]:
                best.append(index)
                alive &= ~overlaps[index]
        chosen = block[best][: limit - len(kept)]
        kept.extend(chosen.tolist())
        if rest.size:
            taken = _overlaps(boxes[chosen], boxes[rest], areas[chosen], areas[rest], iou)
            rest = rest[~taken.any(axis=0)]
    return np.array(kept, dtype=np.intp)


def _overlaps(
    one: np.ndarray, other: np.ndarray, area: np.ndarray, areas: np.ndarray, iou: float
) -> np.ndarray:
    """Whether boxes [N, 4] and [M, 4] overlap by more than `iou`; bool [N, M]."""
    # Columns of their own: numpy is three times slower on rows of four.
    left, top, right, bottom = one.T[..., None]
    lefts, tops, rights, bottoms = np.ascontiguousarray(other.T)
    width = np.minimum(right, rights) - np.maximum(left, lefts)
    height = np.minimum(bottom, bottoms) - np.maximum(top, tops)
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    # Not a division: empty boxes overlap nothing, and 0/0 would warn.
    return np.asarray(shared > np.float32(iou) * (area[:, None] + areas - shared))


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
    clipped: np.ndarray = np.clip((boxes - shift) / scale, 0, bounds).astype(np.float32)
    return clipped


def relative_areas(boxes: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """Each box's share of the image, 0 to 1."""
    sides = boxes[:, 2:] - boxes[:, :2]
    shares: np.ndarray = sides[:, 0] * sides[:, 1] / float(frame[0] * frame[1])
    return shares


class Metrics:
    """Counters that Triton exports on /metrics, with the labels model, version and source: the
    process, since a counter with the same labels as another one would end with it.

    Each change of a counter is a round trip to the server's process, about 0.2 ms, so changes
    are added up here and handed over by a thread, every FLUSH_SECONDS. The bucket counters are
    cumulative with a label `le`, so that PromQL's histogram_quantile works on them.
    """

    def __init__(self, labels: dict[str, str], names: list[str]) -> None:
        self._labels = labels
        self._names = names
        self._families = {
            name: pb_utils.MetricFamily(
                name=f"modelyard_{name}", description=text, kind=pb_utils.MetricFamily.COUNTER
            )
            for name, text in (
                ("images_total", "Images answered"),
                ("failures_total", "Images without an answer"),
                ("refused_total", guard.REFUSED_TEXT),
                ("detections_total", "Boxes returned, by class"),
                ("confidence_bucket", "Boxes with a confidence of at most le"),
                ("confidence_sum", "Sum of the boxes' confidences"),
                ("confidence_count", "Boxes returned"),
                ("box_area_ratio_sum", "Sum of the boxes' shares of their image's area"),
                ("latency_bucket", "Images answered within le milliseconds"),
                ("latency_sum", "Sum of the times from image to boxes, in milliseconds"),
                ("latency_count", "Images answered"),
            )
        }
        self._counters: dict[tuple[str, ...], Any] = {}
        self._lock = threading.Lock()
        self._clear()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def observe(
        self, scores: np.ndarray, classes: np.ndarray, areas: np.ndarray, milliseconds: float
    ) -> None:
        """Counts one answered image, its boxes, and how long it took."""
        buckets = np.searchsorted(BUCKETS, scores)
        with self._lock:
            self._sums["images_total"] += 1
            self._sums["latency_sum"] += milliseconds
            self._sums["confidence_sum"] += float(scores.sum(dtype=np.float64))
            self._sums["box_area_ratio_sum"] += float(areas.sum(dtype=np.float64))
            self._latency[bisect.bisect_left(LATENCY_BOUNDS_MS, milliseconds)] += 1
            self._confidence += np.bincount(buckets, minlength=len(BUCKETS) + 1)
            self._classes.update(classes.tolist())

    def fail(self) -> None:
        """Counts one image that could not be answered."""
        with self._lock:
            self._sums["failures_total"] += 1

    def refuse(self) -> None:
        """Counts one request that clients may not make."""
        with self._lock:
            self._sums["refused_total"] += 1

    def stop(self) -> None:
        """Hands over the rest and ends the thread."""
        self._stopped.set()
        self._thread.join(5)
        # While the server still listens: at the end of the process they would crash it.
        self._counters.clear()
        self._families.clear()

    def _run(self) -> None:
        while not self._stopped.wait(FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _clear(self) -> None:
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._latency = np.zeros(len(LATENCY_BOUNDS_MS) + 1, np.int64)
        self._confidence = np.zeros(len(BUCKETS) + 1, np.int64)
        self._classes: Counter[int] = Counter()

    def _flush(self) -> None:
        """Hands everything over. latency_count goes first and images_total last: while they
        differ, a reader knows that the others are on their way."""
        with self._lock:
            sums, latency, confidence = self._sums, self._latency, self._confidence
            classes = self._classes
            self._clear()
        images = sums.pop("images_total", 0.0)
        self._add(latency.sum(), "latency_count")
        for name, value in sums.items():
            self._add(value, name)
        for class_id, count in classes.items():
            self._add(count, "detections_total", "class", label(self._names, class_id))
        self._add_buckets("latency", LATENCY_BOUNDS_MS, latency)
        self._add_buckets("confidence", BUCKETS, confidence)
        self._add(confidence.sum(), "confidence_count")
        self._add(images, "images_total")

    def _add_buckets(self, name: str, bounds: tuple[float, ...], counts: np.ndarray) -> None:
        for bound, value in zip((*bounds, "+Inf"), np.cumsum(counts), strict=True):
            self._add(value, f"{name}_bucket", "le", str(bound))

    def _add(self, value: float, *key: str) -> None:
        if not value:
            return
        if key not in self._counters:
            own = {key[1]: key[2]} if len(key) > 1 else {}
            family = self._families[key[0]]
            self._counters[key] = family.Metric(labels={**self._labels, **own})
        self._counters[key].increment(float(value))


def write_answer(
    folder: str, token: int, version: int, milliseconds: float, found: tuple[np.ndarray, ...]
) -> None:
    """Puts the answer (boxes, scores, classes) of a copied request beside its image: a line of
    JSON, then the arrays as little-endian float32, float32 and int32. Fails no request: without
    an answer the copy is dropped."""
    boxes, scores, classes = found
    head = {"version": version, "milliseconds": round(milliseconds, 3), "boxes": len(boxes)}
    path = os.path.join(folder, f"{token:016x}.answer")
    try:
        with open(path + ".part", "wb") as file:
            file.write(json.dumps(head).encode() + b"\n")
            file.write(boxes.astype("<f4").tobytes() + scores.astype("<f4").tobytes())
            file.write(classes.astype("<i4").tobytes())
        os.rename(path + ".part", path)
    except OSError:
        pass


def label(names: list[str], class_id: int) -> str:
    """A class's name, or its number where the network knows more classes than the names."""
    return names[class_id] if 0 <= class_id < len(names) else str(class_id)


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Reads the model's parameters."""
        config = json.loads(args["model_config"])
        values = {key: one["string_value"] for key, one in config["parameters"].items()}
        self.network = (int(values["height"]), int(values["width"]))
        self.suppressed = json.loads(values["suppressed"])
        self.confidence, self.iou = float(values["confidence"]), float(values["iou"])
        self.limit = int(values["maxDetections"])
        self.labels = json.loads(values["classes"])
        self.version = int(values["version"])
        self.spool = os.path.join(SPOOL, values["model"])
        own = {"model": values["model"], "version": values["version"]}
        own["source"] = args["model_instance_name"]
        generation = args["model_name"].removesuffix("-postprocess")
        self.frames = guard.Frames(guard.frame_key(guard.read_key(), generation))
        self.metrics = Metrics(own, self.labels)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers each request by itself, and counts what was found."""
        return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        """Called when the model is unloaded."""
        self.metrics.stop()

    def _answer(self, request: Any) -> Any:
        try:
            return self._select(request)
        except guard.RefusedError as error:
            self.metrics.refuse()
            failure = pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse(error=failure)
        except Exception as error:
            self.metrics.fail()
            failure = pb_utils.TritonError(f"{type(error).__name__}: {error}")
            return pb_utils.InferenceResponse(error=failure)

    def _select(self, request: Any) -> Any:
        passed = pb_utils.get_input_tensor_by_name(request, "frame").as_numpy()[0]
        *frame, started, token = self.frames.open(passed)
        raw = pb_utils.get_input_tensor_by_name(request, "raw").as_numpy()[0]
        raw = raw.astype(np.float32, copy=False)
        if self.suppressed:
            boxes, scores, classes = select_final(raw, self.confidence, self.limit)
        else:
            boxes, scores, classes = select_raw(raw, self.confidence, self.iou, self.limit)
        boxes = to_image(boxes, self.network, frame)
        spent = (time.monotonic_ns() - started) / 1e6
        self.metrics.observe(scores, classes, relative_areas(boxes, frame), spent)
        if token:
            write_answer(self.spool, token, self.version, spent, (boxes, scores, classes))
        names = np.array([label(self.labels, one) for one in classes], dtype=np.object_)
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("boxes", np.ascontiguousarray(boxes, np.float32)),
                pb_utils.Tensor("scores", np.ascontiguousarray(scores, np.float32)),
                pb_utils.Tensor("classes", np.ascontiguousarray(classes, np.int32)),
                pb_utils.Tensor("labels", names),
            ]
        )
