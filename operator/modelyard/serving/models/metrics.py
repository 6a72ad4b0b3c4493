"""Counters of the pipeline on Triton's metrics page.

Runs inside Triton (`__init__.py`): it may import numpy and what lies beside it.
"""

from __future__ import annotations

import bisect
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from modelyard.serving.models import guard
from modelyard.serving.models.boxes import label

try:
    import triton_python_backend_utils as pb_utils
except ModuleNotFoundError:  # outside Triton, where only the constants below are of use
    pb_utils = None

BUCKETS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Upper bounds of the confidence histogram, besides +Inf."""
LATENCY_BOUNDS_MS = (
    1, 2, 3, 5, 7, 10, 14, 20, 28, 40, 56, 80, 110, 160, 220, 320, 450, 640, 900, 1300, 1800, 2600,
    5000,
)  # fmt: skip
"""Upper bounds of the latency histogram in milliseconds, besides +Inf: those of `Figures.latency`
in api/modelserver.py."""
FLUSH_SECONDS = 2.0
"""How late a counter may be."""


class Metrics:
    """Counters that Triton exports on /metrics, with the labels model, version and source: the
    process, since a counter with the same labels as another one would end with it.

    Each change of a counter is a round trip to the server's process, about 0.2 ms, so changes
    are added up here and handed over by a thread, every FLUSH_SECONDS. By that thread alone:
    changes by several threads at a time crash Triton 2.51. The bucket counters are cumulative with
    a label `le`, so that PromQL's histogram_quantile works on them.
    """

    def __init__(self, labels: dict[str, str], names: list[str], shown: Sequence[str] = ()) -> None:
        """`shown` are counters that are there from the beginning: PromQL takes what is not there
        for no answer, not for 0, and misses the first count of what has just come."""
        self._labels = labels
        self._names = names
        self._families = {
            name: pb_utils.MetricFamily(
                name=f"modelyard_{name}", description=text, kind=pb_utils.MetricFamily.COUNTER
            )
            for name, text in (
                ("images_total", "Images answered"),
                ("failures_total", "Images without an answer"),
                ("rejected_total", "Images that are none"),
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
        for name in shown:
            self._counter((name,)).increment(0.0)
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

    def reject(self) -> None:
        """Counts one image that is none."""
        with self._lock:
            self._sums["rejected_total"] += 1

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
        if value:
            self._counter(key).increment(float(value))

    def _counter(self, key: tuple[str, ...]) -> Any:
        if key not in self._counters:
            own = {key[1]: key[2]} if len(key) > 1 else {}
            family = self._families[key[0]]
            self._counters[key] = family.Metric(labels={**self._labels, **own})
        return self._counters[key]


class Count:
    """A counter on Triton's metrics page, there from the beginning: PromQL takes what is not there
    for no answer, not for 0, and misses the first count of what has just come.

    For what happens seldom: each count is a round trip to the server's process, about 0.2 ms.
    """

    def __init__(self, name: str, description: str, labels: dict[str, str]) -> None:
        # Kept: its counters end with it.
        self._family: Any = pb_utils.MetricFamily(
            name=name, description=description, kind=pb_utils.MetricFamily.COUNTER
        )
        self._counter: Any = self._family.Metric(labels=labels)

    def add(self) -> None:
        """Counts one."""
        self._counter.increment(1)

    def stop(self) -> None:
        """Gives the counter back while the server still listens: at the end of the process it
        would crash it."""
        self._counter = self._family = None
