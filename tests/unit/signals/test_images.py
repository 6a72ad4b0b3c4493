"""Figures of images: each reacts to what it is about, and to little else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from modelyard.signals.images import (
    LAYOUT,
    image_figures,
    layout,
    layout_similarity,
    mean_layout,
)


def scene(seed: int = 0, size: tuple[int, int] = (480, 640)) -> np.ndarray:
    """Shelves and boxes of some colours on a wall that gets darker downwards."""
    random = np.random.default_rng(seed)
    height, width = size
    image = np.zeros((height, width, 3), np.float32)
    image += np.linspace(170, 90, height)[:, None, None]
    for _ in range(25):
        x, y = random.integers(0, width), random.integers(0, height)
        w, h = random.integers(20, width // 4), random.integers(20, height // 4)
        colour = tuple(int(c) for c in random.integers(20, 236, 3))
        cv2.rectangle(image, (int(x), int(y)), (int(x + w), int(y + h)), colour, -1)
    return image.clip(0, 255).astype(np.uint8)


def noisy(image: np.ndarray, sd: float, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, sd, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)


def with_person(image: np.ndarray, x: int) -> np.ndarray:
    shown = image.copy()
    cv2.ellipse(shown, (x, 300), (30, 90), 0, 0, 360, (60, 40, 30), -1)
    return shown


def test_figures_of_images_whose_values_are_known() -> None:
    grey = image_figures(np.full((100, 200, 3), 51, np.uint8))
    assert grey.brightness == pytest.approx(0.2)
    assert (grey.contrast, grey.sharpness, grey.colourfulness) == (0, 0, 0)
    halves = np.zeros((256, 256, 3), np.uint8)
    halves[:, 128:] = 255
    found = image_figures(halves)
    assert (found.brightness, found.contrast) == (0.5, 0.5)
    # Two columns of 256 have a Laplacian of ±255.
    assert found.sharpness == pytest.approx(np.log1p(2 / 256 * 255**2), abs=1e-4)
    # rg = 0 and 255, yb = 0 and 127.5: half of the pixels are red.
    red = halves.copy()
    red[:, :, :2] = 0
    spread, mean = np.hypot(127.5, 63.75), np.hypot(127.5, 63.75)
    assert image_figures(red).colourfulness == pytest.approx(spread + 0.3 * mean, rel=1e-4)


def test_each_figure_reacts_to_its_own_change() -> None:
    image = scene()
    found = image_figures(image)
    brighter = image_figures((image * 0.8 + 51).astype(np.uint8))
    assert brighter.brightness > found.brightness + 0.05
    assert brighter.contrast == pytest.approx(0.8 * found.contrast, rel=0.05)
    blurred = image_figures(cv2.GaussianBlur(image, (0, 0), 4))
    assert blurred.sharpness < found.sharpness - 1
    assert blurred.brightness == pytest.approx(found.brightness, abs=0.01)
    grey = image_figures(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR))
    assert grey.colourfulness == 0
    assert found.colourfulness > 15
    assert grey.sharpness == pytest.approx(found.sharpness, abs=0.1)


def test_the_resolution_of_a_camera_hardly_matters() -> None:
    large = scene(size=(960, 1280))
    small = cv2.resize(large, (640, 480), interpolation=cv2.INTER_AREA)
    one, other = image_figures(large), image_figures(small)
    for name in ("brightness", "contrast", "sharpness", "colourfulness"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=0.05), name


@pytest.mark.parametrize("level", [0, 12, 128, 255])
def test_darkness_and_covered_lenses_are_blank_with_noise_too(level: int) -> None:
    covered = noisy(np.full((480, 640, 3), level, np.uint8), 6)
    assert image_figures(covered).blank
    assert not layout(covered).any()


def test_what_shows_something_is_not_blank() -> None:
    assert not image_figures(scene()).blank
    dim = (scene() * 0.1).astype(np.uint8)
    assert not image_figures(dim).blank
    spot = np.full((480, 640, 3), 40, np.uint8)
    spot[200:225, 300:330] = 90
    assert not image_figures(spot).blank


def test_a_layout_stays_with_light_noise_and_what_moves_and_goes_with_the_camera() -> None:
    image = scene()
    before = mean_layout(np.array([layout(with_person(image, x)) for x in (100, 250, 400, 550)]))
    assert before.shape == (LAYOUT,)
    assert np.linalg.norm(before) == pytest.approx(1)
    for changed in (
        (image * 0.5 + 40).astype(np.uint8),
        noisy(image, 10),
        with_person(image, 330),
        cv2.GaussianBlur(image, (0, 0), 1),
    ):
        assert layout_similarity(before, layout(changed)) > 0.9
    height, width = image.shape[:2]
    turned = cv2.warpAffine(
        image, cv2.getRotationMatrix2D((width / 2, height / 2), 25, 1), (width, height),
        borderMode=cv2.BORDER_REFLECT,
    )  # fmt: skip
    shifted = np.roll(image, (120, 200), axis=(0, 1))
    for moved in (turned, shifted, scene(seed=5)):
        assert layout_similarity(before, layout(moved)) < 0.85


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)],
)
def test_what_is_no_decoded_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no image"):
        image_figures(image)


def test_any_size_has_figures() -> None:
    for shape in ((1, 1, 3), (1, 500, 3), (3000, 2, 3)):
        found = image_figures(np.full(shape, 7, np.uint8))
        assert found.blank
        assert np.isfinite([found.brightness, found.contrast, found.sharpness]).all()
