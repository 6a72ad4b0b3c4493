"""Charts of one value a day, for signals whose days differ.

Day, week and weather cycles make blocks of one day resemble each other far more than a baseline of
some hundreds of blocks can show: with day effects of 0.3 sd of a block, a chart of blocks alarms
within a day. A baseline of 14 days has only 14 values then. Mean and sd of so few are uncertain, so
the threshold is that at which charts of *all* possible baselines of n normal days together alarm at
the declared rate, by simulation (for 14 days and one alarm in 1,440 days: k = 0.94, h = 5.6).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelyard.drift import cusum

Floats = NDArray[np.float64]

FEWEST_DAYS = 7
"""Fewer days are not charted: weeks are not seen, and thresholds would be absurd."""
LARGEST_SHARE = 0.2
"""sd of day means, in sd of a block, from which days are charted instead of blocks."""
HOURS = (6, 24)
"""Lengths of the stretches in which slow changes are looked for."""
_SEED = 1954
_BASELINES, _DAYS = 4000, 400
_KEPT = 2000
"""Largest cycle maxima that are kept: enough for one alarm in 80,000 days by counting."""


@dataclass(frozen=True)
class Slow:
    """Slow changes within a baseline, as sd in units of a block's sd."""

    sd: float
    """Best estimate."""
    bound: float
    """95 % upper bound: must be below LARGEST_SHARE for a chart of blocks."""


def slow_changes(z: Floats, hours: Floats, correlation: float) -> Slow:
    """The variance of means of 6 and 24 hours beyond what blocks alone give them.

    z are standardised blocks, `hours` their times, `correlation` that of neighbours.
    """
    estimate = bound = 0.0
    for length in HOURS:
        _, means, counts = stretches(z, hours, length)
        if len(means) < 4:
            continue
        expected = (1 + 2 * correlation) / float(counts.mean())
        variance, freedom = float(means.var(ddof=1)), len(means) - 1
        estimate = max(estimate, variance - expected)
        bound = max(bound, variance * freedom / _low_quantile(freedom) - expected)
    return Slow(math.sqrt(max(estimate, 0.0)), math.sqrt(max(bound, 0.0)))


def stretches(
    values: Floats, hours: Floats, length: float, offset: float = 0.0
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Numbers, means and counts of stretches of `length` hours that have at least half as many
    values as the fullest. The first stretch begins `offset` hours before hour 0."""
    index = np.floor((hours + offset) / length).astype(np.int64)
    numbers, inverse, counts = np.unique(index, return_inverse=True, return_counts=True)
    if not len(numbers):
        return numbers, np.zeros(0), np.zeros(0)
    means = np.bincount(inverse, weights=values) / counts
    full = 2 * counts >= counts.max()
    return numbers[full], means[full], counts[full].astype(np.float64)


def _low_quantile(freedom: int) -> float:
    """5 % quantile of chi-square (Wilson and Hilferty, 1931)."""
    part = 2 / (9 * freedom)
    return float(freedom * max(1 - part - 1.645 * math.sqrt(part), 0.05) ** 3)


def day_allowance(days: int) -> float:
    """k of a chart whose baseline has so many days, in sd of a day."""
    return cusum.allowance(1 / math.sqrt(days))


def day_threshold(days: int, days_per_alarm: float) -> float:
    """h of each side, in sd of a day."""
    maxima, steps = _maxima(min(days, 60))
    rank = steps / days_per_alarm
    if rank >= 50:
        return float(maxima[min(int(rank), len(maxima) - 1)])
    # Rarer than the simulation shows well: extrapolate the tail of its largest maxima.
    top = maxima[: len(maxima) // 4]
    slope = 1 / max(float(top.mean() - top[-1]), 1e-6)
    return float(top[-1] + math.log(len(top) / rank) / slope)


@functools.lru_cache(maxsize=16)
def _maxima(days: int) -> tuple[Floats, float]:
    """Largest cycle maxima over many baselines, largest first, and the steps they come from."""
    rng = np.random.default_rng((_SEED, days))
    k = day_allowance(days)
    found: list[Floats] = []
    for _ in range(_BASELINES // 500):
        base = rng.standard_normal((500, days))
        mean, sd = base.mean(axis=1, keepdims=True), base.std(axis=1, ddof=1, keepdims=True)
        z = cusum.standardise(rng.standard_normal((500, _DAYS)), mean, sd)
        # A row of minus infinity ends a baseline's cycle before the next one's begins.
        rows = np.hstack([z - k, np.full((500, 1), -1e6)])
        maxima = cusum.cycle_maxima(cusum.path(rows.ravel()))
        found.append(np.sort(maxima)[::-1][:_KEPT])
    together = np.sort(np.concatenate(found))[::-1][:_KEPT]
    return together, float(_BASELINES * _DAYS)
