"""Detections on a split, in the form in which an isolated stage hands them to the judge.

A file is an array of DETECTION and nothing else, so that reading it is a check of its length:
there is no header, no pickle, no compression. A second file, JSON of CLAIM, says the classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, ValidationError

from modelyard.api.base import StatusModel
from modelyard.workloads import handover
from modelyard.workloads.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

INVALID = "InvalidDetections"
DETECTION: np.dtype[Any] = np.dtype(
    [("image", "<i4"), ("class", "<i4"), ("confidence", "<f4"), ("box", "<f4", 4)]
)
"""Index of the image in the sorted split, class id, confidence 0 to 1, and x1, y1, x2, y2 as
shares of the image's width and height, which may lie a little outside 0 to 1."""
MAX_CLAIM_BYTES = 8 * 1024**2
FAR_OUTSIDE = 16.0
"""Maximum distance of a box's edge from the image's origin, in image sizes: letterboxing a long
image gives boxes in its padding, and no more than that."""


class Claim(StatusModel):
    """What an isolated stage says of a model that only it has loaded."""

    classes: list[str] = Field(max_length=100_000)
    """Class names, by class id."""
    milliseconds: float = Field(ge=0, le=1e9, allow_inf_nan=False)
    """Inference time per image."""


def leave(folder: Path, name: str, detections: NDArray[Any], claim: Claim) -> None:
    """Write a model's detections and claim into a stage's volume."""
    _detections(folder, name).write_bytes(detections.tobytes())
    _claim(folder, name).write_text(claim.model_dump_json(), encoding="utf-8")


def take(
    folder: Path, name: str, *, images: int, classes: int, per_image: int
) -> tuple[NDArray[Any], Claim]:
    """A model's detections and claim from an untrusted volume.

    `images` is the number of images in the split, `classes` of the dataset, `per_image` the most
    detections that count. Raises UserError InvalidDetections or UntrustedOutput.
    """
    text = handover.take_bytes(_claim(folder, name), MAX_CLAIM_BYTES)
    try:
        claim = Claim.model_validate_json(text)
    except ValidationError as error:
        raise _invalid(name, "what it says of itself cannot be read") from error
    limit = images * per_image * DETECTION.itemsize
    content = handover.take_bytes(_detections(folder, name), limit)
    if len(content) % DETECTION.itemsize:
        raise _invalid(name, "the file is cut off")
    found = np.frombuffer(content, dtype=DETECTION)
    _check(name, found, images=images, classes=max(classes, len(claim.classes)))
    counts = np.bincount(found["image"], minlength=images)
    if len(found) and counts.max() > per_image:
        raise _invalid(name, f"an image has more than {per_image} detections")
    return found, claim


def _check(name: str, found: NDArray[Any], *, images: int, classes: int) -> None:
    bounds = (
        ("image", 0, images - 1),
        ("class", 0, classes - 1),
        ("confidence", 0, 1),
        ("box", -FAR_OUTSIDE, FAR_OUTSIDE),
    )
    for field, low, high in bounds:
        values = found[field]
        # Comparisons with NaN are false, so it is outside too.
        if not np.all((values >= low) & (values <= high)):
            raise _invalid(name, f"a detection's {field} is not within {low} and {high}")


def _detections(folder: Path, name: str) -> Path:
    return folder / f"{name}.boxes"


def _claim(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _invalid(name: str, why: str) -> UserError:
    return UserError(
        INVALID,
        f"the detections of {name} cannot be judged ({why}): they come from the process that "
        "loaded the weights, which is not Ultralytics' own code any more if it writes this; use "
        "weights from a source that you trust",
    )
