"""Whether a site looks like the holdout at all: another question than whether it has changed.

The profile is the holdout's summary, which evaluation writes and agents fetch. For each signal it
has the range that holds the central 98 % of the holdout's images. A site whose images lie outside
for more than half is not like the holdout: one camera is always less diverse than a holdout, so
means may differ, but most of its images should be possible there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from modelyard.drift.blocks import PLAIN, plain_figures, valid_projection
from modelyard.drift.observation import Observation
from modelyard.drift.signals import Signal

FEWEST_IMAGES = 200
"""Fewer images of the site say nothing."""
MEMORY = 4000
"""Images after which older ones count half."""
HALF, CLEARED = 0.5, 0.45


@dataclass(frozen=True)
class Profile:
    """What is needed of a holdout's summary (contract/profile.py has the whole)."""

    ranges: Mapping[Signal, tuple[float, float]]
    """1 % and 99 % quantile of an image's figure, by signal (not ClassMix, not Embedding)."""
    centre: tuple[float, ...] = ()
    """Mean of the 32 projections; empty without embeddings."""
    scale: tuple[float, ...] = ()
    """Standard deviation of each projection."""
    radius: float = 0.0
    """99 % quantile of the images' squared distance from the centre in units of scale, summed."""


@dataclass(frozen=True)
class Likeness:
    """Images of a site that were compared, and how many lie outside, by signal."""

    artifact: str = ""
    """Counts begin anew with another artifact, for it has another profile."""
    images: dict[Signal, float] = field(default_factory=dict)
    outside: dict[Signal, float] = field(default_factory=dict)

    def with_image(self, image: Observation, profile: Profile) -> Likeness:
        """With one more image that is not blank."""
        fresh = self.artifact == image.artifact
        images = dict(self.images) if fresh else {}
        outside = dict(self.outside) if fresh else {}
        for signal, out in _outside(image, profile).items():
            images[signal] = images.get(signal, 0.0) + 1
            outside[signal] = outside.get(signal, 0.0) + out
            if images[signal] >= MEMORY:
                images[signal] /= 2
                outside[signal] /= 2
        return replace(self, artifact=image.artifact, images=images, outside=outside)

    def worst(self) -> tuple[Signal, float] | None:
        """The signal with the largest share of images outside, and that share; None while there are
        too few images."""
        shares = [
            (self.outside[signal] / count, signal)
            for signal, count in self.images.items()
            if count >= FEWEST_IMAGES
        ]
        if not shares:
            return None
        share, signal = max(shares)
        return signal, share


def _outside(image: Observation, profile: Profile) -> dict[Signal, bool]:
    found = {}
    for signal, value in zip(PLAIN, plain_figures(image), strict=True):
        bounds = profile.ranges.get(signal)
        if bounds is not None and value is not None:
            found[signal] = not bounds[0] <= value <= bounds[1]
    if profile.centre and valid_projection(image):
        scale = np.maximum(np.asarray(profile.scale), 1e-9)
        apart = (np.asarray(image.projection) - np.asarray(profile.centre)) / scale
        found[Signal.EMBEDDING] = float(apart @ apart) > profile.radius
    return found
