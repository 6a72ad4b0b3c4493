"""Embeddings as a few numbers that a server can keep, average and compare.

An embedding has hundreds of dimensions, of any scale. A random projection keeps distances (Johnson
and Lindenstrauss, 1984), so the mean of 32 projections shows whether the mean has moved. Random
Fourier features of the scaled projections (Rahimi and Recht, Random features for large-scale kernel
machines, NIPS 2007) have a mean that approximates the mean embedding in the space of a Gaussian
kernel, so it shows other changes of the distribution too.

The random numbers are the same on every server and in every release: NumPy promises the stream of
RandomState for good (NEP 19), which it does not for its generators.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 20261128
PROJECTIONS = 32
FEATURES = 128


def project(embeddings: NDArray[Any]) -> NDArray[np.float64]:
    """Projections [images, PROJECTIONS] of embeddings [images, size].

    The square of a distance is kept on average, divided by the size and times PROJECTIONS.
    Raises ValueError for another shape, or values that are not finite.
    """
    values = np.asarray(embeddings, dtype=np.float64)
    if values.ndim != 2 or not values.shape[1] or not np.isfinite(values).all():
        raise ValueError(f"{list(values.shape)}: finite embeddings [images, size] are needed")
    return np.asarray(values @ _axes(values.shape[1]))


def fourier(scaled: NDArray[Any]) -> NDArray[np.float64]:
    """Features [images, FEATURES] of projections that were divided by the width of the kernel,
    [images, PROJECTIONS]: their dot product is about exp(-|x - y|² / 2)."""
    waves, phases = _waves()
    angles = np.asarray(scaled, dtype=np.float64) @ waves + phases
    return np.asarray(np.sqrt(2 / FEATURES) * np.cos(angles))


@lru_cache(maxsize=4)
def _axes(size: int) -> NDArray[np.float64]:
    random = np.random.RandomState((SEED, size))
    return np.asarray(random.standard_normal((size, PROJECTIONS)) / np.sqrt(size))


@lru_cache(maxsize=1)
def _waves() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    random = np.random.RandomState(SEED)
    waves = random.standard_normal((PROJECTIONS, FEATURES))
    return waves, random.uniform(0, 2 * np.pi, FEATURES)
