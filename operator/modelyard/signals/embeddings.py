"""Embeddings as a few numbers that a server can keep, average and compare.

An embedding has hundreds of dimensions. A random projection keeps distances (Johnson and
Lindenstrauss 1984), so the mean of 32 projections shows whether the mean has moved; the mean of
128 random Fourier features (Rahimi and Recht, Random features for large-scale kernel machines,
NIPS 2007) approximates the mean embedding in the space of a Gaussian kernel, so it shows other
changes too. The squared distance of two such means is a statistic of drift.

The random numbers are the same on every server and in every release: NumPy promises the stream of
RandomState for good (NEP 19), which it does not for its generators.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 20261128
PROJECTIONS = 32
FEATURES = 128
_SMALLEST = 1e-6
_PAIRS = 2000
"""Pairs of embeddings that the kernel's width is taken from."""


@dataclass(frozen=True)
class Scaling:
    """Brings the dimensions of embeddings to one scale, and their distances too. From the holdout
    (contract/profile.py), or from a server's own baseline where there is no profile."""

    center: NDArray[np.float64]
    """Mean of each dimension, [size]."""
    scale: NDArray[np.float64]
    """Standard deviation of each dimension, [size]; above 0."""
    bandwidth: float
    """Width of the Gaussian kernel: median distance of two scaled embeddings."""

    @property
    def size(self) -> int:
        """Dimensions of an embedding."""
        return len(self.center)

    @classmethod
    def of(cls, embeddings: NDArray[Any]) -> Scaling:
        """From embeddings [images, size]; deterministic.

        Raises ValueError without two of them, or if any is not finite.
        """
        values = np.asarray(embeddings, dtype=np.float64)
        if values.ndim != 2 or len(values) < 2 or not np.isfinite(values).all():
            raise ValueError(f"{list(values.shape)}: two or more finite embeddings are needed")
        center, scale = values.mean(axis=0), values.std(axis=0)
        # A dimension that never changes is left as it is, or any change would be infinite.
        scale = np.where(scale > _SMALLEST, scale, 1.0)
        pairs = np.random.RandomState(SEED).randint(0, len(values), (_PAIRS, 2))
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        apart = (values[pairs[:, 0]] - values[pairs[:, 1]]) / scale
        width = float(np.median(np.linalg.norm(apart, axis=1))) if len(pairs) else 1.0
        return cls(center=center, scale=scale, bandwidth=max(width, _SMALLEST))


@dataclass(frozen=True)
class Projection:
    """Maps embeddings to PROJECTIONS projections and FEATURES random Fourier features."""

    scaling: Scaling

    @cached_property
    def _random(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        # The order of these draws is part of what profiles mean.
        random = np.random.RandomState(SEED)
        axes = random.standard_normal((self.scaling.size, PROJECTIONS))
        waves = random.standard_normal((self.scaling.size, FEATURES))
        return axes, waves, random.uniform(0, 2 * np.pi, FEATURES)

    def __call__(self, embeddings: NDArray[Any]) -> NDArray[np.float64]:
        """[images, PROJECTIONS + FEATURES] from embeddings [images, size].

        Over the embeddings of the scaling, a projection has mean 0 and a variance of about 1, and a
        feature lies within ±sqrt(2 / FEATURES). Raises ValueError for another size.
        """
        values = np.atleast_2d(np.asarray(embeddings, dtype=np.float64))
        if values.shape[1] != self.scaling.size:
            raise ValueError(
                f"embeddings have {values.shape[1]} dimensions instead of {self.scaling.size}"
            )
        scaled = (values - self.scaling.center) / self.scaling.scale
        axes, waves, phases = self._random
        projections = scaled @ axes / np.sqrt(self.scaling.size)
        angles = scaled @ waves / self.scaling.bandwidth + phases
        return np.hstack([projections, np.sqrt(2 / FEATURES) * np.cos(angles)])
