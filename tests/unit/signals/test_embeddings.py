"""Embeddings as comparable numbers."""

from __future__ import annotations

import numpy as np
import pytest

from modelyard.signals.embeddings import FEATURES, PROJECTIONS, fourier, project


def embeddings(count: int, size: int = 256, seed: int = 0) -> np.ndarray:
    """Correlated, not centred, as activations are."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(0, 1, (20, size))
    return np.maximum(random.normal(0, 1, (count, 20)) @ mixing + 1, 0)


def test_projections_keep_distances() -> None:
    values = embeddings(60)
    found = project(values)
    assert found.shape == (60, PROJECTIONS)
    pairs = ~np.eye(60, dtype=bool)
    before = np.linalg.norm(values[:, None] - values[None], axis=-1)[pairs]
    after = np.linalg.norm(found[:, None] - found[None], axis=-1)[pairs]
    ratio = after / before * np.sqrt(256 / PROJECTIONS)
    assert np.median(ratio) == pytest.approx(1, abs=0.15)
    assert ratio.std() < 0.2


def test_features_approximate_the_gaussian_kernel() -> None:
    scaled = np.random.default_rng(0).normal(0, 0.15, (40, PROJECTIONS))
    features = fourier(scaled)
    squared = ((scaled[:, None] - scaled[None]) ** 2).sum(axis=-1)
    error = features @ features.T - np.exp(-squared / 2)
    # A mean of FEATURES cosines has a standard error of at most sqrt(1 / FEATURES), about 0.09.
    assert np.sqrt((error**2).mean()) < 0.1


def test_features_see_a_change_of_shape_that_no_mean_shows() -> None:
    random = np.random.default_rng(0)
    base = random.normal(0, 0.18, (3000, PROJECTIONS))
    same = random.normal(0, 0.18, (3000, PROJECTIONS))
    # Twice the spread, around the same mean.
    wide = random.normal(0, 0.36, (3000, PROJECTIONS))

    def distance(one: np.ndarray) -> float:
        return float(((fourier(one).mean(axis=0) - fourier(base).mean(axis=0)) ** 2).sum())

    assert distance(wide) > 50 * distance(same)


def test_the_numbers_are_the_same_on_every_server_and_in_every_release() -> None:
    projections = project(np.array([[1.0, -2.0, 0.5]]))
    features = fourier(projections)
    found = [*projections[0, [0, 1, 31]], *features[0, [0, FEATURES - 1]]]
    assert found == pytest.approx(EXPECTED, abs=1e-12)


EXPECTED = [
    0.7608046395357859,
    0.5494314601930039,
    2.0980315815732737,
    -0.09768227108253301,
    -0.09019595153595278,
]


@pytest.mark.parametrize("values", [np.zeros(4), np.zeros((3, 0)), np.full((3, 4), np.nan)])
def test_what_are_no_embeddings_is_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite embeddings"):
        project(values)


def test_one_embedding_is_projected_as_among_others() -> None:
    values = embeddings(5)
    assert project(values[2:3])[0] == pytest.approx(project(values)[2])
