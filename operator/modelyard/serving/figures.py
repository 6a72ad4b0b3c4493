"""Request counts and latencies of each version, from Triton's metrics page.

The pipeline's own metrics (modelyard_…) carry the model line and the version. Triton's own carry
the name of the model, so they are read from a generation's steps: those of an ensemble have
version 1, whatever its version is, and count a failed request twice (see the agent's `traffic.py`).
Triton counts failures of a Python step only if its process ended; an error response of a Python
step counts as a success, so the step counts it itself.

All counters start at 0 when a version is loaded, and disappear when it is unloaded. Each process
has its own counters; this module adds them up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from modelyard.api.modelserver import LATENCY_BOUNDS_MS
from modelyard.serving.names import parse_model

_SAMPLE = re.compile(r"^(?P<name>[a-z_]+)\{(?P<labels>.*)\} (?P<value>[^ ]+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_FAILURES = "nv_inference_request_failure"
_QUEUE = "nv_inference_queue_duration_us"
_BUCKETS = [*map(str, LATENCY_BOUNDS_MS), "+Inf"]


@dataclass(frozen=True)
class Totals:
    """Totals of one version since it was loaded, over all its settings; they never decrease."""

    requests: int = 0
    """Answered requests."""
    failures: int = 0
    """Failed requests, without images that cannot be decoded, which are client errors."""
    rejected: int = 0
    """Images that could not be decoded."""
    latency: tuple[int, ...] = field(default=(0,) * len(_BUCKETS))
    """Histogram of the time from image to boxes: requests per bucket of LATENCY_BOUNDS_MS (not
    cumulative), and a last bucket for the rest."""
    latency_ms: float = 0.0
    """Sum of these times in milliseconds."""
    queue_micros: int = 0
    """Sum of the time that requests waited for the network, in microseconds."""
    boxes: int = 0
    """Returned boxes."""
    confidence_millis: int = 0
    """Sum of the boxes' confidences, in thousandths."""
    partial: bool = field(default=False, compare=False)
    """Whether the counters were being updated during the read, so that they are inconsistent."""

    def since(self, before: Totals | None) -> Totals:
        """The difference to an earlier reading. A reading with any higher counter was made before
        the version was loaded again, and is ignored."""
        if before is None or self._behind(before):
            return self
        return Totals(
            requests=self.requests - before.requests,
            failures=self.failures - before.failures,
            rejected=self.rejected - before.rejected,
            latency=tuple(a - b for a, b in zip(self.latency, before.latency, strict=True)),
            latency_ms=self.latency_ms - before.latency_ms,
            queue_micros=self.queue_micros - before.queue_micros,
            boxes=self.boxes - before.boxes,
            confidence_millis=self.confidence_millis - before.confidence_millis,
        )

    def _behind(self, other: Totals) -> bool:
        mine = (self.requests, self.boxes, *self.latency)
        theirs = (other.requests, other.boxes, *other.latency)
        return any(a < b for a, b in zip(mine, theirs, strict=True))


def parse(text: str, line: str) -> dict[int, Totals]:
    """Totals of a model line's versions from the text of Triton's /metrics page. Lines of other
    models and of other metrics are passed over.

    Counters of a version are handed to Triton every 2 s, one after another, so a reading
    may be that late, and is `partial` if it was taken meanwhile.
    """
    readings: dict[int, _Reading] = {}
    for name, labels, value in _samples(text.splitlines()):
        if labels.get("model") == line and name.startswith("modelyard_"):
            if (version := _number(labels.get("version"))) is not None:
                reading = readings.setdefault(version, _Reading())
                reading.take(name.removeprefix("modelyard_"), labels, value)
        elif name in (_FAILURES, _QUEUE):
            model = labels.get("model", "")
            generation = parse_model(line, model)
            # The steps only: the ensemble counts their failures again.
            if generation is None or generation.name == model:
                continue
            reading = readings.setdefault(generation.version, _Reading())
            if name == _FAILURES:
                reading.failures += value
            elif model in (generation.network, generation.pipeline):
                reading.queue_micros += value
    return {version: reading.totals() for version, reading in readings.items()}


@dataclass
class _Reading:
    sums: dict[str, float] = field(default_factory=dict)
    cumulative: dict[str, float] = field(default_factory=dict)
    failures: float = 0.0
    queue_micros: float = 0.0

    def take(self, name: str, labels: dict[str, str], value: float) -> None:
        if name == "latency_bucket":
            bound = labels.get("le", "")
            self.cumulative[bound] = self.cumulative.get(bound, 0.0) + value
        elif "le" not in labels and "class" not in labels:
            self.sums[name] = self.sums.get(name, 0.0) + value

    def totals(self) -> Totals:
        # A bucket that nothing ever fell into, nor into a lower one, is not on the page.
        counts = [0, *(int(self.cumulative.get(bound, 0)) for bound in _BUCKETS)]
        return Totals(
            requests=self._sum("images_total"),
            failures=int(self.failures) + self._sum("failures_total"),
            rejected=self._sum("rejected_total"),
            latency=tuple(max(0, after - before) for before, after in pairwise(counts)),
            latency_ms=self.sums.get("latency_sum", 0.0),
            queue_micros=int(self.queue_micros),
            boxes=self._sum("confidence_count"),
            confidence_millis=round(1000 * self.sums.get("confidence_sum", 0.0)),
            partial=self._sum("images_total") != self._sum("latency_count"),
        )

    def _sum(self, name: str) -> int:
        return int(self.sums.get(name, 0))


def _samples(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, str], float]]:
    for line in lines:
        if line.startswith(("modelyard_", _FAILURES, _QUEUE)) and (found := _SAMPLE.match(line)):
            yield found["name"], dict(_LABEL.findall(found["labels"])), float(found["value"])


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
