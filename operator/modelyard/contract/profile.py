"""The summary of a version's profile: what the images of its holdout look like to it.

An evaluation measures each image of the holdout (signals/, workloads/evaluate/profiling.py) and
publishes two blobs: the figures of all images, and this summary of them, which agents fetch with
the artifact. It answers whether a site looks like the holdout at all; whether a site has changed,
a server's own baseline answers. A newer release may add fields, so unknown ones are ignored.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from modelyard.api.base import Digest, StatusModel
from modelyard.contract.manifest import MAX_EMBEDDING

MAX_BYTES = 40_000
"""Maximum size of a summary in bytes; one has about 4,000."""
MAX_PROFILE_BYTES = 128 * 1024**2
"""Maximum size of the blob with the figures of all images; about 3 MB for 5,000 images."""
MAX_IMAGES = 5000
"""Images of a holdout that are measured; of a larger one, so many are drawn."""
LEVELS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
"""What quantiles are given for."""
CLASSES = 10
"""Classes that are counted apart: the most frequent ones. All others count together."""
PROJECTIONS = 32
FEATURES = 128

Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class Figure(StrEnum):
    """A figure of one image; what they are: signals/images.py, signals/detections.py."""

    TOP_SCORE = "topScore"
    DETECTIONS = "detections"
    BOX_AREA = "boxArea"
    BRIGHTNESS = "brightness"
    CONTRAST = "contrast"
    SHARPNESS = "sharpness"
    COLOURFULNESS = "colourfulness"


class _Frozen(StatusModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class FigureSummary(_Frozen):
    """The distribution of a figure over images."""

    count: int = Field(ge=1)
    """Images that have the figure: without boxes there is no area."""
    mean: Number
    sd: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Standard deviation."""
    quantiles: tuple[Number, ...] = Field(min_length=len(LEVELS), max_length=len(LEVELS))
    """Quantiles at LEVELS, so from the minimum to the maximum."""


class ClassSummary(_Frozen):
    """Which classes the boxes are of."""

    boxes: int = Field(ge=0)
    """Boxes on all images."""
    ids: tuple[int, ...] = Field(max_length=CLASSES)
    """Class ids of the most frequent classes, the most frequent one first."""
    shares: tuple[Share, ...] = Field(max_length=CLASSES)
    """Share of the boxes that each of `ids` has."""
    other: Share
    """Share of all other classes together."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.ids) != len(self.shares) or len(set(self.ids)) != len(self.ids):
            raise ValueError("classes: ids and shares do not belong together")
        return self


class EmbeddingSummary(_Frozen):
    """The embeddings of all images under the fixed projections and features of
    signals/embeddings.py. Features are those of centred projections divided by `scale` and
    `bandwidth`."""

    size: int = Field(ge=1, le=MAX_EMBEDDING)
    """Dimensions of an embedding."""
    center: tuple[Number, ...] = Field(min_length=PROJECTIONS, max_length=PROJECTIONS)
    """Mean of each projection."""
    scale: tuple[Positive, ...] = Field(min_length=PROJECTIONS, max_length=PROJECTIONS)
    """Standard deviation of each projection."""
    radius: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """99 % quantile of an image's squared distance from the centre, in units of `scale`."""
    bandwidth: Positive
    """Width of the Gaussian kernel: median distance of two images, in units of `scale`."""
    features: tuple[Number, ...] = Field(min_length=FEATURES, max_length=FEATURES)
    """Mean of each random Fourier feature."""


class ProfileSummary(_Frozen):
    """The summary; as JSON it has at most MAX_BYTES."""

    format: Literal[1] = 1
    """Version of what the numbers mean: of the figures, projections and features."""
    artifact: Digest
    """The artifact that was measured, an ONNX file."""
    dataset: Digest
    """Dataset version of the holdout."""
    split: str = Field(max_length=16)
    """Split of the dataset version."""
    profile: Digest
    """The blob with the figures of all images."""
    images: int = Field(ge=1, le=MAX_IMAGES)
    """Images that were measured."""
    blank: Share
    """Share of images that show nothing. Their figures count."""
    confidence: Share
    """Minimum confidence of the boxes that count. Numbers of boxes can only be compared with those
    of a pipeline with the same."""
    iou: Share
    """IoU threshold of their non-maximum suppression."""
    figures: dict[Figure, FigureSummary] = Field(max_length=len(Figure))
    classes: ClassSummary
    embedding: EmbeddingSummary | None = None
    """None of a network without an embedding."""

    def dump(self) -> bytes:
        """The summary as stored: JSON in a stable order. Raises ValueError above MAX_BYTES."""
        text = self.model_dump_json(by_alias=True, exclude_none=True).encode()
        if len(text) > MAX_BYTES:
            raise ValueError(f"a profile's summary has {len(text)} bytes, more than {MAX_BYTES}")
        return text


def parse_summary(text: bytes) -> ProfileSummary:
    """A summary from JSON. Raises ValueError, also for one that is too large."""
    if len(text) > MAX_BYTES:
        raise ValueError(f"a profile's summary has {len(text)} bytes, more than {MAX_BYTES}")
    return ProfileSummary.model_validate_json(text)
