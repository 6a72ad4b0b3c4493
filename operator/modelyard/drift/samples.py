"""Embeddings of single images, for the test that confirms an alarm: some of the baseline's, and the
last ones. float16: a source's cost 24 kB."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from modelyard.drift import mmd
from modelyard.drift.baseline import seed
from modelyard.drift.observation import Observation
from modelyard.signals.embeddings import PROJECTIONS

BASELINE, LAST = 256, 128
_VALUE = np.dtype("<f2")
_ROW = PROJECTIONS * _VALUE.itemsize


@dataclass(frozen=True)
class Samples:
    """Projections, packed."""

    key: str = ""
    """Of the artifact that they are of."""
    baseline: bytes = b""
    """A uniform sample of the images while the baseline was taken (a reservoir)."""
    drawn: int = 0
    """Images that it is a sample of."""
    last: bytes = b""

    def with_image(self, image: Observation, key: str, learning: bool) -> Samples:
        """With one more image; `learning`: a baseline is being taken."""
        row = np.clip(np.asarray(image.projection), -6e4, 6e4).astype(_VALUE).tobytes()
        samples = self if self.key == key else Samples(key)
        samples = replace(samples, last=samples.last[-(LAST - 1) * _ROW :] + row)
        if not learning:
            return samples
        kept, drawn = samples.baseline, samples.drawn + 1
        if len(kept) < BASELINE * _ROW:
            kept += row
        else:
            place = int(seed("reservoir", image.source, key, drawn).integers(drawn))
            if place < BASELINE:
                kept = kept[: place * _ROW] + row + kept[(place + 1) * _ROW :]
        return replace(samples, baseline=kept, drawn=drawn)

    def compare(self, source: str) -> mmd.Discrepancy | None:
        """Whether the last images are of the baseline's distribution; None for too few."""
        before, now = _unpacked(self.baseline), _unpacked(self.last)
        if len(before) < LAST // 2 or len(now) < LAST // 2:
            return None
        return mmd.compare(before, now, seed("mmd", source, self.key))


def _unpacked(packed: bytes) -> NDArray[np.float64]:
    return np.frombuffer(packed, _VALUE).reshape(-1, PROJECTIONS).astype(np.float64)
