"""Names and order of the signals.

The order is that of the columns in a block and in a `Series`, and is part of the stored format: add
at the end.
"""

from __future__ import annotations

from enum import StrEnum


class Signal(StrEnum):
    """A figure that each block has; NaN where it has none."""

    TOP_SCORE = "TopScore"
    """Mean logit of the best raw score."""
    DETECTIONS = "DetectionsPerImage"
    """Mean number of returned boxes."""
    CLASS_MIX = "ClassMix"
    """Distance of the block's classes from the baseline's; see blocks.py."""
    EMBEDDING = "Embedding"
    """Distance of the block's embeddings from the baseline's; see blocks.py."""
    BOX_AREA = "BoxArea"
    """Mean share of the image that a box covers."""
    BRIGHTNESS = "Brightness"
    CONTRAST = "Contrast"
    SHARPNESS = "Sharpness"
    COLOURFULNESS = "Colourfulness"


SIGNALS: tuple[Signal, ...] = tuple(Signal)
COLUMN: dict[Signal, int] = {signal: column for column, signal in enumerate(SIGNALS)}

ALARMS = (Signal.TOP_SCORE, Signal.DETECTIONS, Signal.CLASS_MIX, Signal.EMBEDDING)
"""Signals that may raise an alarm, by default."""
EXPLAIN = (
    Signal.BOX_AREA,
    Signal.BRIGHTNESS,
    Signal.CONTRAST,
    Signal.SHARPNESS,
    Signal.COLOURFULNESS,
)
"""Signals that say why and never raise an alarm, by default."""
INPUT = (Signal.BRIGHTNESS, Signal.CONTRAST, Signal.SHARPNESS, Signal.COLOURFULNESS)
"""Signals of the pixels alone: their baseline outlives a change of the model."""
DISTANCES = (Signal.CLASS_MIX, Signal.EMBEDDING)
"""Signals that need a reference before they have values."""

CLASSES = 11
"""Counts of classes: the model's first ten and all others together. Profiles may choose the ten
most frequent; see `profile.Profile.classes`."""
