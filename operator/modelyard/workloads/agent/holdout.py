"""The holdout of the version that serves, as the statistics of drift take it.

The summary comes with the artifact (artifacts.py: Fetched.profile, ArtifactCache.profile).
"""

from __future__ import annotations

from modelyard.api.pipeline import Pipeline
from modelyard.contract.profile import LEVELS, Figure, ProfileSummary
from modelyard.drift.profile import Profile
from modelyard.drift.signals import Signal

SIGNALS = {
    Figure.TOP_SCORE: Signal.TOP_SCORE,
    Figure.DETECTIONS: Signal.DETECTIONS,
    Figure.BOX_AREA: Signal.BOX_AREA,
    Figure.BRIGHTNESS: Signal.BRIGHTNESS,
    Figure.CONTRAST: Signal.CONTRAST,
    Figure.SHARPNESS: Signal.SHARPNESS,
    Figure.COLOURFULNESS: Signal.COLOURFULNESS,
}
_OF_BOXES = (Figure.DETECTIONS, Figure.BOX_AREA)
_LOW, _HIGH = LEVELS.index(0.01), LEVELS.index(0.99)


def profile_of(summary: ProfileSummary, pipeline: Pipeline) -> Profile:
    """What a server with these pipeline settings can compare with.

    Which boxes there are depends on the thresholds, so theirs are left out where these differ.
    """
    same = (summary.confidence, summary.iou) == (pipeline.confidence, pipeline.iou)
    known = {one: own for one, own in summary.figures.items() if same or one not in _OF_BOXES}
    embedding = summary.embedding
    return Profile(
        ranges={
            SIGNALS[one]: (own.quantiles[_LOW], own.quantiles[_HIGH]) for one, own in known.items()
        },
        centre=embedding.center if embedding else (),
        scale=embedding.scale if embedding else (),
        radius=embedding.radius if embedding else 0.0,
    )
