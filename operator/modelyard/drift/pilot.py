"""The first images of a source: how long must a block be, how are embeddings scaled?

How long images resemble each other is measured by the integrated autocorrelation time, 1 + 2 · sum
of autocorrelations: a mean of n images is as good as one of n / tau independent ones (Sokal,
"Monte Carlo methods in statistical mechanics", 1997, whose automatic window is used here).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from modelyard.drift.blocks import Embedder, plain_figures, valid_projection
from modelyard.drift.observation import Observation
from modelyard.drift.settings import DriftSettings
from modelyard.signals.embeddings import PROJECTIONS

Floats = NDArray[np.float64]

LONGEST, SHORTEST = 2048, 128
"""Images of a pilot: with 50 times the autocorrelation time, that is known to about 30 %."""
MAX_TIMES = 20
"""A block has at most as many times the declared images: slower changes are seen in days."""
EMBEDDED = 128
"""Embeddings that are kept for the scale."""
_FIGURES = (0, 1, 3)
"""Columns of PLAIN that are looked at: top score, detections, brightness."""
_PROJECTIONS = 4
"""Projections that are looked at too."""
_COLUMNS = len(_FIGURES) + _PROJECTIONS
_VALUE = np.dtype("<f4")


@dataclass(frozen=True)
class Pilot:
    """Figures of the first images, packed."""

    rows: bytes = b""
    """float32 [images, figures and projections]; NaN for what is missing."""
    projections: bytes = b""
    """float32 [images, 32]."""

    def __len__(self) -> int:
        return len(self.rows) // (_COLUMNS * _VALUE.itemsize)

    def with_image(self, image: Observation) -> Pilot:
        """With one more image."""
        figures = plain_figures(image)
        row = [math.nan if figures[i] is None else figures[i] for i in _FIGURES]
        valid = valid_projection(image)
        row += list(image.projection[:_PROJECTIONS]) if valid else [math.nan] * _PROJECTIONS
        pilot = replace(self, rows=self.rows + np.array(row, _VALUE).tobytes())
        if valid and len(self.projections) < EMBEDDED * PROJECTIONS * _VALUE.itemsize:
            more = np.array(image.projection, _VALUE).tobytes()
            pilot = replace(pilot, projections=self.projections + more)
        return pilot

    def block_images(self, settings: DriftSettings) -> int:
        """Images that a block needs: twice the longest autocorrelation time of the figures."""
        rows = np.frombuffer(self.rows, _VALUE).reshape(-1, _COLUMNS).astype(np.float64)
        times = [autocorrelation_time(c[np.isfinite(c)]) for c in rows.T]
        return min(math.ceil(2 * max(times)), MAX_TIMES * settings.block_images)

    def embedder(self) -> Embedder | None:
        """None if too few images had an embedding."""
        rows = np.frombuffer(self.projections, _VALUE).reshape(-1, PROJECTIONS)
        return Embedder.of(rows.astype(np.float64)) if len(rows) >= SHORTEST // 4 else None


def length(settings: DriftSettings) -> int:
    """Images of a pilot: a quarter of a baseline's."""
    wanted = settings.block_images * settings.baseline_blocks // 4
    return min(max(wanted, SHORTEST), LONGEST)


def autocorrelation_time(values: Floats, window: float = 5.0) -> float:
    """Integrated autocorrelation time in steps, at least 1; 1 for constant or few values."""
    n = len(values)
    if n < 16:
        return 1.0
    centred = values - values.mean()
    if float(centred @ centred) <= 1e-12 * max(1.0, float(values @ values)):
        return 1.0
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    covariance = np.fft.irfft(spectrum * np.conj(spectrum), size)[: n // 2]
    times = 2 * np.cumsum(covariance / covariance[0]) - 1
    within = np.flatnonzero(np.arange(len(times)) >= window * times)
    last = int(within[0]) if within.size else len(times) - 1
    # The mean was subtracted: what that takes away is put back (Wolff, "Monte Carlo errors with
    # less errors", 2004, equation 49).
    return max(float(times[last]) * (1 + (2 * last + 1) / n), 1.0)
