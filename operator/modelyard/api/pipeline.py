"""Settings of the pre- and postprocessing in Triton (serving/models/)."""

from __future__ import annotations

from pydantic import Field

from modelyard.api.base import ApiModel, Fraction


class Pipeline(ApiModel):
    """Settings of the pre- and postprocessing around the network."""

    confidence: Fraction = 0.25
    """Minimum confidence of a returned box, 0 to 1. Default: 0.25."""
    iou: Fraction = 0.7
    """IoU threshold of non-maximum suppression: of two boxes of a class that overlap more, the less
    confident one is dropped."""
    max_detections: int = Field(default=300, ge=1, le=10_000)
    """Maximum number of boxes returned per image."""
