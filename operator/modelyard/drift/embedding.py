"""Random projections of an embedding, and random Fourier features of these.

Distances survive a projection to 32 dimensions well enough (Johnson & Lindenstrauss, 1984), and the
distance of mean random Fourier features estimates the maximum mean discrepancy under a Gaussian
kernel (Rahimi & Recht, "Random features for large-scale kernel machines", 2007): shifts of the mean
and of the shape of the embeddings are both seen, at a fixed cost per image.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

PROJECTIONS = 32
FEATURES = 128
_SEED = 20261128


@functools.lru_cache(maxsize=4)
def _matrix(dimensions: int) -> np.ndarray:
    """[dimensions, 32]: the same on all servers, so that servers and profiles can be compared."""
    rng = np.random.default_rng((_SEED, dimensions))
    return np.asarray(rng.standard_normal((dimensions, PROJECTIONS)) / np.sqrt(dimensions))


def project(embedding: Sequence[float] | np.ndarray) -> tuple[float, ...]:
    """An embedding (1-D, any length) under 32 random projections, rounded to 6 digits; empty for
    an empty embedding, or one with a value that is not finite."""
    vector = np.asarray(embedding, dtype=np.float64).ravel()
    if not vector.size or not np.isfinite(vector).all():
        return ()
    return tuple(float(f"{value:.6g}") for value in vector @ _matrix(vector.size))


@functools.lru_cache(maxsize=1)
def _frequencies() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng((_SEED, 0))
    return (
        rng.standard_normal((PROJECTIONS, FEATURES)),
        rng.uniform(0, 2 * np.pi, FEATURES),
    )


def fourier(scaled: np.ndarray) -> np.ndarray:
    """[…, 32] projections divided by the kernel's bandwidth → […, 128] features, whose dot products
    are about the kernel exp(-|x - y|² / 2)."""
    frequencies, phases = _frequencies()
    return np.asarray(np.sqrt(2 / FEATURES) * np.cos(scaled @ frequencies + phases))
