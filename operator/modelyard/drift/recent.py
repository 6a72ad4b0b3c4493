"""The last blocks of a source: what charts are drawn from, and what explains an alarm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelyard.drift.charts import Charted
from modelyard.drift.signals import COLUMN, SIGNALS, Signal

Floats = NDArray[np.float64]

KEPT = 288
"""Blocks: a day by default."""
_TIME, _VALUE = np.dtype("<f8"), np.dtype("<f4")


@dataclass(frozen=True)
class Recent:
    """Packed, oldest first."""

    times: bytes = b""
    """Ends of blocks, float64."""
    packed: bytes = b""
    """float32 [blocks, 2, signals]: z, and level in units of the threshold; NaN for none."""

    def with_block(self, time: float, charted: Mapping[Signal, Charted]) -> Recent:
        """With one more block."""
        row = np.full((2, len(SIGNALS)), np.nan, _VALUE)
        for signal, one in charted.items():
            row[:, COLUMN[signal]] = one.z, one.level
        times = self.times[-(KEPT - 1) * _TIME.itemsize :] + np.array(time, _TIME).tobytes()
        return Recent(times, self.packed[-(KEPT - 1) * row.nbytes :] + row.tobytes())

    def points(self, signal: Signal) -> tuple[Floats, Floats, Floats]:
        """Times, z and levels of a signal's blocks."""
        times = np.frombuffer(self.times, _TIME)
        rows = np.frombuffer(self.packed, _VALUE).reshape(-1, 2, len(SIGNALS))
        z, level = rows[:, 0, COLUMN[signal]], rows[:, 1, COLUMN[signal]]
        known = np.isfinite(z)
        return times[known], z[known].astype(np.float64), level[known].astype(np.float64)

    def mean_since(self, signal: Signal, since: float) -> float | None:
        """Mean z of the blocks that ended after `since`; None if there are none."""
        times, z, _ = self.points(signal)
        found = z[times > since]
        return float(found.mean()) if found.size else None
