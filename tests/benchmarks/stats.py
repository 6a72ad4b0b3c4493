"""Medians of ratios, and quantiles. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """A median with the range of what it is the median of."""

    median: float
    low: float
    high: float

    def text(self, digits: int = 2) -> str:
        """`0.82 (0.79 to 0.90)`; of a single value just that."""
        middle = f"{self.median:,.{digits}f}"
        if self.low == self.high:
            return middle
        return f"{middle} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """Median, lowest and highest. Raises ValueError for no values."""
    if not values:
        raise ValueError("the spread of nothing")
    return Spread(statistics.median(values), min(values), max(values))


def ratios(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Spread | None:
    """Ratios of the same round, ours / theirs; None if no round has both.

    What slows the machine down for a while slows both arms of a round down, so the median of
    ratios moves less than the ratio of medians.
    """
    both = [ours[r] / theirs[r] for r in sorted(ours.keys() & theirs.keys()) if theirs[r]]
    return spread(both) if both else None


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of the values do not exceed (nearest
    rank). Raises ValueError for no values."""
    if not values:
        raise ValueError("a quantile of nothing")
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]
