"""Is a baseline to be believed?

It is suspicious if the signals changed while it was taken, or if it lies far from those of the
pool's other servers: then a person decides, and another one is taken meanwhile (line.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelyard.drift import days
from modelyard.drift.baseline import FEWEST_BLOCKS, Baseline, seed
from modelyard.drift.series import Series
from modelyard.drift.settings import HOUR
from modelyard.drift.signals import Signal

Floats = NDArray[np.float64]

SUSPICIOUS = 0.01
"""Probability that a baseline in which nothing changed is called suspicious, all signals
together."""
PERMUTATIONS = 4000
POOL_DISTANCE = 5.0
"""Robust z from which a baseline does not belong to its pool."""
POOL_SERVERS = 8
"""Fewer values of the pool say nothing."""


@dataclass(frozen=True)
class Suspicion:
    """Why a baseline is not believed."""

    signal: Signal
    probability: float
    """Of such a change with nothing wrong; 0 where the pool says so."""
    size: float
    """Difference of the means before and after the change, in sd of a block; or robust z from the
    pool."""
    since: float
    detail: str


def change_within(
    signal: Signal, series: Series, *, started: float, key: str, tests: int
) -> Suspicion | None:
    """Whether a signal changed once within its baseline: a permutation test of the largest CUSUM
    of ranks (Pettitt, "A non-parametric approach to the change-point problem", 1979).

    The values tested are means of days where there are at least 8, else of 24 stretches, so that
    correlation between blocks and differences between days are not mistaken for a change. Ranks:
    one absurd day does not decide.
    """
    values, hours = series.values(), series.times()
    if len(values) < FEWEST_BLOCKS:
        return None
    whole_days = hours[-1] - hours[0] >= 8 * 24
    length = 24.0 if whole_days else max(float(hours[-1] - hours[0]) / 24, 1e-6)
    numbers, means, _ = days.stretches(values, hours, length)
    if len(means) < 8:
        return None
    ranks = np.argsort(np.argsort(means)).astype(np.float64)
    observed, where = _largest_cusum(ranks)
    rng = seed("change", key, signal)
    shuffled = rng.permuted(np.tile(ranks, (PERMUTATIONS, 1)), axis=1)
    sums = np.abs(np.cumsum(shuffled - ranks.mean(), axis=1)).max(axis=1)
    probability = float((np.count_nonzero(sums >= observed) + 1) / (PERMUTATIONS + 1))
    if probability > SUSPICIOUS / max(tests, 1):
        return None
    size = float(means[where + 1 :].mean() - means[: where + 1].mean()) / float(values.std())
    since = started + float(numbers[where] + 1) * length * HOUR
    detail = f"{signal} changed by {size:+.1f} sd while the baseline was taken"
    return Suspicion(signal, probability, size, since, detail)


def _largest_cusum(ranks: Floats) -> tuple[float, int]:
    sums = np.abs(np.cumsum(ranks - ranks.mean()))[:-1]
    where = int(np.argmax(sums))
    return float(sums[where]), where


def apart_from_pool(baseline: Baseline, pool: Mapping[Signal, Sequence[float]]) -> Suspicion | None:
    """Whether a signal's mean lies far from those of the pool's other servers: by more than
    POOL_DISTANCE robust sd (1.4826 · median absolute deviation). None with too few servers."""
    for signal, one in baseline.signals.items():
        others = np.asarray([v for v in pool.get(signal, ()) if math.isfinite(v)], np.float64)
        if len(others) < POOL_SERVERS:
            continue
        middle = float(np.median(others))
        spread = 1.4826 * float(np.median(np.abs(others - middle)))
        # Servers that agree to the last digit would make any other one suspicious.
        spread = max(spread, one.block_sd / 10)
        z = (one.block_mean - middle) / spread
        if abs(z) > POOL_DISTANCE:
            detail = f"{signal} lies {z:+.1f} robust sd from the pool's median"
            return Suspicion(signal, 0.0, z, baseline.started, detail)
    return None
