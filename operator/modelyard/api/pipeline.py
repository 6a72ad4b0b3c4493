"""What happens around the network in Triton."""

from __future__ import annotations

from pydantic import Field

from modelyard.api.base import ApiModel, Fraction


class Pipeline(ApiModel):
    """What happens around the network: decoding and scaling before, selection after."""

    confidence: Fraction = 0.25
    """Lowest confidence of a returned box."""
    iou: Fraction = 0.7
    """IoU above which the weaker of two boxes of a class is dropped."""
    max_detections: int = Field(default=300, ge=1, le=10_000)
    """Most boxes returned for an image."""
