"""Bounds of a metric: absolute ones, and multiples of stable's figure.

A rate of n events is not known finer than one event in n. So a multiple of it is taken of at least
one event in stable's samples, and one event in the candidate's samples never breaks it:

    bound = max(ratio · max(stable, 1 / n_stable), 1 / n_candidate)

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
        found.append(
            _relative("≥", metric.min_ratio, metric.min_ratio * (figure.stable or 0.0), figure)
        )
    if metric.max_ratio is not None:
        highest = _highest(str(metric.metric), metric.max_ratio, figure)
        found.append(_relative("≤", metric.max_ratio, highest, figure))
    return found


def wording(bounds: Sequence[Bound]) -> str:
    """For people, such as `≤ 0.01` or `≤ 1.2 × stable (14.1)`."""
    return " and ".join(f"{bound.sign} {bound.text}" for bound in bounds)


def _relative(sign: str, ratio: float, bound: float, figure: Figure) -> Bound:
    text = f"{ratio:g} × stable" + (f" ({bound:.4g})" if figure.stable is not None else "")
    return Bound(sign, bound, text)


def _highest(name: str, ratio: float, figure: Figure) -> float:
    stable = figure.stable or 0.0
    if name == "QueueTime":
        return ratio * max(stable, LEAST_QUEUE_MS)
    if name not in COUNTED:
        return ratio * stable
    if figure.stable_samples:
        stable = max(stable, 1 / figure.stable_samples)
    return max(ratio * stable, 1 / figure.samples if figure.samples else 0.0)
