"""Bounds of a metric: absolute ones, and multiples of stable's figure.

A rate over n samples is not known finer than one event in n. So a multiple of it is taken of at
least one event in stable's samples, and one event more or less in the candidate's never breaks it:

    highest = max(ratio · max(stable, 1 / n_stable), 1 / n_candidate)
    lowest  = ratio · stable - 1 / n_candidate

Without this, a stable version without an error would let no candidate have one in 100,000. It is
the unit of a count where nothing was seen (compare the rule of three, which allows three: Hanley
and Lippman-Hand, JAMA 249(13), 1983, doi:10.1001/jama.1983.03330370053031). A really bad candidate
exceeds it at once: 50 % of 200 requests against max(2 · 1/200, 1/200) = 1 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from modelyard.api.rollout import Metric

COUNTED = ("ErrorRate", "DetectionsPerImage")
"""Figures that are events per sample."""
LEAST_QUEUE_MS = 1.0
"""A mean time in the queue of less is none: it is below what a request takes anyway."""


class Figure(NamedTuple):
    """A measured value, and what it rests on."""

    value: float | None
    samples: int | None = None
    stable: float | None = None
    stable_samples: int = 0


class Bound(NamedTuple):
    """One bound."""

    sign: str
    """≥ or ≤."""
    value: float
    text: str

    def holds(self, value: float) -> bool:
        """Whether a value is within the bound."""
        return value >= self.value if self.sign == "≥" else value <= self.value


def bounds_of(metric: Metric, figure: Figure) -> list[Bound]:
    """All bounds of a metric."""
    found = [
        Bound(sign, bound, f"{bound:g}")
        for sign, bound in (("≥", metric.min), ("≤", metric.max))
        if bound is not None
    ]
    if metric.min_ratio is not None:
        lowest = _lowest(str(metric.metric), metric.min_ratio, figure)
        found.append(_relative("≥", metric.min_ratio, lowest, figure))
    if metric.max_ratio is not None:
        highest = _highest(str(metric.metric), metric.max_ratio, figure)
        found.append(_relative("≤", metric.max_ratio, highest, figure))
    return found


def resolved(name: str, value: float, samples: int) -> float:
    """A figure that a multiple can be taken of: at least one event in the samples of a rate, at
    least LEAST_QUEUE_MS of a time in the queue."""
    if name == "QueueTime":
        return max(value, LEAST_QUEUE_MS)
    return max(value, 1 / samples) if name in COUNTED and samples else value


def wording(bounds: Sequence[Bound]) -> str:
    """For people, such as `≤ 0.01` or `≤ 1.2 × stable (14.1)`."""
    return " and ".join(f"{bound.sign} {bound.text}" for bound in bounds)


def _relative(sign: str, ratio: float, bound: float, figure: Figure) -> Bound:
    text = f"{ratio:g} × stable" + (f" ({bound:.4g})" if figure.stable is not None else "")
    return Bound(sign, bound, text)


def _highest(name: str, ratio: float, figure: Figure) -> float:
    highest = ratio * resolved(name, figure.stable or 0.0, figure.stable_samples)
    return max(highest, _one_event(name, figure))


def _lowest(name: str, ratio: float, figure: Figure) -> float:
    return max(0.0, ratio * (figure.stable or 0.0) - _one_event(name, figure))


def _one_event(name: str, figure: Figure) -> float:
    """What one event in the candidate's samples makes of a rate; 0 for other figures."""
    return 1 / figure.samples if name in COUNTED and figure.samples else 0.0
