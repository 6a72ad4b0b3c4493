"""The running charts: what a closed block changes in them.

Both sums of a chart (cusum.py) grow while blocks lie off the baseline's mean. A sum remembers when
it left zero: that is the estimate of when a change began, and the mean since then is its size.
After an alarm a sum goes on, at most CAP above its threshold: so drift lasts as long as the change
does, and ends soon after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from modelyard.drift import cusum
from modelyard.drift.baseline import SignalBaseline, Unit
from modelyard.drift.settings import DAY

CAP = 2.0
"""Sd by which a sum may be above its threshold."""


@dataclass(frozen=True)
class Side:
    """One direction of a chart."""

    level: float = 0.0
    """The sum, in sd."""
    since: float = 0.0
    """When it was last at zero, s since 1970."""
    values: int = 0
    """Values since then."""
    total: float = 0.0
    """Their sum of z."""

    def after(self, level: float, cap: float, z: float, start: float) -> Side:
        """After a value z whose block (or day) began at `start`."""
        if level <= 0:
            return Side()
        since = self.since if self.values else start
        return Side(min(level, cap), since, self.values + 1, self.total + z)

    @property
    def size(self) -> float:
        """Mean of z since the sum left zero."""
        return self.total / self.values if self.values else 0.0


@dataclass(frozen=True)
class Chart:
    """Of one signal."""

    up: Side = Side()
    down: Side = Side()
    day: int = 0
    """The open day, in days since 1970 (UTC); 0 for none."""
    day_total: float = 0.0
    day_values: int = 0


@dataclass(frozen=True)
class Crossing:
    """A sum that is above its threshold."""

    since: float
    size: float
    """In sd of a block or day."""
    unit: Unit
    fresh: bool
    """It was not above with the value before."""


@dataclass(frozen=True)
class Charted:
    """What a block did to a chart."""

    chart: Chart
    z: float
    """Of the block (or of the day that it ended), in sd of a block (day)."""
    level: float
    """The larger sum in units of its threshold."""
    crossing: Crossing | None


def after_block(
    chart: Chart,
    baseline: SignalBaseline,
    value: float,
    *,
    start: float,
    end: float,
    thresholds: tuple[float, float],
) -> Charted:
    """The chart after a block with this value that lasted from `start` to `end`."""
    if baseline.unit is Unit.BLOCK:
        return _after(chart, baseline, value, start, thresholds)
    day = int(end // DAY)
    if chart.day in (0, day):
        chart = replace(
            chart, day=day, day_total=chart.day_total + value, day_values=chart.day_values + 1
        )
        return Charted(chart, _z(value, baseline), _level(chart, thresholds), None)
    ended, total, count = chart.day, chart.day_total, chart.day_values
    chart = replace(chart, day=day, day_total=value, day_values=1)
    if 2 * count < baseline.per_day or day < ended:
        return Charted(chart, _z(value, baseline), _level(chart, thresholds), None)
    return _after(chart, baseline, total / count, ended * DAY, thresholds)


def _after(
    chart: Chart,
    baseline: SignalBaseline,
    value: float,
    start: float,
    thresholds: tuple[float, float],
) -> Charted:
    z = _z(value, baseline)
    up, down = cusum.advance(chart.up.level, chart.down.level, z, baseline.allowance)
    before = _level(chart, thresholds)
    chart = replace(
        chart,
        up=chart.up.after(float(up), thresholds[0] + CAP, z, start),
        down=chart.down.after(float(down), thresholds[1] + CAP, z, start),
    )
    crossing = None
    for side, threshold in zip((chart.up, chart.down), thresholds, strict=True):
        if side.level > threshold:
            crossing = Crossing(side.since, side.size, baseline.unit, before <= 1)
    return Charted(chart, z, _level(chart, thresholds), crossing)


def _z(value: float, baseline: SignalBaseline) -> float:
    return float(min(max((value - baseline.mean) / baseline.sd, -cusum.LIMIT), cusum.LIMIT))


def _level(chart: Chart, thresholds: tuple[float, float]) -> float:
    return max(chart.up.level / thresholds[0], chart.down.level / thresholds[1])
