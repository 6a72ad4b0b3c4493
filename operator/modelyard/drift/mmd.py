"""A permutation test that confirms an alarm: do recent embeddings come from the baseline's?

The maximum mean discrepancy (Gretton et al., "A kernel two-sample test", JMLR 2012) under a
Gaussian kernel with the median distance as width. It only confirms and explains: as a chart, its
p-values would have to be below 3e-5 to be tried every half hour for 90 days.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PERMUTATIONS = 500


@dataclass(frozen=True)
class Discrepancy:
    """What the test found."""

    squared: float
    """Unbiased estimate of MMD²; may be negative where nothing differs."""
    probability: float
    """p-value: at least 1 / (PERMUTATIONS + 1)."""


def compare(reference: Floats, recent: Floats, rng: np.random.Generator) -> Discrepancy:
    """The test between [n, d] and [m, d] samples. Raises ValueError for fewer than 8 of either."""
    n, m = len(reference), len(recent)
    if min(n, m) < 8:
        raise ValueError(f"{n} and {m} samples are too few to compare")
    both = np.vstack([reference, recent])
    squares = np.sum(both**2, axis=1)
    apart = np.maximum(squares[:, None] + squares[None, :] - 2 * both @ both.T, 0)
    width = float(np.median(apart[np.triu_indices(n + m, 1)]))
    kernel = np.exp(-apart / (2 * max(width, 1e-12)))
    np.fill_diagonal(kernel, 0)
    labels = np.zeros((PERMUTATIONS + 1, n + m))
    labels[0, :n] = 1
    labels[1:] = rng.permuted(np.tile(labels[0], (PERMUTATIONS, 1)), axis=1)
    # With x the indicator of the reference: sums within and between are quadratic forms in x.
    products = labels @ kernel
    within = np.sum(products * labels, axis=1)
    rows = products.sum(axis=1)
    between = rows - within
    other = kernel.sum() - rows - between
    found = within / (n * (n - 1)) + other / (m * (m - 1)) - 2 * between / (n * m)
    larger = int(np.count_nonzero(found[1:] >= found[0]))
    return Discrepancy(float(found[0]), (larger + 1) / (PERMUTATIONS + 1))
