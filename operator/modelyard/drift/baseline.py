"""Blocks → a baseline: what is usual here, how exactly that is known, and the charts that follow.

Whether a baseline is to be believed: suspicion.py. How it is taken: line.py.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from modelyard.drift import cusum, days
from modelyard.drift.blocks import Embedder, Reference
from modelyard.drift.cusum import Tail
from modelyard.drift.series import Series
from modelyard.drift.settings import DAY, HOUR
from modelyard.drift.signals import Signal

Floats = NDArray[np.float64]

FEWEST_BLOCKS = 16
"""A signal with fewer values has no chart."""
EXPECTED_ERROR = 0.03
"""Standard error of the correlation that is expected from an autocorrelation time."""
BRIDGE_PAIRS = 200


class Unit(StrEnum):
    """What a chart has one value for."""

    BLOCK = "Block"
    DAY = "Day"


class How(StrEnum):
    """How a baseline came to be in force."""

    AUTOMATIC = "Automatic"
    ACCEPTED = "Accepted"
    BRIDGED = "Bridged"


@dataclass(frozen=True)
class SignalBaseline:
    """One signal's baseline and the chart that follows from it."""

    unit: Unit
    mean: float
    sd: float
    """Of a block, or of a day mean."""
    error: float
    """Standard error of the mean, with that of days."""
    values: int
    """Blocks or days."""
    block_mean: float
    block_sd: float
    """Of a block, whatever is charted."""
    per_day: float
    """Blocks a day: a day with less than half of them is not charted."""
    allowance: float
    up: Tail | None = None
    """Tails of a chart of blocks; a chart of days has its threshold from days.py."""
    down: Tail | None = None

    def thresholds(self, seconds_per_alarm: float, seconds_per_block: float) -> tuple[float, float]:
        """h upwards and downwards, in `sd`, with one false alarm of each side in that time."""
        if self.up is None or self.down is None:
            h = days.day_threshold(self.values, seconds_per_alarm / DAY)
            return h, h
        blocks = seconds_per_alarm / seconds_per_block
        return self.up.threshold(blocks), self.down.threshold(blocks)


@dataclass(frozen=True)
class Baseline:
    """A source's baseline for one key: an artifact with its pipeline settings, or the pixels."""

    key: str
    started: float
    ended: float
    blocks: int
    how: How
    signals: dict[Signal, SignalBaseline]
    reference: Reference = field(default_factory=Reference)
    embedder: Embedder | None = None


def seed(*parts: object) -> np.random.Generator:
    """Random numbers that depend on keys alone."""
    text = "\x1f".join(str(part) for part in parts)
    return np.random.default_rng(
        int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    )


def of_signal(
    signal: Signal,
    series: Series,
    *,
    started: float,
    correlation: float,
    calendar: bool,
    key: str,
    steps_per_alarm: float,
) -> SignalBaseline | None:
    """The baseline of one signal; None if it has too few values, or never changes.

    `calendar`: whether the baseline has the days to chart days. `steps_per_alarm`: blocks for one
    false alarm of a side, with which the finished chart is tried on the baseline itself.
    """
    values, hours = series.values(), series.times()
    if len(values) < FEWEST_BLOCKS:
        return None
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    if sd <= 1e-6 * max(abs(mean), 1e-3):
        return None
    z = (values - mean) / sd
    correlation = neighbours_seen(z, correlation)
    slow = days.slow_changes(z, hours, correlation)
    spacing = float(np.median(np.diff(hours))) if len(hours) > 1 else 1.0
    per_day = min(24 / max(spacing, 1e-6), float(len(values)))
    by_day = _by_day(values, hours, started, mean, sd, per_day) if calendar else None
    if by_day and slow.bound > days.LARGEST_SHARE:
        return by_day
    of_days = slow.sd**2 / max(hours[-1] / 24, 1.0)
    error = math.sqrt((1 + 2 * correlation) / len(values) + of_days)
    relative = math.hypot(error, slow.sd)
    up, down = cusum.calibrate(
        values,
        mean=mean,
        sd=sd,
        relative_error=relative,
        correlation=correlation,
        rng=seed("tails", key, signal),
    )
    allowance = cusum.allowance(relative)
    # Slow cycles that the variances do not show: the chart must not alarm in its own baseline.
    clipped = cusum.standardise(values, mean, sd)
    alarmed = any(
        cusum.path(side - allowance).max() > tail.threshold(steps_per_alarm)
        for side, tail in ((clipped, up), (-clipped, down))
    )
    if alarmed and by_day:
        return by_day
    return SignalBaseline(
        unit=Unit.BLOCK,
        mean=mean,
        sd=sd,
        error=error * sd,
        values=len(values),
        block_mean=mean,
        block_sd=sd,
        per_day=per_day,
        allowance=allowance,
        up=up,
        down=down,
    )


def neighbours_seen(z: Floats, expected: float) -> float:
    """The correlation of neighbouring blocks: what the autocorrelation time leaves, and what the
    blocks themselves show, weighted by how exactly each is known."""
    seen, error = float(np.mean(z[1:] * z[:-1])), 1 / math.sqrt(len(z))
    weight = EXPECTED_ERROR**2 / (EXPECTED_ERROR**2 + error**2)
    found = max(expected + weight * (seen - expected), seen - error)
    return min(max(found, 0.0), cusum.LARGEST_CORRELATION)


def _by_day(
    values: Floats, hours: Floats, started: float, mean: float, sd: float, per_day: float
) -> SignalBaseline | None:
    _, means, _ = days.stretches(values, hours, 24, offset=(started % DAY) / HOUR)
    if len(means) < days.FEWEST_DAYS or float(means.std(ddof=1)) <= 1e-6 * sd:
        return None
    spread = float(means.std(ddof=1))
    return SignalBaseline(
        unit=Unit.DAY,
        mean=float(means.mean()),
        sd=spread,
        error=spread / math.sqrt(len(means)),
        values=len(means),
        block_mean=mean,
        block_sd=sd,
        per_day=per_day,
        allowance=days.day_allowance(len(means)),
    )


def moved_from(anchor: Baseline, baseline: Baseline) -> tuple[Signal, float] | None:
    """The signal that a later baseline moved most from the anchor, and by how many sd of a block;
    None if none did by at least 1 sd beyond both means' errors. Distances are not compared: they
    have references of their own."""
    found: list[tuple[float, Signal, float]] = []
    for signal, new in baseline.signals.items():
        old = anchor.signals.get(signal)
        if old is None or signal in (Signal.CLASS_MIX, Signal.EMBEDDING):
            continue
        size = (new.block_mean - old.block_mean) / old.block_sd
        error = cusum.ONE_SIDED * math.hypot(new.error, old.error) / old.block_sd
        if abs(size) - error >= 1:
            found.append((abs(size), signal, size))
    if not found:
        return None
    _, signal, size = max(found)
    return signal, size


def bridged(
    baseline: Baseline,
    key: str,
    now: float,
    pairs: Mapping[Signal, tuple[Floats, Floats]],
    mix: tuple[float, ...] | None,
) -> Baseline:
    """The baseline of the next version from that of this one: old + mean paired difference.

    `pairs` are figures of the same images by old and new version. The difference's own standard
    error widens the mean's. sd are scaled by the ratio of the images' sd (0.5 to 2). `mix` is the
    new version's class mix; Embedding is left out, for two versions' embeddings have nothing in
    common.
    """
    signals: dict[Signal, SignalBaseline] = {}
    for signal, one in baseline.signals.items():
        if signal is Signal.EMBEDDING:
            continue
        if signal is Signal.CLASS_MIX:
            if mix is not None:
                signals[signal] = one
            continue
        old, new = pairs.get(signal, (np.zeros(0), np.zeros(0)))
        if len(old) < BRIDGE_PAIRS:
            continue
        difference = new - old
        shift = float(difference.mean())
        ratio = float(np.clip((new.std() + 1e-9) / (old.std() + 1e-9), 0.5, 2.0))
        own = float(difference.std(ddof=1)) / math.sqrt(len(difference))
        error = math.hypot(one.error * ratio, own)
        relative = math.hypot(
            (one.allowance - cusum.ALLOWANCE) / cusum.ONE_SIDED, own / (one.sd * ratio)
        )
        signals[signal] = replace(
            one,
            mean=one.mean + shift,
            block_mean=one.block_mean + shift,
            sd=one.sd * ratio,
            block_sd=one.block_sd * ratio,
            error=error,
            allowance=cusum.allowance(relative),
        )
    reference = Reference(mix=mix or ())
    return Baseline(
        key, baseline.started, now, baseline.blocks, How.BRIDGED, signals, reference, None
    )
