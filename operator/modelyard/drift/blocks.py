"""Images → blocks: means over enough images that one block hardly depends on the last.

Images of a camera resemble those before, so single images cannot be charted. A block closes once
its duration has passed, it has its images, and these are twice the integrated autocorrelation time
(pilot.py). A quiet server is only slower. Blank images are not counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from modelyard.drift.observation import Observation
from modelyard.drift.series import add, unpack
from modelyard.drift.settings import DriftSettings
from modelyard.drift.signals import CLASSES, Signal
from modelyard.signals.embeddings import PROJECTIONS, fourier

Floats = NDArray[np.float64]

PLAIN = (
    Signal.TOP_SCORE,
    Signal.DETECTIONS,
    Signal.BOX_AREA,
    Signal.BRIGHTNESS,
    Signal.CONTRAST,
    Signal.SHARPNESS,
    Signal.COLOURFULNESS,
)
"""Signals whose block value is the mean over images."""


@dataclass(frozen=True)
class Embedder:
    """Turns projections of an embedding into features whose mean is charted: the projections in
    units of their sd, and random Fourier features at the kernel width of this source."""

    scale: tuple[float, ...]
    bandwidth: float

    @classmethod
    def of(cls, projections: Floats) -> Embedder:
        """From [n, 32] projections of a source's first images. Width: their median distance."""
        scale = projections.std(axis=0)
        scale = np.maximum(scale, max(0.1 * float(scale.mean()), 1e-6))
        scaled = projections / scale
        half = len(scaled) // 2
        apart = np.linalg.norm(scaled[:half] - scaled[half : 2 * half], axis=1)
        width = float(np.median(apart)) if half else 1.0
        return cls(tuple(float(one) for one in scale), max(width, 1e-6))

    def features(self, projection: tuple[float, ...]) -> Floats:
        """[160] of one image."""
        return np.asarray(self.features_of(np.asarray(projection)[None])[0])

    def features_of(self, projections: Floats) -> Floats:
        """[n, 160] of [n, 32] projections; both halves weigh about the same."""
        scaled = projections / np.asarray(self.scale)
        return np.hstack([scaled / math.sqrt(PROJECTIONS), fourier(scaled / self.bandwidth)])


@dataclass(frozen=True)
class Reference:
    """What distances are taken from: the mean of a baseline's first part.

    Any fixed point gives a chart that can be calibrated; one near the baseline's mean gives a
    sensitive one. So the vectors of all blocks need not be kept.
    """

    mix: tuple[float, ...] = ()
    """Share of each class; empty without boxes."""
    features: bytes = b""
    """Mean features; empty without embeddings."""


@dataclass(frozen=True)
class Block:
    """Sums over the images of a block that is open, or has just closed."""

    start: float
    last: float
    images: int = 0
    sums: tuple[float, ...] = (0.0,) * len(PLAIN)
    counts: tuple[int, ...] = (0,) * len(PLAIN)
    classes: tuple[int, ...] = (0,) * CLASSES
    features: bytes = b""
    embedded: int = 0

    def with_image(self, image: Observation, embedder: Embedder | None) -> Block:
        """With one more image."""
        figures = plain_figures(image)
        block = replace(
            self,
            last=max(self.last, image.time),
            images=self.images + 1,
            sums=tuple(s + (f or 0.0) for s, f in zip(self.sums, figures, strict=True)),
            counts=tuple(c + (f is not None) for c, f in zip(self.counts, figures, strict=True)),
            classes=tuple(a + b for a, b in zip(self.classes, image.classes, strict=False))
            if len(image.classes) == CLASSES
            else self.classes,
        )
        if embedder is None or not valid_projection(image):
            return block
        features = add(block.features, embedder.features(image.projection))
        return replace(block, features=features, embedded=block.embedded + 1)

    def is_full(self, settings: DriftSettings, images: int) -> bool:
        """Whether it closes; `images` is what autocorrelation asks for."""
        enough = max(settings.block_images, images)
        return self.images >= enough and self.last - self.start >= settings.block_duration

    def values(self, reference: Reference | None) -> dict[Signal, float]:
        """The block's value of each signal that it has."""
        found = {
            signal: total / count
            for signal, total, count in zip(PLAIN, self.sums, self.counts, strict=True)
            if 2 * count >= self.images or (signal is Signal.BOX_AREA and count)
        }
        if reference is None:
            return found
        boxes = sum(self.classes)
        if reference.mix and boxes:
            found[Signal.CLASS_MIX] = mix_distance(self.classes, reference.mix)
        if reference.features and 2 * self.embedded >= self.images and self.features:
            apart = unpack(self.features) / self.embedded - unpack(reference.features)
            # The distance of a mean of n images shrinks with sqrt(n) where nothing has changed.
            found[Signal.EMBEDDING] = float(np.linalg.norm(apart)) * math.sqrt(self.embedded)
        return found


def mix_distance(counts: tuple[int, ...], mix: tuple[float, ...]) -> float:
    """sqrt(n · H²) of n boxes' classes from a mix, H² the squared Hellinger distance, 0 to 1:
    1 - sum sqrt(p · q). Where nothing has changed, n · H² hardly depends on n."""
    total = sum(counts)
    overlap = sum(math.sqrt(c / total * q) for c, q in zip(counts, mix, strict=True))
    return math.sqrt(max(1 - overlap, 0.0) * total)


def plain_figures(image: Observation) -> tuple[float | None, ...]:
    """An image's figures in the order of PLAIN; None for what is missing or not finite."""
    found = (
        image.top_score,
        float(image.detections),
        image.box_area,
        image.brightness,
        image.contrast,
        image.sharpness,
        image.colourfulness,
    )
    return tuple(f if f is not None and math.isfinite(f) else None for f in found)


def valid_projection(image: Observation) -> bool:
    """Whether the image has a usable embedding."""
    return len(image.projection) == PROJECTIONS and all(map(math.isfinite, image.projection))
