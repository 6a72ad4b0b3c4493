"""Figures of many servers together: sums of integers that one server's report is added to and
taken from exactly, and what they say (rates, means, quantiles).

Integers, since a server's contribution is taken away again when its next report arrives: floats
would drift. Latencies are histograms, because quantiles of servers cannot be averaged. Who reports
them: workloads/agent/traffic.py; who judges by them: core/deployment/analysis.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelyard.api.modelserver import LATENCY_BOUNDS_MS

Sums = tuple[int, ...]
"""Addable integers, in the order of FIELDS, then the latency buckets."""

FIELDS = ("requests", "failures", "queueMicros", "boxes", "confidenceMillis", "seconds")
SHADOW_FIELDS = ("images", "failures", "dropped", "stableBoxes", "shadowBoxes", "matched")
BUCKETS = len(LATENCY_BOUNDS_MS) + 1
_EMPTY = (0,) * (6 + BUCKETS)


def read_figures(figures: Mapping[str, Any] | None) -> Sums | None:
    """A server's api.modelserver.Figures; None if it reports none."""
    return _read(figures, FIELDS)


def read_shadow(figures: Mapping[str, Any] | None) -> Sums | None:
    """A server's api.modelserver.ShadowFigures; None if it reports none."""
    return _read(figures, SHADOW_FIELDS)


def _read(figures: Mapping[str, Any] | None, names: Sequence[str]) -> Sums | None:
    if not figures:
        return None
    latency = list(figures.get("latency") or ())[:BUCKETS]
    latency += [0] * (BUCKETS - len(latency))
    return (*(int(figures.get(name) or 0) for name in names), *map(int, latency))


class Total:
    """The sum over many servers."""

    __slots__ = ("servers", "values")

    def __init__(self, values: Sequence[int] = _EMPTY, servers: int = 0) -> None:
        self.values = list(values)
        self.servers = servers

    def add(self, sums: Sums, sign: int = 1) -> None:
        """Adds a server's sums, or takes them back with sign -1."""
        values = self.values
        for index, value in enumerate(sums):
            if value:
                values[index] += sign * value
        self.servers += sign


def value(metric: str, total: Total | None) -> tuple[float | None, int]:
    """A figure of api.rollout.Figure over a total, and the samples that it rests on.

    Latencies and queue time are in milliseconds; None if there is nothing to divide by.
    """
    if total is None:
        return None, 0
    requests, failures, queue, boxes, confidence, seconds = total.values[:6]
    asked = requests + failures
    if metric == "ErrorRate":
        return (failures / asked if asked else None), asked
    if metric == "QueueTime":
        return (queue / requests / 1000 if requests else None), requests
    if metric == "Throughput":
        return (requests / seconds if seconds else None), asked
    if metric == "Confidence":
        return (confidence / boxes / 1000 if boxes else None), boxes
    if metric == "DetectionsPerImage":
        return (boxes / requests if requests else None), requests
    quantiles = {"LatencyP50": 0.5, "LatencyP95": 0.95, "LatencyP99": 0.99}
    counts = total.values[6:]
    return quantile(counts, quantiles[metric]), sum(counts)


def agreement(total: Total | None) -> tuple[float | None, int]:
    """Share of both versions' boxes that have a counterpart, and the images that it rests on.

    2 · matched / (stable's boxes + candidate's boxes), the F1 score of one version's answers
    measured by the other's: it falls for boxes that are missing and for boxes that are new. Images
    that both answer with nothing agree; an image that the candidate fails on counts as an answer
    that matches nothing.
    """
    if total is None:
        return None, 0
    images, failures, _, stable, shadow, matched = total.values[:6]
    asked = images + failures
    if not asked:
        return None, 0
    boxes = stable + shadow
    agreed = 2 * matched / boxes if boxes else 1.0
    return agreed * images / asked, asked


def quantile(counts: Sequence[int], share: float) -> float | None:
    """A quantile of a latency histogram in ms, linear within a bucket as Prometheus'
    histogram_quantile does it; None without counts. What is above all bounds counts as the highest.
    """
    total = sum(counts)
    if not total:
        return None
    rank, below, lower = share * total, 0, 0.0
    for count, bound in zip(counts, LATENCY_BOUNDS_MS, strict=False):
        if below + count >= rank and count:
            return lower + (bound - lower) * (rank - below) / count
        below, lower = below + count, float(bound)
    return float(LATENCY_BOUNDS_MS[-1])
