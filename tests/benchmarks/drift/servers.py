"""Many servers at once, with the product's own code: baselines and thresholds by
`drift.baseline.of_signal`, block lengths by `drift.pilot`, sums by `drift.cusum.advance`.

Only the loop over time is ours: it advances all servers' charts in one array. That it does what the
reducer does, image by image, is tested in tests/unit/benchmarks/test_drift.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from modelyard.drift import cusum, pilot
from modelyard.drift.baseline import SignalBaseline, Unit, of_signal
from modelyard.drift.series import Series
from modelyard.drift.settings import DAY, DriftSettings
from modelyard.drift.signals import Signal

from . import blocks

SETTINGS = DriftSettings()
SIGNALS = 8
"""Signals that share a server's budget of false alarms, as in the numbers behind the design."""
BLOCK_SECONDS = 300.0
RUN_LENGTH = SETTINGS.expected_run_length
BLOCKS_A_DAY = int(DAY / BLOCK_SECONDS)
PER_SIDE = RUN_LENGTH * SIGNALS * 2
"""Seconds for one false alarm of one side of one chart."""


@dataclass(frozen=True)
class Charts:
    """Of many streams; arrays with one value each."""

    mean: np.ndarray
    sd: np.ndarray
    allowance: np.ndarray
    up: np.ndarray
    down: np.ndarray
    by_day: np.ndarray
    """Whether days are charted."""


def piloted(rng: np.random.Generator, rho: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Length of a block, and the correlation of neighbouring ones, of so many servers by the
    product's rule: from the largest autocorrelation time of the first images' figures, here 3."""
    first = blocks.images(rng, rho, pilot.length(SETTINGS), 3 * count).T.reshape(count, 3, -1)
    times = np.array([max(pilot.autocorrelation_time(one) for one in few) for few in first])
    most = pilot.MAX_TIMES * SETTINGS.block_images
    lengths = np.clip(np.ceil(2 * times), SETTINGS.block_images, most).astype(int)
    pairs = zip(lengths, times, strict=True)
    return lengths, np.array([cusum.neighbours(length, time) for length, time in pairs])


def calibrate(
    base: np.ndarray,
    correlation: np.ndarray,
    *,
    calendar: bool = False,
    started: float = 0.0,
    block_seconds: float = BLOCK_SECONDS,
    seconds_per_alarm: float = PER_SIDE,
) -> Charts:
    """Charts from [blocks, streams] values."""
    hours = (np.arange(len(base)) + 1) * block_seconds / 3600
    rows = []
    for number, values in enumerate(base.T):
        packed = Series(hours.astype("<f4").tobytes(), values.astype("<f4").tobytes())
        found = of_signal(
            Signal.TOP_SCORE,
            packed,
            started=started,
            correlation=float(correlation[number]),
            calendar=calendar,
            key=f"server {number}",
            steps_per_alarm=seconds_per_alarm / block_seconds,
        )
        rows.append(_row(found, seconds_per_alarm, block_seconds))
    return Charts(*np.array(rows).T)


def _row(one: SignalBaseline | None, alarm: float, block: float) -> tuple[float, ...]:
    assert one is not None
    up, down = one.thresholds(alarm, block)
    return one.mean, one.sd, one.allowance, up, down, float(one.unit is Unit.DAY)


def naive(base: np.ndarray, blocks_per_alarm: float) -> Charts:
    """The textbook way: mean and sd as estimated, k = 0.5, thresholds from bootstrap cycle maxima
    of independent blocks, nothing for their errors."""
    rows = []
    for number, values in enumerate(base.T):
        mean, sd = values.mean(), values.std(ddof=1)
        rng = np.random.default_rng((3, number))
        drawn = ((values - mean) / sd)[rng.integers(0, len(values), 20_000)]
        limits = []
        for side in (drawn, -drawn):
            maxima = cusum.cycle_maxima(cusum.path(side - 0.5))
            cut = np.quantile(maxima, 0.9)
            above = maxima[maxima > cut] - cut
            limits.append(cut + math.log(blocks_per_alarm * above.size / 20_000) * above.mean())
        rows.append((mean, sd, 0.5, *limits, 0.0))
    return Charts(*np.array(rows).T)


def _after(
    up: np.ndarray, down: np.ndarray, z: np.ndarray, charts: Charts
) -> tuple[np.ndarray, np.ndarray]:
    """Both sums after a block; NaN for a signal that the block does not have."""
    after = cusum.advance(up, down, z, charts.allowance)
    missing = np.isnan(z)
    return np.where(missing, up, after[0]), np.where(missing, down, after[1])


def alarms(charts: Charts, values: np.ndarray) -> np.ndarray:
    """[streams] number of alarms over [steps, streams] values; a chart starts anew after each."""
    z = cusum.standardise(values, charts.mean, charts.sd)
    up = down = np.zeros(values.shape[1])
    count = np.zeros(values.shape[1])
    for one in z:
        up, down = _after(up, down, one, charts)
        above = (up > charts.up) | (down > charts.down)
        count += above
        up, down = np.where(above, 0, up), np.where(above, 0, down)
    return count


def first_alarm(charts: Charts, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """[streams] steps of `after` until the first alarm, infinity for none; charts run over `before`
    first, and start anew where they alarm in it."""
    up = down = np.zeros(before.shape[1])
    for one in cusum.standardise(before, charts.mean, charts.sd):
        up, down = _after(up, down, one, charts)
        above = (up > charts.up) | (down > charts.down)
        up, down = np.where(above, 0, up), np.where(above, 0, down)
    found = np.full(before.shape[1], np.inf)
    for step, one in enumerate(cusum.standardise(after, charts.mean, charts.sd), 1):
        up, down = _after(up, down, one, charts)
        above = (up > charts.up) | (down > charts.down)
        found = np.where(above & np.isinf(found), step, found)
    return found


def day_means(values: np.ndarray, per_day: int) -> np.ndarray:
    """[days, streams] from [blocks, streams]."""
    whole = len(values) // per_day * per_day
    return values[:whole].reshape(-1, per_day, values.shape[1]).mean(axis=1)
