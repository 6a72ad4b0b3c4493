"""Embeddings as comparable numbers."""

from __future__ import annotations

import numpy as np
import pytest

from modelyard.signals.embeddings import FEATURES, PROJECTIONS, Projection, Scaling


def embeddings(count: int, size: int = 64, seed: int = 0) -> np.ndarray:
    """Correlated, of very different scales, one dimension constant."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(0, 1, (size, size))
    values = random.normal(0, 1, (count, size)) @ mixing * np.geomspace(0.01, 10, size)
    values[:, 3] = 0.25
    return values


def test_projections_of_the_scalings_own_embeddings_are_standardised() -> None:
    values = embeddings(2000)
    found = Projection(Scaling.of(values))(values)
    assert found.shape == (2000, PROJECTIONS + FEATURES)
    projections, features = found[:, :PROJECTIONS], found[:, PROJECTIONS:]
    assert np.abs(projections.mean(axis=0)).max() < 1e-9
    assert np.sqrt((projections**2).mean()) == pytest.approx(1, abs=0.3)
    assert np.abs(features).max() <= np.sqrt(2 / FEATURES) + 1e-9


def test_features_approximate_the_gaussian_kernel() -> None:
    values = embeddings(40)
    scaling = Scaling.of(values)
    features = Projection(scaling)(values)[:, PROJECTIONS:]
    scaled = (values - scaling.center) / scaling.scale
    squared = ((scaled[:, None] - scaled[None]) ** 2).sum(axis=-1)
    kernel = np.exp(-squared / (2 * scaling.bandwidth**2))
    error = features @ features.T - kernel
    # The standard error of a mean of FEATURES cosines is at most sqrt(1 / FEATURES), about 0.09.
    assert np.sqrt((error**2).mean()) < 0.12
    assert np.exp(-0.5) == pytest.approx(np.median(kernel[~np.eye(40, dtype=bool)]), abs=0.1)


def test_means_of_one_kind_of_image_are_close_and_of_others_far() -> None:
    values = embeddings(4000)
    project = Projection(Scaling.of(values[:2000]))
    base = project(values[:2000]).mean(axis=0)

    def distance(block: np.ndarray) -> float:
        return float(((project(block).mean(axis=0) - base) ** 2).sum())

    same = max(distance(values[i : i + 200]) for i in range(2000, 4000, 200))
    scale = values.std(axis=0)
    assert distance(values[2000:2200] + 0.5 * scale) > 3 * same
    # Only the spread changes: the projections' means stay, the features tell.
    shape = project(2 * (values[2000:3000] - values.mean(axis=0)) + values.mean(axis=0))
    plain = project(values[2000:3000])
    moved = ((shape - plain).mean(axis=0)[PROJECTIONS:] ** 2).sum()
    assert moved > 0.05


def test_the_numbers_are_the_same_on_every_server_and_in_every_release() -> None:
    scaling = Scaling(center=np.zeros(3), scale=np.ones(3), bandwidth=2.0)
    found = Projection(scaling)(np.array([[1.0, -2.0, 0.5]]))[0]
    assert found[[0, 1, 31, 32, 159]].tolist() == pytest.approx(EXPECTED, abs=1e-12)


EXPECTED = [
    0.5140051039974024,
    1.5020829212894957,
    -0.3063692234861032,
    0.05299748563925466,
    -0.07155204464819133,
]


@pytest.mark.parametrize("values", [np.zeros((1, 4)), np.zeros(4), np.full((3, 4), np.nan)])
def test_a_scaling_needs_embeddings(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="two or more finite"):
        Scaling.of(values)


def test_embeddings_that_are_all_equal_give_finite_numbers() -> None:
    same = np.full((5, 8), 3.0)
    assert np.isfinite(Projection(Scaling.of(same))(same + 1)).all()


def test_embeddings_of_another_size_are_refused() -> None:
    project = Projection(Scaling.of(embeddings(10)))
    with pytest.raises(ValueError, match="65 dimensions instead of 64"):
        project(np.zeros((1, 65)))
