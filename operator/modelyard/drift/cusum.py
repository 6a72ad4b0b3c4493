"""CUSUM charts whose false alarms come at the declared rate.

A chart adds up how far blocks lie from the baseline's mean, in baseline sd z of a block, less an
allowance k, and never goes below zero (Page, "Continuous inspection schemes", Biometrika 1954):

    up   = max(0, up   + z - k)          down = max(0, down - z - k)

and alarms above a threshold h. Textbook thresholds (Hawkins & Olwell, "Cumulative sum charts and
charting for quality improvement", 1998) assume that mean, sd and normal distribution are known and
blocks independent. Here they are estimated from one baseline, and with them a chart that was
declared to give an alarm in 90 days gives 7 to 14. Four things mend that:

1. The allowance is k = 0.5 + 1.645 · se, so that an error of the mean does not add up.
2. The distribution is the baseline's own: h comes from a bootstrap of block means (Künsch, "The
   jackknife and the bootstrap for general stationary observations", Annals of Statistics 1989),
   which keeps asymmetry and heavy tails; what correlation is left between neighbouring blocks is
   put back (`resample`).
3. A cycle is the time between two visits to zero. Alarms are cycles whose maximum is above h, and
   maxima of a random walk with negative drift have an exponential tail, so h for events that are
   too rare to be simulated is extrapolated from the cycle maxima of a long bootstrap run. The
   tail's exponent is solved for instead of fitted to the largest maxima: a fit to 20,000 steps
   moves a threshold by 0.45 sd by chance alone, and the false alarms by a factor of 1.7.
4. The tail's exponent depends on the estimated mean and sd, so the rate at a fixed h is about
   log-normal over possible baselines. h is raised until the *mean* of that distribution is the
   declared rate (`Tail.threshold`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ALLOWANCE = 0.5
"""Half of the shift that is looked for, in sd of a block: 1 sd."""
ONE_SIDED = 1.645
"""95 % quantile of the normal distribution."""
STEPS = 100_000
"""Steps of the bootstrap: 2 % of their cycles are enough to count; about 10 ms."""
LIMIT = 6.0
"""Blocks count at most as so many sd: one absurd block is no alarm by itself."""
MARGIN = 0.4
"""Part of the log-normal formula's margin that is taken. With 400 blocks, the whole halves the
declared rate and none doubles it, by simulation: the formula overstates the mean, for however wrong
its baseline is, a chart cannot alarm more often than every few blocks."""
MAX_MARGIN = 4.0
"""Bound of the logarithm by which h is raised for the baseline's errors."""
LARGEST_CORRELATION = 0.45
LARGEST_EXPONENT = 20.0
_FEWEST = 50
_TAIL = 0.02
"""Share of cycle maxima that are above the level from which the tail is taken as exponential."""


def standardise(values: Floats, mean: float, sd: float) -> Floats:
    """z, within ±LIMIT."""
    return np.clip((np.asarray(values, dtype=np.float64) - mean) / sd, -LIMIT, LIMIT)


def advance(
    up: Floats | float, down: Floats | float, z: Floats | float, allowance: Floats | float
) -> tuple[Floats, Floats]:
    """Both sums after a block. Works on arrays of many charts too."""
    return np.maximum(0.0, up + z - allowance), np.maximum(0.0, down - z - allowance)


def allowance(relative_error: float) -> float:
    """k from the standard error of the baseline's mean, in sd of a block."""
    return ALLOWANCE + ONE_SIDED * relative_error


def path(increments: Floats) -> Floats:
    """The sum after each step of increments (z - k), starting at zero: a random walk less its
    running minimum."""
    walk = np.cumsum(increments)
    return np.asarray(walk - np.minimum(np.minimum.accumulate(walk), 0.0))


def cycle_maxima(sums: Floats) -> Floats:
    """The maximum of each cycle of a path: of each stretch above zero."""
    above = sums > 0
    starts = np.flatnonzero(above & ~np.concatenate(([False], above[:-1])))
    if not starts.size:
        return np.zeros(0)
    return np.asarray(np.maximum.reduceat(sums, starts))


def resample(z: Floats, steps: int, correlation: float, rng: np.random.Generator) -> Floats:
    """`steps` values drawn from z with replacement, with that correlation of neighbours (0 to 0.45)
    and none beyond, which is what block means of a process have that forgets within a block."""
    drawn = z[rng.integers(0, len(z), steps + 1)]
    if correlation <= 0:
        return drawn[1:]
    # a and b with a² + b² = 1 and a·b = correlation.
    angle = math.asin(2 * min(correlation, LARGEST_CORRELATION)) / 2
    return math.cos(angle) * drawn[1:] + math.sin(angle) * drawn[:-1]


@dataclass(frozen=True)
class Tail:
    """How often the maximum of a cycle is above h: rate_per_step · exp(-slope · (h - cut))."""

    cut: float
    slope: float
    per_step: float
    spread: float
    """Relative standard error of `slope` over possible baselines."""

    def threshold(self, steps_per_alarm: float) -> float:
        """h with one false alarm in so many steps, on average over possible baselines."""
        logarithm = math.log(max(steps_per_alarm * self.per_step, 1e-12))
        h = self.cut + max(logarithm, 0.0) / self.slope
        for _ in range(20):
            margin = min(MARGIN * (self.slope * h * self.spread) ** 2 / 2, MAX_MARGIN)
            h = self.cut + max(logarithm + margin, 0.0) / self.slope
        return max(h, 1.0)


def calibrate(
    values: Floats,
    *,
    mean: float,
    sd: float,
    relative_error: float,
    correlation: float,
    rng: np.random.Generator,
    steps: int = STEPS,
) -> tuple[Tail, Tail]:
    """Tails of the chart upwards and downwards, with the allowance of `relative_error`.

    `values` are the baseline's blocks (at least 8), `relative_error` the standard error of their
    mean in sd of a block, everything included that may move it: days too. `correlation` is that of
    neighbouring blocks (`neighbours`).
    """
    z = standardise(values, mean, sd)
    k = allowance(relative_error)
    drawn = resample(z, steps, correlation, rng)
    spread = _relative_spread(z, k, relative_error)
    return _tail(drawn, z, k, correlation, spread), _tail(-drawn, -z, k, correlation, spread)


def neighbours(block_images: float, autocorrelation_time: float) -> float:
    """Correlation of the means of neighbouring blocks of n images, where images are AR(1) with this
    integrated autocorrelation time: rho = (tau - 1) / (tau + 1), and of sums of n images the
    covariance is rho (1 - rho^n)² / (1 - rho)², the variance n tau - 2 rho (1 - rho^n) /
    (1 - rho)².

    An estimate from the blocks themselves would be so uncertain (± 0.05 with 400 blocks) that it
    moves the rate of false alarms by a factor of 3.
    """
    n, tau = max(block_images, 1.0), max(autocorrelation_time, 1.0)
    rho = (tau - 1) / (tau + 1)
    forgotten = 1 - rho**n
    covariance = rho * forgotten**2 / (1 - rho) ** 2
    return float(covariance / (n * tau - 2 * rho * forgotten / (1 - rho) ** 2))


def _tail(drawn: Floats, z: Floats, k: float, correlation: float, spread: float) -> Tail:
    maxima = cycle_maxima(path(drawn - k))
    slope = exponent(math.sqrt(1 + 2 * max(correlation, 0.0)) * z, k)
    if len(maxima) < _FEWEST:
        # Hardly any block lies above the allowance: LIMIT sd in a row are then far out.
        return Tail(LIMIT, slope, 1e-12, spread)
    cut = float(np.quantile(maxima, 1 - _TAIL))
    return Tail(cut, slope, max(int(np.count_nonzero(maxima > cut)), 1) / len(drawn), spread)


def exponent(z: Floats, k: float) -> float:
    """The positive root t of E exp(t (z - k)) = 1, at most LARGEST_EXPONENT: maxima of the walk
    with steps z - k have a tail like exp(-t h) (Cramér and Lundberg; 2k for standard normal z)."""
    low, high = 0.0, LARGEST_EXPONENT
    for _ in range(50):
        middle = (low + high) / 2
        shifted = middle * (z - k)
        top = float(shifted.max())
        if top + math.log(float(np.mean(np.exp(shifted - top)))) > 0:
            high = middle
        else:
            low = middle
    return max(high, 0.05)


def _relative_spread(z: Floats, k: float, relative_error: float) -> float:
    """Relative standard error of the tail's exponent over possible baselines.

    The exponent t solves E exp(t (z - k)) = 1, which is t = 2k for standard normal blocks. It
    changes by -1 / k a sd of the mean, by -1 relative to the variance, by -2k/3 a unit of skewness
    and by -t² / 12 a unit of kurtosis (cumulant expansion); these have the standard errors
    `relative_error`, sqrt((kurtosis - 1) / n), sqrt(6 / n) and sqrt(24 / n).
    """
    n, variance = len(z), float(np.var(z))
    kurtosis = float(np.mean((z - z.mean()) ** 4)) / variance**2 if variance > 0 else 3.0
    parts = (
        (relative_error / k) ** 2,
        max(kurtosis - 1, 0.5) / n,
        (2 * k / 3) ** 2 * 6 / n,
        ((2 * k) ** 2 / 12) ** 2 * 24 / n,
    )
    return math.sqrt(sum(parts))
