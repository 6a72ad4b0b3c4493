"""What is known of one sampled image.

The pipeline measures it, the agent hands it to `monitor.step`. All figures are numbers; no pixels
come here. Values that are not finite are taken as missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.drift.signals import CLASSES

MAX_SOURCE = 64
"""Characters of a source's name that are kept."""


@dataclass(frozen=True)
class Observation:
    """One sampled image of one source."""

    time: float
    """When it was answered, seconds since 1970 (UTC)."""
    source: str
    """Value of the request parameter that names the camera; without one, the image's size."""
    artifact: str = ""
    """Digest of the artifact that answered."""
    pipeline: str = ""
    """Key of the pipeline settings that it was answered with (confidence, IoU, limit)."""
    top_score: float | None = None
    """Logit of the best raw score, before any threshold (signals/detections.py: top_score)."""
    detections: int = 0
    """Returned boxes."""
    classes: tuple[int, ...] = (0,) * CLASSES
    """Returned boxes of the model's first ten classes, and of all others (11 counts)."""
    box_area: float | None = None
    """Mean share of the image that a returned box covers, 0 to 1; None without boxes."""
    brightness: float | None = None
    contrast: float | None = None
    sharpness: float | None = None
    colourfulness: float | None = None
    blank: bool = False
    """The image shows nothing: covered lens, black or frozen grey frame (signals/images.py)."""
    projection: tuple[float, ...] = ()
    """The embedding under 32 random projections (signals/embeddings.py: project); empty if there is
    none."""
    layout: tuple[float, ...] = ()
    """Layout of the scene, of unit length (signals/images.py: layout); empty if unknown."""


@dataclass(frozen=True)
class Tick:
    """Time passes without an image. Send one at least every minute, and whenever the clock's state
    changes."""

    time: float
    synchronised: bool = True
    """Whether the node's clock is synchronised. While it is not, charts are held."""


def class_counts(
    classes: list[int] | tuple[int, ...], known: tuple[int, ...] = ()
) -> tuple[int, ...]:
    """Counts of ten classes and other. `known` are the ten classes that have a column of their own,
    by default 0 to 9."""
    columns = {one: column for column, one in enumerate(known or range(CLASSES - 1))}
    counts = [0] * CLASSES
    for one in classes:
        counts[min(columns.get(int(one), CLASSES - 1), CLASSES - 1)] += 1
    return tuple(counts)
