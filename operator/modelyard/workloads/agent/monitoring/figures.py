"""A drawn request and its answer become an observation.

The image was decoded by Triton with the same library before (without that it would have no answer),
and what is too large for the agent's memory is not decoded: its answer counts alone.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np

from modelyard.drift.observation import Observation, class_counts
from modelyard.serving.draws import Answer, Draw
from modelyard.serving.models import size
from modelyard.signals.detections import detection_figures
from modelyard.signals.embeddings import project


@dataclass(frozen=True)
class Release:
    """What answered."""

    artifact: str
    """Digest of the artifact."""
    pipeline: str
    """`wish.pipeline_key` of its settings."""
    classes: int
    """Number of the network's classes."""
    embeds: bool
    """Whether it offers an embedding."""


@functools.cache
def _max_pixels() -> int:
    # At most one image is decoded at a time.
    return size.max_pixels(size.memory_bytes(), 1)


def observe(draw: Draw, release: Release) -> Observation:
    """All figures of a request. Runs for milliseconds: call it in a thread."""
    bare = observe_answer(draw.answer, draw, release)
    return _with_image(bare, draw.image)


def observe_answer(answer: Answer, draw: Draw, release: Release) -> Observation:
    """The figures of an answer to the request's image, without those of its pixels."""
    found = detection_figures(
        answer.boxes, answer.classes, size=draw.size, class_count=release.classes
    )
    seen = () if answer.embedding is None else _projection(answer.embedding)
    return Observation(
        time=draw.time,
        source=draw.source,
        artifact=release.artifact,
        pipeline=release.pipeline,
        top_score=answer.top_score,
        detections=found.detections,
        classes=class_counts([int(one) for one in answer.classes]),
        box_area=found.mean_area,
        projection=seen,
    )


def again(observed: Observation, answer: Answer, draw: Draw, release: Release) -> Observation:
    """The same image, answered by another release."""
    other = observe_answer(answer, draw, release)
    return replace(
        other,
        brightness=observed.brightness,
        contrast=observed.contrast,
        sharpness=observed.sharpness,
        colourfulness=observed.colourfulness,
        blank=observed.blank,
        layout=observed.layout,
    )


def _projection(embedding: np.ndarray) -> tuple[float, ...]:
    try:
        return tuple(float(one) for one in project(embedding.reshape(1, -1))[0])
    except ValueError:
        return ()  # not finite: float16 ends at 65504


def _with_image(bare: Observation, data: bytes) -> Observation:
    # OpenCV takes 20 MB of memory, which only monitoring is to cost.
    import cv2

    from modelyard.serving.models.decode import ImageError, decode
    from modelyard.signals.images import image_figures, layout

    # Triton has the CPUs.
    cv2.setNumThreads(1)
    try:
        image = decode(data, _max_pixels())
    except ImageError:
        return bare
    looks = image_figures(image)
    return replace(
        bare,
        brightness=looks.brightness,
        contrast=looks.contrast,
        sharpness=looks.sharpness,
        colourfulness=looks.colourfulness,
        blank=looks.blank,
        layout=tuple(float(one) for one in layout(image)),
    )
